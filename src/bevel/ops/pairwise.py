"""Pairwise sums as an array function: arguments, shapes and conventions around `sums`."""

from __future__ import annotations

import math
from typing import Any

from keras import ops as K

from bevel.errors import BevelTypeError, BevelValueError
from bevel.ops.all_pairs import SLOPES, all_pairs
from bevel.ops.approximate import approximation
from bevel.ops.arguments import (
    Width,
    choose,
    compute_dtype,
    constant,
    dtype_of,
    floating,
    is_scalar,
    promoted,
    width,
)
from bevel.ops.piecewise import KERNELS, Kernel
from bevel.ops.sums import sums

NAMES = (*KERNELS, *SLOPES)
"""The kernels of `pairwise_sum`."""

_HARD = 1e-30

# The tolerances that a kernel can be approximated to.
_FINEST, _COARSEST = 1e-4, 0.1


def pairwise_sum(
    x: Any,
    y: Any = None,
    *,
    kernel: str = "linear",
    temperature: Any = 0.1,
    scale: Any = 1.0,
    weights: Any = None,
    segment_ids: Any = None,
    mask: Any = None,
    tolerance: float = 0.0,
) -> Any:
    """r_i = sum over j of w_j K((x_i - y_j) / (temperature * scale)), without n x m numbers.

    | kernel | K(z), with u = z / width | cost |
    |---|---|---|
    | `linear` | 1/2 + u / 2 for -1 < u < 1; 0 below, 1 above | O((n + m) log(n + m)) |
    | `quadratic` | (1 + u)^2 / 2 for -1 < u < 0, and 1 - K(-z) | the same |
    | `cubic` | 1/2 + (3 u - u^3) / 4 for -1 < u < 1; 0 below, 1 above | the same |
    | `triangular` | max(0, 1 - abs(u)) | the same |
    | `epanechnikov` | max(0, 1 - u^2) | the same |
    | `hinge`, `squared_hinge` | max(0, 1 + z), and its square | the same |
    | `logistic`, `arctan`, `algebraic`, `gaussian` | see `cdf` | O(n m), a block at a time |

    All of them are exact. With a `tolerance`, `logistic` and `gaussian` are replaced by compact
    piecewise cubics of 1 to 13 cells on each side: O((n + m) log(n + m)) for each of them. The
    widths make the same temperature mean the same closeness to the step for all kernels that rise
    from 0 to 1; `triangular` has the width of `quadratic`, `epanechnikov` that of `cubic`. The
    hinges bound the step from above and do not tend to it.

    Args:
        x: Floating-point tensor, shape (..., n).
        y: Floating-point tensor, shape (..., m) with the same leading axes; by default x itself:
            each element meets all, itself included.
        kernel: One of the names above.
        temperature: How soft: a number >= 0 or a scalar tensor; 0 is the step, 1/2 at a tie.
        scale: The size of a typical difference: a positive number or a scalar tensor.
        weights: Shape (..., m) or what broadcasts to it; by default 1. Booleans and integers are
            constants for the gradient. A list of such gives a sum with each of them, along a new
            first axis, for the price of one sort.
        segment_ids: Integers of the shape of x: only elements with the same one meet. Where y is
            given, a pair of them, for x and for y.
        mask: Booleans of the shape of x, or, where y is given, a pair: an element with False is
            left out, and its own sum is 0.
        tolerance: How far a smooth kernel may be off: a sum is then off by less than that times the
            sum of the absolute weights, and the slope of the kernel by less than 12 times that.
            Between 1e-4 and 0.1, or 0 for exact sums; the other kernels are exact in any case.

    Returns:
        A tensor of the shape of x (behind an axis for a list of weights), float64 where x or y is,
        else float32. A NaN among the elements
        that meet in a row or segment makes NaN of their sums. Equal infinities are no distance
        apart.

    Raises:
        BevelValueError: shapes do not fit, or temperature, scale, kernel or tolerance cannot be
            used; `arctan` and `algebraic` take no tolerance.
        BevelTypeError: x or y is not floating-point, or segment_ids are not integers.

    Example:
        >>> [float(r) for r in pairwise_sum([3.0, 1.0, 2.0])]
        [2.5, 0.5, 1.5]
        >>> [float(r) for r in pairwise_sum([0.0, 5.0], [5.0, 9.0], kernel="hinge", temperature=1)]
        [0.0, 1.0]
    """
    choose("kernel", kernel, NAMES)
    compact = _compact(kernel, tolerance)
    x = floating("x", x)
    alone = y is None
    y = x if alone else floating("y", y)
    dtype = compute_dtype(promoted([dtype_of(x), dtype_of(y)]))
    _check_shapes(x, y)
    shape, n, m = K.shape(x), x.shape[-1], y.shape[-1]
    spread = width(temperature, scale, dtype)
    if spread.hard and kernel in ("hinge", "squared_hinge"):
        raise BevelValueError(f"`temperature` must be > 0 for the kernel {kernel!r}; got 0.")
    ids = _pair("segment_ids", segment_ids, x, y, alone)
    kept = _pair("mask", mask, x, y, alone)

    x, y = (_rows(_relative(K.cast(t, dtype), spread)) for t in (x, y))
    several = isinstance(weights, list)
    w = None
    if weights is not None:
        given = weights if several else [weights]
        w = K.stack([_weights(one, y, dtype, shape) for one in given])
    if kept is not None:
        kept_x, kept_y = (_rows(K.cast(t, "bool")) for t in kept)
        x, y = K.where(kept_x, x, K.zeros_like(x)), K.where(kept_y, y, K.zeros_like(y))
        w = K.cast(kept_y, dtype)[None] if w is None else K.where(kept_y, w, K.zeros_like(w))
    if ids is not None:
        ids = tuple(map(_rows, ids))

    unit = _HARD if spread.hard else spread.value
    unit = constant(unit, dtype) if is_scalar(unit) else unit
    if n == 0 or m == 0:
        total = K.zeros((1 if w is None else w.shape[0], *K.shape(x)), dtype=dtype) + 0 * K.sum(y)
    elif compact is None:
        channels = [K.ones_like(y)] if w is None else [w[c] for c in range(w.shape[0])]
        total = K.stack([all_pairs(x, y, c, unit, kernel, ids) for c in channels])
    else:
        total = _sorted(x, y, alone, w, unit, compact, ids)
    if kept is not None:
        total = K.where(kept_x, total, K.zeros_like(total))
    total = K.reshape(total, (*total.shape[:1], *shape) if several else shape)
    return K.stop_gradient(total) if spread.hard else total


def _compact(kernel: str, tolerance: float) -> Kernel | None:
    """The kernel to sum with in a sorted array; None where all have to meet all."""
    if not is_scalar(tolerance) or not (tolerance == 0 or _FINEST <= tolerance <= _COARSEST):
        raise BevelValueError(
            f"`tolerance` must be 0 or a number from {_FINEST} to {_COARSEST}; got {tolerance!r}."
        )
    if kernel in KERNELS:
        return KERNELS[kernel]
    return approximation(kernel, float(tolerance)) if tolerance else None


def _sorted(x: Any, y: Any, alone: bool, w: Any, unit: Any, kernel: Kernel, ids: Any) -> Any:
    """The sums of an array against itself: of x and y joined, where they are two."""
    stretch, shape = kernel
    unit = unit * stretch
    if alone and w is None:
        return sums(x, None, unit, shape, None if ids is None else ids[0])[None]
    if alone:
        return _each(sums, x, w, unit, shape, None if ids is None else ids[0])
    w = K.ones_like(y)[None] if w is None else w
    nothing = K.zeros((w.shape[0], *K.shape(x)), dtype=dtype_of(x))
    joined, w = K.concatenate([x, y], axis=-1), K.concatenate([nothing, w], axis=-1)
    ids = None if ids is None else K.concatenate(ids, axis=-1)
    return _each(sums, joined, w, unit, shape, ids)[..., : K.shape(x)[-1]]


def _each(sums: Any, x: Any, w: Any, *rest: Any) -> Any:
    """With one channel there is no need to stack."""
    return sums(x, w[0], *rest)[None] if w.shape[0] == 1 else sums(x, w, *rest)


def _relative(x: Any, spread: Width) -> Any:
    """x with the gradient of the temperature, where that is a tensor."""
    return x if spread.unit is None else x / spread.unit


def _rows(x: Any) -> Any:
    """All leading axes as one."""
    shape = K.shape(x)
    known = [n for n in shape[:-1] if isinstance(n, int)]
    rows = math.prod(known) if len(known) == len(shape) - 1 else -1
    return K.reshape(x, (rows, shape[-1]))


def _weights(weights: Any, y: Any, dtype: str, shape: Any) -> Any:
    weights = K.convert_to_tensor(weights)
    if "float" not in dtype_of(weights):
        weights = K.stop_gradient(K.cast(weights, dtype))
    full = (*shape[:-1], K.shape(y)[-1])
    return _rows(K.broadcast_to(K.cast(weights, dtype), full))


def _check_shapes(x: Any, y: Any) -> None:
    ahead = [tuple(t.shape[:-1]) for t in (x, y)]
    fits = len(ahead[0]) == len(ahead[1]) and all(
        a is None or b is None or a == b for a, b in zip(*ahead, strict=True)
    )
    if len(x.shape) == 0 or len(y.shape) == 0 or not fits:
        raise BevelValueError(
            "`x` and `y` must have at least one axis, and the same axes before the last; got "
            f"shapes {tuple(x.shape)} and {tuple(y.shape)}."
        )


def _pair(name: str, given: Any, x: Any, y: Any, alone: bool) -> tuple[Any, Any] | None:
    """What belongs to x and to y, checked; None where nothing is given."""
    if given is None:
        return None
    if not alone and not (isinstance(given, tuple | list) and len(given) == 2):
        raise BevelValueError(f"`{name}` must be a pair, for `x` and for `y`; got {type(given)}.")
    pair = [K.convert_to_tensor(t) for t in ((given, given) if alone else given)]
    for tensor, like in zip(pair, (x, y), strict=True):
        if name == "segment_ids" and "int" not in dtype_of(tensor):
            raise BevelTypeError(f"`{name}` must hold integers; got dtype {dtype_of(tensor)}.")
        same = len(tensor.shape) == len(like.shape) and all(
            a is None or b is None or a == b for a, b in zip(tensor.shape, like.shape, strict=True)
        )
        if not same:
            raise BevelValueError(
                f"`{name}` must have the shape {tuple(like.shape)} of what it belongs to; got "
                f"{tuple(tensor.shape)}."
            )
    return pair[0], pair[1]
