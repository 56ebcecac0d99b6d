"""The front ends of PyTorch and JAX, each tested in a process of its own framework."""

from pathlib import Path

import pytest

from .elsewhere import passed

TESTS = Path(__file__).parents[1]
# Which files, and how many tests of each must pass, at least; JAX, which compiles one thing at a
# time, with the slow tests.
FILES = {
    "torch": {
        "test_from_torch.py": 120,
        "wild/test_torch.py": 25,
        "test_torch_replay.py": 40,
        "test_torch_shortening.py": 5,
        "test_sentinels.py": 30,
        "test_torch_transforms.py": 20,
        "test_torch_losses.py": 20,
        "test_elements.py": 20,
        "test_held.py": 10,
        "test_threads.py": 2,
        "bad_inputs/test_promises.py": 40,
    },
    "jax": {
        "test_from_jax.py": 60,
        "wild/test_jax.py": 20,
        "test_threads.py": 1,
        "test_elements.py": 20,
        "test_held.py": 10,
    },
}


@pytest.mark.parametrize("backend", ["torch", pytest.param("jax", marks=pytest.mark.slow)])
def test_a_front_end(backend: str) -> None:
    wanted = FILES[backend]
    found = passed([TESTS / file for file in wanted], backend, marked="not slow", float64=False)
    assert all(found[file] >= least for file, least in wanted.items()), found


@pytest.mark.slow
def test_promises_for_bad_input_in_jax() -> None:
    path = TESTS / "bad_inputs" / "test_promises.py"
    assert passed(path, "jax", marked="not slow", float64=False).total() >= 40


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_wild_losses_descend(backend: str) -> None:
    path = TESTS / "wild" / f"test_{backend}.py"
    assert passed(path, backend, selected="descent", marked="slow", float64=False).total() > 5


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_bad_input_in_compiled_code(backend: str) -> None:
    path = TESTS / "bad_inputs" / "test_promises.py"
    assert passed(path, backend, marked="slow", float64=False).total() > 10
