"""Smooth kernels by compact cubics: the stated bounds, against float64 NumPy over all pairs.

`test_backends.py` runs this file again on the other backends.
"""

from __future__ import annotations

import numpy as np
import pytest
from keras import ops as K

from bevel import ops
from bevel.errors import BevelValueError
from bevel.ops.approximate import NAMES, approximation
from bevel.ops.pairwise import pairwise_sum

from .gradients import WAYS, array, tensor, value_and_gradient
from .pairs import _CURVES, _SLOPES, dense, width

TOLERANCES = (0.1, 0.03, 0.01, 2e-3, 1e-3, 3e-4, 1e-4)
RNG = np.random.default_rng(9)
X, Y = RNG.normal(size=(2, 300)), RNG.normal(size=(2, 200))
W, G = RNG.normal(size=(2, 200)), RNG.normal(size=(2, 300))
smooth = pytest.mark.parametrize("kernel", NAMES)


@smooth
@pytest.mark.parametrize("tolerance", TOLERANCES)
def test_the_kernel_is_as_near_as_stated(kernel: str, tolerance: float) -> None:
    stretch, shape = approximation(kernel, tolerance)
    z = np.linspace(-60, 60, 24_001)
    found = shape(z / stretch)
    exact, slope = (curves[kernel](z / width(kernel)) for curves in (_CURVES, _SLOPES))
    assert np.abs(found - exact).max() < tolerance
    assert np.abs(shape.derivative(z / stretch) / stretch * width(kernel) - slope).max() < (
        12 * tolerance
    )
    np.testing.assert_allclose(found + found[::-1], 1.0, atol=1e-12)
    assert np.all(np.diff(found) >= -1e-12)


@smooth
@pytest.mark.parametrize("tolerance", [0.01, pytest.param(1e-3, marks=pytest.mark.slow)])
@pytest.mark.parametrize("mode", WAYS)
def test_sums_and_gradients_are_as_near_as_stated(kernel: str, tolerance: float, mode: str) -> None:
    x, y, w, g = (tensor(t, "float32") for t in (X, Y, W, G))
    expected, pulled = dense(kernel, *(array(t) for t in (x, y, w)), 0.2)
    how = {"kernel": kernel, "temperature": 0.2, "tolerance": tolerance}
    value, found = value_and_gradient(
        lambda x, y, w: g * pairwise_sum(x, y, weights=w, **how), x, y, w, mode=mode
    )
    total = np.abs(W).sum(-1, keepdims=True)
    assert np.all(np.abs(value - expected * array(g)) < tolerance * total * np.abs(G) + 1e-4)
    ends = pulled(array(g))
    steep = 12 * tolerance / (0.2 * width(kernel))
    assert np.all(np.abs(found[0] - ends[0]) < steep * total * np.abs(G) + 1e-3)
    assert np.all(np.abs(found[2] - ends[2]) < tolerance * np.abs(G).sum(-1, keepdims=True) + 1e-3)
    # far below what the bound allows, where errors of both signs meet
    assert np.abs(value - expected * array(g)).max() < 0.2 * tolerance * total.max()


def test_ranks_with_a_tolerance() -> None:
    x = tensor(X[0], "float64")
    exact = array(ops.rank(x, kernel="logistic"))
    found = array(ops.rank(x, kernel="logistic", tolerance=1e-3))
    assert 0 < np.abs(found - exact).max() < 300 * 1e-3
    hard = array(ops.rank(x, kernel="logistic", tolerance=1e-3, temperature=0.0))
    np.testing.assert_allclose(hard, array(ops.rank(x, temperature=0.0)))


def test_exact_kernels_take_any_tolerance() -> None:
    x = tensor(X, "float32")
    for kernel in ("linear", "squared_hinge"):
        both = [array(pairwise_sum(x, kernel=kernel, tolerance=t)) for t in (0.0, 0.01)]
        np.testing.assert_allclose(*both)


def test_a_large_sum_has_no_pairs() -> None:
    x = tensor(RNG.normal(size=100_000), "float32")
    ranks = array(ops.rank(x, kernel="gaussian", tolerance=1e-3))
    assert ranks.sum() == pytest.approx(1e5 * (1e5 + 1) / 2, rel=1e-6)


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"kernel": "arctan", "tolerance": 0.01}, "too heavy"),
        ({"kernel": "algebraic", "tolerance": 0.01}, "'logistic', 'gaussian'"),
        ({"kernel": "logistic", "tolerance": 1e-6}, "from 0.0001 to 0.1; got 1e-06"),
        ({"kernel": "logistic", "tolerance": -1.0}, "tolerance"),
        ({"kernel": "logistic", "tolerance": float("nan")}, "tolerance"),
        ({"kernel": "linear", "tolerance": "little"}, "tolerance"),
    ],
)
def test_what_cannot_be_approximated(how: dict, words: str) -> None:
    with pytest.raises(BevelValueError, match=words):
        pairwise_sum(K.zeros((3,)), **how)
