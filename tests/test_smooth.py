"""The smooth hinge: its formulas, its slopes, and that it bends only where it should."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bevel import ops
from bevel.errors import BevelValueError
from bevel.ops.kernels import KERNELS

from .contract.gradients import array, gradient, second_derivative, tensor, value_and_gradient

X = np.concatenate([np.linspace(-3, 3, 61), [1e-9, -1e-9, 50.0, -50.0]])
W = 0.3
every = pytest.mark.parametrize("kernel", KERNELS)


def _relu(x: np.ndarray, kernel: str) -> np.ndarray:
    w = W * KERNELS[kernel].width
    u = x / w
    normal = 0.5 * np.vectorize(math.erfc)(-u / np.sqrt(2))
    return (
        w
        * {
            "logistic": lambda: np.logaddexp(0, u),
            "arctan": lambda: u * np.arctan2(1, -u) / np.pi + 1 / np.pi,
            "algebraic": lambda: 0.5 * (u + np.sqrt(u * u + 1)),
            "linear": lambda: np.where(u > 1, u, np.where(u < -1, 0, (u + 1) ** 2 / 4)),
            "gaussian": lambda: u * normal + np.exp(-u * u / 2) / np.sqrt(2 * np.pi),
        }[kernel]()
    )


@every
def test_relu_against_its_formula(kernel: str) -> None:
    value = array(ops.relu(tensor(X, "float64"), temperature=W, kernel=kernel))
    np.testing.assert_allclose(value, _relu(X, kernel), atol=1e-13)


@pytest.mark.parametrize("kernel", [k for k in KERNELS if k != "arctan"])
def test_the_slope_of_relu_is_step_and_of_abs_is_sign(kernel: str) -> None:
    keywords = {"temperature": W, "kernel": kernel}
    x = tensor(X, "float64")
    slope = gradient(lambda x: ops.relu(x, **keywords), x)
    np.testing.assert_allclose(slope, array(ops.step(x, **keywords)), atol=1e-14)
    slope = gradient(lambda x: ops.abs(x, **keywords), x)
    np.testing.assert_allclose(slope, array(ops.sign(x, **keywords)), atol=2e-14)


@pytest.mark.parametrize("kernel", [k for k in KERNELS if k != "linear"])
def test_relu_is_convex_and_curved_at_zero(kernel: str) -> None:
    curve = second_derivative(
        lambda x: ops.relu(x, temperature=W, kernel=kernel), tensor(X, "float64")
    )
    assert (curve >= -1e-12).all()
    assert curve[30] > 0.1


@every
def test_abs_and_clip_are_made_of_relus(kernel: str) -> None:
    keywords = {"temperature": W, "kernel": kernel}
    x = tensor(X, "float64")
    relu = _relu(X, kernel)
    np.testing.assert_allclose(array(ops.abs(x, **keywords)), relu + _relu(-X, kernel), atol=1e-13)
    expected = -1 + _relu(X + 1, kernel) - _relu(X - 0.5, kernel)
    value, (slope,) = value_and_gradient(lambda x: ops.clip(x, -1.0, 0.5, **keywords), x)
    np.testing.assert_allclose(value, expected, atol=1e-13)
    assert ((value >= -1 - 1e-13) & (value <= 0.5 + 1e-13)).all()
    assert (slope >= -1e-13).all()


def test_the_hard_slope_at_a_kink_is_the_mean_of_both_sides() -> None:
    at = {"relu": ([0.0], [0.5]), "abs": ([0.0], [0.0])}
    for name, (x, expected) in at.items():
        op = getattr(ops, name)
        assert gradient(lambda x, op=op: op(x, temperature=0), tensor(x, "float32")) == expected
        assert gradient(op, tensor(x, "float32")) == expected
    slope = gradient(lambda x: ops.clip(x, -1, 1, temperature=0), tensor([-1.0, 1.0], "float32"))
    assert slope.tolist() == [0.5, 0.5]


def test_the_limits_may_be_tensors_and_get_a_gradient() -> None:
    x = tensor([-2.0, 0.0, 2.0], "float32")
    low, high = tensor([-1.0], "float32"), tensor([1.0], "float32")
    _, slopes = value_and_gradient(lambda *a: ops.clip(*a, temperature=1e-3), x, low, high)
    assert [s.tolist() for s in slopes] == [[0.0, 1.0, 0.0], [1.0], [1.0]]


def test_crossed_limits_are_refused() -> None:
    with pytest.raises(BevelValueError, match=r"`x_min` must be at most `x_max`; got x_min=2 and"):
        ops.clip(0.0, 2, 1)
    with pytest.raises(BevelValueError, match="x_max=nan"):
        ops.clip(0.0, 2, float("nan"))


@given(
    x=st.floats(-(2.0**127), 2.0**127, width=32),
    kernel=st.sampled_from(tuple(KERNELS)),
    temperature=st.sampled_from([1e-30, 1e-3, 1.0]),
)
def test_above_the_hard_value_by_a_bounded_amount(
    x: float, kernel: str, temperature: float
) -> None:
    keywords = {"temperature": temperature, "kernel": kernel}
    excess = float(ops.relu(x, **keywords)) - max(np.float32(x), 0)
    bound = 0.7 * temperature
    assert -1e-6 * bound <= excess <= bound + 1e-6 * abs(x)
    assert float(ops.abs(x, **keywords)) == float(ops.abs(-x, **keywords))
