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

import numpy as np
from keras import ops as K

from bevel import ops
from bevel.errors import UnknownOperationError
from bevel.ops.primitives import search
from bevel.rules import absent, elements
from bevel.rules.context import Call, Context
from bevel.rules.index import places, scores
from bevel.soft import Index, Mixture, Order, Prob, Real, Rounded, Soft, as_float, value_of

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
    axis = -1 if call.param("axis") is None else call.param("axis")
    dtype = call.node.outputs[1].dtype
    if isinstance(x, Index) and _is_order(x):
        k = (call.node.outputs[0].shape or (None,))[axis]  # may be computed: a tenth of the rows
        k = K.shape(call.native(x.support))[0] if k is None else k
        return _second(x, K.argsort(-x.support)[:k], dtype)
    own = x if isinstance(x, Real) else Real(_in_line(x, axis), x.dtype)
    values = call.native(own)
    is_whole = values.shape[axis] == own.tensor.shape[axis]
    rows = ctx.drawn_in(K.moveaxis(scores(own.tensor, axis), axis, -1))

    def weights() -> Any:
        return _permutation(ctx, call, rows)[..., : K.shape(values)[axis], :]

    ranks = (lambda: _ranks(ctx, rows)) if is_whole else None
    numbers = elements.ordered(own, axis, K.shape(values)[axis], descending=True)
    more = _without_weights(ctx, rows, values, axis)
    order = Order(weights, own, values, ranks, None, *more, numbers)
    return [Real(values, call.dtype, elements=numbers), _positions(order, rows, axis, dtype)]


def sort(ctx: Context, call: Call, x: Any, *others: Any) -> Any:
    """Several arrays in the rising order of the first one.

    Those that count positions get weights, as in `top_k`; of the others, the expected entry.
    A further key decides where two are equal, which floats that move are not.
    """
    keys = (x, *others[: (call.param("keys") or 1) - 1])
    by_first = isinstance(x, Soft) and "float" in x.dtype
    if len(keys) > 1 and any(isinstance(k, Soft) for k in keys) and not by_first:
        return NotImplemented
    axis, counted = call.param("axis"), call.param("positions")
    dtypes = [v.dtype for v in call.node.outputs]
    if not isinstance(x, Soft):
        values = call.run(call.node, [value_of(a) for a in (x, *others)])
        pairs = zip((x, *others), values, dtypes, strict=True)
        return [Real(v, d) if isinstance(a, Soft) else v for a, v, d in pairs]
    if isinstance(x, Index) and counted == ("up",) and _is_order(x):
        return _second(x, K.argsort(x.support), dtypes[1])
    own = x if isinstance(x, Real) else Real(_in_line(x, axis), x.dtype)
    values = K.sort(own.tensor, axis=axis)
    rows = ctx.drawn_in(-K.moveaxis(scores(own.tensor, axis), axis, -1))
    ordered: Soft = Real(values, dtypes[0], elements=elements.ordered(own, axis))
    if isinstance(x, Rounded):  # rounding keeps the order
        ordered = Rounded(K.sort(x.u, axis=axis), dtypes[0], x._nearest, x.u)
    if isinstance(x, Prob):
        order = Order(lambda: _partition(K.moveaxis(x.p, axis, -1)), own, values)
    else:
        more = _without_weights(ctx, rows, values, axis)
        order = Order(
            lambda: _permutation(ctx, call, rows),
            own,
            values,
            lambda: _ranks(ctx, rows),
            ordered,
            *more,
            ordered.elements if isinstance(ordered, Real) else None,
        )
    results: list[Any] = [ordered]
    for other, counts, dtype in zip(others, counted, dtypes[1:], strict=True):
        if counts == "up":
            results.append(_positions(order, rows, axis, dtype))
        elif counts:
            results.append(_ranked(K.flip(order.weights, axis=-1), axis, dtype))
        else:
            entries = K.moveaxis(as_float(value_of(other), rows), axis, -1)
            mean = K.sum(order.weights * K.expand_dims(entries, -2), axis=-1)
            results.append(Real(K.moveaxis(mean, -1, axis), dtype))
    return results


def _in_line(x: Any, axis: int) -> Any:
    """What is put in order of a value that is one of a few."""
    is_choice = isinstance(x, Mixture) and "float" in x.dtype
    return absent.settled(x, axis) if is_choice else value_of(x)


def reaches(ctx: Context, call: Call, x: Any, y: Any, strictly: bool) -> Any:
    """The chance of each number of a row to be above one of them, or not below it.

    That is to be among the first of the order, as many as there are now: `x >= sort(x)[-k]`. None
    where y is not known to be one of them by its place in their order.
    """
    if not isinstance(x, Real) or not isinstance(y, Real) or x.elements is not None:
        return None
    own, rank = y.elements, len(x.tensor.shape)
    is_one = own is not None and own.root is x.tensor and own.by_value and own.which is not None
    by_row = not len(y.tensor.shape) and rank == 1
    by_row = by_row or (0 < rank == len(y.tensor.shape) and y.tensor.shape[-1] == 1)
    if not is_one or not by_row:
        return None
    rows = ctx.drawn_in(scores(x.tensor, -1))
    above = (x.tensor > y.tensor) if strictly else (x.tensor >= y.tensor)
    count = K.stop_gradient(K.sum(K.cast(above, K.dtype(rows)), axis=-1, keepdims=True))
    if _is_small(x.tensor.shape):
        first = K.cast(K.expand_dims(places(rows, K.dtype(rows)) < count, -1), K.dtype(rows))
        return K.sum(_permutation(ctx, call, rows) * first, axis=-2)
    d = count - 0.5 - _ranks(ctx, rows)
    return ctx.step(d, K.maximum(ctx.spread(d), 1.0))


def inverted(ctx: Context, call: Call, x: Any) -> Any:
    """The place of each element in an order, which is the order of its positions."""
    if not isinstance(x, Index) or not _is_order(x):
        return NotImplemented
    return _second(x, K.argsort(x.support), call.dtype)[1]


def total(ctx: Context, call: Call, x: Any) -> Any:
    """The sum or mean over the first places, or others that stand together: every element counts by
    its chance to be at one of them.
    """
    order = x.order if isinstance(x, Index) else None
    if order is None or len(value_of(x.support).shape) != 1:
        return NotImplemented
    rank, axis = len(order.values.shape), call.param("axis")
    axes = {a % rank for a in (range(rank) if axis is None else axis)}
    members = order.members
    if rank - 1 not in axes or members is None:
        return NotImplemented
    found = K.sum(members * as_float(value_of(x.support), members), axis=-1, keepdims=True)
    if call.op == "mean":
        found = found / order.values.shape[-1]
    others = tuple(axes - {rank - 1})
    if others:
        found = (K.mean if call.op == "mean" else K.sum)(found, axis=others, keepdims=True)
    return Real(found if call.param("keepdims") else K.squeeze(found, tuple(axes)), call.dtype)


def negative(ctx: Context, call: Call, x: Any) -> Any:
    """A number that remembers what it is the negative of: an ascending sort is one of negatives."""
    return (
        Real(call.native(x), call.dtype, opposite=x, elements=elements.elements_of(x))
        if isinstance(x, Real)
        else NotImplemented
    )


def _positions(order: Order, rows: Any, axis: int, dtype: str) -> Index:
    """The positions of a sort along an axis; along the last one, with what is known of the sort."""
    if axis not in (-1, len(rows.shape) - 1):
        return _ranked(order.weights, axis, dtype)
    return Index(order, places(rows, dtype), dtype, True)


def _ranked(weights: Any, axis: int, dtype: str) -> Index:
    """Positions by weights (..., rank, element), the ranks along an axis of the result."""
    weights = K.moveaxis(weights, -2, axis if axis >= 0 else axis - 1)
    return Index(weights, places(weights, dtype), dtype, True)


def _is_order(x: Index) -> bool:
    """Whether a value is the order of something else already: the positions of a whole sort."""
    if isinstance(x.support, Soft) or len(x.support.shape) != 1:
        return False
    if x.order is not None and x.order.ranks is not None:
        return True
    return len(x.weights.shape) > 1 and x.weights.shape[-1] == x.weights.shape[-2]


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


def _permutation(ctx: Context, call: Call, x: Any) -> Any:
    """Weights of each element (last axis) for each rank, the largest first."""
    _check_size(call, x.shape)
    scale = _REACH * ctx.spread_of_rows(x)
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


def _partition(p: Any) -> Any:
    """Weights of each element (last axis) for each rank, where truths are sorted: false ones first.

    Equal ones keep their order. So a false one has as many before it as there are false ones, and a
    true one j + the number of false ones behind it: sums of independent truths, one after another.
    """
    count = p.shape[-1]
    no = K.moveaxis(1 - p, -1, 0)

    def pass_by(known: Any, chance: Any) -> tuple[Any, Any]:
        moved = K.concatenate([K.zeros_like(known[..., :1]), known[..., :-1]], axis=-1)
        chance = K.expand_dims(chance, -1)
        return known + chance * (moved - known), known

    none = K.broadcast_to(K.cast(K.arange(count) == 0, K.dtype(p)), K.shape(p))
    _, before = K.scan(pass_by, none, no)
    _, behind = K.scan(pass_by, none, no, reverse=True)
    number = K.reshape(K.arange(count), (-1, *(1,) * len(p.shape)))
    place = K.arange(count) - number
    moved = K.take_along_axis(behind, K.broadcast_to(K.maximum(place, 0), K.shape(behind)), axis=-1)
    no = K.expand_dims(no, -1)
    return K.moveaxis(no * before + (1 - no) * K.where(place >= 0, moved, 0.0), 0, -1)


def _ranks(ctx: Context, x: Any) -> Any:
    """The rank of each element, from 0 for the largest, in O(n log n)."""
    scale = ctx.spread_of_rows(x)

    def ranks(stretch: float) -> Any:
        how = {"temperature": ctx.temperature, "scale": stretch * scale, "kernel": "quadratic"}
        return K.cast(ops.rank(x, descending=True, **how), K.dtype(x))

    return sum(share * ranks(stretch) for share, stretch in _TAIL) - 1


def _without_weights(ctx: Context, x: Any, values: Any, axis: int) -> tuple[Any, Any]:
    """What is known of the sort of long rows without weights: `between` and `places` of `Order`.

    The weights of an element are those of a Cauchy distribution around its rank, whose sums have a
    closed form. How uncertain a rank is tells the number of elements within a comparison's reach.
    """
    count = values.shape[axis]
    if _is_small(x.shape) or count is None or axis not in (-1, len(x.shape) - 1):
        return None, None
    known: list[Any] = []

    def between(first: int, last: int) -> Any:
        known[:] = known or [_ranks(ctx, x), _deviation(ctx, x)]
        rank, deviation = known

        def below(place: Any) -> Any:
            return K.arctan((place - 0.5 - rank) / deviation)

        everywhere = below(K.cast(K.shape(x)[-1], K.dtype(x))) - below(0)
        members = (below(last) - below(first)) / everywhere
        # as many as there are ranks, as the sums of weights are
        return members * ((last - first) / K.sum(members, axis=-1, keepdims=True))

    return between, np.arange(count)


def _deviation(ctx: Context, x: Any) -> Any:
    """How far the rank of each element may be off, a constant for the gradient.

    The chance p that another element is larger goes through 1/2 where they are equal; the mean of
    p (1 - p) over the reach of a comparison is about 1/4 at most, here half of it.
    """
    reach = _REACH * ctx.temperature * ctx.spread_of_rows(x)
    reach = K.cast(reach, K.dtype(x))
    rows = K.stop_gradient(K.reshape(x, (-1, K.shape(x)[-1])))
    ordered = K.sort(rows, axis=-1)
    near = search(ordered, rows + reach) - search(ordered, rows - reach)
    blur = K.cast(_BLUR * ctx.temperature, K.dtype(x))
    others = K.reshape(K.cast(near, K.dtype(x)), K.shape(x)) - 1
    variance = others / 8 + blur * blur
    return K.sqrt(K.maximum(variance, 1e-9))


def _second(x: Index, order: Any, dtype: str) -> Any:
    """The positions of a sort in an order of their own: the rank of each place, by what it holds.

    Args:
        x: The positions.
        order: Their places, in the order of what each place holds.
        dtype: Of the result.
    """
    held = K.take(x.support, order)

    def index() -> Index:
        weights = K.take(K.swapaxes(x.weights, -1, -2), order, axis=-2)
        weights = weights / K.sum(weights, axis=-1, keepdims=True)
        return Index(weights, places(weights, dtype), dtype, True)

    ranks = x.order.ranks if x.order is not None else None
    if x.order is None or ranks is None or _is_small(x.order.sorted.tensor.shape):
        found: Any = index()
        shape = K.shape(found.weights)[:-1]
    else:
        found = Real(K.take(ranks(), order, axis=-1), dtype, index=index)
        shape = K.shape(found.tensor)
    return [K.broadcast_to(held, shape), found]


def _is_small(shape: Any) -> bool:
    """Whether weights for each element at each rank cost next to nothing."""
    if None in tuple(shape) or shape[-1] > _SHORT:
        return False
    return math.prod(shape) * shape[-1] <= _FEW
