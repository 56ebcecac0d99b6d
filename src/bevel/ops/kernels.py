"""Cumulative kernels: the smooth S-curves that replace a step.

A kernel K rises from 0 to 1 and is odd-symmetric about K(0) = 1/2, so K(-z) = 1 - K(z). `logistic`
is the reference. Every other kernel is stretched by a constant, its width, so that the same
temperature means the same closeness to the step: the mean absolute error E|K(z / 0.1) - (z > 0)|
over a standard normal z is that of `logistic`.

Each kernel comes in four forms, every one of them saturating, without cancellation and with finite
first derivatives at any finite z: the cumulative K, its odd part K - 1/2, its bump K'(z) / K'(0),
and its tail, the integral of K from -infinity to -a, from which the smooth hinge is built.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from keras import ops as K
from keras.backend import backend

from bevel.ops.arguments import bounded, choose, compute_dtype, dtype_of, floating
from bevel.ops.primitives import mirrored, sloped


class Kernel(NamedTuple):
    """One kernel in units of its own width.

    `limits` bound |z| in float32 and float64, so that no square overflows; beyond them the kernel
    is saturated and its derivative below what matters.
    """

    width: float
    limits: tuple[float, float] | None
    cumulative: Callable[[Any], Any]
    odd: Callable[[Any], Any]
    bump: Callable[[Any], Any]
    tail: Callable[[Any], Any]


def cdf(z: Any, kernel: str = "logistic") -> Any:
    """The cumulative kernel K(z).

    | kernel | K(z), with u = z / width |
    |---|---|
    | `logistic` | 1 / (1 + exp(-u)) |
    | `arctan` | 1/2 + arctan(u) / pi |
    | `algebraic` | 1/2 + u / (2 sqrt(1 + u^2)) |
    | `linear` | 1/2 + u / 2, between 0 and 1 |
    | `gaussian` | the standard normal distribution function |

    Args:
        z: Floating-point tensor of any shape.
        kernel: One of the names above.

    Returns:
        A tensor like `z`, in [0, 1]; NaN where `z` is NaN. The corners of `linear` have half its
        slope.

    Raises:
        BevelValueError: the kernel is unknown.
        BevelTypeError: `z` is not floating-point.

    Example:
        >>> float(cdf(0.0, "algebraic"))
        0.5
    """
    return _evaluate("z", z, kernel, cumulative)


def bump(z: Any, kernel: str = "logistic") -> Any:
    """The kernel's density scaled to 1 at 0: K'(z) / K'(0).

    The density of `linear` is a box, which has no gradient; its bump is the triangle 1 - |2K(z) -
    1|.

    Args:
        z: Floating-point tensor of any shape.
        kernel: One of the names of `cdf`.

    Returns:
        A tensor like `z`, in [0, 1]; NaN where `z` is NaN.

    Raises:
        BevelValueError: the kernel is unknown.
        BevelTypeError: `z` is not floating-point.

    Example:
        >>> float(bump(0.0, "gaussian"))
        1.0
    """
    return _evaluate("z", z, kernel, peak)


def cumulative(z: Any, kernel: str) -> Any:
    """K(z) for a tensor that is already in a dtype to compute in."""
    return KERNELS[kernel].cumulative(_stretched(z, kernel))


def odd(z: Any, kernel: str) -> Any:
    """K(z) - 1/2, exact to the last digits near 0."""
    return KERNELS[kernel].odd(_unit(z, kernel))


def peak(z: Any, kernel: str) -> Any:
    """K'(z) / K'(0)."""
    return KERNELS[kernel].bump(_unit(z, kernel))


def tail(a: Any, kernel: str) -> Any:
    """The area under K to the left of -a, for a >= 0.

    The area is infinite for `arctan`; its tail belongs to the smooth hinge u K(u) + 1/pi instead,
    which is convex and rising too.
    """
    return KERNELS[kernel].width * KERNELS[kernel].tail(_unit(a, kernel))


def _evaluate(name: str, z: Any, kernel: str, form: Callable[[Any, str], Any]) -> Any:
    choose("kernel", kernel, KERNELS)
    z = floating(name, z)
    return K.cast(form(K.cast(z, compute_dtype(dtype_of(z))), kernel), dtype_of(z))


def _stretched(z: Any, kernel: str) -> Any:
    width = KERNELS[kernel].width
    return z if width == 1.0 else z / width


def _unit(z: Any, kernel: str) -> Any:
    return _limited(_stretched(z, kernel), KERNELS[kernel].limits)


def _limited(u: Any, limits: tuple[float, float] | None) -> Any:
    return u if limits is None else bounded(u, limits[dtype_of(u) == "float64"])


def _magnitude(u: Any) -> tuple[Any, Any]:
    """The sign of u, 1 at 0, as a constant, and |u| with the derivative of the sign."""
    sign = K.stop_gradient(K.where(u < 0, -K.ones_like(u), K.ones_like(u)))
    return sign, sign * u


def _with_slope(
    value: Callable[[Any], Any],
    slope: Callable[[Any], Any],
    limits: tuple[float, float] | None = None,
) -> Callable[[Any], Any]:
    """A form with its derivative written down: half the work of the one derived from its steps.

    The slope is computed again on the way back, from u itself, so that it has derivatives too.
    Beyond the limits both are what they are there. These lie so far out that the slope is exactly
    0, since what it is divided by is infinite, and no further than where its own derivative is 0.
    """
    value, slope = (_within(limits, part) for part in (value, slope))
    if backend() == "torch":
        return sloped(value, slope)

    @K.custom_gradient
    def form(u: Any) -> Any:
        def gradient(*args: Any, upstream: Any = None) -> Any:
            return (args[0] if upstream is None else upstream) * slope(u)

        return value(u), gradient

    return form


def _within(limits: tuple[float, float] | None, form: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda u: form(_limited(u, limits))


def _logistic_low(u: Any) -> Any:
    """The sigmoid of -|u|: by its left half, the slope keeps its digits where K is near 1 too."""
    return K.sigmoid(-K.abs(u))


def _logistic_value(u: Any) -> Any:
    return mirrored(_logistic_low(u), u)


def _logistic_slope(u: Any) -> Any:
    low = _logistic_low(u)
    return low * (1 - low)


def _logistic_odd(u: Any) -> Any:
    sign, a = _magnitude(u)
    return sign * -0.5 * K.expm1(-a) / (1 + K.exp(-a))


def _logistic_bump(u: Any) -> Any:
    return 4 * K.sigmoid(u) * K.sigmoid(-u)


def _logistic_tail(a: Any) -> Any:
    return K.log1p(K.exp(-a))


def _angle(u: Any) -> Any:
    """arctan2(1, -u), which is pi K(u): no digits are lost far to the left, where K is small."""
    if dtype_of(u) != "float64":
        return K.arctan2(K.ones_like(u), -u)
    left = K.where(u > 0, -u, u)
    angle = _left_angle(left)
    return K.where(u > 0, math.pi - angle, angle)


def _left_angle(u: Any) -> Any:
    """arctan2(1, -u) for u <= 0 in float64, for which Keras has no arctangent on every backend.

    The angle is halved three times, by tan(t / 2) = tan(t) / (1 + sqrt(1 + tan(t)^2)), which brings
    the tangent below 1/5; there twelve terms of its series are exact.
    """
    tangent = 1 / (K.sqrt(1 + u * u) - u)
    for _ in range(2):
        tangent = tangent / (1 + K.sqrt(1 + tangent * tangent))
    square = tangent * tangent
    series = K.zeros_like(u)
    for power in range(23, 0, -2):
        series = 1 / power - square * series
    return 8 * tangent * series


def _arctan_value(u: Any) -> Any:
    return _angle(u) / math.pi


def _arctan_slope(u: Any) -> Any:
    return _arctan_bump(u) / math.pi


def _arctan_odd(u: Any) -> Any:
    sign, a = _magnitude(u)
    return sign * (0.5 - _angle(-a) / math.pi)


def _arctan_bump(u: Any) -> Any:
    return 1 / (1 + u * u)


def _arctan_tail(a: Any) -> Any:
    return (1 - a * _angle(-a)) / math.pi


def _algebraic_value(u: Any) -> Any:
    length = K.sqrt(1 + u * u)
    return mirrored(0.5 / (length * (length + K.abs(u))), u)


def _algebraic_slope(u: Any) -> Any:
    length = K.sqrt(1 + u * u)
    return 0.5 / (length * length * length)


def _algebraic_odd(u: Any) -> Any:
    return 0.5 * u / K.sqrt(1 + u * u)


def _algebraic_bump(u: Any) -> Any:
    inverse = 1 / K.sqrt(1 + u * u)
    return inverse * inverse * inverse


def _algebraic_tail(a: Any) -> Any:
    return 0.5 / (K.sqrt(1 + a * a) + a)


def _linear_odd(u: Any) -> Any:
    inside = 0.5 * u
    corner = 0.5 * (inside + K.stop_gradient(inside))
    half = K.full_like(u, 0.5)
    return K.where(u > 1, half, K.where(u < -1, -half, K.where(K.abs(u) == 1, corner, inside)))


def _linear_cumulative(u: Any) -> Any:
    return 0.5 + _linear_odd(u)


def _linear_bump(u: Any) -> Any:
    distance = 2 * _linear_odd(u)
    return 1 - distance * K.stop_gradient(K.sign(distance))


def _linear_tail(a: Any) -> Any:
    gap = K.where(a > 1, K.zeros_like(a), 1 - a)
    return 0.25 * gap * gap


def _gaussian_odd(u: Any) -> Any:
    return 0.5 * K.erf(u / math.sqrt(2))


def _gaussian_value(u: Any) -> Any:
    return 0.5 + _gaussian_odd(u)


def _gaussian_slope(u: Any) -> Any:
    return _gaussian_bump(u) / math.sqrt(2 * math.pi)


def _gaussian_bump(u: Any) -> Any:
    return K.exp(-0.5 * u * u)


def _gaussian_tail(a: Any) -> Any:
    return _gaussian_bump(a) / math.sqrt(2 * math.pi) - a * (0.5 - _gaussian_odd(a))


KERNELS: dict[str, Kernel] = {
    "logistic": Kernel(
        1.0,
        None,
        _with_slope(_logistic_value, _logistic_slope),
        _logistic_odd,
        _logistic_bump,
        _logistic_tail,
    ),
    "arctan": Kernel(
        0.5405693520747,
        (1e18, 1e150),
        _with_slope(_arctan_value, _arctan_slope, (1e25, 1e160)),
        _arctan_odd,
        _arctan_bump,
        _arctan_tail,
    ),
    "algebraic": Kernel(
        1.499173749301,
        (1e9, 1e75),
        _with_slope(_algebraic_value, _algebraic_slope, (1e18, 1e150)),
        _algebraic_odd,
        _algebraic_bump,
        _algebraic_tail,
    ),
    "linear": Kernel(
        2.754930618251,
        None,
        _linear_cumulative,
        _linear_odd,
        _linear_bump,
        _linear_tail,
    ),
    "gaussian": Kernel(
        1.732591122450,
        (40.0, 40.0),
        _with_slope(_gaussian_value, _gaussian_slope, (40.0, 40.0)),
        _gaussian_odd,
        _gaussian_bump,
        _gaussian_tail,
    ),
}
