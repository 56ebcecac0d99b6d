"""Soft order statistics against float64 NumPy, on whichever backend Keras runs.

`test_backends.py` runs this file again on the other backends.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops as K
from keras.backend import standardize_dtype

from bevel import ops
from bevel.errors import BevelTypeError, BevelValueError

from .gradients import WAYS, array, gradient, tensor, value_and_gradient
from .pairs import dense, width

RNG = np.random.default_rng(11)
X = RNG.normal(size=(3, 30))
G = RNG.normal(size=(3, 30))
modes = pytest.mark.parametrize("mode", WAYS)


def _ranks(x: np.ndarray) -> np.ndarray:
    """Mean ranks along the last axis."""
    return (
        0.5 + (x[..., :, None] > x[..., None, :]).sum(-1)
        + 0.5 * (x[..., :, None] == x[..., None, :]).sum(-1)
    )  # fmt: skip


def _inverted(x: np.ndarray, heights: Any, temperature: float) -> np.ndarray:
    """Where sum K((t - x) / temperature) has these heights: bisection from both sides."""
    reach = width("linear") * temperature
    found = []
    for height in np.atleast_1d(heights):
        ends = []
        for target in (height - 1e-6, height + 1e-6):
            low, high = x.min() - 2 * reach, x.max() + 2 * reach
            for _ in range(200):
                middle = (low + high) / 2
                below = dense("linear", [middle], x, np.ones(len(x)), temperature)[0][0] < target
                low, high = (middle, high) if below else (low, middle)
            ends.append((low + high) / 2)
        found.append(np.mean(ends))
    return np.array(found)


@modes
@pytest.mark.parametrize("descending", [False, True])
def test_ranks_and_their_gradient(mode: str, descending: bool) -> None:
    x, g = tensor(X, "float32"), tensor(G, "float32")
    sign = -1 if descending else 1
    expected, pulled = dense("linear", sign * array(x), sign * array(x), np.ones(X.shape), 0.3)
    value, (found,) = value_and_gradient(
        lambda x: g * ops.rank(x, descending=descending, temperature=0.3), x, mode=mode
    )
    np.testing.assert_allclose(value, (expected + 0.5) * array(g), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(found, sign * sum(pulled(array(g))[:2]), atol=1e-4)


@modes
@pytest.mark.parametrize("temperature", [0.05, 0.5])
def test_sorted_values_invert_the_ranks(mode: str, temperature: float) -> None:
    x, g = tensor(X, "float32"), tensor(G, "float32")
    value, (found,) = value_and_gradient(
        lambda x: g * ops.sort(x, temperature=temperature), x, mode=mode
    )
    reach = width("linear") * temperature
    for row in range(3):
        own, weights = array(x)[row], array(g)[row]
        expected = _inverted(own, np.arange(30) + 0.5, temperature)
        np.testing.assert_allclose(value[row], expected * weights, atol=2e-5)
        near = np.abs(expected[:, None] - own) < reach
        shares = near / near.sum(-1, keepdims=True)
        np.testing.assert_allclose(found[row], weights @ shares, atol=1e-5)


@modes
def test_quantiles_and_the_mask_of_the_largest(mode: str) -> None:
    x, q = tensor(X, "float32"), tensor([0.0, 0.25, 0.9], "float32")
    value, _ = value_and_gradient(lambda x: ops.quantile(x, q, temperature=0.2), x, mode=mode)
    shares, (found,) = value_and_gradient(
        lambda x: tensor(G, "float32") * ops.top_k_mask(x, 7, temperature=0.2), x, mode=mode
    )
    reach = width("linear") * 0.2
    for row in range(3):
        own = array(x)[row]
        expected = _inverted(own, 0.5 + np.array([0.0, 0.25, 0.9]) * 29, 0.2)
        np.testing.assert_allclose(value[:, row], expected, atol=2e-5)
        threshold = _inverted(own, 23.0, 0.2)
        mask = np.clip(0.5 + (own - threshold) / (2 * reach), 0, 1)
        np.testing.assert_allclose(shares[row], mask * G[row], atol=2e-5)
        near = np.abs(own - threshold) < reach
        direct = G[row] * near / (2 * reach)
        np.testing.assert_allclose(found[row], direct - near * direct.sum() / near.sum(), atol=1e-4)


SOFT: dict[str, tuple[Callable[..., Any], Callable[[np.ndarray], np.ndarray]]] = {
    "rank": (ops.rank, _ranks),
    "sort": (ops.sort, lambda x: np.sort(x, -1)),
    "median": (ops.median, lambda x: np.median(x, -1)),
    "top_k": (lambda x, **how: ops.top_k(x, 2, **how), lambda x: -np.sort(-x, -1)[..., :2]),
    "top_k_mask": (
        lambda x, **how: ops.top_k_mask(x, 2, **how),
        lambda x: (np.argsort(np.argsort(-x, -1, kind="stable"), -1) < 2) * 1.0,
    ),
}
every = pytest.mark.parametrize("name", SOFT)


@every
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_the_hard_limit(name: str, dtype: str) -> None:
    soft, hard = SOFT[name]
    x = array(tensor(X[0, :9], dtype))
    for how in ({"temperature": 0.0}, {"temperature": 1e-5}, {"forward": "hard"}):
        found = soft(tensor(x, dtype), **how)
        np.testing.assert_allclose(array(found), hard(x), rtol=1e-2 if "16" in dtype else 1e-4)
        kept = dtype if name != "rank" or dtype == "float64" else "float32"
        assert standardize_dtype(found.dtype) == kept


@every
def test_the_straight_through_gradient_is_that_of_the_surrogate(name: str) -> None:
    soft = SOFT[name][0]
    x, how = tensor(X[0], "float32"), {"temperature": 0.4}
    expected = gradient(lambda x: soft(x, **how) ** 2 * 0 + soft(x, **how), x)
    np.testing.assert_allclose(
        gradient(lambda x: soft(x, forward="hard", **how), x), expected, atol=1e-6
    )


@every
def test_a_row_with_nan_is_nan_and_no_other(name: str) -> None:
    x = X[:, :6].copy()
    x[1, 2] = np.nan
    value, (found,) = value_and_gradient(SOFT[name][0], tensor(x, "float32"))
    assert np.isnan(value[1]).all()
    assert np.isfinite(value[[0, 2]]).all()
    assert np.isfinite(found[[0, 2]]).all()


@given(st.data())
@settings(max_examples=30, deadline=None)
def test_equivariance(data: Any) -> None:
    number = st.floats(-100, 100, width=32) | st.sampled_from([0.0, 1.0])
    x = np.array(data.draw(st.lists(number, min_size=3, max_size=9)), "float32")
    soft, _ = SOFT[data.draw(st.sampled_from(list(SOFT)))]
    order = np.array(data.draw(st.permutations(range(len(x)))))
    run = lambda x, **how: array(soft(tensor(x, "float32"), **how))  # noqa: E731
    value = run(x)
    follows = soft in (ops.rank, SOFT["top_k_mask"][0])
    np.testing.assert_allclose(run(x[order]), value[order] if follows else value, atol=1e-3)
    moved = value if follows else value + 64
    np.testing.assert_allclose(run(x + 64), moved, atol=2e-3)
    scaled = value if follows else 8 * value
    np.testing.assert_allclose(run(8 * x, scale=8.0), scaled, atol=2e-3)
    assert np.isfinite(value).all()


@pytest.mark.parametrize("k", range(7))
def test_the_mask_sums_to_k(k: int) -> None:
    for x in (RNG.normal(size=6), np.zeros(6), np.array([0, 0, 0, 1, 1, 1.0]), np.arange(6.0) * 99):
        for temperature in (0.0, 0.1, 3.0):
            mask = array(ops.top_k_mask(tensor(x, "float32"), k, temperature=temperature))
            assert mask.sum() == pytest.approx(k, abs=1e-4)
            assert (mask >= 0).all()
            assert (mask <= 1).all()


def test_ranks_without_the_masked() -> None:
    x = tensor([3.0, np.nan, 1.0], "float32")
    mask = tensor([True, False, True], "bool")
    assert list(array(ops.rank(x, mask=mask))) == [2.0, 0.0, 1.0]
    assert list(array(ops.rank(x, mask=mask, forward="hard"))) == [2.0, 0.0, 1.0]


def test_a_rank_between_two_values_is_half_way() -> None:
    for x, middle in (([0.0, 1.0], 0.5), ([0.0, 2.0, 8.0, 9.0], 5.0), ([-1.0, np.inf], np.inf)):
        assert array(ops.median(tensor(x, "float32"), temperature=1e-3)) == pytest.approx(middle)


def test_nan_is_nan_without_a_temperature_too() -> None:
    x = tensor([[3.0, np.nan, 1.0], [3.0, 2.0, 1.0]], "float32")
    for name, (soft, hard) in SOFT.items():
        found = array(soft(x, temperature=0.0))
        assert np.isnan(found[0]).all(), name
        np.testing.assert_allclose(found[1], hard(array(x)[1]))


def test_lists_of_shares_and_integers_of_numpy() -> None:
    x = tensor([4.0, 1.0, 3.0], "float32")
    assert list(array(ops.quantile(x, [0.0, 1.0], temperature=0.0))) == [1.0, 4.0]
    assert list(array(ops.top_k(x, np.int64(1), temperature=0.0))) == [4.0]
    infinite = tensor([np.inf, 1.0, 2.0], "float32")
    assert array(ops.median(infinite, temperature=0.0)) == 2.0


def test_another_axis() -> None:
    x = tensor(X, "float32")
    for soft in (ops.rank, ops.sort, ops.median):
        turned = array(soft(K.transpose(x), axis=0))
        np.testing.assert_allclose(turned.T, array(soft(x)), atol=1e-6)


def test_infinite_elements_and_short_rows() -> None:
    x = tensor([np.inf, 0.0, -np.inf], "float32")
    assert list(array(ops.rank(x))) == [3.0, 2.0, 1.0]
    assert array(ops.sort(x))[1] == pytest.approx(0.0, abs=1e-6)
    assert array(ops.sort(tensor([5.0], "float32")))[0] == pytest.approx(5.0)
    empty = tensor(np.zeros((2, 0)), "float32")
    assert tuple(ops.sort(empty).shape) == tuple(ops.rank(empty).shape) == (2, 0)
    assert tuple(ops.top_k(empty, 0).shape) == (2, 0)


def test_a_tensor_temperature() -> None:
    x, g = tensor(X[0], "float64"), tensor(G[0], "float64")
    loss = lambda t: K.sum(g * ops.sort(x, temperature=t))  # noqa: E731
    value, (found,) = value_and_gradient(loss, tensor(0.4, "float64"))
    step = 1e-5
    ends = [float(array(loss(tensor(0.4 + s, "float64")))) for s in (-step, step)]
    assert value == pytest.approx(float(array(K.sum(g * ops.sort(x, temperature=0.4)))))
    assert found == pytest.approx((ends[1] - ends[0]) / (2 * step), rel=1e-3)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda x: ops.rank(K.cast(x, "int32")), BevelTypeError, "floating-point"),
        (lambda x: ops.rank(x, kernel="hinge"), BevelValueError, "kernel"),
        (lambda x: ops.sort(x, forward="firm"), BevelValueError, "forward"),
        (lambda x: ops.sort(x, temperature=-1.0), BevelValueError, "temperature"),
        (lambda x: ops.quantile(x, 1.5), BevelValueError, "between 0 and 1"),
        (lambda x: ops.quantile(x[:0], 0.5), BevelValueError, "empty axis"),
        (lambda x: ops.top_k(x, 9), BevelValueError, "got 9"),
        (lambda x: ops.top_k_mask(x, -1), BevelValueError, "got -1"),
    ],
)
def test_what_has_no_order(call: Callable[[Any], Any], error: type, words: str) -> None:
    with pytest.raises(error, match=words):
        call(tensor([1.0, 2.0], "float32"))
