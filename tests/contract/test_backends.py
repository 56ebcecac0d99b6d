"""The contract of primitives and of plain functions on the backends that run in no other test.

Keras chooses its backend once, so each runs in a process of its own. JAX takes minutes for what the
others do in seconds, one small operation at a time. So by default it runs a row of two families,
in the dtype that Keras does not keep there by itself, and more with the slow tests.
"""

from pathlib import Path

import pytest

from .elsewhere import EVERY_DTYPE, passed

A_FEW = "(round or logic_against) and not (greater or less or not_equal)"


@pytest.mark.parametrize(
    ("backend", "dtypes", "selected"),
    [
        ("torch", EVERY_DTYPE, ""),
        ("jax", "float64", A_FEW),
        pytest.param("jax", "float64", "", marks=pytest.mark.slow),
        pytest.param("tensorflow", EVERY_DTYPE, "", marks=pytest.mark.slow),
    ],
    ids=["torch", "jax", "jax-complete", "tensorflow"],
)
def test_the_same_on_another_backend(backend: str, dtypes: str, selected: str) -> None:
    assert passed(Path(__file__).with_name("test_ops.py"), backend, dtypes, selected).total() > 20


@pytest.mark.parametrize("backend", ["torch", pytest.param("jax", marks=pytest.mark.slow)])
def test_plain_functions_are_the_same_on_another_backend(backend: str) -> None:
    assert passed(Path(__file__).parents[1] / "test_python_layers.py", backend).total() > 40


# JAX traces and compiles each case anew, which takes minutes; a few of each run by default.
IN_JAX = {
    "test_pairwise": "linear and (two_batches or same_segment)",
    "test_order": "invert and jit and 0.5",
    "test_isotonic": "unit",
    "test_running": "finite",
    "test_losses": "hard_limit_is and Dice",
}
MORE_IN_JAX = {
    "test_pairwise": "jit or linear",
    "test_order": "jit or rank or invert",
    "test_isotonic": "differences or limit or unit",
    "test_running": "jit or finite or large",
    "test_losses": "hard_limit",
}
TABLES = (*IN_JAX, "test_binning", "test_approximate")


@pytest.mark.parametrize(
    ("backend", "least"),
    [
        ("torch", 2),
        ("jax", 1),
        pytest.param("jax-more", 2, marks=pytest.mark.slow),
    ],
)
def test_sums_order_and_losses_are_the_same_on_another_backend(backend: str, least: int) -> None:
    chosen = {"jax": IN_JAX, "jax-more": MORE_IN_JAX}.get(backend)
    files = [Path(__file__).with_name(f"{table}.py") for table in chosen or TABLES]
    selected = " or ".join(f"({t} and ({s}))" for t, s in (chosen or {}).items()) or "not descend"
    # without JAX's float64 a few tests, which need none, run by default
    complete = backend != "jax"
    name = backend.removesuffix("-more")
    selected = f"({selected}) and not (10000 or million)"
    found = passed(files, name, selected=selected, float64=complete)
    assert all(found[f"contract/{file.name}"] >= least for file in files), found
