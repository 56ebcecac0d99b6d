"""Soft order statistics in O(n log n): ranks, and the values that stand at given ranks.

The soft rank of a number t among x_1 ... x_n is R(t) = 1/2 + sum over j of K((t - x_j) / width),
with the linear kernel K, and the value at rank r is where R(t) = r. So ranks and values are two
readings of one rising curve: `rank` evaluates it at the elements, `sort`, `quantile` and `top_k`
invert it. The curve is made of straight lines, so both are exact, and the derivative of a value is
a mean:

    dt / dx_j = [|t - x_j| < width] / how many of them.

Adding a number to all elements adds it to all values, and a permutation of the elements changes no
value. The mask of `top_k_mask` is the curve's other side, K((x_i - t) / width), and sums to k.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from keras import ops as K

from bevel.errors import BevelValueError
from bevel.ops.arguments import (
    FORWARDS,
    Width,
    choose,
    compute_dtype,
    constant,
    dtype_of,
    floating,
    is_scalar,
    straight_through,
    width,
)
from bevel.ops.entropic import entropic_ranks, entropic_values
from bevel.ops.isotonic import projected_ranks, projected_values
from bevel.ops.neighbours import neighbours
from bevel.ops.pairwise import pairwise_sum
from bevel.ops.piecewise import KERNELS
from bevel.ops.primitives import (
    cumulated,
    double_precision,
    gathered,
    placed,
    search,
    taken,
    with_gradient,
)
from bevel.ops.strength import auto_temperature
from bevel.ops.sums import sums

_STEP = KERNELS["linear"]

RISING = ("linear", "quadratic", "cubic", "logistic", "arctan", "algebraic", "gaussian")
"""The kernels of `pairwise_sum` that rise from 0 to 1."""

METHODS = ("pairwise", "isotonic", "entropic")
"""How `rank` and `sort` are softened."""

# Half of the span of ranks whose middle is taken.
_NEAR = 1e-6


def rank(
    x: Any,
    axis: int = -1,
    *,
    descending: bool = False,
    method: str = "pairwise",
    temperature: Any = 0.1,
    kernel: str = "linear",
    forward: str = "soft",
    scale: Any = 1.0,
    mask: Any = None,
    tolerance: float = 0.0,
) -> Any:
    """The rank of each element along an axis, from 1; equal elements share their mean rank.

    | method | ranks |
    |---|---|
    | `pairwise` | 1/2 + sum over j of K((x_i - x_j) / (temperature * scale)), by `pairwise_sum` |
    | `isotonic` | the mixture of all orders of 1 ... n nearest to n x / (temperature * scale) |
    | `entropic` | the same of logarithms by entropy, nearest to 2 x / (temperature * scale) |

    The others are the fast soft ranks of Blondel et al., ICML 2020, regularised by l2 and by the
    Kullback-Leibler divergence. They are exact, and without a gradient, where elements are
    temperature * scale / n apart (for `entropic` in the middle; further for small ranks): their
    temperature tells how dense they may be, not how near, and has to be some ten times as high for
    a gradient to most.

    Args:
        x: Floating-point tensor.
        axis: The axis to rank along.
        descending: Whether the largest element has rank 1, instead of the smallest.
        method: `pairwise`, `isotonic` or `entropic`; the last two take no kernel, mask and
            tolerance.
        temperature: How soft: a number >= 0 or a scalar tensor; 0 is the hard rank. `auto` is
            `auto_temperature` for a mean error of n / 100; `pairwise` only.
        kernel: A kernel of `pairwise_sum` that rises from 0 to 1.
        forward: `soft` returns the surrogate, `hard` the exact rank with the surrogate's gradient.
        scale: The size of a typical difference: a positive number or a scalar tensor.
        mask: Booleans of the shape of x: an element with False takes part in no comparison, and
            its own rank is 0.
        tolerance: How far a smooth kernel may be off, as of `pairwise_sum`.

    Returns:
        A tensor of the shape of x, float64 for float64 and else float32. NaN for all elements of a
        row that holds NaN.

    Raises:
        BevelValueError: temperature, scale, kernel, forward, tolerance or shapes cannot be used.
        BevelTypeError: x is not floating-point.

    Example:
        >>> [float(r) for r in rank([10.0, 30.0, 20.0, 20.0])]
        [1.0, 4.0, 2.5, 2.5]
        >>> [float(r) for r in rank([10.0, 30.0], descending=True)]
        [2.0, 1.0]
    """
    choose("kernel", kernel, RISING)
    choose("forward", forward, FORWARDS)
    if choose("method", method, METHODS) != "pairwise":
        if kernel != "linear" or mask is not None or tolerance:
            raise BevelValueError(
                f"the method {method!r} takes no `kernel`, `mask` or `tolerance`."
            )
        return _projected_ranks(x, axis, descending, method, temperature, forward, scale)
    x = _last(floating("x", x), axis)
    temperature = _found(x, temperature, kernel, scale)
    mask = None if mask is None else _last(K.convert_to_tensor(mask), axis)
    given = -x if descending else x
    how = {"kernel": kernel, "temperature": temperature, "scale": scale, "tolerance": tolerance}
    soft = pairwise_sum(given, mask=mask, **how)
    if forward == "hard":
        exact = pairwise_sum(K.stop_gradient(given), temperature=0, mask=mask)
        soft = straight_through(exact, soft)
    first = K.full_like(soft, 0.5) if mask is None else 0.5 * K.cast(mask, dtype_of(soft))
    return K.moveaxis(soft + first, -1, axis)


def sort(
    x: Any,
    axis: int = -1,
    *,
    descending: bool = False,
    method: str = "pairwise",
    temperature: Any = 0.1,
    forward: str = "soft",
    scale: Any = 1.0,
) -> Any:
    """The values at the ranks 1, 2, ..., n along an axis.

    The method `pairwise` inverts the soft ranks of `rank`. `isotonic` is the fast soft sort of
    Blondel et al., ICML 2020: the mixture of all orders of x that is nearest to
    (1, ..., n) scale / (n temperature), the sorted values exactly wherever elements are
    less than scale / (n temperature) apart, and means of sparse neighbours elsewhere. `entropic` is
    its form by entropy, with soft maxima in the place of these means.

    Args:
        x: Floating-point tensor.
        axis: The axis to sort along.
        descending: Whether the largest comes first.
        method: `pairwise`, `isotonic` or `entropic`.
        temperature: How soft: a number >= 0 or a scalar tensor; 0 is the hard sort. `auto` is that
            of `rank`; `pairwise` only.
        forward: `soft` returns the surrogate, `hard` the sorted elements with its gradient.
        scale: The size of a typical difference: a positive number or a scalar tensor.

    Returns:
        A tensor of the shape and dtype of x. NaN for a row that holds NaN, and but for
        `pairwise` for one that holds infinity.

    Raises:
        BevelValueError: method, temperature, scale or forward cannot be used.
        BevelTypeError: x is not floating-point.

    Example:
        >>> [round(float(v), 3) for v in sort([3.0, 1.0, 2.0])]
        [1.0, 2.0, 3.0]
        >>> [round(float(v), 3) for v in sort([0.0, 0.1], temperature=1.0)]
        [-1.327, 1.427]
    """
    choose("forward", forward, FORWARDS)
    choose("method", method, METHODS)
    x = _last(floating("x", x), axis)
    if method == "pairwise":
        temperature = _found(x, temperature, "linear", scale)
    n = K.shape(x)[-1]
    ranks = K.cast(K.arange(n), compute_dtype(dtype_of(x)))
    exact = K.sort(x, axis=-1)
    if descending:
        ranks, exact = K.flip(ranks), K.flip(exact, axis=-1)
    if method == "pairwise":
        found = _values(x, ranks, exact, temperature, scale, forward)
    else:
        found = _projected_values(x, exact, descending, method, temperature, scale, forward)
    return K.moveaxis(found, -1, axis)


def quantile(
    x: Any,
    q: Any,
    axis: int = -1,
    *,
    temperature: Any = 0.1,
    forward: str = "soft",
    scale: Any = 1.0,
) -> Any:
    """The values at the ranks 1 + q (n - 1), between ranks on a straight line.

    Args:
        x: Floating-point tensor.
        q: Shares between 0 and 1: a number, or a tensor of shape (k,).
        axis: The axis to reduce.
        temperature: How soft: a number >= 0 or a scalar tensor; 0 is the hard quantile.
        forward: `soft` returns the surrogate, `hard` the exact quantile with its gradient.
        scale: The size of a typical difference: a positive number or a scalar tensor.

    Returns:
        A tensor of the dtype of x without the axis; for a tensor q with an axis of k before the
        others. NaN for a row that holds NaN.

    Raises:
        BevelValueError: temperature, scale or forward cannot be used, a number q lies outside of
            [0, 1], or the axis is empty.
        BevelTypeError: x is not floating-point.

    Example:
        >>> round(float(quantile([1.0, 2.0, 3.0, 4.0], 0.5)), 3)
        2.5
    """
    choose("forward", forward, FORWARDS)
    q = q if is_scalar(q) else K.convert_to_tensor(q)
    if is_scalar(q) and not 0 <= q <= 1:
        raise BevelValueError(f"`q` must be between 0 and 1; got {q}.")
    x = _last(floating("x", x), axis)
    if x.shape[-1] == 0:
        raise BevelValueError(f"an empty axis has no quantile; got shape {tuple(x.shape)}.")
    dtype = compute_dtype(dtype_of(x))
    shares = K.reshape(K.cast(K.convert_to_tensor(q), dtype), (-1,))
    ranks = shares * K.cast(K.shape(x)[-1] - 1, dtype)
    exact = _between(K.sort(x, axis=-1), ranks)
    found = K.moveaxis(_values(x, ranks, exact, temperature, scale, forward), -1, 0)
    return found[0] if is_scalar(q) or len(q.shape) == 0 else found


def median(x: Any, axis: int = -1, **how: Any) -> Any:
    """`quantile` of a half.

    Args:
        x: Floating-point tensor.
        axis: The axis to reduce.
        **how: temperature, forward and scale, as of `quantile`.

    Returns:
        A tensor of the dtype of x without the axis.

    Example:
        >>> round(float(median([1.0, 9.0, 5.0])), 3)
        5.0
    """
    return quantile(x, 0.5, axis, **how)


def top_k(
    x: Any, k: int, *, temperature: Any = 0.1, forward: str = "soft", scale: Any = 1.0
) -> Any:
    """The k largest values along the last axis, the largest first: `sort`, cut off.

    Args:
        x: Floating-point tensor, shape (..., n).
        k: How many, from 0 to n.
        temperature: How soft: a number >= 0 or a scalar tensor; 0 gives the hard values.
        forward: `soft` returns the surrogate, `hard` the elements with its gradient.
        scale: The size of a typical difference: a positive number or a scalar tensor.

    Returns:
        A tensor of shape (..., k) and the dtype of x. NaN for a row that holds NaN.

    Raises:
        BevelValueError: k lies outside of [0, n], or an argument cannot be used.
        BevelTypeError: x is not floating-point.

    Example:
        >>> [round(float(v), 3) for v in top_k([3.0, 1.0, 2.0], 2)]
        [3.0, 2.0]
    """
    choose("forward", forward, FORWARDS)
    x = floating("x", x)
    _check_k(x, k)
    n = K.shape(x)[-1]
    ranks = K.cast(n - 1 - K.arange(k), compute_dtype(dtype_of(x)))
    exact = K.flip(K.sort(x, axis=-1), axis=-1)[..., :k]
    return _values(x, ranks, exact, temperature, scale, forward)


def top_k_mask(
    x: Any, k: int, *, temperature: Any = 0.1, forward: str = "soft", scale: Any = 1.0
) -> Any:
    """How far each element belongs to the k largest: shares between 0 and 1 that sum to k.

    K((x_i - t) / (temperature * scale)) with the threshold t at which they sum to k. Equal elements
    have equal shares.

    Args:
        x: Floating-point tensor, shape (..., n).
        k: How many, from 0 to n.
        temperature: How soft: a number >= 0 or a scalar tensor.
        forward: `soft` returns the surrogate, `hard` 0 and 1 with its gradient; elements that are
            equal to the k-th largest share what is left for them.
        scale: The size of a typical difference: a positive number or a scalar tensor.

    Returns:
        A tensor of the shape and dtype of x. NaN for a row that holds NaN.

    Raises:
        BevelValueError: k lies outside of [0, n], or an argument cannot be used.
        BevelTypeError: x is not floating-point.

    Example:
        >>> [float(p) for p in top_k_mask([3.0, 1.0, 2.0], 2)]
        [1.0, 0.0, 1.0]
        >>> [float(p) for p in top_k_mask([1.0, 1.0, 0.0], 1)]
        [0.5, 0.5, 0.0]
    """
    choose("forward", forward, FORWARDS)
    x = floating("x", x)
    _check_k(x, k)
    dtype = compute_dtype(dtype_of(x))
    spread = width(temperature, scale, dtype)
    wide = K.cast(x, dtype)
    if spread.hard or x.shape[-1] == 0:
        return K.cast(K.stop_gradient(_largest(wide, k)), dtype_of(x))
    share = _masked(_relative(wide, spread), k, spread)
    if forward == "hard":
        share = straight_through(_largest(K.stop_gradient(wide), k), share)
    return K.cast(share, dtype_of(x))


def _projected_ranks(
    x: Any, axis: int, descending: bool, method: str, temperature: Any, forward: str, scale: Any
) -> Any:
    """`rank` by isotonic regression."""
    x = floating("x", x)
    dtype = compute_dtype(dtype_of(x))
    spread = width(temperature, scale, dtype)
    if spread.hard or forward == "hard":
        how = {"descending": descending, "temperature": 0}
        exact = rank(K.stop_gradient(x), axis, **how)
    if spread.hard or x.shape[axis] == 0:
        return exact if spread.hard else K.cast(x, dtype)
    given = _last(K.cast(-x if descending else x, dtype), axis)
    rows = K.reshape(_relative(given, spread), (-1, K.shape(given)[-1]))
    projected = projected_ranks if method == "isotonic" else entropic_ranks
    soft = K.reshape(projected(rows, _number_of(spread, dtype)), K.shape(given))
    soft = K.moveaxis(soft, -1, axis)
    return straight_through(exact, soft) if forward == "hard" else soft


def _projected_values(
    x: Any, exact: Any, descending: bool, method: str, temperature: Any, scale: Any, forward: str
) -> Any:
    """The values at all ranks along the last axis by isotonic regression, in the dtype of x."""
    dtype = compute_dtype(dtype_of(x))
    spread = width(temperature, scale, dtype)
    if x.shape[-1] == 0:
        return exact
    if spread.hard:
        lost = K.any(K.isnan(x), axis=-1, keepdims=True)
        return K.where(lost, exact + float("nan"), exact)
    scale = constant(scale, dtype) if is_scalar(scale) else K.stop_gradient(K.cast(scale, dtype))
    rows = K.reshape(K.cast(x, dtype) / scale, (-1, K.shape(x)[-1]))
    temperature = _number_of(spread, dtype) / scale
    if method == "entropic":
        temperature = temperature if spread.unit is None else temperature * spread.unit
        found = entropic_values(rows, 1 / (temperature * K.cast(K.shape(x)[-1], dtype)))
    elif spread.unit is None:
        found = projected_values(rows, temperature)
    else:  # of a temperature that moves, scores a unit higher are as good as one a unit lower
        found = projected_values(rows * spread.unit, temperature) / spread.unit
    found = K.reshape(found, K.shape(x)) * scale
    found = K.flip(found, axis=-1) if descending else found
    if forward == "hard":
        found = straight_through(K.cast(exact, dtype), found)
    return K.cast(found, dtype_of(x))


def _values(x: Any, ranks: Any, exact: Any, temperature: Any, scale: Any, forward: str) -> Any:
    """The values along the last axis at ranks that count from 0, in the dtype of x."""
    dtype = compute_dtype(dtype_of(x))
    spread = width(temperature, scale, dtype)
    if x.shape[-1] == 0:
        return exact
    lost = K.any(K.isnan(x), axis=-1, keepdims=True)
    exact = K.where(lost, exact + float("nan"), exact)
    if spread.hard:
        return exact
    found = _inverted(_relative(K.cast(x, dtype), spread), ranks, spread)
    if spread.unit is not None:
        found = found * spread.unit
    if forward == "hard":
        found = straight_through(K.cast(exact, dtype), found)
    return K.cast(found, dtype_of(x))


def _inverted(x: Any, ranks: Any, spread: Width) -> Any:
    """Where sum over j of K((t - x_j) / width) = rank + 1/2; in the middle where that is a stretch.

    Args:
        x: Shape (..., n), float32 or float64.
        ranks: Shape (k,), the same dtype.
        spread: The width, in units of the temperature.
    """
    dtype, n, k = dtype_of(x), K.shape(x)[-1], K.shape(ranks)[0]

    def value(_: Any, x: Any, unit: Any) -> tuple[Any, None]:
        with double_precision():
            line = _line(x, unit)
            places = _crossings(line.position, K.cast(ranks, "float64") + 0.5)
            left, right = (_number(line, p, K.cast(unit, "float64")) for p in places)
            return K.cast(0.5 * (left + right) + line.poison, dtype), None

    def gradient(_: Any, __: Any, g: Any, x: Any, unit: Any) -> Any:
        t = K.stop_gradient(value(None, x, unit)[0])
        return _shared(t, x, g, unit), K.zeros_like(unit)

    found = with_gradient(value, gradient, (K.reshape(x, (-1, n)), _unit(spread, dtype)))
    return K.reshape(found, (*K.shape(x)[:-1], k))


def _masked(x: Any, k: int, spread: Width) -> Any:
    """The shares of `top_k_mask`, shape (..., n)."""
    dtype, shape = dtype_of(x), K.shape(x)

    def value(_: Any, x: Any, unit: Any) -> tuple[Any, Any]:
        with double_precision():
            line = _line(x, unit)
            middle = K.cast(shape[-1] - k, "float64")
            left, right = _crossings(line.position, K.reshape(middle, (1,)))
            distance = K.reshape(line.position - 0.5 * (left + right), (-1,))
            share = placed(K.clip(0.5 + 0.5 * distance, 0.0, 1.0), line.order)
            is_near = placed(K.cast(K.abs(distance) < 1, "float64"), line.order)
            share, is_near = (K.cast(K.reshape(t, K.shape(x)), dtype) for t in (share, is_near))
            return share + K.cast(line.poison, dtype), is_near

    def gradient(_: Any, is_near: Any, g: Any, x: Any, unit: Any) -> Any:
        number = K.maximum(K.sum(is_near, axis=-1, keepdims=True), 1.0)
        mean = K.sum(g * is_near, axis=-1, keepdims=True) / number
        return (g - mean) * is_near / (2 * unit), K.zeros_like(unit)

    found = with_gradient(value, gradient, (K.reshape(x, (-1, shape[-1])), _unit(spread, dtype)))
    return K.reshape(found, shape)


def _largest(x: Any, k: int) -> Any:
    """1 for the k largest; those equal to the k-th share what is left for them."""
    if k == 0 or x.shape[-1] == 0:
        return K.zeros_like(x)
    last = K.flip(K.sort(x, axis=-1), axis=-1)[..., k - 1 : k]
    larger, equal = (K.cast(t, dtype_of(x)) for t in (x > last, x == last))
    left = k - K.sum(larger, axis=-1, keepdims=True)
    share = larger + equal * left / K.sum(equal, axis=-1, keepdims=True)
    return share + 0 * K.sum(K.where(K.isnan(x), x, K.zeros_like(x)), axis=-1, keepdims=True)


class _Line(NamedTuple):
    """Sorted rows as positions in units of the width, the empty space cut; see `neighbours`."""

    order: Any
    numbers: Any
    position: Any
    poison: Any


def _line(x: Any, unit: Any) -> _Line:
    found = neighbours(x, unit, [])
    numbers = gathered(K.reshape(K.cast(K.stop_gradient(x), "float64"), (-1,)), found.order)
    rows = [K.reshape(t, K.shape(x)) for t in (numbers, found.position, found.poison)]
    return _Line(found.order, rows[0], rows[1], rows[2][:, :1])


def _crossings(position: Any, heights: Any) -> tuple[Any, Any]:
    """Positions, shape (rows, k), just before and just after the rising curve has these heights."""
    rows, n = K.shape(position)
    count = 2 * n
    # where an element begins to count, and where it counts whole: two sorted rows, to be merged
    rising, falling = position - 1, position + 1
    place = K.arange(n, dtype="int32") + search(falling, rising)
    upto = K.broadcast_to(K.arange(1, count + 1, dtype="int32"), (rows, count))
    begun = search(place, upto)
    ended = upto - begun
    first = K.concatenate([K.zeros_like(begun[:, :1]), begun[:, :-1]], axis=-1)
    corners = K.where(
        begun > first,
        taken(rising, K.maximum(begun - 1, 0)),
        taken(falling, K.maximum(ended - 1, 0)),
    )
    slopes = K.cast(begun - ended, "float64") / 2
    rises = slopes[:, :-1] * (corners[:, 1:] - corners[:, :-1])
    known = cumulated(K.concatenate([K.zeros_like(position[:, :1]), rises], axis=-1), axis=-1)

    def at(heights: Any) -> Any:
        heights = K.broadcast_to(heights, (rows, K.shape(heights)[0]))
        before = K.clip(search(known, heights), 1, count - 1) - 1
        here = [taken(t, before) for t in (corners, known, slopes)]
        start, height, slope = here
        return start + (heights - height) / K.where(slope > 0, slope, K.ones_like(slope))

    return at(heights - _NEAR), at(heights + _NEAR)


def _number(line: _Line, place: Any, unit: Any) -> Any:
    """The numbers at positions, seen from the nearest element."""
    after = search(line.position, place)
    low, high = K.maximum(after - 1, 0), K.minimum(after, K.shape(line.position)[1] - 1)
    far = [place - taken(line.position, i) for i in (low, high)]
    is_low = K.abs(far[0]) < K.abs(far[1])
    numbers = [taken(line.numbers, i) for i in (low, high)]
    return K.where(is_low, numbers[0], numbers[1]) + K.where(is_low, far[0], far[1]) * unit


def _shared(t: Any, x: Any, g: Any, unit: Any) -> Any:
    """Each value's gradient, in equal shares to the elements within its window."""
    box, k = _STEP.shape.derivative, K.shape(t)[-1]
    joined = K.stop_gradient(K.concatenate([t, x], axis=-1))
    with double_precision():
        found = neighbours(joined, unit, [box])
    here, there = K.zeros_like(t), K.zeros_like(x)
    count = sums(joined, K.concatenate([here, there + 1], axis=-1), unit, box, None, found)
    count = K.stop_gradient(count[:, :k])
    share = K.where(count > 0, g / K.where(count > 0, count, K.ones_like(count)), here)
    share = K.concatenate([share, there], axis=-1)
    return sums(joined, share, unit, box, None, found)[:, k:]


def _relative(x: Any, spread: Width) -> Any:
    """x with the gradient of the temperature, where that is a tensor."""
    return x if spread.unit is None else x / spread.unit


def _unit(spread: Width, dtype: str) -> Any:
    """The width of the kernel in x."""
    return _number_of(spread, dtype) * _STEP.width


def _number_of(spread: Width, dtype: str) -> Any:
    """Temperature times scale as a tensor."""
    return constant(spread.value, dtype) if is_scalar(spread.value) else spread.value


def _between(ordered: Any, ranks: Any) -> Any:
    """The entries of sorted rows at ranks between whole numbers, on a straight line."""
    share = K.cast(ranks - K.floor(ranks), dtype_of(ordered))
    low = K.cast(K.floor(ranks), "int32")
    high = low + K.cast(share > 0, "int32")
    low, high = (K.take(ordered, i, axis=-1) for i in (low, high))
    between = (1 - share) * low + share * high
    return K.where(share > 0, between, low)  # 0 of an infinite neighbour is none


def _found(x: Any, temperature: Any, kernel: str, scale: Any) -> Any:
    """The temperature that `auto` stands for, and any other as it is."""
    if isinstance(temperature, str) and temperature == "auto":
        return auto_temperature(x, kernel=kernel, scale=scale)
    return temperature


def _last(x: Any, axis: int) -> Any:
    return K.moveaxis(x, axis, -1)


def _check_k(x: Any, k: int) -> None:
    n = x.shape[-1] if len(x.shape) else None
    whole = isinstance(k, int | np.integer) and not isinstance(k, bool)
    if len(x.shape) == 0 or not whole or k < 0 or (n is not None and k > n):
        raise BevelValueError(
            f"`k` must be a whole number from 0 to the length of the last axis; got {k!r} for "
            f"shape {tuple(x.shape)}."
        )
