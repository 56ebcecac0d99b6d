"""Soft comparisons: what they are at a tie, how operands meet, how close they come to a step."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import ops as K
from keras.backend import standardize_dtype

from bevel import ops
from bevel.errors import BevelTypeError

from .contract.gradients import array, gradient, tensor, value_and_gradient

ORDER = ("greater", "greater_equal", "less", "less_equal")
KERNELS = ("logistic", "arctan", "algebraic", "linear", "gaussian")


def test_comparisons_are_sigmoids_of_the_scaled_difference() -> None:
    x, y = np.array([0.2, -0.4, 1.0]), np.array([0.1, 0.3, 1.0])
    z = (x - y) / (0.25 * 2)
    expected = 1 / (1 + np.exp(-z))
    keywords = {"temperature": 0.25, "scale": 2.0}
    a, b = tensor(x, "float64"), tensor(y, "float64")
    for name in ("greater", "greater_equal"):
        np.testing.assert_allclose(array(getattr(ops, name)(a, b, **keywords)), expected)
    for name in ("less", "less_equal"):
        np.testing.assert_allclose(array(getattr(ops, name)(a, b, **keywords)), 1 - expected)
    bump = 1 / np.cosh(z / 2) ** 2
    np.testing.assert_allclose(array(ops.equal(a, b, **keywords)), bump)
    np.testing.assert_allclose(array(ops.not_equal(a, b, **keywords)), 1 - bump, atol=1e-15)
    np.testing.assert_allclose(array(ops.sign(a, **keywords)), np.tanh(x), rtol=1e-14)


@pytest.mark.parametrize(
    ("name", "hard"),
    [
        ("greater", 0.0),
        ("greater_equal", 1.0),
        ("less", 0.0),
        ("less_equal", 1.0),
        ("equal", 1.0),
        ("not_equal", 0.0),
    ],
)
def test_a_tie(name: str, hard: float) -> None:
    op = getattr(ops, name)
    soft = {"equal": 1.0, "not_equal": 0.0}.get(name, 0.5)
    assert float(op(0.7, 0.7)) == soft
    assert float(op(0.7, 0.7, forward="hard")) == hard
    assert float(op(0.7, 0.7, temperature=0)) == hard


def test_conventions_at_zero() -> None:
    assert [float(ops.step(0.0, temperature=t)) for t in (0.1, 0.0)] == [0.5, 1.0]
    assert [float(ops.sign(0.0, temperature=t)) for t in (0.1, 0.0)] == [0.0, 0.0]


@pytest.mark.parametrize("name", ORDER)
def test_both_operands_get_a_gradient_and_shapes_broadcast(name: str) -> None:
    x, y = tensor(np.zeros((3, 1)), "float32"), tensor(np.ones((2,)), "float32")
    value, (to_x, to_y) = value_and_gradient(getattr(ops, name), x, y)
    assert value.shape == (3, 2)
    slope = np.exp(-10) / (1 + np.exp(-10)) ** 2 / 0.1 * (1 if "greater" in name else -1)
    np.testing.assert_allclose(to_x, np.full((3, 1), 2 * slope), rtol=1e-5)
    np.testing.assert_allclose(to_y, np.full(2, -3 * slope), rtol=1e-5)


@pytest.mark.parametrize(
    ("x", "y", "dtype"),
    [
        ("float32", "int32", "float32"),
        ("float16", "bool", "float16"),
        ("bfloat16", "float16", "float32"),
        ("float16", "float32", "float32"),
        ("float32", "float64", "float64"),
    ],
)
def test_the_dtype_of_two_operands(x: str, y: str, dtype: str) -> None:
    result = ops.greater(tensor([1.0], x), tensor([0], y))
    assert standardize_dtype(result.dtype) == dtype


def test_a_number_takes_the_dtype_of_the_tensor_on_either_side() -> None:
    x = tensor([0.1], "float64")
    for result in (ops.equal(x, 0.1), ops.equal(0.1, x)):
        assert standardize_dtype(result.dtype) == "float64"
        assert array(result) == 1  # a float32 0.1 would differ


def test_an_integer_first_operand_is_refused_and_the_way_out_named() -> None:
    with pytest.raises(BevelTypeError, match=r"`x` must be a floating-point.*second operand"):
        ops.greater(K.convert_to_tensor([1, 2]), tensor([0.5], "float32"))


@pytest.mark.parametrize("kernel", KERNELS)
def test_one_temperature_is_one_closeness_for_every_kernel(kernel: str) -> None:
    x = np.random.default_rng(0).normal(size=200_000)
    value = array(ops.step(tensor(x, "float64"), temperature=0.1, kernel=kernel))
    assert np.abs(value - (x > 0)).mean() == pytest.approx(0.0546, abs=6e-4)


@pytest.mark.parametrize("temperature", [1e-30, 1e-38, 1e-45, 5e-324])
@pytest.mark.parametrize("kernel", KERNELS)
def test_a_tiny_temperature_is_a_step_with_a_flat_slope(kernel: str, temperature: float) -> None:
    x = tensor([-1.0, -1e-20, 0.0, 1e-20, 1.0], "float32")
    value, (slope,) = value_and_gradient(
        lambda x: ops.step(x, temperature=temperature, kernel=kernel), x
    )
    np.testing.assert_allclose(value, [0, 0, 0.5, 1, 1], atol=1e-9)
    assert value[2] == 0.5
    assert np.isfinite(slope).all()
    np.testing.assert_allclose(slope[[0, 4]], 0, atol=1e-12)


def test_float16_slopes_stay_within_its_range_and_values_do_not_change() -> None:
    x = tensor([-1e-3, 0.0, 1e-3], "float16")
    for temperature in (1e-6, 1e-12, K.convert_to_tensor(1e-6)):
        value, (slope,) = value_and_gradient(lambda x, t=temperature: ops.step(x, temperature=t), x)
        np.testing.assert_array_equal(value, [0, 0.5, 1])
        assert np.isfinite(slope).all()
        assert slope[1] == pytest.approx(4000, rel=1e-3)


def test_a_huge_temperature_is_one_half() -> None:
    value, (slope,) = value_and_gradient(
        lambda x: ops.step(x, temperature=1e300), tensor([-1e9, 1e9], "float32")
    )
    assert value.tolist() == [0.5, 0.5]
    assert np.isfinite(slope).all()


def test_the_input_is_not_changed() -> None:
    x = np.array([1.0, -2.0], "float32")
    ops.step(x, forward="hard")
    assert x.tolist() == [1.0, -2.0]


@given(
    x=st.floats(-3, 3, width=32),
    y=st.floats(-3, 3, width=32),
    kernel=st.sampled_from(KERNELS),
    temperature=st.floats(1e-3, 10),
)
def test_laws_of_order(x: float, y: float, kernel: str, temperature: float) -> None:
    keywords = {"temperature": temperature, "kernel": kernel}
    greater, less = (float(getattr(ops, n)(x, y, **keywords)) for n in ("greater", "less"))
    assert greater + less == pytest.approx(1, abs=3e-7)
    assert float(ops.greater(y, x, **keywords)) == pytest.approx(less, abs=3e-7)
    assert float(ops.equal(x, y, **keywords)) == float(ops.equal(y, x, **keywords))
    assert float(ops.sign(x - y, **keywords)) == pytest.approx(greater - less, abs=6e-7)


def test_equal_pulls_the_operands_together() -> None:
    slope = gradient(
        lambda x: ops.equal(x, 0.5, temperature=0.3), tensor([0.2, 0.5, 0.8], "float32")
    )
    assert np.sign(slope).tolist() == [1, 0, -1]
