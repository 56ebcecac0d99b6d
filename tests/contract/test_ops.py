"""One table of every soft primitive, held to the same promises on whichever backend Keras runs.

The tables stand at the top, the promises below; `test_backends.py` runs this file again on other
backends. Every array handed in is small; every oracle is float64 NumPy.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pytest
from keras import ops as K
from keras.backend import standardize_dtype

from bevel import ops
from bevel.errors import BevelTypeError, BevelValueError

from .gradients import (
    BACKEND,
    COMPILED,
    MODES,
    array,
    compiled,
    gradient,
    second_derivative,
    tensor,
    value_and_gradient,
)

DTYPES = tuple(os.environ.get("BEVEL_DTYPES", "float16,bfloat16,float32,float64").split(","))
CURVES = ("logistic", "arctan", "algebraic", "linear", "gaussian")
SMOOTH = ("logistic", "arctan", "algebraic", "gaussian")
WEIGHTS = ("softmax", "cauchy")
TEMPERATURES = (0.1, 1e-3, 1e-30, 5e-324)
# Neither a kink nor a tie of any row, and a tenth away from all of them.
ORDINARY = np.array([-7.3, -2.35, -1.7, -0.85, -0.4, -0.15, 0.15, 0.3, 0.7, 1.2, 2.35, 6.6])


@dataclass(frozen=True)
class Row:
    """An operation, the hard function it stands for, and what is special about it.

    `soft` takes a tensor and the keywords temperature, kernel and forward; `hard` an array. `kinks`
    are the points where `hard` jumps or bends. A `flat` one has the slope 0 elsewhere.
    """

    name: str
    soft: Callable[..., Any]
    hard: Callable[[np.ndarray], np.ndarray]
    kernels: tuple[str, ...] = CURVES
    kinks: tuple[float, ...] = (0.0,)
    flat: bool = True

    def __str__(self) -> str:
        return self.name


def _stairs(x: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(x), np.nan, -1 + 2.0 * (x >= -0.5) + 3.0 * (x >= 0.5) - (x >= 1.5))


def _one_hot(x: np.ndarray) -> np.ndarray:
    return np.eye(x.shape[-1])[np.argmax(x, -1)]


INTEGERS = (-2.0, -1.0, 0.0, 1.0, 2.0)
HALVES = (-1.5, -0.5, 0.5, 1.5, 2.5)
ELEMENTWISE = (
    Row("step", ops.step, lambda x: np.heaviside(x, 1.0)),
    Row("sign", ops.sign, np.sign),
    Row("greater", lambda x, **k: ops.greater(x, 0.5, **k), lambda x: x > 0.5, kinks=(0.5,)),
    Row(
        "greater_equal",
        lambda x, **k: ops.greater_equal(x, 0.5, **k),
        lambda x: x >= 0.5,
        kinks=(0.5,),
    ),
    Row("less", lambda x, **k: ops.less(x, 0.5, **k), lambda x: x < 0.5, kinks=(0.5,)),
    Row("less_equal", lambda x, **k: ops.less_equal(x, 0.5, **k), lambda x: x <= 0.5, kinks=(0.5,)),
    Row("equal", lambda x, **k: ops.equal(x, 0.5, **k), lambda x: x == 0.5, kinks=(0.5,)),
    Row("not_equal", lambda x, **k: ops.not_equal(x, 0.5, **k), lambda x: x != 0.5, kinks=(0.5,)),
    Row("floor", ops.floor, np.floor, kinks=INTEGERS),
    Row("ceil", ops.ceil, np.ceil, kinks=INTEGERS),
    Row("round", ops.round, np.round, kinks=HALVES),
    Row("trunc", ops.trunc, np.trunc, kinks=(-2.0, -1.0, 1.0, 2.0)),
    Row("relu", ops.relu, lambda x: np.maximum(x, 0), flat=False),
    Row("abs", ops.abs, np.abs, flat=False),
    Row(
        "clip",
        lambda x, **k: ops.clip(x, -1, 1, **k),
        lambda x: np.clip(x, -1, 1),
        kinks=(-1.0, 1.0),
        flat=False,
    ),
    Row(
        "staircase",
        lambda x, **k: ops.staircase(x, (-0.5, 0.5, 1.5), (-1, 1, 4, 3), **k),
        _stairs,
        kinks=(-0.5, 0.5, 1.5),
    ),
)
ROWWISE = (
    Row("argmax", ops.argmax, _one_hot, WEIGHTS),
    Row("argmin", ops.argmin, lambda x: _one_hot(-x), WEIGHTS),
    Row("max", partial(ops.max, axis=-1), lambda x: x.max(-1), WEIGHTS, flat=False),
    Row("min", partial(ops.min, axis=-1), lambda x: x.min(-1), WEIGHTS, flat=False),
)
LOGIC: dict[str, tuple[Callable[..., Any], Callable[..., np.ndarray]]] = {
    "logical_and": (ops.logical_and, lambda p, q: p * q),
    "logical_or": (ops.logical_or, lambda p, q: p + q - p * q),
    "logical_xor": (ops.logical_xor, lambda p, q: p + q - 2 * p * q),
    "logical_not": (lambda p, q: ops.logical_not(p), lambda p, q: 1 - p),
    "all": (lambda p, q: ops.all(p, axis=-1), lambda p, q: p.prod(-1)),
    "any": (lambda p, q: ops.any(p, axis=-1), lambda p, q: 1 - (1 - p).prod(-1)),
    "where": (lambda p, q: ops.where(p, q, 3.0), lambda p, q: p * q + 3 * (1 - p)),
}
EVERY = (*ELEMENTWISE, *ROWWISE)

elementwise = pytest.mark.parametrize("row", ELEMENTWISE, ids=str)
every = pytest.mark.parametrize("row", EVERY, ids=str)
dtypes = pytest.mark.parametrize("dtype", DTYPES)


def _inputs(row: Row) -> np.ndarray:
    if row in ELEMENTWISE:
        return ORDINARY
    return np.array([[0.3, -0.2, 0.9, 0.75], [-4.0, 5.0, 4.6, -9.0], [0.0, 0.2, 0.1, 0.05]])


def _with_kinks(row: Row) -> np.ndarray:
    """Ordinary inputs and the kinks, in one length for all rows."""
    return np.resize([*row.kinks, *ORDINARY], 17) if row in ELEMENTWISE else _inputs(row)


def _extremes(dtype: str, row: Row) -> np.ndarray:
    """Every kink, ties, zeros, numbers without a fraction, the largest and the smallest."""
    largest = {"float16": 65504.0, "bfloat16": 3.38e38, "float32": 3.4e38, "float64": 1.7e308}[
        dtype
    ]
    smallest = {"float16": 6e-8, "bfloat16": 1e-40, "float32": 1e-45, "float64": 5e-324}[dtype]
    some = [0.0, -0.0, smallest, -smallest, 0.1, 0.5, 0.5, 1.0, -1.0, 1.5, 2048.0, -4097.0]
    some += [largest / 3, largest, -largest, -largest / 3, *row.kinks, 0.25, 0.75, 3.5, 9.0]
    # One length for all rows: a new shape is a new compilation.
    some = some[:21]
    if row in ELEMENTWISE:
        return np.array(some)
    rng = np.random.default_rng(0)
    return np.stack([some, np.zeros(len(some)), *(rng.permutation(some) for _ in range(3))])


def _mixed(call: Callable[..., Any]) -> Callable[..., Any]:
    """The same with unequal weights on the last axis, since those of an index sum to 1."""

    def weighted(x: Any) -> Any:
        value = call(x)
        weights = np.cos(np.arange(value.shape[-1] if value.shape else 1))
        return value * tensor(weights, standardize_dtype(value.dtype))

    return weighted


def _tolerance(dtype: str) -> float:
    return {"float16": 2e-3, "bfloat16": 2e-2, "float32": 2e-6, "float64": 1e-12}[dtype]


@every
@dtypes
def test_finite_value_and_gradient_at_any_finite_input(row: Row, dtype: str) -> None:
    x = tensor(_extremes(dtype, row), dtype)
    for kernel in row.kernels:
        for temperature in TEMPERATURES:
            for forward in ("soft", "hard") if temperature == 0.1 else ("soft",):
                call = partial(row.soft, temperature=temperature, kernel=kernel, forward=forward)
                value, (slope,) = value_and_gradient(_mixed(call), x)
                assert np.isfinite(value).all(), (kernel, temperature, forward, value)
                assert np.isfinite(slope).all(), (kernel, temperature, forward, slope)


@every
@dtypes
def test_dtype_and_shape_are_those_of_the_hard_function(row: Row, dtype: str) -> None:
    shapes = [(), (0,), (3,), (2, 3)] if row in ELEMENTWISE else [(3,), (0, 3), (2, 3)]
    for shape in shapes:
        x = np.zeros(shape)
        for keywords in ({}, {"temperature": 0}, {"forward": "hard"}):
            result = row.soft(tensor(x, dtype), **keywords)
            assert standardize_dtype(result.dtype) == dtype
            assert tuple(result.shape) == np.shape(row.hard(x))


@every
@dtypes
def test_temperature_zero_is_the_hard_function_kinks_included(row: Row, dtype: str) -> None:
    x = np.sort([*ORDINARY, *row.kinks, 0.0, *INTEGERS, *HALVES])
    x = array(tensor(x if row in ELEMENTWISE else np.stack([x, x[::-1], 0 * x]), dtype))
    expected = np.asarray(row.hard(x), "float64")
    for kernel in row.kernels:
        value, (slope,) = value_and_gradient(
            partial(row.soft, temperature=0, kernel=kernel), tensor(x, dtype)
        )
        np.testing.assert_array_equal(value, array(tensor(expected, dtype)))
        assert np.isfinite(slope).all()
        if row.flat:
            assert not slope.any()


@every
def test_forward_hard_has_the_hard_value_and_the_soft_gradient(row: Row) -> None:
    x = _with_kinks(row)
    x = array(tensor(x, "float32"))
    for kernel in row.kernels:
        call = partial(row.soft, kernel=kernel)
        np.testing.assert_array_equal(
            array(call(tensor(x, "float32"), forward="hard")), row.hard(x)
        )
        soft = gradient(_mixed(call), tensor(x, "float32"))
        slope = gradient(_mixed(partial(call, forward="hard")), tensor(x, "float32"))
        np.testing.assert_allclose(slope, soft, rtol=1e-6)
        assert slope.any()


@every
@dtypes
def test_the_soft_value_tends_to_the_hard_one(row: Row, dtype: str) -> None:
    x = array(tensor(_inputs(row), dtype))
    for kernel in row.kernels:
        value = array(row.soft(tensor(x, dtype), temperature=1e-6, kernel=kernel))
        np.testing.assert_allclose(value, row.hard(x), atol=1e-5 + _tolerance(dtype), rtol=8e-3)


@every
@dtypes
def test_nan_in_is_nan_out_and_nowhere_else(row: Row, dtype: str) -> None:
    x = _inputs(row).copy()
    x[1] = np.where(np.arange(x[1].size) == 1, np.nan, x[1]) if x.ndim > 1 else np.nan
    expected = np.zeros(np.shape(row.hard(_inputs(row))), bool)
    expected[1] = True
    for kernel in row.kernels:
        for keywords in ({}, {"temperature": 1e-30}, {"temperature": 0}, {"forward": "hard"}):
            value = row.soft(tensor(x, dtype), kernel=kernel, **keywords)
            np.testing.assert_array_equal(np.isnan(array(value)), expected)


@every
def test_infinities_are_hard(row: Row) -> None:
    x = np.array([np.inf, -np.inf])
    if row in ROWWISE:
        x = np.array([[1.0, np.inf, 2.0], [-np.inf, 3.0, 1.0]])
    for kernel in row.kernels:
        for temperature in (1e-3, 0, K.convert_to_tensor(1e-3)):
            for forward in ("soft", "hard"):
                value, (slope,) = value_and_gradient(
                    partial(row.soft, temperature=temperature, kernel=kernel, forward=forward),
                    tensor(x, "float32"),
                )
                np.testing.assert_allclose(value, row.hard(x), atol=1e-3)
                assert np.isfinite(slope).all(), (kernel, temperature, forward, slope)


@every
def test_the_gradient_is_the_derivative(row: Row) -> None:
    x = _with_kinks(row)
    for kernel in row.kernels:
        # The triangle of `linear` has a kink where the operands are equal.
        points = ORDINARY if kernel == "linear" else x
        call = partial(row.soft, temperature=0.4, kernel=kernel)
        h = 1e-5
        call = _mixed(call)
        for direction in np.random.default_rng(1).normal(size=(2, *points.shape)):
            up, down = (array(call(tensor(points + s * h * direction, "float64"))) for s in (1, -1))
            expected = (up - down).sum() / (2 * h)
            slope = gradient(call, tensor(points, "float64"))
            np.testing.assert_allclose((slope * direction).sum(), expected, rtol=1e-7, atol=1e-8)


@elementwise
@pytest.mark.parametrize("kernel", SMOOTH)
def test_the_second_derivative_is_that_of_the_kernel(row: Row, kernel: str) -> None:
    x = np.concatenate([ORDINARY, [0.0, 0.25, -0.75]])
    call = partial(row.soft, temperature=0.4, kernel=kernel)
    h = 1e-5
    up, down = np.split(gradient(call, tensor(np.concatenate([x + h, x - h]), "float64")), 2)
    expected = (up - down) / (2 * h)
    joins = (*INTEGERS, *HALVES) if row.name in ("floor", "ceil", "round", "trunc") else ()
    away = ~np.isclose(np.abs(x[:, None] - np.array([*joins, 99.0])), 0).any(-1)
    found = second_derivative(call, tensor(x, "float64"))
    np.testing.assert_allclose(found[away], expected[away], rtol=1e-6, atol=1e-6)
    extreme = second_derivative(
        partial(row.soft, kernel=kernel), tensor(_extremes("float32", row), "float32")
    )
    assert np.isfinite(extreme).all()


@every
@pytest.mark.parametrize("mode", COMPILED)
def test_compiled_is_eager(row: Row, mode: str) -> None:
    def call(x: Any) -> Any:
        first = row.kernels[0]
        return K.stack(
            [
                *(row.soft(x, kernel=kernel) for kernel in row.kernels),
                *(row.soft(x, temperature=t, kernel=first) for t in (1e-30, 0)),
                row.soft(x, kernel=first, forward="hard"),
            ]
        )

    x = _inputs(row).astype("float32")
    x = np.concatenate([x, [0.0, 0.5, 1.0, -0.0]]) if x.ndim == 1 else x
    value, (slope,) = value_and_gradient(call, tensor(x, "float32"))
    compiled_value, (compiled_slope,) = value_and_gradient(call, tensor(x, "float32"), mode=mode)
    np.testing.assert_allclose(compiled_value, value, rtol=1e-5, atol=1e-6)
    # At a tie the slope is of order 1/temperature, and the sum over all calls is what differs.
    np.testing.assert_allclose(compiled_slope, slope, rtol=1e-5, atol=1e-4)

    missing = x.copy()
    missing.flat[1] = np.nan
    found = array(compiled(call, mode)(tensor(missing, "float32")))
    np.testing.assert_array_equal(
        np.isnan(found), np.isnan(array(call(tensor(missing, "float32"))))
    )
    assert np.isnan(found).any()


@pytest.mark.skipif(BACKEND != "tensorflow", reason="only TensorFlow has unknown dimensions")
@pytest.mark.parametrize("jit", [False, True])
def test_unknown_dimensions(jit: bool) -> None:
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec([None, None], "float32")], jit_compile=jit)
    def elementwise_rows(x: Any) -> Any:
        return [row.soft(x) for row in ELEMENTWISE]

    @tf.function(input_signature=[tf.TensorSpec([None, None], "float32")], jit_compile=jit)
    def rowwise(x: Any) -> Any:
        return [row.soft(x, kernel=kernel, forward="hard") for row in ROWWISE for kernel in WEIGHTS]

    for count in (1, 3):
        x = tensor(np.linspace(-1.3, 2.2, 4 * count).reshape(count, 4), "float32")
        for found, row in zip(elementwise_rows(x), ELEMENTWISE, strict=True):
            np.testing.assert_allclose(array(found), array(row.soft(x)), rtol=1e-5, atol=1e-6)
        for found, row in zip(rowwise(x), np.repeat(ROWWISE, 2), strict=True):
            np.testing.assert_allclose(array(found), row.hard(array(x)), rtol=1e-5, atol=1e-6)


@every
def test_a_tensor_temperature_counts_and_learns(row: Row) -> None:
    x = tensor(_inputs(row), "float64")
    for kernel in row.kernels:
        call = partial(row.soft, kernel=kernel)
        number = array(call(x, temperature=0.4))
        value, (slope,) = value_and_gradient(
            lambda t, call=call: call(x, temperature=t), tensor(0.4, "float64")
        )
        np.testing.assert_allclose(value, number, rtol=1e-13)
        up, down = (array(call(x, temperature=0.4 + h)).sum() for h in (1e-6, -1e-6))
        np.testing.assert_allclose(slope, (up - down) / 2e-6, rtol=1e-6, atol=1e-8)


@every
def test_a_tiny_tensor_temperature_is_hard_and_finite(row: Row) -> None:
    inputs = tensor(_extremes("float32", row), "float32")
    ordinary = tensor(_inputs(row), "float32")
    for kernel in row.kernels:
        for tiny in (1e-30, 1e-45, 0.0):
            call = partial(row.soft, kernel=kernel)
            value, slopes = value_and_gradient(
                lambda x, t, call=call: call(x, temperature=t), inputs, tensor(tiny, "float32")
            )
            assert np.isfinite(value).all()
            assert all(np.isfinite(slope).all() for slope in slopes), (kernel, tiny, slopes)
            hard = array(call(ordinary, temperature=tensor(tiny, "float32")))
            np.testing.assert_allclose(hard, row.hard(array(ordinary)), atol=1e-6)


@every
def test_the_scale_is_a_constant_unit(row: Row) -> None:
    if row.name in ("staircase",):
        pytest.skip("the stairs have a unit of their own")
    x = tensor(_inputs(row), "float64")
    for kernel in row.kernels:
        call = partial(row.soft, x, kernel=kernel)
        expected = array(call(temperature=0.2))
        np.testing.assert_allclose(array(call(temperature=0.1, scale=2)), expected, rtol=1e-12)
        value, (slope,) = value_and_gradient(
            lambda s, call=call: call(temperature=0.1, scale=s), tensor(2.0, "float64")
        )
        np.testing.assert_allclose(value, expected, rtol=1e-12)
        assert slope == 0
        each = tensor(np.full(np.shape(_inputs(row)), 2.0), "float64")
        np.testing.assert_allclose(array(call(temperature=0.1, scale=each)), expected, rtol=1e-12)


BAD_ARGUMENTS = (
    ({"temperature": -1.0}, r"`temperature` must be a finite number >= 0; got -1\.0\."),
    ({"temperature": float("nan")}, r"`temperature` must be a finite number >= 0; got nan\."),
    ({"temperature": float("inf")}, r"`temperature` must be a finite number >= 0; got inf\."),
    ({"temperature": "low"}, r"`temperature` must be a finite number >= 0; got 'low'\."),
    ({"temperature": None}, r"`temperature` must be a finite number >= 0; got None\."),
    ({"kernel": "cubic"}, r"`kernel` must be one of '(logistic|softmax)', .*; got 'cubic'\."),
    ({"forward": "both"}, r"`forward` must be one of 'soft', 'hard'; got 'both'\."),
    ({"scale": 0.0}, r"`scale` must be a finite number > 0, or a tensor; got 0\.0\."),
    ({"scale": float("nan")}, r"`scale` must be a finite number > 0, or a tensor; got nan\."),
)


@every
@pytest.mark.parametrize(("keywords", "message"), BAD_ARGUMENTS)
def test_bad_arguments_are_refused(row: Row, keywords: dict[str, Any], message: str) -> None:
    if row.name == "staircase" and "scale" in keywords:
        pytest.skip("the stairs have a unit of their own")
    with pytest.raises(BevelValueError, match=message):
        row.soft(tensor(_inputs(row), "float32"), **keywords)


@every
@pytest.mark.parametrize("dtype", ["int32", "bool"])
def test_integers_are_refused(row: Row, dtype: str) -> None:
    x = tensor(np.zeros((2, 3)), dtype)
    message = rf"must be a floating-point tensor.*got dtype {dtype} and shape \(2, 3\)"
    with pytest.raises(BevelTypeError, match=message):
        row.soft(x)


@pytest.mark.parametrize("name", LOGIC)
@dtypes
def test_logic_against_its_formula(name: str, dtype: str) -> None:
    soft, formula = LOGIC[name]
    p = array(tensor([[0.0, 1.0, 0.5], [0.125, 0.75, 0.25], [1.0, 1.0, 1.0]], dtype))
    q = array(tensor([[0.5, 0.25, 1.0], [0.0, 0.5, 0.125], [0.0, 1.0, 0.5]], dtype))
    value, slopes = value_and_gradient(soft, tensor(p, dtype), tensor(q, dtype))
    assert standardize_dtype(soft(tensor(p, dtype), tensor(q, dtype)).dtype) == dtype
    np.testing.assert_allclose(value, formula(p, q), rtol=_tolerance(dtype))
    # Each formula is linear in every operand, so any difference quotient is exact.
    for which, slope in enumerate(slopes):
        expected = np.zeros_like(p)
        for place in np.ndindex(p.shape):
            sides = []
            for end in (1.0, 0.0):
                moved = [p.copy(), q.copy()]
                moved[which][place] = end
                sides.append(formula(*moved).sum())
            expected[place] = sides[0] - sides[1]
        np.testing.assert_allclose(slope, expected, rtol=_tolerance(dtype), atol=_tolerance(dtype))
    for mode in MODES:
        again, compiled_slopes = value_and_gradient(
            soft, tensor(p, dtype), tensor(q, dtype), mode=mode
        )
        np.testing.assert_allclose(again, value, rtol=_tolerance(dtype))
        for one, other in zip(slopes, compiled_slopes, strict=True):
            np.testing.assert_allclose(one, other, rtol=_tolerance(dtype), atol=_tolerance(dtype))
