"""The contract of primitives and of plain functions on the backends that run in no other test.

Keras chooses its backend once, so each runs in a process of its own. JAX takes minutes for what the
others do in seconds, one small operation at a time, so it runs with the slow tests, in the dtype
that Keras does not keep there by itself.
"""

from pathlib import Path

import pytest

from .elsewhere import EVERY_DTYPE, passed


@pytest.mark.parametrize(
    ("backend", "dtypes"),
    [
        ("torch", EVERY_DTYPE),
        pytest.param("jax", "float64", marks=pytest.mark.slow),
        pytest.param("tensorflow", EVERY_DTYPE, marks=pytest.mark.slow),
    ],
)
def test_the_same_on_another_backend(backend: str, dtypes: str) -> None:
    assert passed(Path(__file__).with_name("test_ops.py"), backend, dtypes).total() > 20


@pytest.mark.parametrize("backend", ["torch", pytest.param("jax", marks=pytest.mark.slow)])
def test_plain_functions_are_the_same_on_another_backend(backend: str) -> None:
    assert passed(Path(__file__).parents[1] / "test_python_layers.py", backend).total() > 40


# JAX traces and compiles each case anew, which takes minutes; so of each table a part.
IN_JAX = {
    "test_pairwise": "jit or linear",
    "test_order": "jit or rank or invert",
    "test_isotonic": "differences or limit or unit",
    "test_running": "jit or finite or large",
    "test_losses": "hard_limit",
}
TABLES = (*IN_JAX, "test_binning", "test_approximate")


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_sums_order_and_losses_are_the_same_on_another_backend(backend: str) -> None:
    chosen = IN_JAX if backend == "jax" else {}
    files = [Path(__file__).with_name(f"{table}.py") for table in chosen or TABLES]
    selected = " or ".join(f"({t} and ({s}))" for t, s in chosen.items()) or "not descend"
    found = passed(files, backend, selected=f"({selected}) and not (10000 or million)")
    assert all(found[f"contract/{file.name}"] >= 2 for file in files), found
