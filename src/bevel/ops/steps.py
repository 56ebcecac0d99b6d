"""Soft comparisons: a step becomes a cumulative kernel, an equality its bump.

All of them see the difference of their operands through one lens: z = (x - y) / (temperature *
scale). The *temperature* says how soft, without a unit; 0 is the hard function itself. The *scale*
is the size of a typical difference, a constant for the gradient. The table at the bottom of
`tests/contract/test_ops.py` holds every function here to the same promises.

At a tie the soft `greater`, `greater_equal`, `less`, `less_equal` and `step` are 1/2; the hard ones
are what their names say, and the hard `step` is 1 at 0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keras import ops as K

from bevel.ops import kernels
from bevel.ops.arguments import (
    FORWARDS,
    choose,
    dtype_of,
    hardened,
    operands,
    ratio,
    straight_through,
    width,
)


def step(
    x: Any,
    *,
    temperature: Any = 0.1,
    kernel: str = "logistic",
    forward: str = "soft",
    scale: Any = 1.0,
) -> Any:
    """The Heaviside step: 1 where x >= 0, else 0; softly K(x / (temperature * scale)).

    Args:
        x: Floating-point tensor of any shape.
        temperature: How soft: a number >= 0 or a scalar tensor; 0 is the hard step.
        kernel: `logistic`, `arctan`, `algebraic`, `linear` or `gaussian`; see `cdf`.
        forward: `soft` returns the surrogate, `hard` the exact step with the surrogate's gradient.
        scale: Positive number, or tensor that broadcasts to `x`.

    Returns:
        A tensor of the shape and dtype of `x`; NaN where `x` is NaN.

    Raises:
        BevelValueError: temperature, scale, kernel or forward cannot be used.
        BevelTypeError: `x` is not floating-point.

    Example:
        >>> float(step(0.0)), float(step(0.0, temperature=0.0))
        (0.5, 1.0)
    """
    return _compared(
        x, 0.0, K.greater_equal, kernels.cumulative, temperature, kernel, forward, scale
    )


def sign(
    x: Any,
    *,
    temperature: Any = 0.1,
    kernel: str = "logistic",
    forward: str = "soft",
    scale: Any = 1.0,
) -> Any:
    """The sign of x, 0 at 0; softly 2 K(x / (temperature * scale)) - 1.

    Args:
        x: Floating-point tensor of any shape.
        temperature: How soft: a number >= 0 or a scalar tensor; 0 is the hard sign.
        kernel: See `step`.
        forward: See `step`.
        scale: See `step`.

    Returns:
        A tensor of the shape and dtype of `x`, in [-1, 1]; NaN where `x` is NaN.

    Raises:
        BevelValueError: temperature, scale, kernel or forward cannot be used.
        BevelTypeError: `x` is not floating-point.

    Example:
        >>> float(sign(-3.0, forward="hard"))
        -1.0
    """
    return _compared(x, 0.0, _hard_sign, _soft_sign, temperature, kernel, forward, scale)


def greater(
    x: Any,
    y: Any,
    *,
    temperature: Any = 0.1,
    kernel: str = "logistic",
    forward: str = "soft",
    scale: Any = 1.0,
) -> Any:
    """The truth of x > y as a probability: K((x - y) / (temperature * scale)).

    Args:
        x: Floating-point tensor.
        y: Tensor that broadcasts against `x`, or a number; it may hold integers.
        temperature: How soft: a number >= 0 or a scalar tensor; 0 is the hard comparison, in 0
            and 1.
        kernel: See `step`.
        forward: See `step`.
        scale: Positive number, or tensor that broadcasts to `x - y`.

    Returns:
        A tensor of the broadcast shape, in [0, 1]; NaN where an operand is NaN.

    Raises:
        BevelValueError: temperature, scale, kernel or forward cannot be used.
        BevelTypeError: `x` is not floating-point.

    Example:
        >>> float(greater(2.0, 2.0)), float(greater(2.0, 2.0, temperature=0.0))
        (0.5, 0.0)
    """
    return _compared(x, y, K.greater, kernels.cumulative, temperature, kernel, forward, scale)


def greater_equal(
    x: Any,
    y: Any,
    *,
    temperature: Any = 0.1,
    kernel: str = "logistic",
    forward: str = "soft",
    scale: Any = 1.0,
) -> Any:
    """The truth of x >= y as a probability: `greater`, but for the hard value 1 at a tie.

    Arguments, results and errors are those of `greater`.

    Example:
        >>> float(greater_equal(2.0, 2.0, temperature=0.0))
        1.0
    """
    return _compared(x, y, K.greater_equal, kernels.cumulative, temperature, kernel, forward, scale)


def less(
    x: Any,
    y: Any,
    *,
    temperature: Any = 0.1,
    kernel: str = "logistic",
    forward: str = "soft",
    scale: Any = 1.0,
) -> Any:
    """The truth of x < y as a probability: K((y - x) / (temperature * scale)).

    Arguments, results and errors are those of `greater`.

    Example:
        >>> float(less(1.0, 2.0, forward="hard"))
        1.0
    """
    return _compared(x, y, K.less, _falling, temperature, kernel, forward, scale)


def less_equal(
    x: Any,
    y: Any,
    *,
    temperature: Any = 0.1,
    kernel: str = "logistic",
    forward: str = "soft",
    scale: Any = 1.0,
) -> Any:
    """The truth of x <= y as a probability: `less`, but for the hard value 1 at a tie.

    Arguments, results and errors are those of `greater`.

    Example:
        >>> float(less_equal(2.0, 2.0, temperature=0.0))
        1.0
    """
    return _compared(x, y, K.less_equal, _falling, temperature, kernel, forward, scale)


def equal(
    x: Any,
    y: Any,
    *,
    temperature: Any = 0.1,
    kernel: str = "logistic",
    forward: str = "soft",
    scale: Any = 1.0,
) -> Any:
    """The truth of x == y as a probability: the kernel's bump.

    That is K'(z) / K'(0) with z = (x - y) / (temperature * scale). It is 1 where the operands
    are equal, and there its derivative is 0.
    Arguments, results and errors are those of `greater`.

    Example:
        >>> float(equal(2.0, 2.0))
        1.0
    """
    return _compared(x, y, K.equal, kernels.peak, temperature, kernel, forward, scale)


def not_equal(
    x: Any,
    y: Any,
    *,
    temperature: Any = 0.1,
    kernel: str = "logistic",
    forward: str = "soft",
    scale: Any = 1.0,
) -> Any:
    """The truth of x != y as a probability: 1 - `equal`.

    Arguments, results and errors are those of `greater`.

    Example:
        >>> float(not_equal(2.0, 2.0))
        0.0
    """
    return _compared(x, y, K.not_equal, _trough, temperature, kernel, forward, scale)


def _compared(
    x: Any,
    y: Any,
    hard: Callable[[Any, Any], Any],
    soft: Callable[[Any, str], Any],
    temperature: Any,
    kernel: str,
    forward: str,
    scale: Any,
) -> Any:
    """One elementwise comparison: `hard` of the operands, `soft` of their scaled difference."""
    choose("kernel", kernel, kernels.KERNELS)
    choose("forward", forward, FORWARDS)
    is_number = isinstance(y, int | float)
    is_against_zero = is_number and y == 0
    x, y, dtype = operands(x, y)
    spread = width(temperature, scale, dtype_of(x))
    if spread.hard:
        value = hardened(K.cast(hard(x, y), dtype_of(x)), x, y)
    else:
        plain = x if is_against_zero else x - y if is_number else _difference(x, y)
        value = soft(ratio(plain, spread, dtype), kernel)
        if forward == "hard":
            value = straight_through(K.cast(hard(x, y), dtype_of(x)), value)
    return K.cast(value, dtype)


def _difference(x: Any, y: Any) -> Any:
    """x - y, and 0 for two infinities of the same sign, which are equal."""
    same = K.logical_and(K.isinf(x), x == y)
    return K.where(same, 0.0, x) - K.where(same, 0.0, y)


def _hard_sign(x: Any, zero: Any) -> Any:
    return K.sign(x - zero)


def _soft_sign(z: Any, kernel: str) -> Any:
    return 2 * kernels.odd(z, kernel)


def _falling(z: Any, kernel: str) -> Any:
    return kernels.cumulative(-z, kernel)


def _trough(z: Any, kernel: str) -> Any:
    return 1 - kernels.peak(z, kernel)
