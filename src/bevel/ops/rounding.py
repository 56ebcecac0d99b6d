"""Soft rounding: one step of a cumulative kernel at the nearest threshold.

The thresholds of `floor` are the integers. With k the threshold nearest to x and d = x - k, which
lies in [-1/2, 1/2], the soft floor is k - 1 + p, where

    p = 1/2 + 1/2 G(d / (temperature * scale)) / G(1/2 / (temperature * scale)),  G = K - 1/2.

The ratio makes neighbouring cells meet: the function is continuous, rising, exact in the middle of
every cell, and tends to x - 1/2 as the temperature grows. `round` has its thresholds half-way
between the integers, `ceil(x)` is -floor(-x), and `trunc` is odd with no threshold at 0, so its
middle cell is two wide.
"""

from __future__ import annotations

from typing import Any

from keras import ops as K

from bevel.ops import kernels
from bevel.ops.arguments import (
    FORWARDS,
    Width,
    choose,
    compute_dtype,
    dtype_of,
    floating,
    hardened,
    is_scalar,
    ratio,
    straight_through,
    width,
)

_STRAIGHT = 1e6  # a width from which on every kernel is a straight line across a cell, to 1e-13


def nearest_step(
    x: Any, *, temperature: Any = 0.1, kernel: str = "logistic", scale: Any = 1.0
) -> tuple[Any, Any]:
    """The soft floor as a choice between two neighbours: k with probability p, else k - 1.

    Args:
        x: Floating-point tensor of any shape.
        temperature: How soft: a number >= 0 or a scalar tensor; 0 gives p = 1 where x >= k, else 0.
        kernel: See `step`.
        scale: Positive number, or tensor that broadcasts to `x`.

    Returns:
        `k`, the integer nearest to x (constant for the gradient), and `p` in [0, 1], both in the
        shape of `x` and the dtype to compute in: float64 for float64, else float32. NaN where `x`
        is NaN. Where x has no fraction, as beyond 2**24 in float32, p is 1/2; it is so at infinity
        too.

    Raises:
        BevelValueError: temperature, scale or kernel cannot be used.
        BevelTypeError: `x` is not floating-point.

    Example:
        >>> k, p = nearest_step(2.5)
        >>> float(k - 1 + p)
        2.0
    """
    choose("kernel", kernel, kernels.KERNELS)
    x = floating("x", x)
    dtype = dtype_of(x)
    x = K.cast(x, compute_dtype(dtype))
    spread = width(temperature, scale, dtype_of(x))
    threshold = K.stop_gradient(K.round(x))
    if spread.hard:
        return threshold, hardened(K.cast(x >= threshold, dtype_of(x)), x)
    return threshold, _risen(_distance(x, threshold), spread, kernel, dtype)


def floor(
    x: Any,
    *,
    temperature: Any = 0.1,
    kernel: str = "logistic",
    forward: str = "soft",
    scale: Any = 1.0,
) -> Any:
    """The largest integer <= x, softly as the module describes: k - 1/2 at every integer k.

    Args:
        x: Floating-point tensor of any shape.
        temperature: How soft: a number >= 0 or a scalar tensor; 0 is the hard function.
        kernel: See `step`.
        forward: `soft` returns the surrogate, `hard` the exact value with the surrogate's gradient.
        scale: Positive number, or tensor that broadcasts to `x`.

    Returns:
        A tensor of the shape and dtype of `x`; NaN where `x` is NaN, infinite where it is infinite.

    Raises:
        BevelValueError: temperature, scale, kernel or forward cannot be used.
        BevelTypeError: `x` is not floating-point.

    Example:
        >>> float(floor(2.5)), float(floor(2.0)), float(floor(2.0, forward="hard"))
        (2.0, 1.5, 2.0)
    """
    return _rounded(x, _hard_floor, _soft_floor, temperature, kernel, forward, scale)


def ceil(
    x: Any,
    *,
    temperature: Any = 0.1,
    kernel: str = "logistic",
    forward: str = "soft",
    scale: Any = 1.0,
) -> Any:
    """The smallest integer >= x, softly -floor(-x).

    Arguments, results and errors are those of `floor`.

    Example:
        >>> float(ceil(2.5)), float(ceil(2.0, temperature=0.0))
        (3.0, 2.0)
    """
    return _rounded(x, _hard_ceil, _soft_ceil, temperature, kernel, forward, scale)


def round(
    x: Any,
    *,
    temperature: Any = 0.1,
    kernel: str = "logistic",
    forward: str = "soft",
    scale: Any = 1.0,
) -> Any:
    """The integer nearest to x, softly floor(x + 1/2): exact at every integer.

    The hard value rounds half to even, as NumPy and the frameworks do.
    Arguments, results and errors are those of `floor`.

    Example:
        >>> float(round(3.0)), float(round(2.5)), float(round(2.5, temperature=0.0))
        (3.0, 2.5, 2.0)
    """
    return _rounded(x, K.round, _soft_round, temperature, kernel, forward, scale)


def trunc(
    x: Any,
    *,
    temperature: Any = 0.1,
    kernel: str = "logistic",
    forward: str = "soft",
    scale: Any = 1.0,
) -> Any:
    """x without its fraction, towards 0; softly an odd function with one cell on [-1, 1].

    The first threshold, 1, rises over [0, 3/2], every other one over a cell of width 1.
    Arguments, results and errors are those of `floor`.

    Example:
        >>> float(trunc(0.0)), float(trunc(-2.5)), float(trunc(-1.7, forward="hard"))
        (0.0, -2.0, -1.0)
    """
    return _rounded(x, K.trunc, _soft_trunc, temperature, kernel, forward, scale)


def _rounded(
    x: Any,
    hard: Any,
    soft: Any,
    temperature: Any,
    kernel: str,
    forward: str,
    scale: Any,
) -> Any:
    choose("kernel", kernel, kernels.KERNELS)
    choose("forward", forward, FORWARDS)
    x = floating("x", x)
    dtype = dtype_of(x)
    x = K.cast(x, compute_dtype(dtype))
    spread = width(temperature, scale, dtype_of(x))
    if spread.hard:
        return K.cast(hardened(hard(x), x), dtype)
    value = soft(x, spread, kernel, dtype)
    if forward == "hard":
        value = straight_through(hard(x), value)
    return K.cast(value, dtype)


def _hard_floor(x: Any) -> Any:
    """Rounding down by way of `round`, which keeps float64 on every backend."""
    nearest = K.round(x)
    return K.where(nearest > x, nearest - 1, nearest)


def _hard_ceil(x: Any) -> Any:
    return -_hard_floor(-x)


def _soft_floor(x: Any, spread: Width, kernel: str, dtype: str) -> Any:
    threshold = K.stop_gradient(K.round(x))
    return threshold + (_risen(_distance(x, threshold), spread, kernel, dtype) - 1)


def _soft_ceil(x: Any, spread: Width, kernel: str, dtype: str) -> Any:
    return -_soft_floor(-x, spread, kernel, dtype)


def _soft_round(x: Any, spread: Width, kernel: str, dtype: str) -> Any:
    below = K.stop_gradient(_hard_floor(x))
    return below + _risen(_distance(x, below) - 0.5, spread, kernel, dtype)


def _soft_trunc(x: Any, spread: Width, kernel: str, dtype: str) -> Any:
    direction = K.stop_gradient(K.where(x < 0, -K.ones_like(x), K.ones_like(x)))
    size = direction * x
    threshold = K.stop_gradient(K.round(size))
    first = threshold < 1.5
    threshold = K.where(threshold < 1, K.ones_like(size), threshold)
    reach = K.where(first, K.ones_like(size), K.full_like(size, 0.5))
    rise = _risen(_distance(size, threshold), spread, kernel, dtype, reach)
    return direction * (threshold + (rise - 1))


def _distance(x: Any, threshold: Any) -> Any:
    """x - threshold, 0 where both are infinite."""
    return K.where(K.isinf(x), K.zeros_like(x), x - threshold)


def _risen(d: Any, spread: Width, kernel: str, dtype: str, left: Any = None) -> Any:
    """The share of the step taken at distance d: 0 at -left (1/2 unless given), 1 at 1/2."""
    spread = _narrowed(spread)
    here = kernels.odd(ratio(d, spread, dtype), kernel)
    end = kernels.odd(ratio(K.full_like(d, 0.5), spread, "float32"), kernel)
    if left is None:
        return 0.5 + 0.5 * (here / end)
    start = kernels.odd(ratio(left, spread, "float32"), kernel)
    return (here + start) / (end + start)


def _narrowed(spread: Width) -> Width:
    """Keep the quotient of two nearly straight lines away from 0 / 0."""
    if is_scalar(spread.value):
        return Width(min(spread.value, _STRAIGHT), spread.unit)
    widest = K.full_like(spread.value, _STRAIGHT)
    return Width(K.where(spread.value > widest, widest, spread.value), spread.unit)
