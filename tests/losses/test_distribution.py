"""Over several replicas the loss and its gradient are those of the whole batch on one."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.contract.gradients import installed
from tests.losses.shards import CASES, GATHERED

ROOT = Path(__file__).resolve().parents[2]
EVERY = [*CASES, *GATHERED]

# How many lines JAX prints for each case.
IN_JAX = {
    "F1Score": 5, "f1": 4, "AUC": 5, "MeanIoU": 5, "Recall": 5, "R2Score": 5, "Largest": 4
}  # fmt: skip


def start(script, *arguments, **extra):
    paths = os.pathsep.join(filter(None, [str(ROOT / "src"), os.environ.get("PYTHONPATH")]))
    quiet = {"PYTHONPATH": paths, "TF_CPP_MIN_LOG_LEVEL": "3", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", f"tests.losses.{script}", *arguments],
        cwd=ROOT,
        env=os.environ | quiet | extra,
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


def free_ports(count):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for s in sockets:
            s.bind(("127.0.0.1", 0))
        return [s.getsockname()[1] for s in sockets]


def check_all(processes, names):
    try:
        for process in processes:
            check(results(process), names)
    finally:
        for process in processes:
            process.kill()


@pytest.mark.slow
def test_two_virtual_processors():
    check(results(start("replicas", "mirrored", KERAS_BACKEND="tensorflow")), ["fit", *EVERY])


@pytest.mark.slow
def test_two_processes_over_loopback():
    cluster = {"worker": [f"127.0.0.1:{port}" for port in free_ports(2)]}
    config = [
        json.dumps({"cluster": cluster, "task": {"type": "worker", "index": i}}) for i in (0, 1)
    ]
    check_all(
        [start("replicas", "workers", KERAS_BACKEND="tensorflow", TF_CONFIG=c) for c in config],
        [*CASES],
    )


@pytest.mark.parametrize(
    "cases", [["F1Score", "Recall", "f1"], pytest.param(EVERY, marks=pytest.mark.slow)]
)
@pytest.mark.skipif(not installed("torch"), reason="torch is not installed")
def test_the_mean_gradient_of_two_processes_of_pytorch(cases):
    (port,) = free_ports(1)
    given = [[str(rank), str(port), *cases] for rank in (0, 1)]
    check_all([start("replicas_torch", *g, KERAS_BACKEND="torch") for g in given], cases)


@pytest.mark.slow
@pytest.mark.skipif(not installed("jax"), reason="jax is not installed")
def test_two_devices_of_jax():
    devices = "--xla_force_host_platform_device_count=2"
    process = start("replicas_jax", *IN_JAX, KERAS_BACKEND="jax", XLA_FLAGS=devices)
    check(results(process), [name for name, lines in IN_JAX.items() for _ in range(lines)])
