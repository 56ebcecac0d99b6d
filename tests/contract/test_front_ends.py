"""The front ends of PyTorch and JAX, each tested in a process of its own framework."""

from pathlib import Path

import pytest

from .elsewhere import passed

TESTS = Path(__file__).parents[1]
FILES = {
    "torch": [
        "test_from_torch.py",
        "wild/test_torch.py",
        "test_torch_transforms.py",
        "test_threads.py",
        "bad_inputs/test_promises.py",
    ],
    "jax": ["test_from_jax.py", "wild/test_jax.py", "test_threads.py"],
}


# With how many tests must pass by default, at least.
@pytest.mark.parametrize(("backend", "least"), [("torch", 220), ("jax", 90)])
def test_a_front_end(backend: str, least: int) -> None:
    files = [TESTS / file for file in FILES[backend]]
    assert passed(files, backend, marked="not slow", float64=False) >= least


@pytest.mark.slow
def test_promises_for_bad_input_in_jax() -> None:
    path = TESTS / "bad_inputs" / "test_promises.py"
    assert passed(path, "jax", marked="not slow", float64=False) >= 40


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_wild_losses_descend(backend: str) -> None:
    path = TESTS / "wild" / f"test_{backend}.py"
    assert passed(path, backend, selected="descent", marked="slow", float64=False) > 5


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_bad_input_in_compiled_code(backend: str) -> None:
    path = TESTS / "bad_inputs" / "test_promises.py"
    assert passed(path, backend, marked="slow", float64=False) > 10
