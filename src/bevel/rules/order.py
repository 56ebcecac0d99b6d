"""Rules for order: which elements are the largest, and in what order they stand.

The values of a sort or a top-k have a gradient already. Their positions get weights: how near each
element j is to the one that truly has the rank i,

    w_ij  proportional to  1 / (1 + ((x_(i) - x_j) / (temperature spread))^2),

scaled in turn along both axes until every element has one rank as every rank has one element: else
a high gain would count at several ranks. Dense: n^2 weights. Sorting the positions of a sort gives
ranks; the weights of that second sort are those of the first, read the other way.
"""

from __future__ import annotations

from typing import Any

from keras import ops as K

from bevel import ops
from bevel.rules.context import Call, Context, spread
from bevel.rules.index import scores
from bevel.soft import Index, Real, Soft, value_of

_ROUNDS = 20


def top_k(ctx: Context, call: Call, x: Any) -> Any:
    """Values as they are, positions as weights over all elements."""
    k = call.param("k")
    if k is None:
        return NotImplemented
    if isinstance(x, Index) and len(value_of(x.support).shape) == 1:
        return _inverse(call, x, k)
    values = call.native(x)
    weights = _permutation(ctx, scores(value_of(x), -1))[..., :k, :]
    dtype = call.node.outputs[1].dtype
    return [Real(values, call.dtype), Index(weights, _places(weights, dtype), dtype, True)]


def _permutation(ctx: Context, x: Any) -> Any:
    """Weights of each element (last axis) for each rank, the largest first."""
    ranked = -K.sort(-x, axis=-1)
    scale = spread(x - K.mean(x, axis=-1, keepdims=True))
    gaps = -K.abs(K.expand_dims(ranked, -1) - K.expand_dims(x, -2))
    weights = ops.argmax(gaps, axis=-1, temperature=ctx.temperature, kernel="cauchy", scale=scale)
    for _ in range(_ROUNDS):
        weights = weights / K.sum(weights, axis=-2, keepdims=True)
        weights = weights / K.sum(weights, axis=-1, keepdims=True)
    return weights


def _inverse(call: Call, x: Index, k: int) -> Any:
    """The order of positions known by weights: those of each place, by what it holds."""
    support = value_of(x.support)
    if isinstance(x.support, Soft) or x.weights.shape[-1] != x.weights.shape[-2]:
        return NotImplemented
    order = K.argsort(-K.cast(support, "float32"))[:k]
    weights = K.take(K.swapaxes(x.weights, -1, -2), order, axis=-2)
    weights = weights / K.sum(weights, axis=-1, keepdims=True)
    dtype = call.node.outputs[1].dtype
    values = K.broadcast_to(K.take(support, order), K.shape(weights)[:-1])
    return [values, Index(weights, _places(weights, dtype), dtype, True)]


def _places(weights: Any, dtype: str) -> Any:
    return K.cast(K.arange(K.shape(weights)[-1]), dtype)
