"""Ranks and sorted values by the nearest point of all their mixtures, through isotonic regression.

All permutations of w_1 < ... < w_n, and the mixtures of them, are the permutahedron of w. Its point
nearest to sorted numbers z is w + y - v with y = z - w and v the rising sequence nearest to y
(Blondel et al., "Fast differentiable sorting and ranking", ICML 2020, quadratic form). v is the
mean of y within blocks, so its derivative is that mean too, of whatever comes from above.

Blocks are usually found one element after another. Here all are cut at once: the rising sequence
passes the mean of a block where the running sum of the distances to that mean is lowest (the two
sides of the cut no longer matter to each other), and a block where it is nowhere below 0 is whole.
A round takes O(n) ordinary vector operations. Cutting at means halves values or numbers, so some
ten to thirty rounds are usual; n - 1 is what they cannot exceed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keras import ops as K

from bevel.ops.arguments import constant, dtype_of
from bevel.ops.primitives import (
    cumulated,
    double_precision,
    gathered,
    least_of_each,
    placed,
    sum_of_each,
    with_gradient,
)

# What running sums may be off by, of the sum of all distances: no reason to cut.
_ROUNDING = 1e-13


def projected_ranks(x: Any, unit: Any) -> Any:
    """The point nearest to n x / unit among the mixtures of all orders of 1, ..., n.

    Args:
        x: Shape (rows, n), float32 or float64.
        unit: Temperature times scale, a scalar tensor; a constant for the gradient.
    """
    dtype = dtype_of(x)

    def value(_: Any, x: Any) -> tuple[Any, Any]:
        with double_precision():
            order, ordered, poison = ordered_rows(x, K.isnan(x))
            n = K.cast(K.shape(x)[-1], "float64")
            gaps = gaps_of(ordered) * (n / wide(unit))
            # no block reaches across a gap of so many ranks, whose length then plays no part
            far = gaps > n
            rises = K.where(far, K.zeros_like(gaps), gaps - 1)
            rises = K.concatenate([K.zeros_like(ordered[:, :1]), rises], axis=-1)
            y = cumulated(rises, axis=-1)
            ids, apart = _blocks(y, far)
            counted = cumulated(K.ones_like(y), axis=-1)
            ranks = K.reshape(placed(K.reshape(counted + apart, (-1,)), order), K.shape(x))
            return K.cast(ranks + poison, dtype), (order, ids)

    def gradient(_: Any, kept: Any, g: Any, x: Any) -> Any:
        order, ids = kept
        pulled = gathered(K.reshape(g, (-1,)), order)
        pulled = placed(pulled - _mean(pulled, ids), order)
        return (K.reshape(pulled, K.shape(x)) * (K.cast(K.shape(x)[-1], dtype) / unit),)

    return with_gradient(value, gradient, (x,))


def projected_values(x: Any, unit: Any) -> Any:
    """The point nearest to (1, ..., n) / (n unit) among the mixtures of all orders of x, rising.

    Args:
        x: Shape (rows, n), float32 or float64. A row that is not finite gives NaN.
        unit: The temperature of x in units of the scale, a scalar tensor, and a
            constant for the gradient.
    """
    dtype = dtype_of(x)

    def value(_: Any, x: Any) -> tuple[Any, Any]:
        with double_precision():
            order, ordered, poison = ordered_rows(x, K.logical_not(K.isfinite(x)))
            step = 1 / (K.cast(K.shape(x)[-1], "float64") * wide(unit))
            counted = cumulated(K.ones_like(ordered), axis=-1)
            y = counted * step - (ordered - ordered[:, :1])
            ids, apart = _blocks(y, K.zeros_like(y[:, 1:], dtype="bool"))
            return K.cast(ordered + apart + poison, dtype), (order, ids)

    def gradient(_: Any, kept: Any, g: Any, x: Any) -> Any:
        order, ids = kept
        pulled = placed(_mean(K.reshape(g, (-1,)), ids), order)
        return (K.reshape(pulled, K.shape(x)),)

    return with_gradient(value, gradient, (x,))


def ordered_rows(x: Any, flags: Any) -> tuple[Any, Any, Any]:
    """Where each sorted element stands in the flat array, the sorted rows, and NaN for lost ones.

    A row with a flag is lost, and of zeros meanwhile.
    """
    rows, n = K.shape(x)
    is_lost = K.any(flags, axis=-1, keepdims=True)
    x = K.where(is_lost, K.zeros_like(x), x)
    starts = K.expand_dims(K.arange(rows, dtype="int32") * n, -1)
    order = K.reshape(K.cast(K.argsort(x, axis=-1), "int32") + starts, (-1,))
    ordered = K.reshape(gathered(K.reshape(K.cast(x, "float64"), (-1,)), order), (rows, n))
    nan = constant(float("nan"), "float64")
    return order, ordered, K.where(is_lost, nan, K.zeros_like(nan))


def gaps_of(ordered: Any) -> Any:
    """How far each element of rising rows is above the one before it; equal infinities are not."""
    low, high = ordered[:, :-1], ordered[:, 1:]
    return K.where(low == high, K.zeros_like(low), high - low)


def _blocks(y: Any, far: Any) -> tuple[Any, Any]:
    """The number of each element's block, flat, and its distance to the mean of that, as rows.

    Args:
        y: Shape (rows, n), float64.
        far: Shape (rows, n - 1): where a new block begins in any case.
    """
    flat = K.reshape(y, (-1,))
    nowhere = constant(float("inf"), "float64")

    def heights(ids: Any) -> Any:
        apart = flat - _mean(flat, ids)
        running = cumulated(apart)
        return K.where(running < -_ROUNDING * K.sum(K.abs(apart)), running, nowhere)

    ids = cut_blocks(heights, y, far)
    return ids, K.reshape(flat - _mean(flat, ids), K.shape(y))


def cut_blocks(heights: Callable[[Any], Any], rows: Any, far: Any) -> Any:
    """The number of each element's block, flat; all blocks are cut at once until none can be.

    Args:
        heights: From such numbers, a height for each element: a block is cut behind the lowest,
            unless that is infinite.
        rows: What is cut, shape (rows, n): a block begins with each row.
        far: Shape (rows, n - 1): where another one begins in any case.
    """

    def cut(first: Any, _: Any) -> tuple[Any, Any]:
        ids = _numbers(first)
        height = heights(ids)
        lowest = gathered(least_of_each(height, ids), ids)
        last = K.logical_and(K.isfinite(height), height <= lowest)
        new = K.concatenate([K.zeros_like(last[:1]), last[:-1]])
        return K.logical_or(first, new), K.any(K.logical_and(new, K.logical_not(first)))

    first = K.concatenate([K.ones_like(rows[:, :1], dtype="bool"), far], axis=-1)
    first = K.reshape(first, (-1,))
    first, _ = K.while_loop(lambda _, changed: changed, cut, (first, K.any(first)))
    return _numbers(first)


def _numbers(first: Any) -> Any:
    """Blocks counted from 0, by the flags of their first elements."""
    return cumulated(K.cast(first, "int32")) - 1


def _mean(values: Any, ids: Any) -> Any:
    """The mean of each element's block."""
    many = sum_of_each(K.ones_like(values), ids)
    means = sum_of_each(values, ids) / K.maximum(many, K.ones_like(many))
    return gathered(means, ids)


def wide(unit: Any) -> Any:
    return K.cast(unit, "float64")
