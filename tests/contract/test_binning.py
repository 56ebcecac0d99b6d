"""Counts among edges and the weights of a sort, against float64 NumPy, on any backend of Keras.

`test_backends.py` runs this file again on the other backends.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from keras import ops as K
from keras.backend import standardize_dtype

from bevel import ops
from bevel.errors import BevelTypeError, BevelValueError

from .gradients import WAYS, array, tensor, value_and_gradient
from .pairs import dense

RNG = np.random.default_rng(5)
X, G = RNG.normal(size=(3, 30)), RNG.normal(size=(3, 6))
EDGES = np.array([-1.5, -1.0, -0.2, 0.1, 0.8, 1.0, 2.0])
W = RNG.uniform(size=(3, 30))
modes = pytest.mark.parametrize("mode", WAYS)
methods = pytest.mark.parametrize("method", ["softsort", "neuralsort"])


@modes
@pytest.mark.parametrize("kernel", ["linear", "logistic"])
def test_histograms_and_their_gradient(mode: str, kernel: str) -> None:
    x, edges, w, g = (tensor(t, "float32") for t in (X, EDGES, W, G))
    wide = np.broadcast_to(array(edges), (3, 7))
    below, pulled = dense(kernel, wide, array(x), array(w), 0.2)
    how = {"kernel": kernel, "temperature": 0.2}
    value, (found, for_w) = value_and_gradient(
        lambda x, w: g * ops.histogram(x, edges, weights=w, **how), x, w, mode=mode
    )
    np.testing.assert_allclose(value, np.diff(below) * array(g), atol=1e-5)
    upstream = -np.diff(array(g), prepend=0.0, append=0.0)
    _, expected, expected_w = pulled(upstream)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    np.testing.assert_allclose(for_w, expected_w, atol=1e-5)


@modes
def test_positions_among_edges(mode: str) -> None:
    x, edges = tensor(X, "float32"), tensor(EDGES[::-1].copy(), "float32")
    expected, pulled = dense(
        "linear", array(x), np.broadcast_to(EDGES, (3, 7)), np.ones((3, 7)), 0.2
    )
    value, (found,) = value_and_gradient(
        lambda x: ops.searchsorted(edges, x, temperature=0.2), x, mode=mode
    )
    np.testing.assert_allclose(value, expected, atol=1e-5)
    np.testing.assert_allclose(found, pulled(np.ones(X.shape))[0], atol=1e-4)


HARD: dict[str, tuple[Callable[..., Any], Callable[[np.ndarray], np.ndarray]]] = {
    "histogram": (
        lambda x, **how: ops.histogram(x, tensor(EDGES, "float64"), **how),
        lambda x: np.histogram(x, EDGES)[0],
    ),
    "searchsorted": (
        lambda x, **how: ops.searchsorted(tensor(EDGES, "float64"), x, **how),
        lambda x: np.searchsorted(EDGES, x),
    ),
    "bincount": (
        lambda x, **how: ops.bincount(2 * x, 4, **how),
        lambda x: np.histogram(2 * x, np.arange(5) - 0.5)[0],
    ),
    "unique_counts": (ops.unique_counts, lambda x: (x[:, None] == x).sum(-1)),
}
for _method in ("softsort", "neuralsort"):
    HARD[_method] = (
        lambda x, method=_method, **how: ops.argsort(x, method=method, **how),
        lambda x: np.eye(len(x))[np.argsort(x)],
    )
every = pytest.mark.parametrize("name", HARD)
SAMPLE = np.array([0.6, -1.2, 1.7, 3.0, -0.6, 1.2])


@every
def test_the_hard_limit(name: str) -> None:
    soft, hard = HARD[name]
    for how in ({"temperature": 0.0}, {"temperature": 1e-3}, {"forward": "hard"}):
        found = array(soft(tensor(SAMPLE, "float64"), **how))
        np.testing.assert_allclose(found, hard(SAMPLE), atol=1e-6)


@every
def test_the_straight_through_gradient_is_that_of_the_surrogate(name: str) -> None:
    soft, x = HARD[name][0], tensor(X[0], "float64")
    found = [
        value_and_gradient(lambda x, f=f: soft(x, temperature=0.3, forward=f), x)[1][0]
        for f in ("soft", "hard")
    ]
    np.testing.assert_allclose(found[1], found[0], atol=1e-6)
    assert name in ("softsort", "neuralsort") or np.any(found[0] != 0)


@every
def test_a_row_with_nan_is_nan_and_no_other(name: str) -> None:
    x = np.stack([SAMPLE, SAMPLE])
    x[1, 2] = np.nan
    for temperature in (0.0, 0.1):
        value = array(HARD[name][0](tensor(x, "float64"), temperature=temperature))
        assert np.isnan(value[1]).all()
        assert np.isfinite(value[0]).all()


@every
def test_the_scale_is_the_unit_of_the_temperature(name: str) -> None:
    soft = HARD[name][0]
    if name not in ("unique_counts", "softsort", "neuralsort"):
        pytest.skip("the edges have units of their own")
    x, far = tensor(X, "float64"), tensor(8 * X + 64, "float64")
    np.testing.assert_allclose(array(soft(far, scale=8.0)), array(soft(x)), atol=1e-9)


@methods
@modes
def test_weights_of_a_sort(method: str, mode: str) -> None:
    x, g = tensor(X[:, :7], "float64"), tensor(RNG.normal(size=(3, 7, 7)), "float64")

    def weights(x: np.ndarray) -> np.ndarray:
        ordered = -np.sort(-x, -1)[..., :, None]
        ranks = (8 - 2 * np.arange(1, 8))[:, None]
        logits = {
            "softsort": -np.abs(ordered - x[..., None, :]),
            "neuralsort": ranks * x[..., None, :]
            - np.abs(x[..., :, None] - x[..., None, :]).sum(-1)[..., None, :],
        }[method]
        p = np.exp((logits - logits.max(-1, keepdims=True)) / 0.3)
        return p / p.sum(-1, keepdims=True)

    value, (found,) = value_and_gradient(
        lambda x: g * ops.argsort(x, method=method, descending=True, temperature=0.3), x, mode=mode
    )
    np.testing.assert_allclose(value, weights(array(x)) * array(g), atol=1e-9)
    step = 1e-6
    for n in range(7):
        moved = step * np.eye(7)[n]
        ends = [(weights(array(x) + s * moved) * array(g)).sum((-1, -2)) for s in (-1, 1)]
        np.testing.assert_allclose(found[:, n], (ends[1] - ends[0]) / (2 * step), atol=1e-6)


@methods
def test_weights_follow_the_elements(method: str) -> None:
    x, order = X[:, :9], RNG.permutation(9)
    value = array(ops.argsort(tensor(x, "float64"), method=method))
    moved = array(ops.argsort(tensor(x[:, order], "float64"), method=method))
    np.testing.assert_allclose(moved, value[..., order], atol=1e-9)
    equal = array(ops.argsort(tensor([1.0, 1.0], "float64"), method=method))
    np.testing.assert_allclose(equal, 0.5)
    turned = array(ops.argsort(tensor(x, "float64"), method=method, descending=True))
    np.testing.assert_allclose(turned, value[:, ::-1], atol=1e-9)


def test_infinite_elements_and_short_rows() -> None:
    x = tensor([np.inf, 0.0, -np.inf, 0.2], "float32")
    assert list(array(ops.searchsorted([0.1, 0.3], x, temperature=0.0))) == [2.0, 0.0, 0.0, 1.0]
    np.testing.assert_allclose(array(ops.histogram(x, [-1.0, 0.1, 1.0], temperature=0.01)), 1.0)
    expected = np.eye(4)[[2, 1, 3, 0]]
    np.testing.assert_allclose(array(ops.argsort(x, temperature=0.01)), expected, atol=1e-6)
    empty = tensor(np.zeros((2, 0)), "float32")
    assert tuple(ops.argsort(empty).shape) == (2, 0, 0)
    assert not array(ops.bincount(empty, 3)).any()
    assert tuple(ops.bincount(x, 0).shape) == (0,)
    assert tuple(ops.unique_counts(empty).shape) == (2, 0)
    assert array(ops.argsort(tensor([5.0], "float32"))) == 1.0


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_dtypes(dtype: str) -> None:
    x = tensor(SAMPLE, dtype)
    assert standardize_dtype(ops.argsort(x).dtype) == dtype
    wide = "float64" if dtype == "float64" else "float32"
    for found in (ops.bincount(x, 3), ops.unique_counts(x)):
        assert standardize_dtype(found.dtype) == wide
        assert np.isfinite(array(found)).all()


def test_half_of_a_tie_on_either_side() -> None:
    x = tensor([1.0, 1.0, 2.0], "float32")
    for temperature in (0.0, 0.01):
        how = {"temperature": temperature}
        assert list(array(ops.histogram(x, [0.0, 1.0, 2.0], **how))) == [1.0, 1.5]
        assert list(array(ops.unique_counts(x, **how))) == [2.0, 2.0, 1.0]


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda x: ops.searchsorted([0.0], K.cast(x, "int32")), BevelTypeError, "floating-point"),
        (lambda x: ops.searchsorted([0.0], x, kernel="hinge"), BevelValueError, "kernel"),
        (lambda x: ops.histogram(x, [0.0]), BevelValueError, "two numbers"),
        (lambda x: ops.histogram(x, [0.0, 1.0], temperature=-1), BevelValueError, "temperature"),
        (lambda x: ops.bincount(x, -1), BevelValueError, "got -1"),
        (lambda x: ops.bincount(x[0], 3), BevelValueError, "single number"),
        (lambda x: ops.unique_counts(x, forward="firm"), BevelValueError, "forward"),
        (lambda x: ops.argsort(x, method="quick"), BevelValueError, "method"),
        (lambda x: ops.argsort(x[0]), BevelValueError, "single number"),
    ],
)
def test_what_cannot_be_counted(call: Callable[[Any], Any], error: type, words: str) -> None:
    with pytest.raises(error, match=words):
        call(tensor([1.0, 2.0], "float32"))
