"""One truth: a metric written in TensorFlow, JAX, PyTorch and `keras.ops` is the same to Bevel.

The same verdict, the same operations at the same lines, the same values and gradients, hard and
relaxed. Each combination of file and backend runs in a process of its own.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from .gradients import installed
from .same import in_tensorflow
from .same.report import metrics

NAMES = tuple(metrics(in_tensorflow))
REFERENCE = ("in_tensorflow", "tensorflow")
OTHERS = [
    ("in_jax", "jax"),
    ("in_torch", "torch"),
    ("in_keras", "jax"),
    ("in_keras", "torch"),
]

# What is known to differ, and why. A gap that closes fails the test.
SORTED = "TensorFlow sorts by its top_k, JAX by its sort, and findings name the operation that runs"
GAPS = {
    (name, file, "jax"): SORTED
    for name in ("rank_correlation", "gain_of_the_order")
    for file in ("in_jax", "in_keras")
}


@cache
def _reported(file: str, backend: str) -> dict[str, Any]:
    run = subprocess.run(
        [sys.executable, "-m", "tests.contract.same.report", file, *NAMES],
        cwd=Path(__file__).parents[2],
        env=os.environ | {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert run.returncode == 0, run.stdout[-2000:] + run.stderr[-6000:]
    return json.loads(run.stdout.splitlines()[-1])


def _differences(own: dict[str, Any], expected: dict[str, Any]) -> list[str]:
    wrong = [f"{key}: {own[key]} is not {expected[key]}"
             for key in ("verdict", "findings") if own[key] != expected[key]]  # fmt: skip
    for key in ("hard", "soft"):
        if own[key]["value"] != pytest.approx(expected[key]["value"], rel=1e-4, abs=1e-5):
            wrong.append(f"{key} value: {own[key]['value']} is not {expected[key]['value']}")
        mine, theirs = (np.array(r[key]["gradient"]) for r in (own, expected))
        if not np.allclose(mine, theirs, rtol=1e-3, atol=1e-4 * max(1e-6, np.abs(theirs).max())):
            wrong.append(f"{key} gradient: {mine} is not {theirs}")
    return wrong


@pytest.mark.slow
@pytest.mark.parametrize(("file", "backend"), OTHERS)
def test_the_same_metric_in_another_framework(file: str, backend: str) -> None:
    if not installed(backend):
        pytest.skip(f"{backend} is not installed")
    own, expected = (_reported(*which) for which in ((file, backend), REFERENCE))
    differing = {n: d for n in NAMES if (d := _differences(own[n], expected[n]))}
    known = {n for n, f, b in GAPS if (f, b) == (file, backend)}
    assert set(differing) == known, "\n".join(f"{n}: {d}" for n, d in differing.items())


def test_the_files_hold_the_same_metrics() -> None:
    assert len(NAMES) >= 30
    for file in ("in_jax", "in_torch", "in_keras"):
        text = Path(__file__).with_name("same").joinpath(f"{file}.py").read_text()
        assert tuple(re.findall(r"^def (\w+)", text, re.M)) == NAMES
