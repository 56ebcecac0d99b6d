"""Soft rounding: continuous, rising, exact in the middle of each cell, sloped everywhere."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bevel import ops

from .contract.gradients import array, gradient, tensor, value_and_gradient

KERNELS = ("logistic", "arctan", "algebraic", "linear", "gaussian")
TEMPERATURES = (0.01, 0.1, 1.0, 1e3, 1e30)
OPS = {"floor": np.floor, "ceil": np.ceil, "round": np.round, "trunc": np.trunc}

every = pytest.mark.parametrize("kernel", KERNELS)
all_four = pytest.mark.parametrize("name", OPS)


@every
@all_four
@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_continuous_and_rising(name: str, kernel: str, temperature: float) -> None:
    x = np.linspace(-3, 3, 6001)
    value, (slope,) = value_and_gradient(
        lambda x: getattr(ops, name)(x, temperature=temperature, kernel=kernel),
        tensor(x, "float64"),
    )
    step = np.diff(value)
    assert (step >= -1e-12).all()
    assert step.max() < 1e-3 * (3 + 1 / temperature)
    assert np.isfinite(slope).all()
    assert (slope >= 0).all()


@every
@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_exact_in_the_middle_of_every_cell(kernel: str, temperature: float) -> None:
    keywords = {"temperature": temperature, "kernel": kernel}
    middles = np.array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5])
    for name in ("floor", "ceil", "trunc"):
        points = middles[np.abs(middles) > 1] if name == "trunc" else middles
        value = array(getattr(ops, name)(tensor(points, "float64"), **keywords))
        np.testing.assert_allclose(value, OPS[name](points), atol=1e-12)
    whole = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
    np.testing.assert_allclose(
        array(ops.round(tensor(whole, "float64"), **keywords)), whole, atol=1e-12
    )
    assert np.abs(array(ops.trunc(tensor([0.0], "float64"), **keywords))) < 1e-15


@every
def test_high_temperature_is_a_straight_line(kernel: str) -> None:
    x = np.linspace(-2.9, 2.9, 59)
    for name, line in (("floor", x - 0.5), ("ceil", x + 0.5), ("round", x)):
        value, (slope,) = value_and_gradient(
            lambda x, name=name: getattr(ops, name)(x, temperature=1e5, kernel=kernel),
            tensor(x, "float64"),
        )
        np.testing.assert_allclose(value, line, atol=1e-8)
        np.testing.assert_allclose(slope, 1, atol=1e-8)


@every
def test_a_temperature_may_be_any_tensor(kernel: str) -> None:
    x = np.linspace(-1.4, 1.4, 15)
    value = array(ops.round(x, temperature=tensor(1e30, "float64"), kernel=kernel))
    np.testing.assert_allclose(value, x, atol=1e-8)


def test_floor_against_the_formula() -> None:
    x = np.linspace(-2.3, 2.4, 48)
    t = 0.2
    k = np.round(x)
    expected = k - 0.5 + 0.5 * np.tanh((x - k) / (2 * t)) / np.tanh(0.25 / t)
    value, (slope,) = value_and_gradient(
        lambda x: ops.floor(x, temperature=t), tensor(x, "float64")
    )
    np.testing.assert_allclose(value, expected, atol=1e-14)
    expected = 0.25 / t / np.cosh((x - k) / (2 * t)) ** 2 / np.tanh(0.25 / t)
    np.testing.assert_allclose(slope, expected, rtol=1e-11)


def test_the_step_is_a_choice_between_neighbours() -> None:
    x = tensor([-1.3, 0.0, 0.49, 2.5], "float32")
    k, p = ops.nearest_step(x, temperature=0.2)
    assert array(k).tolist() == [-1.0, 0.0, 0.0, 2.0]
    assert ((array(p) >= 0) & (array(p) <= 1)).all()
    np.testing.assert_allclose(array(k - 1 + p), array(ops.floor(x, temperature=0.2)))
    hard_k, hard_p = ops.nearest_step(x, temperature=0)
    np.testing.assert_array_equal(array(hard_k - 1 + hard_p), np.floor(array(x)))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_the_step_where_there_is_no_fraction(dtype: str) -> None:
    x = tensor([2.0**15, 3e4, -6e4, np.inf, -np.inf, np.nan], dtype)
    k, p = ops.nearest_step(x, temperature=1e-3)
    np.testing.assert_array_equal(array(k), array(x))
    np.testing.assert_array_equal(array(p), [0.5] * 5 + [np.nan])
    slope = gradient(lambda x: ops.nearest_step(x, temperature=1e-3)[1], x)
    assert np.isfinite(slope[:5]).all()
    far = tensor([2.0**24, -(2.0**24) - 2, 1e30], "float32")
    assert array(ops.nearest_step(far)[1]).tolist() == [0.5, 0.5, 0.5]
    np.testing.assert_allclose(array(ops.floor(far)), array(far), rtol=1e-7)


def test_the_hard_values_are_those_of_numpy() -> None:
    x = np.array([-2.5, -1.5, -0.5, -0.0, 0.49999997, 0.5, 1.5, 2.5, 8388609.0], "float32")
    for name, hard in OPS.items():
        for keywords in ({"temperature": 0}, {"forward": "hard"}):
            np.testing.assert_array_equal(array(getattr(ops, name)(x, **keywords)), hard(x))


def test_round_keeps_the_last_digit_below_one_half() -> None:
    # x + 1/2 would be 1 in float32, beyond the threshold.
    x = np.nextafter(np.float32(0.5), np.float32(0))
    assert float(ops.round(x, temperature=1e-9)) < 0.5


@given(
    x=st.floats(-50, 50, width=32),
    kernel=st.sampled_from(KERNELS),
    temperature=st.floats(1e-3, 1e3),
)
def test_symmetries(x: float, kernel: str, temperature: float) -> None:
    keywords = {"temperature": temperature, "kernel": kernel}
    here, there = tensor([x], "float64"), tensor([-x], "float64")
    floor, ceil = array(ops.floor(here, **keywords)), array(ops.ceil(there, **keywords))
    assert floor == -ceil
    assert array(ops.trunc(here, **keywords)) == -array(ops.trunc(there, **keywords))
    shifted = array(ops.floor(tensor([x + 0.5], "float64"), **keywords))
    assert array(ops.round(here, **keywords)) == pytest.approx(shifted, abs=1e-9 / temperature)
    assert np.abs(floor - x + 0.5) <= 0.5 + 1e-12
