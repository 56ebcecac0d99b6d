"""Pairwise sums against float64 NumPy over all pairs, on whichever backend Keras runs.

`test_backends.py` runs this file again on the other backends.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import ops as K
from keras.backend import standardize_dtype

from bevel import ops
from bevel.errors import BevelTypeError, BevelValueError
from bevel.ops.pairwise import NAMES

from .gradients import (
    BACKEND,
    MODES,
    WAYS,
    _with_gradients,
    array,
    compiled,
    gradient,
    tensor,
    value_and_gradient,
)
from .pairs import at_an_edge, dense, width

CUMULATIVE = ("linear", "quadratic", "cubic", "logistic", "arctan", "algebraic", "gaussian")
EXACT = ("linear", "quadratic", "cubic", "triangular", "epanechnikov", "hinge", "squared_hinge")
every = pytest.mark.parametrize("kernel", NAMES)
one_of_each = pytest.mark.parametrize("kernel", ["linear", "quadratic", "hinge", "logistic"])
RNG = np.random.default_rng(7)
X, Y = RNG.normal(size=(2, 3, 40)), RNG.normal(size=(2, 3, 25))
W, G = RNG.normal(size=(2, 3, 25)), RNG.normal(size=(2, 3, 40))


def _close(found: Any, expected: Any, tolerance: float = 2e-6) -> None:
    np.testing.assert_allclose(found, expected, atol=tolerance * np.abs(expected).max() + 1e-12)


@every
@pytest.mark.parametrize("mode", WAYS)
def test_value_and_gradients_of_two_batches_with_weights(kernel: str, mode: str) -> None:
    x, y, w, g = (tensor(t, "float32") for t in (X, Y, W, G))
    expected, pulled = dense(kernel, *(array(t) for t in (x, y, w)), 0.2)
    value, found = value_and_gradient(
        lambda x, y, w: g * ops.pairwise_sum(x, y, weights=w, kernel=kernel, temperature=0.2),
        x, y, w, mode=mode,
    )  # fmt: skip
    _close(value, expected * array(g))
    for own, theirs in zip(found, pulled(array(g)), strict=True):
        _close(own, theirs)


@every
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_an_array_against_itself(kernel: str, dtype: str) -> None:
    x, g = tensor(X, dtype), tensor(G, dtype)
    expected, pulled = dense(kernel, array(x), array(x), np.ones(X.shape), 0.3)
    value, (found,) = value_and_gradient(
        lambda x: g * ops.pairwise_sum(x, kernel=kernel, temperature=0.3), x
    )
    exact = dtype == "float64"
    _close(value, expected * array(g), 1e-12 if exact else 2e-6)
    _close(found, sum(pulled(array(g))[:2]), 1e-12 if exact else 2e-6)
    assert standardize_dtype(ops.pairwise_sum(x, kernel=kernel).dtype) == dtype


@one_of_each
@pytest.mark.parametrize("mode", WAYS)
def test_only_elements_of_the_same_segment_meet(kernel: str, mode: str) -> None:
    ids, other = RNG.integers(-3, 4, X.shape), RNG.integers(-3, 4, Y.shape)
    x, y, w, g = (tensor(t, "float32") for t in (X, Y, W, G))
    same = ids[..., :, None] == other[..., None, :]
    expected, pulled = dense(kernel, *(array(t) for t in (x, y, w)), 0.2, same)
    pair = tensor(ids, "int32"), tensor(other, "int32")
    value, found = value_and_gradient(
        lambda x, y, w: g
        * ops.pairwise_sum(x, y, weights=w, kernel=kernel, temperature=0.2, segment_ids=pair),
        x, y, w, mode=mode,
    )  # fmt: skip
    _close(value, expected * array(g))
    for own, theirs in zip(found, pulled(array(g)), strict=True):
        _close(own, theirs)


@every
def test_a_masked_element_is_as_one_that_is_not_there(kernel: str) -> None:
    x = np.where(np.arange(8) < 5, RNG.normal(size=8), np.nan).astype("float32")
    mask = tensor(np.arange(8) < 5, "bool")
    g = tensor(np.arange(8.0), "float32")
    value, (found,) = value_and_gradient(
        lambda x: g * ops.pairwise_sum(x, kernel=kernel, mask=mask, temperature=0.5),
        tensor(x, "float32"),
    )
    alone, (expected,) = value_and_gradient(
        lambda x: g[:5] * ops.pairwise_sum(x, kernel=kernel, temperature=0.5),
        tensor(x[:5], "float32"),
    )
    _close(value[:5], alone, 1e-5)
    _close(found[:5], expected, 1e-5)
    assert not value[5:].any()
    assert not found[5:].any()


@every
def test_a_list_of_weights_is_a_sum_with_each(kernel: str) -> None:
    x, y, v, w, g = (tensor(t, "float32") for t in (X, Y, RNG.normal(size=W.shape), W, G))
    both, found = value_and_gradient(
        lambda x, y, v, w: g * ops.pairwise_sum(x, y, weights=[v, w], kernel=kernel), x, y, v, w
    )
    total = [np.zeros(X.shape), np.zeros(Y.shape)]
    for n, one in enumerate((v, w)):
        value, parts = value_and_gradient(
            lambda x, y, one: g * ops.pairwise_sum(x, y, weights=one, kernel=kernel), x, y, one
        )
        _close(both[n], value)
        _close(found[2 + n], parts[2])
        total = [a + b for a, b in zip(total, parts[:2], strict=True)]
    for own, expected in zip(found[:2], total, strict=True):
        _close(own, expected, 1e-5)


@pytest.mark.parametrize("kernel", EXACT)
@pytest.mark.parametrize("mode", WAYS)
def test_the_second_derivative(kernel: str, mode: str) -> None:
    x, step = RNG.normal(size=12), 1e-6
    g, h = RNG.normal(size=(2, 12))

    def pull(x: np.ndarray) -> np.ndarray:
        value, pulled = dense(kernel, x, x, np.ones(12), 0.4)
        return sum(pulled(2 * g * value)[:2])

    expected = [(pull(x + step * e) - pull(x - step * e)) @ h / (2 * step) for e in np.eye(len(x))]
    weights, direction = tensor(g, "float64"), tensor(h, "float64")

    def loss(x: Any) -> Any:
        return K.sum(weights * ops.pairwise_sum(x, kernel=kernel, temperature=0.4) ** 2)

    _, (found,) = value_and_gradient(
        lambda x: K.sum(_with_gradients(loss)(x)[1][0] * direction), tensor(x, "float64"), mode=mode
    )
    _close(found, expected, 1e-6)


def test_the_second_derivative_by_the_weights() -> None:
    y, w, x = RNG.normal(size=9), RNG.normal(size=9), RNG.normal(size=7)
    _, pulled = dense("cubic", x, y, w, 0.5)
    g, h = RNG.normal(size=7), RNG.normal(size=9)
    tensors = [tensor(t, "float64") for t in (x, y, w, g, h)]

    def along(w: Any) -> Any:
        def loss(y: Any) -> Any:
            total = ops.pairwise_sum(tensors[0], y, weights=w, kernel="cubic", temperature=0.5)
            return K.sum(tensors[3] * total)

        return K.sum(_with_gradients(loss)(tensors[1])[1][0] * tensors[4])

    found = gradient(along, tensors[2])
    _close(found, h * pulled(g)[1] / w, 1e-10)


@pytest.mark.parametrize("kernel", EXACT)
def test_the_second_derivative_by_both_arrays(kernel: str) -> None:
    x, y, w, step = RNG.normal(size=8), RNG.normal(size=9), RNG.normal(size=9), 1e-6
    g, h = RNG.normal(size=8), RNG.normal(size=8)
    tensors = [tensor(t, "float64") for t in (w, g, h)]

    def along(x: Any, y: Any) -> Any:
        def loss(x: Any) -> Any:
            total = ops.pairwise_sum(x, y, weights=tensors[0], kernel=kernel, temperature=0.5)
            return K.sum(tensors[1] * total)

        return K.sum(_with_gradients(loss)(x)[1][0] * tensors[2])

    def exact(x: np.ndarray, y: np.ndarray) -> float:
        return dense(kernel, x, y, w, 0.5)[1](g)[0] @ h

    _, found = value_and_gradient(along, tensor(x, "float64"), tensor(y, "float64"))
    by_x = [(exact(x + step * e, y) - exact(x - step * e, y)) / (2 * step) for e in np.eye(8)]
    by_y = [(exact(x, y + step * e) - exact(x, y - step * e)) / (2 * step) for e in np.eye(9)]
    _close(found[0], by_x, 1e-6)
    _close(found[1], by_y, 1e-6)


@pytest.mark.parametrize("kernel", EXACT)
def test_the_second_derivative_of_an_array_with_weights_against_itself(kernel: str) -> None:
    x, step = RNG.normal(size=9), 1e-6
    w, g, h = RNG.normal(size=(3, 9))
    tensors = [tensor(t, "float64") for t in (w, g, h)]

    def along(x: Any, w: Any) -> Any:
        def loss(x: Any) -> Any:
            total = ops.pairwise_sum(x, weights=w, kernel=kernel, temperature=0.5)
            return K.sum(tensors[1] * total)

        return K.sum(_with_gradients(loss)(x)[1][0] * tensors[2])

    def exact(x: np.ndarray, w: np.ndarray) -> float:
        return sum(dense(kernel, x, x, w, 0.5)[1](g)[:2]) @ h

    _, found = value_and_gradient(along, tensor(x, "float64"), tensors[0])
    by_x = [(exact(x + step * e, w) - exact(x - step * e, w)) / (2 * step) for e in np.eye(9)]
    by_w = [exact(x, e) for e in np.eye(9)]
    _close(found[0], by_x, 1e-6)
    _close(found[1], by_w, 1e-9)


def test_a_masked_element_has_no_weight() -> None:
    y, w = tensor([1.0, 2.0, np.nan], "float32"), tensor([2.0, 3.0, 5.0], "float32")
    mask = tensor([True], "bool"), tensor([True, True, False], "bool")
    found = ops.pairwise_sum(tensor([9.0], "float32"), y, weights=w, mask=mask)
    assert array(found) == 5.0


HARD_ONES = {
    "all equal": lambda n: np.full(n, 0.3),
    "two clusters": lambda n: np.r_[RNG.normal(size=n // 2), 1e6 + RNG.normal(size=n - n // 2)],
    "heavy tails": lambda n: RNG.standard_cauchy(n),
    "geometric": lambda n: np.geomspace(1e-12, 1e12, n),
    "on a grid": lambda n: np.round(RNG.normal(size=n), 1),
}


# A sum of each family; they differ in the degree of their polynomials and in whether they end.
FAMILIES = ("linear", "cubic", "squared_hinge")


@pytest.mark.parametrize(
    ("kernel", "n"),
    [(k, 1500) for k in EXACT]
    + [pytest.param(k, 10_000, marks=pytest.mark.slow) for k in FAMILIES],
)
@pytest.mark.parametrize("case", HARD_ONES)
def test_precision_in_float32(kernel: str, case: str, n: int) -> None:
    x = RNG.permutation(HARD_ONES[case](n)).astype("float32")
    g = RNG.random(n).astype("float32")
    temperature = 0.1 if case == "two clusters" else 0.0871
    expected, pulled = dense(kernel, x, x, np.ones(n), temperature)
    value, (found,) = value_and_gradient(
        lambda x: (
            tensor(g, "float32") * ops.pairwise_sum(x, kernel=kernel, temperature=temperature)
        ),
        tensor(x, "float32"),
    )
    np.testing.assert_allclose(value, expected * g, rtol=1e-5)
    total, settled = sum(pulled(g)[:2]), ~at_an_edge(kernel, x, x, temperature)
    assert settled.mean() > 0.9
    unit = temperature * width(kernel)
    bound = max(1e-5, 1e-6 * g.sum() / unit / max(np.abs(total).max(), 1e-30))
    _close(found[settled], total[settled], bound)


@pytest.mark.slow
@pytest.mark.parametrize("kernel", FAMILIES)
@pytest.mark.parametrize("case", HARD_ONES)
def test_precision_with_a_million(kernel: str, case: str) -> None:
    n, seen = 1_000_000, RNG.integers(0, 1_000_000, 60)
    unit = 0.0871 * width(kernel)
    x = RNG.permutation(HARD_ONES[case](n)).astype("float32")
    g = RNG.random(n).astype("float32")
    value, (found,) = value_and_gradient(
        lambda x: tensor(g, "float32") * ops.pairwise_sum(x, kernel=kernel, temperature=0.0871),
        tensor(x, "float32"),
    )
    for i in seen:
        expected, pulled = dense(kernel, x[i : i + 1], x, np.ones(n), 0.0871)
        np.testing.assert_allclose(value[i], expected[0] * g[i], rtol=1e-4)
        if at_an_edge(kernel, x[i : i + 1], x, 0.0871)[0]:
            continue
        _, seen_by = dense(kernel, x, x[i : i + 1], np.ones(1), 0.0871)
        ahead, behind = pulled(g[i : i + 1])[0][0], seen_by(g)[1][0]
        small = 1e-4 * abs(ahead) + 1e-13 * g.sum() / unit
        assert found[i] == pytest.approx(ahead + behind, rel=1e-4, abs=small)


@given(st.data())
@settings(max_examples=40, deadline=None)
def test_properties_of_drawn_numbers(data: Any) -> None:
    number = st.floats(-1e3, 1e3, width=32) | st.sampled_from([0.0, 1.0, 1e30, -1e-30])
    x = np.array(data.draw(st.lists(number, min_size=1, max_size=12)), "float32")
    kernel = data.draw(st.sampled_from(NAMES))
    order = np.array(data.draw(st.permutations(range(len(x)))))
    run = lambda x: array(ops.pairwise_sum(tensor(x, "float32"), kernel=kernel))  # noqa: E731
    value = run(x)
    assert np.isfinite(value).all()
    np.testing.assert_allclose(run(x[order]), value[order], rtol=1e-5)
    assert all(np.ptp(value[x == v]) <= 1e-5 * abs(value).max() for v in x)
    if kernel in CUMULATIVE:
        assert value.sum() == pytest.approx(len(x) ** 2 / 2, rel=1e-5)
        assert (np.diff(value[np.argsort(x)]) > -1e-4).all()


@pytest.mark.parametrize("kernel", CUMULATIVE)
def test_the_hard_limit_is_the_step_with_halves_at_ties(kernel: str) -> None:
    x = tensor([3.0, 1.0, 1.0, 7.0], "float32")
    for temperature in (0, 1e-5):
        found = array(ops.pairwise_sum(x, kernel=kernel, temperature=temperature))
        np.testing.assert_allclose(found, [2.5, 1.0, 1.0, 3.5], atol=1e-4)
    g = tensor([1.0, 2.0, 5.0, 9.0], "float32")
    hard = gradient(lambda x: g * ops.pairwise_sum(x, kernel=kernel, temperature=0), x)
    assert not hard.any()


@one_of_each
@pytest.mark.parametrize("mode", WAYS)
def test_a_tensor_temperature_has_a_gradient(kernel: str, mode: str) -> None:
    x, g = tensor(X[0, 0], "float64"), tensor(G[0, 0], "float64")

    def loss(temperature: Any) -> Any:
        return K.sum(g * ops.pairwise_sum(x, kernel=kernel, temperature=temperature))

    def exact(t: float) -> float:
        return float((dense(kernel, X[0, 0], X[0, 0], np.ones(40), t)[0] * G[0, 0]).sum())

    value, (found,) = value_and_gradient(loss, tensor(0.31, "float64"), mode=mode)
    assert value == pytest.approx(exact(0.31), rel=1e-9)
    assert found == pytest.approx((exact(0.31 + 1e-6) - exact(0.31 - 1e-6)) / 2e-6, rel=1e-5)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_low_precision_is_summed_in_float32(dtype: str) -> None:
    n = 70_000
    found = ops.pairwise_sum(tensor(np.zeros(n), dtype))
    assert standardize_dtype(found.dtype) == "float32"
    assert array(found)[0] == n / 2


@pytest.mark.parametrize("kernel", EXACT)
def test_nan_and_infinity(kernel: str) -> None:
    x = tensor([[1.0, np.nan, 2.0], [0.5, 1.0, 2.0]], "float32")
    found = array(ops.pairwise_sum(x, kernel=kernel))
    assert np.isnan(found[0]).all()
    assert np.isfinite(found[1]).all()
    ids = tensor([0, 1, 0, 1, 2], "int32")
    x = tensor([1.0, np.nan, 2.0, 3.0, 1.0], "float32")
    found = array(ops.pairwise_sum(x, kernel=kernel, segment_ids=ids))
    assert list(np.isnan(found)) == [False, True, False, True, False]


@pytest.mark.parametrize("kernel", CUMULATIVE)
def test_equal_infinities_are_ties(kernel: str) -> None:
    x = tensor([np.inf, -np.inf, 0.0, np.inf], "float32")
    value, (found,) = value_and_gradient(lambda x: ops.pairwise_sum(x, kernel=kernel), x)
    np.testing.assert_allclose(value, [3.0, 0.5, 1.5, 3.0])
    assert np.isfinite(found).all()


@pytest.mark.skipif(BACKEND != "tensorflow", reason="JAX has no such integers by default")
def test_segments_may_have_large_numbers() -> None:
    ids = tensor([1, 1, 2**32 + 1, 2**32 + 1], "int64")
    found = ops.pairwise_sum(tensor([1.0, 2.0, 3.0, 4.0], "float32"), segment_ids=ids)
    assert list(array(found)) == [0.5, 1.5, 0.5, 1.5]


@every
def test_empty_and_single(kernel: str) -> None:
    empty, one = tensor(np.zeros((2, 0)), "float32"), tensor(np.ones((2, 1)), "float32")
    assert tuple(ops.pairwise_sum(empty, kernel=kernel).shape) == (2, 0)
    assert not array(ops.pairwise_sum(one, empty, kernel=kernel)).any()
    assert tuple(ops.pairwise_sum(empty, one, kernel=kernel).shape) == (2, 0)
    at_zero = dense(kernel, [[1.0]], [[1.0]], [[1.0]], 0.1)[0][0]
    np.testing.assert_allclose(array(ops.pairwise_sum(one, kernel=kernel))[0], at_zero)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="only TensorFlow traces without lengths")
@pytest.mark.parametrize("kernel", ["linear", "hinge", "logistic"])
@pytest.mark.parametrize("jit_compile", [False, True])
def test_lengths_that_are_not_known_when_traced(kernel: str, jit_compile: bool) -> None:
    import tensorflow as tf

    if jit_compile and kernel == "logistic":
        pytest.skip("a number of blocks that is not known is not compiled")
    run = tf.function(
        lambda x: ops.pairwise_sum(x, kernel=kernel),
        input_signature=[tf.TensorSpec([None, None], "float32")],
        jit_compile=jit_compile,
    )
    for shape in ((2, 5), (1, 1), *([] if jit_compile else [(3, 0)])):
        x = RNG.normal(size=shape).astype("float32")
        expected = dense(kernel, x, x, np.ones(shape), 0.1)[0]
        np.testing.assert_allclose(array(run(x)), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"x": np.ones(3, "int32")}, BevelTypeError, "floating-point"),
        ({"x": np.float32(1.0)}, BevelValueError, "at least one axis"),
        ({"y": np.ones((2, 3), "float32")}, BevelValueError, r"\(3,\) and \(2, 3\)"),
        ({"kernel": "cosine"}, BevelValueError, "must be one of"),
        ({"temperature": -1.0}, BevelValueError, "temperature"),
        ({"temperature": 0, "kernel": "hinge"}, BevelValueError, "must be > 0"),
        ({"segment_ids": np.ones(3, "float32")}, BevelTypeError, "must hold integers"),
        ({"segment_ids": np.ones(4, "int32")}, BevelValueError, r"must have the shape \(3,\)"),
        ({"mask": np.ones((3, 1), "bool")}, BevelValueError, r"must have the shape \(3,\)"),
        (
            {"y": np.ones(3, "float32"), "mask": np.ones(3, "bool")},
            BevelValueError,
            "must be a pair",
        ),
    ],
)
def test_what_cannot_be_summed(arguments: dict[str, Any], error: type, words: str) -> None:
    with pytest.raises(error, match=words):
        ops.pairwise_sum(**{"x": np.ones(3, "float32")} | arguments)


@pytest.mark.parametrize(
    "kernel",
    [
        pytest.param(k, marks=[] if k in ("linear", "squared_hinge") else pytest.mark.slow)
        for k in EXACT
    ],
)
def test_no_pairs_in_memory(kernel: str) -> None:
    """A hundred thousand elements against each other would take 40 GB."""
    x = tensor(RNG.normal(size=100_000), "float32")
    for mode in ("eager", *MODES):
        run = compiled(lambda x: ops.pairwise_sum(x, kernel=kernel), mode)
        assert np.isfinite(array(run(x))).all()
