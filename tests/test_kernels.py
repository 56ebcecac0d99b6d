"""The kernels against float64 formulas, and the constants that make them alike."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import ops as K
from keras.backend import standardize_dtype

from bevel import ops
from bevel.errors import BevelTypeError, BevelValueError
from bevel.ops import kernels

from .contract.gradients import array, gradient, second_derivative, tensor

_erf = np.vectorize(math.erf)
# K(-a) for a >= 0 in units of the width, without cancellation.
LOWER = {
    "logistic": lambda a: np.exp(-a) / (1 + np.exp(-a)),
    "arctan": lambda a: np.arctan2(1, a) / np.pi,
    "algebraic": lambda a: 0.5 / (np.sqrt(1 + a * a) * (np.sqrt(1 + a * a) + a)),
    "linear": lambda a: np.maximum(0, 0.5 - 0.5 * a),
    "gaussian": lambda a: 0.5 * np.vectorize(math.erfc)(a / np.sqrt(2)),
}
DENSITY = {
    "logistic": lambda a: np.exp(-a) / (1 + np.exp(-a)) ** 2,
    "arctan": lambda a: 1 / (np.pi * (1 + a * a)),
    "algebraic": lambda a: 0.5 * (1 + a * a) ** -1.5,
    "linear": lambda a: np.where(a < 1, 0.5, np.where(a == 1, 0.25, 0.0)),
    "gaussian": lambda a: np.exp(-a * a / 2) / np.sqrt(2 * np.pi),
}
NAMES = tuple(LOWER)
POINTS = np.concatenate([-np.geomspace(30, 1e-6, 60), [0.0], np.geomspace(1e-6, 30, 60)])

every = pytest.mark.parametrize("kernel", NAMES)
finite = st.floats(allow_nan=False, allow_infinity=False, width=32)


def _cdf(z: np.ndarray, kernel: str) -> np.ndarray:
    lower = LOWER[kernel](np.abs(z) / kernels.KERNELS[kernel].width)
    return np.where(z > 0, 1 - lower, lower)


def _slope(z: np.ndarray, kernel: str) -> np.ndarray:
    width = kernels.KERNELS[kernel].width
    return DENSITY[kernel](np.abs(z) / width) / width


def test_the_table_is_complete() -> None:
    assert tuple(kernels.KERNELS) == NAMES


@every
def test_the_widths_match_the_mean_absolute_error_of_logistic(kernel: str) -> None:
    nodes, weights = np.polynomial.legendre.leggauss(40)
    # Panels that shrink towards 0, with a border where `linear` has its corner.
    corner = 0.1 * kernels.KERNELS["linear"].width
    borders = np.unique([0, *np.geomspace(1e-4, 14, 80), corner])
    half = np.diff(borders)[:, None] / 2
    z = borders[:-1, None] + half * (nodes + 1)

    def error(name: str, width: float) -> float:
        density = 2 * np.exp(-z * z / 2) / np.sqrt(2 * np.pi)
        return float((density * LOWER[name](z / 0.1 / width) * half * weights).sum())

    expected = error("logistic", 1.0)
    assert expected == pytest.approx(0.054608, abs=1e-6)
    assert error(kernel, kernels.KERNELS[kernel].width) == pytest.approx(expected, rel=1e-11)


@every
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 3e-7), ("float64", 2e-15)])
def test_cdf_and_its_slope_against_float64(kernel: str, dtype: str, tolerance: float) -> None:
    z = array(tensor(POINTS, dtype))
    value = array(ops.cdf(tensor(z, dtype), kernel))
    np.testing.assert_allclose(value, _cdf(z, kernel), atol=tolerance)
    slope = gradient(lambda z: ops.cdf(z, kernel), tensor(z, dtype))
    # Relative: far from 0, on either side, a small slope still has its digits.
    np.testing.assert_allclose(slope, _slope(z, kernel), rtol=200 * tolerance, atol=1e-30)


@every
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 3e-7), ("float64", 2e-15)])
def test_bump_is_the_density(kernel: str, dtype: str, tolerance: float) -> None:
    z = array(tensor(POINTS, dtype))
    expected = _slope(z, kernel) / _slope(np.zeros(1), kernel)
    if kernel == "linear":
        expected = np.maximum(0, 1 - np.abs(z) / kernels.KERNELS[kernel].width)
    np.testing.assert_allclose(
        array(ops.bump(tensor(z, dtype), kernel)), expected, atol=3 * tolerance
    )


@pytest.mark.parametrize("kernel", ["logistic", "arctan", "algebraic", "gaussian"])
def test_the_second_derivative_against_float64(kernel: str) -> None:
    u = POINTS / kernels.KERNELS[kernel].width
    expected = {
        "logistic": lambda: -DENSITY["logistic"](np.abs(u)) * np.tanh(u / 2),
        "arctan": lambda: -2 * u / (np.pi * (1 + u * u) ** 2),
        "algebraic": lambda: -1.5 * u * (1 + u * u) ** -2.5,
        "gaussian": lambda: -u * DENSITY["gaussian"](u),
    }[kernel]() / kernels.KERNELS[kernel].width ** 2
    found = second_derivative(lambda z: ops.cdf(z, kernel), tensor(POINTS, "float64"))
    np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-15)


def test_logistic_is_the_sigmoid() -> None:
    x = tensor(np.linspace(-4, 4, 1001), "float64")
    expected = 1 / (1 + np.exp(-array(x) / 0.3))
    np.testing.assert_allclose(array(ops.step(x, temperature=0.3)), expected, rtol=1e-14)


def test_a_confident_prediction_keeps_its_gradient_on_both_sides() -> None:
    # The framework's own sigmoid, s (1 - s), is flat from 17 on in float32, where s rounds to 1.
    slope = gradient(ops.cdf, tensor([-30.0, 30.0], "float32"))
    np.testing.assert_allclose(slope, np.exp(-30.0), rtol=1e-5)


@every
@given(z=finite)
def test_symmetric_about_one_half(kernel: str, z: float) -> None:
    pair = array(ops.cdf(tensor([z, -z], "float32"), kernel))
    assert pair.sum() == pytest.approx(1.0, abs=2e-7)
    assert array(ops.cdf(tensor([0.0, -0.0], "float32"), kernel)).tolist() == [0.5, 0.5]


@every
@given(z=st.lists(finite, min_size=2, max_size=8))
def test_rising_between_0_and_1_with_a_finite_slope_at_least_0(kernel: str, z: list[float]) -> None:
    z = sorted(z)
    value = array(ops.cdf(tensor(z, "float32"), kernel))
    assert ((value >= 0) & (value <= 1)).all()
    assert (np.diff(value) >= -2e-7).all()
    slope = gradient(lambda z: ops.cdf(z, kernel), tensor(z, "float32"))
    assert np.isfinite(slope).all()
    assert (slope >= 0).all()


@every
@pytest.mark.parametrize("form", [kernels.cumulative, kernels.odd, kernels.peak])
def test_each_form_is_finite_at_the_largest_numbers(kernel: str, form) -> None:
    for dtype, largest in (("float32", 3.4e38), ("float64", 1.7e308)):
        z = tensor([-np.inf, -largest, -1e20, 1e20, largest, np.inf], dtype)
        value = array(form(z, kernel))
        slope = gradient(lambda z: form(z, kernel), z)
        assert np.isfinite(value).all()
        assert np.isfinite(slope).all()
        assert np.isnan(array(form(tensor([np.nan], dtype), kernel))).all()


@every
def test_the_tail_is_the_area_under_the_kernel(kernel: str) -> None:
    a = np.linspace(0, 8, 33)
    h = 1e-5
    up, down = (array(kernels.tail(tensor(a + s * h, "float64"), kernel)) for s in (1, -1))
    if kernel == "arctan":  # its area is infinite; see the docstring
        width = kernels.KERNELS[kernel].width
        u = a / width
        expected = -LOWER[kernel](u) + u / (np.pi * (1 + u * u))
    else:
        expected = -LOWER[kernel](a / kernels.KERNELS[kernel].width)
    np.testing.assert_allclose(((up - down) / (2 * h))[1:], expected[1:], atol=2e-6)
    assert array(kernels.tail(tensor([1e9], "float64"), kernel)) == pytest.approx(0, abs=1e-8)


def test_the_callers_dtype_comes_back() -> None:
    for dtype in ("float16", "bfloat16", "float32", "float64"):
        assert standardize_dtype(ops.bump(tensor([1.0], dtype)).dtype) == dtype


def test_bad_arguments() -> None:
    with pytest.raises(BevelValueError, match=r"`kernel` must be one of 'logistic', .*got 'x'"):
        ops.cdf(0.0, "x")
    with pytest.raises(BevelTypeError, match=r"`z` must be a floating-point tensor.*int"):
        ops.bump(K.convert_to_tensor([1, 2]))


def test_erf_of_the_oracle_is_the_one_of_the_kernel() -> None:
    z = POINTS
    width = kernels.KERNELS["gaussian"].width
    expected = 0.5 * _erf(z / width / np.sqrt(2))
    np.testing.assert_allclose(
        array(kernels.odd(tensor(z, "float64"), "gaussian")), expected, rtol=1e-14
    )
