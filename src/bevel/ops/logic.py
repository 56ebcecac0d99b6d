"""Logic on probabilities: the operands are chances in [0, 1] that something is true.

Every formula is the chance of the result for independent operands, which is the only multilinear
function that agrees with the truth table at 0 and 1. So nothing here has a temperature: hard
operands give hard results. Boolean operands count as 0 and 1.

`all` and `any` are products, computed as sums of logarithms. Their gradient, the product of all
other factors, is exact at factors of 0 as well: one zero gets the product of the others, and with
two zeros every gradient is 0. (A second derivative with respect to a pair of zeros is not: it comes
out as 0.)
"""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops as K

from bevel.ops.arguments import (
    compute_dtype,
    dtype_of,
    floating,
    is_scalar,
    promoted,
    smallest_normal,
)

# Beyond it a number is infinite in float32.
_LARGEST = float(np.finfo("float32").max)


def logical_and(p: Any, q: Any) -> Any:
    """The chance that both are true: p q.

    Args:
        p: Probabilities, floating-point or boolean.
        q: Probabilities that broadcast against `p`.

    Returns:
        A tensor of the broadcast shape.

    Raises:
        BevelTypeError: an operand holds integers.

    Example:
        >>> float(logical_and(0.5, 0.5))
        0.25
    """
    p, q, dtype = _probabilities(p, q)
    return K.cast(p * q, dtype)


def logical_or(p: Any, q: Any) -> Any:
    """The chance that at least one is true: p + q - p q.

    Arguments, results and errors are those of `logical_and`.

    Example:
        >>> float(logical_or(0.5, 0.5))
        0.75
    """
    p, q, dtype = _probabilities(p, q)
    return K.cast(p + q * (1 - p), dtype)


def logical_xor(p: Any, q: Any) -> Any:
    """The chance that exactly one is true: p + q - 2 p q.

    Arguments, results and errors are those of `logical_and`.

    Example:
        >>> float(logical_xor(1.0, 0.25))
        0.75
    """
    p, q, dtype = _probabilities(p, q)
    return K.cast(p * (1 - q) + q * (1 - p), dtype)


def logical_not(p: Any) -> Any:
    """The chance that it is false: 1 - p.

    Args:
        p: Probabilities, floating-point or boolean.

    Returns:
        A tensor of the shape of `p`.

    Raises:
        BevelTypeError: `p` holds integers.

    Example:
        >>> float(logical_not(0.25))
        0.75
    """
    return 1 - _probability("p", p)


def all(p: Any, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Any:
    """The chance that all are true: the product over `axis`.

    Args:
        p: Probabilities, floating-point or boolean.
        axis: The axis or axes to reduce; None is all of them.
        keepdims: Whether reduced axes stay, with length 1.

    Returns:
        The product, accumulated in float32 at least and returned in the dtype of `p`. 1 for no
        operand. A product below the smallest number of the dtype is 0.

    Raises:
        BevelTypeError: `p` holds integers.

    Example:
        >>> float(all([0.5, 0.5]))
        0.25
    """
    p = _probability("p", p)
    x = K.cast(p, compute_dtype(dtype_of(p)))
    zero = x < smallest_normal(dtype_of(x))
    total = K.sum(K.log(K.where(zero, K.ones_like(x), x)), axis=axis, keepdims=keepdims)
    value = _with_zeros(K.exp(total), K.exp(total), zero, x, axis, keepdims)
    return K.cast(value, dtype_of(p))


def any(p: Any, axis: int | tuple[int, ...] | None = None, keepdims: bool = False) -> Any:
    """The chance that at least one is true: 1 minus the product of 1 - p over `axis`.

    Small chances add up without loss: the complement is never rounded to 1.
    Arguments, results and errors are those of `all`; it is 0 for no operand.

    Example:
        >>> float(any([0.5, 0.5]))
        0.75
    """
    p = _probability("p", p)
    x = K.cast(p, compute_dtype(dtype_of(p)))
    zero = x >= 1  # a sum of weights may be a little more
    total = K.sum(K.log1p(-K.where(zero, K.zeros_like(x), x)), axis=axis, keepdims=keepdims)
    missing = _with_zeros(K.expm1(total), K.exp(total), zero, 1 - x, axis, keepdims, offset=1.0)
    return K.cast(0 - missing, dtype_of(p))


def where(p: Any, a: Any, b: Any) -> Any:
    """The expected choice between `a`, with chance p, and `b`: p a + (1 - p) b.

    An infinite or missing (NaN) entry of the branch that the hard decision p > 1/2 does not take
    never reaches the value or a gradient: such an entry is decided hard. (A branch whose own
    *derivative* is infinite where its value is finite, such as sqrt at 0, cannot be repaired from
    here.)

    Args:
        p: Probabilities, floating-point or boolean.
        a: What p = 1 selects: tensor or number that broadcasts.
        b: What p = 0 selects: tensor or number that broadcasts.

    Returns:
        A tensor of the broadcast shape, in the floating dtype of `a` and `b`, or that of `p` where
        neither has one. NaN where `p` is NaN.

    Raises:
        BevelTypeError: `p` holds integers.

    Example:
        >>> float(where(0.25, 4.0, 8.0)), float(where(0.0, float("nan"), 8.0))
        (7.0, 8.0)
    """
    p = _probability("p", p)
    branches = [dtype_of(x) for x in map(_tensor_or_number, (a, b)) if not is_scalar(x)]
    floats = [dtype for dtype in branches if "float" in dtype]
    dtype = promoted(floats or [dtype_of(p)])
    compute = compute_dtype(promoted([dtype, dtype_of(p)]))
    p = K.cast(p, compute)
    if _is_finite_number(a) and _is_finite_number(b):
        return K.cast(_between(p, a, b), dtype)
    a, b = (_cast(x, compute) for x in (a, b))
    smooth = K.logical_or(K.logical_and(K.isfinite(a), K.isfinite(b)), K.isnan(p))
    blend = p * K.where(smooth, a, K.zeros_like(a)) + (1 - p) * K.where(smooth, b, K.zeros_like(b))
    return K.cast(K.where(smooth, blend, K.where(p > 0.5, a, b)), dtype)


def _is_finite_number(x: Any) -> bool:
    return is_scalar(x) and bool(abs(x) <= _LARGEST)


def _between(p: Any, a: float, b: float) -> Any:
    """p a + (1 - p) b for two numbers, of which one is often 0."""
    a, b = float(a), float(b)
    if b == 0:
        return p * a
    return (1 - p) * b if a == 0 else p * a + (1 - p) * b


def _with_zeros(
    regular: Any,
    product: Any,
    zero: Any,
    factors: Any,
    axis: Any,
    keepdims: bool,
    offset: float = 0.0,
) -> Any:
    """A product minus `offset`, given it for the non-zero factors, as `regular` and as `product`.

    A single zero multiplies them as itself, which makes its gradient their product. Where there are
    more, nothing has a gradient; NaN still shows.
    """
    count = K.sum(K.cast(zero, dtype_of(factors)), axis=axis, keepdims=keepdims)
    single = K.sum(K.where(zero, factors, K.zeros_like(factors)), axis=axis, keepdims=keepdims)
    several = K.stop_gradient(product) * 0
    return K.where(count == 0, regular, K.where(count == 1, product * single, several) - offset)


def _probability(name: str, p: Any) -> Any:
    if not is_scalar(p):
        p = K.convert_to_tensor(p)
        if dtype_of(p) == "bool":
            return K.cast(p, promoted([]))
    return floating(name, p)


def _probabilities(p: Any, q: Any) -> tuple[Any, Any, str]:
    """Two operands in the dtype to compute in; a boolean takes the dtype of the other."""
    given = [dtype_of(x) for x in map(_tensor_or_number, (p, q)) if not is_scalar(x)]
    dtype = promoted(given)
    compute = compute_dtype(dtype)
    return K.cast(_probability("p", p), compute), K.cast(_probability("q", q), compute), dtype


def _tensor_or_number(x: Any) -> Any:
    return x if is_scalar(x) else K.convert_to_tensor(x)


def _cast(x: Any, dtype: str) -> Any:
    if is_scalar(x):
        return K.convert_to_tensor(x, dtype=dtype)
    return K.cast(K.convert_to_tensor(x), dtype)
