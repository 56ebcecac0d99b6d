"""Over several replicas the loss and its gradient are those of the whole batch on one."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.losses.replicas import CASES

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = [sys.executable, "-m", "tests.losses.replicas"]


def environment(**extra):
    paths = os.pathsep.join(filter(None, [str(ROOT / "src"), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": paths, "TF_CPP_MIN_LOG_LEVEL": "3", **extra}


def start(mode, **extra):
    return subprocess.Popen(
        [*SCRIPT, mode],
        cwd=ROOT,
        env=environment(**extra),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def results(process):
    out, err = process.communicate(timeout=280)
    assert process.returncode == 0, err[-3000:]
    return [json.loads(line) for line in out.splitlines() if line.startswith("{")]


def check(found, names):
    assert [f["name"] for f in found] == names
    for case in found:
        for value in case["value"]:
            assert value == pytest.approx(case["expected"], rel=2e-6, abs=1e-7), case
        # float32 sums in another order
        assert case["gap"] < 1e-5, case


@pytest.mark.slow
def test_two_virtual_processors():
    check(results(start("mirrored")), ["fit", *CASES])


@pytest.mark.slow
def test_two_processes_over_loopback():
    with socket.socket() as one, socket.socket() as two:
        for s in (one, two):
            s.bind(("127.0.0.1", 0))
        ports = [s.getsockname()[1] for s in (one, two)]
    cluster = {"worker": [f"127.0.0.1:{port}" for port in ports]}
    processes = [
        start(
            "workers",
            TF_CONFIG=json.dumps({"cluster": cluster, "task": {"type": "worker", "index": i}}),
        )
        for i in range(2)
    ]
    try:
        for process in processes:
            check(results(process), [*CASES])
    finally:
        for process in processes:
            process.kill()
