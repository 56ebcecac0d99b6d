"""The contract of primitives and of plain functions on the backends that run in no other test.

Keras chooses its backend once, so each runs in a process of its own. JAX takes minutes for what the
others do in seconds, one small operation at a time. So by default it runs one row of each family,
in the dtype that Keras does not keep there by itself; all of it runs with the slow tests.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from .gradients import BACKEND, installed

EVERY_DTYPE = "float16,bfloat16,float32,float64"
FAMILIES = "step or equal or round or relu or max or logic_against"
ONE_OF_EACH = f"({FAMILIES}) and not (greater or less or not_equal)"


@pytest.mark.parametrize(
    ("backend", "dtypes", "selected"),
    [
        ("torch", EVERY_DTYPE, ""),
        ("jax", "float64", ONE_OF_EACH),
        pytest.param("jax", EVERY_DTYPE, "", marks=pytest.mark.slow),
        pytest.param("tensorflow", EVERY_DTYPE, "", marks=pytest.mark.slow),
    ],
    ids=["torch", "jax", "jax-complete", "tensorflow"],
)
def test_the_same_on_another_backend(backend: str, dtypes: str, selected: str) -> None:
    assert _passed(Path(__file__).with_name("test_ops.py"), backend, dtypes, selected) > 150


@pytest.mark.parametrize("backend", ["torch", pytest.param("jax", marks=pytest.mark.slow)])
def test_plain_functions_are_the_same_on_another_backend(backend: str) -> None:
    assert _passed(Path(__file__).parents[1] / "test_python_layers.py", backend) > 40


# JAX traces and compiles each case anew, which takes minutes; one of each family runs by default.
IN_JAX = {
    "test_pairwise.py": "linear and (two_batches or same_segment or precision)",
    "test_order.py": "invert",
    "test_binning.py": "histograms or positions",
    "test_approximate.py": "as_stated and gaussian and 0.01",
    "test_losses.py": "hard_limit_is and (AUC or NDCG or Dice or Lovasz)",
}


COMPLETE = ("test_pairwise.py", "test_order.py", "test_losses.py")


@pytest.mark.parametrize(
    ("backend", "table"),
    [
        *((backend, table) for backend in ("torch", "jax") for table in IN_JAX),
        *(pytest.param("jax-complete", table, marks=pytest.mark.slow) for table in COMPLETE),
    ],
)
def test_sums_order_and_losses_are_the_same_on_another_backend(backend: str, table: str) -> None:
    chosen = {"jax": IN_JAX[table], "torch": "not descend"}.get(backend, "test")
    selected = f"({chosen}) and not (10000 or million)"
    path, complete = Path(__file__).with_name(table), backend != "jax"
    name = backend.removesuffix("-complete")
    assert _passed(path, name, selected=selected, float64=complete) > 3


# Front ends are tested in a process of their framework; how many tests must pass by default.
FRONT_ENDS = [
    ("torch", "test_from_torch.py", 120),
    ("torch", "wild/test_torch.py", 25),
    ("jax", "test_from_jax.py", 60),
    ("jax", "wild/test_jax.py", 40),
]


@pytest.mark.parametrize(("backend", "file", "least"), FRONT_ENDS)
def test_a_front_end(backend: str, file: str, least: int) -> None:
    path = Path(__file__).parents[1] / file
    assert _passed(path, backend, marked="not slow", float64=False) >= least


@pytest.mark.slow
@pytest.mark.parametrize(("backend", "file", "least"), FRONT_ENDS)
def test_the_rest_of_a_front_end(backend: str, file: str, least: int) -> None:
    path = Path(__file__).parents[1] / file
    assert _passed(path, backend, marked="slow", float64=False) > 5


def _passed(
    table: Path,
    backend: str,
    dtypes: str = EVERY_DTYPE,
    selected: str = "",
    *,
    float64: bool = True,
    marked: str = "",
) -> int:
    """How many tests of a file pass on a backend, with JAX's float64 or without; all must."""
    if backend == BACKEND:
        pytest.skip("runs in this process")
    if not installed(backend):
        pytest.skip(f"{backend} is not installed")
    environment = {
        "KERAS_BACKEND": backend,
        "BEVEL_DTYPES": dtypes,
        "JAX_ENABLE_X64": str(int(float64)),
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "XLA_FLAGS": "--xla_backend_optimization_level=0",
        "OMP_NUM_THREADS": "1",  # two processes share two cores
    }
    options = ["-q", "-o", "addopts=", "-p", "no:cacheprovider", "-k", selected, "-m", marked]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(table)],
        cwd=Path(__file__).parents[2],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-2000:]
    passed = re.search(r"(\d+) passed", run.stdout)
    assert passed
    return int(passed[1])
