"""The contract of primitives and of plain functions on the backends that run in no other test.

Keras chooses its backend once, so each runs in a process of its own. JAX takes minutes for what the
others do in seconds, one small operation at a time. So by default it runs one row of each family,
in the dtype that Keras does not keep there by itself, and more with the slow tests.
"""

from pathlib import Path

import pytest

from .elsewhere import EVERY_DTYPE, passed

FAMILIES = "equal or round or logic_against"
ONE_OF_EACH = f"({FAMILIES}) and not (greater or less or not_equal)"


@pytest.mark.parametrize(
    ("backend", "dtypes", "selected"),
    [
        ("torch", EVERY_DTYPE, ""),
        ("jax", "float64", ONE_OF_EACH),
        pytest.param("jax", "float64", "", marks=pytest.mark.slow),
        pytest.param("tensorflow", EVERY_DTYPE, "", marks=pytest.mark.slow),
    ],
    ids=["torch", "jax", "jax-complete", "tensorflow"],
)
def test_the_same_on_another_backend(backend: str, dtypes: str, selected: str) -> None:
    assert passed(Path(__file__).with_name("test_ops.py"), backend, dtypes, selected) > 30


@pytest.mark.parametrize("backend", ["torch", pytest.param("jax", marks=pytest.mark.slow)])
def test_plain_functions_are_the_same_on_another_backend(backend: str) -> None:
    assert passed(Path(__file__).parents[1] / "test_python_layers.py", backend) > 40


# JAX traces and compiles each case anew, which takes minutes; one of each family runs by default.
IN_JAX = {
    "test_pairwise.py": "linear and (two_batches or same_segment or precision)",
    "test_order.py": "invert",
    "test_isotonic.py": "limit or unit",
    "test_running.py": "finite or large",
    "test_losses.py": "hard_limit_is and (AveragePrecision or Dice or Lovasz)",
}
MORE_IN_JAX = {
    "test_pairwise.py": "jit or linear",
    "test_order.py": "jit or rank",
    "test_isotonic.py": "differences",
    "test_running.py": "jit",
    "test_losses.py": "hard_limit",
}
ELSEWHERE = (*IN_JAX, "test_binning.py", "test_approximate.py")


@pytest.mark.parametrize(
    ("backend", "table"),
    [
        *(("torch", table) for table in ELSEWHERE),
        *(("jax", table) for table in IN_JAX),
        *(pytest.param("jax-more", table, marks=pytest.mark.slow) for table in MORE_IN_JAX),
    ],
)
def test_sums_order_and_losses_are_the_same_on_another_backend(backend: str, table: str) -> None:
    chosen = {"jax": IN_JAX.get(table), "jax-more": MORE_IN_JAX.get(table)}.get(backend)
    selected = f"({chosen or 'not descend'}) and not (10000 or million)"
    # without JAX's float64 a few tests, which need none, run by default
    path, complete = Path(__file__).with_name(table), backend != "jax"
    name = backend.removesuffix("-more")
    assert passed(path, name, selected=selected, float64=complete) > 1
