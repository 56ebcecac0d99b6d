"""The smooth hinge and what is made of it: relu, abs and clip.

The soft relu is the integral of the cumulative kernel, w R(x / w) with w = temperature * scale, so
that its slope is `step` and the slope of the soft `abs` is `sign`. For `logistic` it is softplus,
for `algebraic` (x + sqrt(x^2 + w^2)) / 2, for `gaussian` x P(x / w) + w P'(x / w) with the normal
distribution P, for `linear` two straight lines joined by a parabola. The integral of `arctan`
diverges; there R(u) = u K(u) + 1 / pi, which is convex and rising as the others are. (Each in units
of the kernel's width.)

Every one is computed as the hard function plus a correction that vanishes away from the kink, so
nothing overflows or cancels. The soft values lie above the hard ones, by 0.69 w at most for
`logistic`.
"""

from __future__ import annotations

from typing import Any

from keras import ops as K

from bevel.errors import BevelValueError
from bevel.ops import kernels
from bevel.ops.arguments import (
    FORWARDS,
    Width,
    choose,
    compute_dtype,
    dtype_of,
    floating,
    is_scalar,
    ratio,
    straight_through,
    width,
)


def relu(
    x: Any,
    *,
    temperature: Any = 0.1,
    kernel: str = "logistic",
    forward: str = "soft",
    scale: Any = 1.0,
) -> Any:
    """max(x, 0), softly the integral of the kernel.

    Args:
        x: Floating-point tensor of any shape.
        temperature: How soft: a number >= 0 or a scalar tensor; 0 is the hard function, with slope
            1/2 at its kink.
        kernel: See `step`.
        forward: `soft` returns the surrogate, `hard` the exact value with the surrogate's gradient.
        scale: Positive number, or tensor that broadcasts to `x`.

    Returns:
        A tensor of the shape and dtype of `x`; NaN where `x` is NaN.

    Raises:
        BevelValueError: temperature, scale, kernel or forward cannot be used.
        BevelTypeError: `x` is not floating-point.

    Example:
        >>> float(relu(3.0)), float(relu(-3.0, temperature=0.0))
        (3.0, 0.0)
    """
    x, spread, dtype = _prepared(x, temperature, kernel, forward, scale)
    hard = K.where(x > 0, x, K.where(x < 0, K.zeros_like(x), 0.5 * x))
    if spread.hard:
        return K.cast(hard, dtype)
    soft = K.where(x < 0, K.zeros_like(x), x) + _excess(x, spread, kernel, dtype)
    return K.cast(straight_through(hard, soft) if forward == "hard" else soft, dtype)


def abs(
    x: Any,
    *,
    temperature: Any = 0.1,
    kernel: str = "logistic",
    forward: str = "soft",
    scale: Any = 1.0,
) -> Any:
    """The absolute value, softly relu(x) + relu(-x).

    Arguments, results and errors are those of `relu`; the hard slope at 0 is 0.

    Example:
        >>> float(abs(-3.0)), float(abs(0.0, forward="hard"))
        (3.0, 0.0)
    """
    x, spread, dtype = _prepared(x, temperature, kernel, forward, scale)
    hard = x * K.stop_gradient(K.sign(x))
    if spread.hard:
        return K.cast(hard, dtype)
    soft = _direction(x) * x + 2 * _excess(x, spread, kernel, dtype)
    return K.cast(straight_through(hard, soft) if forward == "hard" else soft, dtype)


def clip(
    x: Any,
    x_min: Any,
    x_max: Any,
    *,
    temperature: Any = 0.1,
    kernel: str = "logistic",
    forward: str = "soft",
    scale: Any = 1.0,
) -> Any:
    """x limited to [x_min, x_max], softly x_min + relu(x - x_min) - relu(x - x_max).

    The soft value rises everywhere and stays between the limits.

    Args:
        x: Floating-point tensor of any shape.
        x_min: Number, or tensor that broadcasts to `x`.
        x_max: Number, or tensor that broadcasts to `x`, at least `x_min`.
        temperature: How soft: a number >= 0 or a scalar tensor; 0 is the hard function, with slope
            1/2 at both limits.
        kernel: See `step`.
        forward: See `relu`.
        scale: Positive number, or tensor that broadcasts to `x`.

    Returns:
        A tensor of the shape and dtype of `x`; NaN where `x` is NaN.

    Raises:
        BevelValueError: `x_min` is above `x_max`, or temperature, scale, kernel or forward cannot
            be used.
        BevelTypeError: `x` is not floating-point.

    Example:
        >>> float(clip(7.0, 0.0, 1.0)), float(clip(0.25, 0.0, 1.0, forward="hard"))
        (1.0, 0.25)
    """
    if is_scalar(x_min) and is_scalar(x_max) and not x_min <= x_max:
        raise BevelValueError(
            f"`x_min` must be at most `x_max`; got x_min={x_min} and x_max={x_max}."
        )
    x, spread, dtype = _prepared(x, temperature, kernel, forward, scale)
    low, high = (K.cast(limit, dtype_of(x)) for limit in _limits(x_min, x_max, dtype_of(x)))
    inner = K.where(K.logical_or(x == low, x == high), 0.5 * (x + K.stop_gradient(x)), x)
    hard = K.where(x < low, low, K.where(x > high, high, inner))
    if spread.hard:
        return K.cast(hard, dtype)
    soft = K.where(x < low, low, K.where(x < high, x, high))
    soft = soft + _excess(x - low, spread, kernel, dtype) - _excess(x - high, spread, kernel, dtype)
    return K.cast(straight_through(hard, soft) if forward == "hard" else soft, dtype)


def _prepared(
    x: Any, temperature: Any, kernel: str, forward: str, scale: Any
) -> tuple[Any, Width, str]:
    choose("kernel", kernel, kernels.KERNELS)
    choose("forward", forward, FORWARDS)
    x = floating("x", x)
    dtype = dtype_of(x)
    x = K.cast(x, compute_dtype(dtype))
    return x, width(temperature, scale, dtype_of(x)), dtype


def _limits(x_min: Any, x_max: Any, dtype: str) -> list[Any]:
    return [
        K.convert_to_tensor(limit, dtype=dtype) if is_scalar(limit) else K.convert_to_tensor(limit)
        for limit in (x_min, x_max)
    ]


def _direction(x: Any) -> Any:
    """The sign of x, and 1 at 0, so that the two sides of a kink agree on one slope."""
    return K.stop_gradient(K.where(x < 0, -K.ones_like(x), K.ones_like(x)))


def _excess(x: Any, spread: Width, kernel: str, dtype: str) -> Any:
    """How far the soft relu lies above the hard one."""
    return spread.times(kernels.tail(ratio(_direction(x) * x, spread, dtype), kernel))
