"""Rules for order: which elements are the largest, and in what order they stand.

The values of a sort or a top-k have a gradient already. Their positions get weights: how likely an
element j has the rank i, when it is only known by a chance p_lj which of two elements is larger.
The rank of j has the mean r_j and the deviation s_j of the number of larger elements, as in
SoftRank (Taylor et al., WSDM 2008), but with a heavy tail:

    p_lj = K((x_l - x_j) / (3 temperature spread)),  r_j = sum of p_lj,
    s_j^2 = sum of p_lj (1 - p_lj) + (10 temperature)^2,  w_ij  ~  1 / (1 + ((i - r_j) / s_j)^2),

scaled in turn along both axes until every element has one rank as every rank has one element: else
a high gain would count at several ranks. Dense: n^2 weights. Sorting the positions of a sort gives
ranks; the weights of that second sort are those of the first, read the other way.

Chosen by descent from random scores. Weights by how near x_j is to the i-th largest value end at
99 % of the best discounted gain too, but at 60 % of the best recall among 4 of 50.
"""

from __future__ import annotations

import math
from typing import Any

from keras import ops as K

from bevel.errors import UnknownOperationError
from bevel.rules.context import Call, Context
from bevel.rules.index import places, scores
from bevel.soft import Index, Real, Soft, as_float, value_of

_ROUNDS = 10

# The most memory that the weights may take, in GiB; a few times that is needed on the way.
_MOST = 2.0

# How much wider a comparison is than elsewhere, and how far off a rank may be even where all
# comparisons are certain; both by descent, see above.
_REACH = 3.0
_BLUR = 10.0


def top_k(ctx: Context, call: Call, x: Any) -> Any:
    """Values as they are, positions as weights over all elements."""
    values = call.native(x)
    axis = -1 if call.param("axis") is None else call.param("axis")
    k = K.shape(values)[axis]  # may be computed: a tenth of the rows
    if isinstance(x, Index) and _is_order(x):
        order = K.argsort(-K.cast(value_of(x.support), "float32"))[:k]
        return _inverse(x, order, call.node.outputs[1].dtype)
    _check_size(call, value_of(x).shape)
    weights = _permutation(ctx, K.moveaxis(scores(value_of(x), axis), axis, -1))[..., :k, :]
    return [Real(values, call.dtype), _ranked(weights, axis, call.node.outputs[1].dtype)]


def sort(ctx: Context, call: Call, x: Any, *others: Any) -> Any:
    """Several arrays in the rising order of the first one.

    Those that count positions get weights, as in `top_k`; of the others, the expected entry.
    """
    axis, counted = call.param("axis"), call.param("positions")
    dtypes = [v.dtype for v in call.node.outputs]
    if not isinstance(x, Soft):
        values = call.run(call.node, [value_of(a) for a in (x, *others)])
        pairs = zip((x, *others), values, dtypes, strict=True)
        return [Real(v, d) if isinstance(a, Soft) else v for a, v, d in pairs]
    if isinstance(x, Index) and counted == ("up",) and _is_order(x):
        return _inverse(x, K.argsort(value_of(x.support)), dtypes[1])
    key = value_of(x)
    _check_size(call, key.shape)
    weights = _permutation(ctx, -K.moveaxis(scores(key, axis), axis, -1))
    results: list[Any] = [Real(K.sort(key, axis=axis), dtypes[0])]
    for other, counts, dtype in zip(others, counted, dtypes[1:], strict=True):
        if counts:
            own = weights if counts == "up" else K.flip(weights, axis=-1)
            results.append(_ranked(own, axis, dtype))
            continue
        entries = K.moveaxis(as_float(value_of(other), weights), axis, -1)
        mean = K.sum(weights * K.expand_dims(entries, -2), axis=-1)
        results.append(Real(K.moveaxis(mean, -1, axis), dtype))
    return results


def _ranked(weights: Any, axis: int, dtype: str) -> Index:
    """Positions by weights (..., rank, element), the ranks along an axis of the result."""
    weights = K.moveaxis(weights, -2, axis if axis >= 0 else axis - 1)
    return Index(weights, places(weights, dtype), dtype, True)


def _is_order(x: Index) -> bool:
    """Whether a value is the order of something else already: the positions of a sort."""
    if isinstance(x.support, Soft) or len(x.weights.shape) < 2:
        return False
    square = x.weights.shape[-1] == x.weights.shape[-2]
    return square and len(value_of(x.support).shape) == 1


def _check_size(call: Call, shape: Any) -> None:
    """Says before the memory runs out that the weights would need too much of it."""
    if None in tuple(shape):
        return
    size = math.prod(shape) * shape[-1] * 4 / 2**30
    if size > _MOST:
        raise UnknownOperationError(
            f"the order of {shape[-1]} elements needs {size:.1f} GiB: a weight for each element at "
            "each rank",
            loc=call.node.loc,
            label="n x n weights",
            help="take the order of fewer elements, such as one batch.",
        )


def _permutation(ctx: Context, x: Any) -> Any:
    """Weights of each element (last axis) for each rank, the largest first."""
    scale = _REACH * ctx.spread(x - K.mean(x, axis=-1, keepdims=True))
    larger = ctx.step(K.expand_dims(x, -2) - K.expand_dims(x, -1), scale)
    rank = K.sum(larger, axis=-1) - 0.5  # without the element against itself
    blur = K.cast(_BLUR * ctx.temperature, K.dtype(x))
    variance = K.sum(larger * (1 - larger), axis=-1) - 0.25 + blur * blur
    distance = K.expand_dims(places(x, K.dtype(x)), -1) - K.expand_dims(rank, -2)
    weights = 1 / (1 + distance * distance / K.expand_dims(K.maximum(variance, 1e-9), -2))
    for _ in range(_ROUNDS):
        weights = weights / K.sum(weights, axis=-2, keepdims=True)
        weights = weights / K.sum(weights, axis=-1, keepdims=True)
    return weights


def _inverse(x: Index, order: Any, dtype: str) -> Any:
    """The order of positions known by weights: those of each place, by what it holds."""
    support = value_of(x.support)
    weights = K.take(K.swapaxes(x.weights, -1, -2), order, axis=-2)
    weights = weights / K.sum(weights, axis=-1, keepdims=True)
    values = K.broadcast_to(K.take(support, order), K.shape(weights)[:-1])
    return [values, Index(weights, places(weights, dtype), dtype, True)]
