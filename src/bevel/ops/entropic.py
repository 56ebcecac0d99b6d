"""Ranks and sorted values by the mixture of all orders that is nearest by relative entropy.

As in `bevel.ops.isotonic`, with the Kullback-Leibler divergence in place of the distance (Blondel
et al., "Fast differentiable sorting and ranking", ICML 2020, entropic form). For rising z and w the
point is z - v, v the rising sequence with the least sum of e^(z - v) + e^w v. In each block of v

    v = log of the sum of e^z - log of the sum of e^w,

and a block is cut where the running sum of softmax(z) - softmax(w), both within it, is lowest: far
down a block both are tiny, so that sums and differences are kept as logarithms.
Ranks are e^(z - v) for w = log (1, ..., n): those of a block share the sum of the ranks that they
mix, by a softmax of their scores, so none is ever below 0.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from keras import ops as K

from bevel.ops.arguments import bounded, constant, dtype_of
from bevel.ops.isotonic import cut_blocks, gaps_of, ordered_rows, wide
from bevel.ops.primitives import (
    cumulated,
    double_precision,
    gathered,
    least_of_each,
    placed,
    sum_of_each,
    with_gradient,
)

# In the middle, ranks i and i + 1 differ by 2 / n in their logarithms.
_STEEP = 2.0

# What logarithms of running sums may be off by.
_ROUNDING = 1e-12

# Nothing mixes across a gap of this many units, at any length of a row.
_FAR = 50.0


def entropic_ranks(x: Any, unit: Any) -> Any:
    """exp of the point nearest to 2 x / unit among the mixtures of all orders of log (1, ..., n).

    Args:
        x: Shape (rows, n), float32 or float64.
        unit: Temperature times scale, a scalar tensor; a constant for the gradient.
    """
    dtype = dtype_of(x)

    def value(_: Any, x: Any) -> tuple[Any, Any]:
        with double_precision():
            order, ordered, poison = ordered_rows(x, K.isnan(x))
            gaps = gaps_of(ordered) * (_STEEP / wide(unit))
            gaps = K.concatenate([K.zeros_like(ordered[:, :1]), bounded(gaps, _FAR)], axis=-1)
            z = cumulated(gaps, axis=-1)
            counted = cumulated(K.ones_like(z), axis=-1)
            ids = _blocks(z, K.log(counted))
            shared = gathered(sum_of_each(K.reshape(counted, (-1,)), ids), ids)
            shares, _ = _softmax(K.reshape(z, (-1,)), ids)
            ranks = K.reshape(placed(shares * shared, order), K.shape(x))
            return K.cast(ranks + poison, dtype), (order, ids, K.cast(shared, dtype))

    def gradient(_: Any, kept: Any, g: Any, x: Any) -> Any:
        order, ids, shared = kept
        ordered = gathered(K.reshape(x, (-1,)), order)
        highest = _highest(ordered, ids)
        # a block that holds an infinite score holds nothing else
        below = K.where(ordered == highest, K.zeros_like(ordered), ordered - highest)
        shares, _ = _softmax(below * (_STEEP / unit), ids)
        pulled = gathered(K.reshape(g, (-1,)), order) * shares * shared
        pulled = placed(pulled - shares * gathered(sum_of_each(pulled, ids), ids), order)
        return (K.reshape(pulled, K.shape(x)) * (_STEEP / unit),)

    return with_gradient(value, gradient, (x,))


def entropic_values(x: Any, step: Any) -> Any:
    """The point nearest to (1, ..., n) step among the mixtures of all orders of x, rising.

    Args:
        x: Shape (rows, n), float32 or float64. A row that is not finite gives NaN.
        step: A scalar tensor.
    """
    dtype = dtype_of(x)

    def value(_: Any, x: Any, step: Any) -> tuple[Any, Any]:
        with double_precision():
            order, ordered, poison = ordered_rows(x, K.logical_not(K.isfinite(x)))
            counted = cumulated(K.ones_like(ordered), axis=-1)
            z, w = counted * wide(step), ordered - ordered[:, :1]
            ids = _blocks(z, w)
            (_, of_z), (_, of_w) = (_softmax(K.reshape(t, (-1,)), ids) for t in (z, w))
            of_z, of_w = (K.reshape(t, K.shape(z)) for t in (of_z, of_w))
            # in a block of one element both differences are 0, however large z is
            found = ordered + (z - of_z) - (w - of_w)
            return K.cast(found + poison, dtype), (order, ids)

    def gradient(_: Any, kept: Any, g: Any, x: Any, step: Any) -> Any:
        order, ids = kept
        w = gathered(K.reshape(x, (-1,)), order)
        pulled, counted = K.reshape(g, (-1,)), cumulated(K.ones_like(x), axis=-1)
        of_block = gathered(sum_of_each(pulled, ids), ids)
        (of_w, _), (of_z, _) = _softmax(w, ids), _softmax(K.reshape(counted * step, (-1,)), ids)
        to_x = K.reshape(placed(of_w * of_block, order), K.shape(x))
        return to_x, K.sum((pulled - of_z * of_block) * K.reshape(counted, (-1,)))

    return with_gradient(value, gradient, (x, step))


def _blocks(z: Any, w: Any) -> Any:
    """The number of each element's block, flat, from rising rows in float64."""
    flat_z, flat_w = (K.reshape(t, (-1,)) for t in (z, w))
    nowhere = constant(float("inf"), "float64")

    def heights(ids: Any) -> Any:
        logs = (t - _softmax(t, ids)[1] for t in (flat_z, flat_w))
        of_z, of_w = _running(logs, ids)
        apart = of_z - of_w
        is_lower = apart < -_ROUNDING
        safe = K.where(is_lower, apart, -K.ones_like(apart))
        return K.where(is_lower, -(of_w + K.log(-K.expm1(safe))), nowhere)

    return cut_blocks(heights, z, K.zeros_like(z[:, 1:], dtype="bool"))


def _running(logs: Iterable[Any], ids: Any) -> Sequence[Any]:
    """The logarithms of the running sums of e^v, v in some logs, within each block.

    Over twice as many elements in each step, so that no sum has another block in its rounding.
    """
    places = K.arange(K.shape(ids)[0], dtype="int32")

    def widen(reach: Any, *logs: Any) -> tuple[Any, ...]:
        before = K.maximum(places - reach, 0)
        is_inside = K.logical_and(places >= reach, gathered(ids, before) == ids)
        wider = (K.where(is_inside, _added(t, gathered(t, before)), t) for t in logs)
        return (2 * reach, *wider)

    one = K.ones((), dtype="int32")
    count = K.shape(ids)[0]
    return K.while_loop(lambda reach, *_: reach < count, widen, (one, *logs))[1:]


def _added(a: Any, b: Any) -> Any:
    """log(e^a + e^b); that of Keras gives float32 on PyTorch."""
    return K.where(a > b, a, b) + K.log1p(K.exp(-K.abs(a - b)))


def _softmax(values: Any, ids: Any) -> tuple[Any, Any]:
    """The softmax of each block, and for each element the logarithm of its block's sum of e^v."""
    highest = _highest(values, ids)
    parts = K.exp(values - highest)
    total = gathered(sum_of_each(parts, ids), ids)
    return parts / total, highest + K.log(total)


def _highest(values: Any, ids: Any) -> Any:
    """The largest value of each element's block, a constant for the gradient."""
    return K.stop_gradient(gathered(-least_of_each(-values, ids), ids))
