"""Rules for order: which elements are the largest, and in what order they stand.

The values of a sort or a top-k have a gradient already, and so have numbers in their own order,
`x[argsort(x)]`. Ranks, the positions of a sort in their own order, are soft counts of the larger
elements by log-linear sums (`bevel.ops.rank`), with a narrow kernel and a wide tail. Whatever else
is done with positions needs a weight for each element at each rank, which are made when something
asks for them: how likely an element j has the rank i, when it is only known by a chance p_lj which
of two elements is larger.
The rank of j has the mean r_j and the deviation s_j of the number of larger elements, as in
SoftRank (Taylor et al., WSDM 2008), but with a heavy tail:

    p_lj = K((x_l - x_j) / (3 temperature spread)),  r_j = sum of p_lj,
    s_j^2 = sum of p_lj (1 - p_lj) + (10 temperature)^2,  w_ij  ~  1 / (1 + ((i - r_j) / s_j)^2),

scaled in turn along both axes until every element has one rank as every rank has one element: else
a high gain would count at several ranks. In short rows ranks too are known by these weights, read
the other way: a steep function of them, such as a discount, is then descended better.

Chosen by descent from random scores. Weights by how near x_j is to the i-th largest value end at
99 % of the best discounted gain too, but at 60 % of the best recall among 4 of 50.
"""

from __future__ import annotations

import math
from typing import Any

from keras import ops as K

from bevel import ops
from bevel.errors import UnknownOperationError
from bevel.rules.context import Call, Context
from bevel.rules.index import places, scores
from bevel.soft import Index, Order, Real, Soft, value_of

_ROUNDS = 10

# The most memory that the weights may take, in GiB; a few times that is needed on the way.
_MOST = 2.0

# The longest row whose ranks are known by weights, and the most weights for all rows. A longer one,
# or one of unknown length, has ranks known by their expectation: no n^2 weights.
_SHORT, _FEW = 128, 2**22

# The shares of the kernels that such a rank is counted with, and their widths in comparisons: one
# that ends would lose sight of an element far from all others; by descent.
_TAIL = ((0.9, 1.0), (0.09, 4.0), (0.01, 16.0))

# How much wider a comparison is than elsewhere, and how far off a rank may be even where all
# comparisons are certain; both by descent, see above.
_REACH = 3.0
_BLUR = 10.0


def top_k(ctx: Context, call: Call, x: Any) -> Any:
    """Values as they are, positions as weights over all elements, made when asked for."""
    if isinstance(x, Index) and len(value_of(x.support).shape) == 1:
        return _second(ctx, call, x)
    values = call.native(x)
    own = x if isinstance(x, Real) else Real(value_of(x), x.dtype)
    rows = scores(own.tensor, -1)
    is_whole = values.shape[-1] == own.tensor.shape[-1]

    def weights() -> Any:
        _check_size(call, own.tensor.shape)
        return _permutation(ctx, rows)[..., : K.shape(values)[-1], :]

    order = Order(weights, own, values, (lambda: _ranks(ctx, rows)) if is_whole else None)
    dtype = call.node.outputs[1].dtype
    return [Real(values, call.dtype), Index(order, places(rows, dtype), dtype, True)]


def negative(ctx: Context, call: Call, x: Any) -> Any:
    """A number that remembers what it is the negative of: an ascending sort is one of negatives."""
    return Real(call.native(x), call.dtype, opposite=x) if isinstance(x, Real) else NotImplemented


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
            help="write it with ranks, argsort(argsort(x)), which need none of these; or take the "
            "order of fewer elements, such as one batch.",
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


def _ranks(ctx: Context, x: Any) -> Any:
    """The rank of each element, from 0 for the largest, in O(n log n)."""
    scale = ctx.spread(x - K.mean(x, axis=-1, keepdims=True))

    def ranks(stretch: float) -> Any:
        how = {"temperature": ctx.temperature, "scale": stretch * scale, "kernel": "quadratic"}
        return K.cast(ops.rank(x, descending=True, **how), K.dtype(x))

    return sum(share * ranks(stretch) for share, stretch in _TAIL) - 1


def _second(ctx: Context, call: Call, x: Index) -> Any:
    """The positions of a sort in their own order: the rank of each place, by what it holds."""
    ranks = x.order.ranks if x.order is not None else None
    if x.order is not None and _is_small(x.order.sorted.tensor.shape):
        ranks = None
    if isinstance(x.support, Soft):
        return NotImplemented
    if ranks is None and x.weights.shape[-1] != x.weights.shape[-2]:
        return NotImplemented
    held = call.native(x.support)
    largest = K.argsort(-x.support)[: K.shape(held)[0]]
    dtype = call.node.outputs[1].dtype

    def index() -> Index:
        weights = K.take(K.swapaxes(x.weights, -1, -2), largest, axis=-2)
        weights = weights / K.sum(weights, axis=-1, keepdims=True)
        return Index(weights, places(weights, dtype), dtype, True)

    if ranks is None:
        found = index()
        shape = K.shape(found.weights)[:-1]
    else:
        found = Real(K.take(ranks(), largest, axis=-1), dtype, index=index)
        shape = K.shape(found.tensor)
    return [K.broadcast_to(held, shape), found]


def _is_small(shape: Any) -> bool:
    """Whether weights for each element at each rank cost next to nothing."""
    if None in tuple(shape) or shape[-1] > _SHORT:
        return False
    return math.prod(shape) * shape[-1] <= _FEW
