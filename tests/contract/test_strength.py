"""One meaning of strength: at equal temperature every kernel is as close to the hard result.

The error is measured over n for ranks, and in units of the spread for sorted values; `scale`
carries the unit of the input. It has two parts: how the density of the scores bends within the
kernel, the same for every n, and how unevenly a sample fills the kernel, which falls with the root
of n. From some thousand scores on the first is the larger one, and the error no longer depends on
n. It is about constants, which are the same on all backends.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from bevel import ops

from .gradients import array, tensor

KERNELS = ("linear", "quadratic", "cubic", "logistic", "gaussian", "algebraic")


def _scores(n: int) -> np.ndarray:
    return np.random.default_rng(n).normal(size=n)


def _rank_error(x: np.ndarray, unit: float = 1.0, **how: Any) -> float:
    """The mean distance to the hard ranks, over n."""
    found = array(ops.rank(tensor(unit * x, "float64"), scale=unit, **how))
    hard = x.argsort().argsort() + 1
    return float(np.abs(found - hard).mean() / len(x))


def _sort_error(x: np.ndarray, unit: float = 1.0, **how: Any) -> float:
    """The mean distance to the sorted values, in units of the input."""
    found = array(ops.sort(tensor(unit * x, "float64"), scale=unit, **how))
    return float(np.abs(found - np.sort(unit * x)).mean() / unit)


def _kernels(n: int) -> Iterator[dict[str, Any]]:
    for kernel in KERNELS:
        if n <= 1_000 or kernel in KERNELS[:3]:
            yield {"kernel": kernel}
        elif kernel in ("logistic", "gaussian"):
            yield {"kernel": kernel, "tolerance": 1e-3}


@pytest.mark.parametrize("n", [100, 1_000, pytest.param(30_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("temperature", [0.05, 0.1, 0.3])
def test_kernels_of_ranks(temperature: float, n: int) -> None:
    errors = {
        how["kernel"]: _rank_error(_scores(n), temperature=temperature, **how)
        for how in _kernels(n)
    }
    assert max(errors.values()) < 2 * min(errors.values()), errors


def test_the_heaviest_tail_is_a_little_further_off() -> None:
    """Far-off scores never count whole: of all kernels only `arctan` is beyond twice the least."""
    x = _scores(1_000)
    error, least = (_rank_error(x, kernel=k, temperature=0.1) for k in ("arctan", "quadratic"))
    assert 2 < error / least < 2.5


@pytest.mark.parametrize("error", [_rank_error, _sort_error])
def test_units(error: Any) -> None:
    x = _scores(300)
    errors = [error(x, unit, temperature=0.1) for unit in (1e-6, 1.0, 1e6)]
    np.testing.assert_allclose(errors, errors[1], rtol=1e-6)


@pytest.mark.parametrize("error", [_rank_error, _sort_error])
@pytest.mark.parametrize("many", [30_000, pytest.param(1_000_000, marks=pytest.mark.slow)])
def test_sizes(error: Any, many: int) -> None:
    values = [error(_scores(n), temperature=0.1) for n in (3_000, 10_000, many)]
    assert max(values) < 2 * min(values), values


@pytest.mark.parametrize("error", [_rank_error, _sort_error])
def test_an_uneven_sample_adds_no_more_than_the_root_of_its_size(error: Any) -> None:
    few, some, many = (error(_scores(n), temperature=0.1) for n in (100, 1_000, 30_000))
    assert few - many < 1.5 / np.sqrt(100)
    assert some - many < (few - many) / 2


@pytest.mark.parametrize("method", ["softsort", "neuralsort"])
def test_methods_of_two_elements_are_the_logistic_kernel(method: str) -> None:
    for gap in (0.05, 0.3):
        x = tensor([0.0, gap], "float64")
        weights = array(ops.argsort(x, method=method, temperature=0.2))
        expected = 1 / (1 + np.exp(-gap / 0.2))
        assert weights[1, 1] == pytest.approx(expected)
        assert array(ops.rank(x, kernel="logistic", temperature=0.2))[1] == pytest.approx(
            1 + expected
        )


@pytest.mark.parametrize(("method", "least"), [("softsort", 0.5), ("neuralsort", 0.3)])
def test_weights_of_a_sort_are_as_close_as_ranks(method: str, least: float) -> None:
    x = _scores(100)
    weights = array(ops.argsort(tensor(x, "float64"), method=method, temperature=0.1))
    soft = weights.T @ np.arange(1, 101) / weights.sum(0)
    error = float(np.abs(soft - x.argsort().argsort() - 1).mean() / 100)
    assert least < error / _rank_error(x, kernel="logistic", temperature=0.1) < 2
