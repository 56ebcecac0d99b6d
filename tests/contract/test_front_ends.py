"""The front ends of PyTorch and JAX, each tested in a process of its own framework."""

from pathlib import Path

import pytest

from .elsewhere import passed

# How many tests must pass by default, at least.
FRONT_ENDS = [
    ("torch", "test_from_torch.py", 120),
    ("torch", "wild/test_torch.py", 25),
    ("torch", "test_torch_transforms.py", 20),
    ("torch", "test_threads.py", 2),
    ("torch", "bad_inputs/test_promises.py", 40),
    ("jax", "test_from_jax.py", 60),
    ("jax", "test_threads.py", 1),
    pytest.param("jax", "bad_inputs/test_promises.py", 40, marks=pytest.mark.slow),
    ("jax", "wild/test_jax.py", 20),
]


@pytest.mark.parametrize(("backend", "file", "least"), FRONT_ENDS)
def test_a_front_end(backend: str, file: str, least: int) -> None:
    path = Path(__file__).parents[1] / file
    assert passed(path, backend, marked="not slow", float64=False) >= least


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_wild_losses_descend(backend: str) -> None:
    path = Path(__file__).parents[1] / "wild" / f"test_{backend}.py"
    assert passed(path, backend, selected="descent", marked="slow", float64=False) > 5


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_bad_input_in_compiled_code(backend: str) -> None:
    path = Path(__file__).parents[1] / "bad_inputs" / "test_promises.py"
    assert passed(path, backend, marked="slow", float64=False) > 10
