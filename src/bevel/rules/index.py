"""Rules for positions: an index is a distribution, and whatever uses it takes the expectation.

argmax           weights over the axis (heavy-tailed, so a class far behind still gets a gradient)
one_hot          the weights themselves
take             the weighted sum of what each position would give
in_top_k         fewer than k scores are larger, counted softly
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keras import ops as K

from bevel import ops
from bevel.rules import absent
from bevel.rules.context import Call, Context
from bevel.rules.rounding import longer, window
from bevel.rules.structural import arranged
from bevel.soft import (
    Index,
    Mixture,
    Prob,
    Real,
    Rounded,
    Soft,
    Stacked,
    as_float,
    atoms_of,
    value_of,
    weighted,
)

# Values side by side that are kept apart for what is known of each, where they are floats.
_MOST_PARTS = 32


def argmax(ctx: Context, call: Call, x: Any) -> Any:
    """Weights over the axis, by how far each value lies behind the largest."""
    return _extreme(ctx, call, x, ops.argmax)


def argmin(ctx: Context, call: Call, x: Any) -> Any:
    """Weights over the axis, by how far each value lies above the smallest."""
    return _extreme(ctx, call, x, ops.argmin)


def _extreme(ctx: Context, call: Call, x: Any, search: Any) -> Any:
    axis = call.param("axis")
    if axis is None:
        return NotImplemented
    if isinstance(x, Prob) or x.dtype == "bool":
        weights = _first(x.mean if call.op == "argmax" else 1 - x.mean, axis)
    elif isinstance(x, Mixture) and ("float" in x.dtype or not absent.moves(x)):
        weights = absent.chances(ctx, x, axis, 1 if call.op == "argmax" else -1)
    else:
        weights = chances(ctx, _first_of_equals(call, x, axis), axis, search)
    return Index(weights, places(weights, call.dtype), call.dtype, is_position=True)


def _first_of_equals(call: Call, x: Any, axis: int) -> Any:
    """The values; integers are often equal, and the first one counts: it leads by less than 1."""
    values = x.mean
    if "int" not in x.dtype:
        return values
    count = K.shape(values)[axis]
    lead = K.arange(count, dtype=K.dtype(values)) / (2 * K.cast(count, K.dtype(values)))
    lead = K.reshape(lead, (-1, *(1,) * ((len(values.shape) - 1 - axis) % len(values.shape))))
    return values - lead if call.op == "argmax" else values + lead


def _first(p: Any, axis: int) -> Any:
    """The chance of each truth along an axis to be the first that holds; the first, if none does.

    The axis is moved to the end.
    """
    p = K.moveaxis(p, axis, -1)
    missed = K.cumprod(1 - p, axis=-1)
    before = K.concatenate([K.ones_like(p[..., :1]), missed[..., :-1]], axis=-1)
    found = p * before
    return K.concatenate([found[..., :1] + missed[..., -1:], found[..., 1:]], axis=-1)


def wrapped(ctx: Context, call: Call, index: Any) -> Any:
    """A position that counts from the end where it is negative: one known by weights never is."""
    if isinstance(index, Index) and not index.is_position:
        return NotImplemented
    return index


def chances(ctx: Context, x: Any, axis: int, search: Any) -> Any:
    """How likely each position along an axis, which is moved to the end, holds the extreme.

    Args:
        ctx: The context.
        x: A tensor.
        axis: The axis.
        search: `ops.argmax` or `ops.argmin`.
    """
    values = ctx.drawn_in(scores(x, axis))
    scale = ctx.spread_of_rows(values, axis)
    return search(values, axis=axis, temperature=ctx.temperature, kernel="cauchy", scale=scale)


def scores(x: Any, axis: int) -> Any:
    """Values in the order of x; probabilities as their logarithms.

    Their order is the same, but a class that has lost keeps its distance from others that have:
    near 0 all probabilities look alike, and a metric with unequal costs would then be descended the
    wrong way.
    """
    total = K.sum(x, axis=axis)
    are_shares = K.logical_and(K.all(x >= 0), K.all(K.abs(total - 1) < 1e-2))
    return K.where(are_shares, K.log(K.maximum(x, 1e-30)), x)


def unraveled(ctx: Context, call: Call, index: Any, lengths: Any) -> Any:
    """The coordinates of a position in a table, side by side."""
    if not isinstance(index, Soft) or isinstance(lengths, Soft):
        return NotImplemented
    weights, support = positions(ctx, index)
    each = call.native(K.reshape(support, (-1,)), lengths)
    parts = [K.reshape(coordinate, K.shape(support)) for coordinate in K.unstack(each, axis=0)]
    return Stacked([Index(weights, part, call.dtype) for part in parts], 0, call.dtype)


def one_hot(ctx: Context, call: Call, index: Any, on: Any, off: Any) -> Any:
    """The weights of an index are its soft one-hot code."""
    if any(isinstance(v, Soft) for v in (on, off)) or not isinstance(index, Soft):
        return NotImplemented
    # what is no class at all has a code of zeros
    weights, support = positions(ctx, index, call.param("num_classes"), stays_within=False)
    axis, last = call.param("axis"), len(weights.shape) - 1
    if (
        _is_position(index)
        and axis in (-1, last)
        and weights.shape[-1] == call.param("num_classes")
    ):
        p = weights
    else:
        # the code of every possible position, summed by their weights
        like = K.dtype(weights)
        codes = call.native(support, K.ones((), dtype=like), K.zeros((), dtype=like))
        summed = -2 if axis == -1 else -1
        p = K.sum(K.expand_dims(weights, axis) * codes, axis=summed)
    low, high = as_float(off, p), as_float(on, p)
    codes = [K.cast(v, call.dtype) for v in (off, on)]
    return Mixture(
        lambda: [(1 - p, codes[0]), (p, codes[1])], 2, call.dtype, lambda: low + p * (high - low)
    )


def sparse_cross_entropy(ctx: Context, call: Call, logits: Any, label: Any) -> Any:
    """What each class would cost as the label, by its weight, and the slope beside it."""
    classes = value_of(logits).shape[-1]
    if not isinstance(label, Soft) or classes is None:
        return NotImplemented
    weights, support = positions(ctx, label, classes)
    if _is_position(label) and weights.shape[-1] == classes:
        shares = weights
    else:
        codes = K.one_hot(support, classes, dtype=K.dtype(weights))
        shares = K.sum(K.expand_dims(weights, -1) * codes, axis=-2)
    logarithms = K.log_softmax(as_float(value_of(logits), shares), axis=-1)
    loss = -K.sum(K.where(shares > 0, shares * logarithms, 0.0), axis=-1)
    results = (loss, K.exp(logarithms) - shares)
    return [Real(t, v.dtype) for t, v in zip(results, call.node.outputs, strict=True)]


def take(ctx: Context, call: Call, table: Any, index: Any) -> Any:
    """The expected entry: what each position would give, weighted."""
    axis, batch = call.param("axis"), call.param("batch_dims")
    if not isinstance(index, Soft) or axis is None:
        return NotImplemented
    found = _sorted(table, index, axis, batch, call.dtype)
    if found is not None:
        return found
    entries = value_of(table)
    size = entries.shape[axis]
    order = index.order if isinstance(index, Index) and index.is_position else None
    if order is not None and order.members is not None and axis == batch == 0:
        if len(entries.shape) == 1 and order.sorted.tensor.shape[-1] == size:
            entries = entries[: K.shape(order.sorted.tensor)[-1]] if size is None else entries
            held = Real(entries, call.dtype) if isinstance(table, Soft) else entries
            return Index(order, held, call.dtype)  # no weights until something asks for them
    weights, support = positions(ctx, index, size)
    if size is not None:  # a position beyond the ends has no chance, but may hold a NaN
        support = K.clip(support, 0, size - 1)
    rank, rest = len(weights.shape) - 1, len(entries.shape) - axis - 1
    if _is_position(index) and axis == 0 and rest and size == weights.shape[-1]:
        mean = K.tensordot(weights, as_float(entries, weights), axes=[[-1], [0]])
        return Real(mean, call.dtype)
    found = call.native(entries, support)
    if not rest and axis == batch:
        value = Real(found, call.dtype) if isinstance(table, Soft) else found
        return Index(weights, value, call.dtype)
    lengths = K.shape(weights)
    share = K.reshape(
        weights, (*lengths[:batch], *(1,) * (axis - batch), *lengths[batch:], *(1,) * rest)
    )
    return Real(weighted(share, found, axis + rank - batch), call.dtype)


def _sorted(table: Any, index: Any, axis: int, batch: int, dtype: str) -> Soft | None:
    """The entries in the order of a sort of themselves: what the sort gave. None for all others."""
    if not _is_position(index) or index.order is None or not isinstance(table, Soft):
        return None
    order = index.order
    if axis != batch or axis != len(table.mean.shape) - 1:
        return None
    if table is order.sorted or table.mean is order.sorted.tensor:  # rounded, it was sorted so
        return order.found or Real(order.values, dtype, elements=order.elements)
    if table is order.sorted.opposite:
        return Real(-order.values, dtype, elements=order.elements)
    return None


def gather_nd(ctx: Context, call: Call, table: Any, indices: Any) -> Any:
    """The expected entry at a position of several coordinates."""
    columns = columns_of(indices)
    if columns is None:
        return NotImplemented
    sizes = call.param("lengths") or value_of(table).shape
    place, weights = spread_out(ctx, columns, sizes)
    if None not in tuple(sizes):
        limits = K.convert_to_tensor([n - 1 for n in sizes][: place.shape[-1]], "int32")
        place = K.clip(place, 0, limits)
    found = as_float(call.native(value_of(table), place), weights)
    depth = len(weights.shape)
    weights = K.reshape(weights, (*K.shape(weights), *(1,) * (len(found.shape) - depth)))
    axes = tuple(range(rank_of(columns), depth))
    return Real(K.sum(weights * found, axis=axes), call.dtype)


def in_top_k(ctx: Context, call: Call, values: Any, target: Any) -> Any:
    """Whether fewer than k scores are larger than the target's."""
    k = call.param("k")
    if not isinstance(values, Soft) or isinstance(target, Soft) or k is None:
        return NotImplemented
    x = ctx.drawn_in(scores(values.mean, -1))
    own = K.take_along_axis(x, K.expand_dims(K.cast(target, "int32"), -1), axis=-1)
    d = x - own
    larger = K.sum(ctx.step(d, ctx.spread(d)), axis=-1) - 0.5  # without the target against itself
    return Prob(ctx.step(k - 0.5 - larger, 1.0))


def stack(ctx: Context, call: Call, *parts: Any) -> Any:
    """Values side by side: truths and numbers as they are, positions kept apart."""
    axis = call.param("axis")
    are_positions = len(parts) <= _MOST_PARTS and any(isinstance(p, Index) for p in parts)
    if any(isinstance(p, Soft) for p in parts) and ("int" in call.dtype or are_positions):
        return Stacked(parts, axis, call.dtype)
    return _joined(call, parts)


def together(call: Call, x: Any) -> Any:
    """A reduction over coordinates of one position: of each possible position by itself.

    The distance of a position from a point is so known by its distribution, not by that of its mean
    place.
    """
    if not isinstance(x, Stacked) or call.op not in _TOGETHER or call.param("axis") is None:
        return NotImplemented
    first, rank = x.parts[0], len(x.mean.shape)
    axes = {a % rank for a in call.param("axis")}
    is_length = call.op != "vector_norm" or call.param("order") == 2
    if axes != {x.axis % rank} or not is_length:
        return NotImplemented
    if not all(isinstance(p, Index) and p.source is first.source for p in x.parts):
        return NotImplemented
    if first.order is not None or any(isinstance(p.support, Soft) for p in x.parts):
        return NotImplemented
    shape = K.shape(first.weights)
    rows = K.stack([as_float(p.support, first.weights) + K.zeros(shape) for p in x.parts])
    found, weights = _TOGETHER[call.op](rows, axis=0), first.weights
    if call.param("keepdims"):
        found, weights = (K.expand_dims(t, x.axis % rank) for t in (found, weights))
    return Index(weights, found, call.dtype)


# What may be made of the coordinates of each possible position.
_TOGETHER: dict[str, Any] = {
    "sum": K.sum,
    "mean": K.mean,
    "max": K.max,
    "min": K.min,
    "prod": K.prod,
    "vector_norm": lambda rows, axis: K.sqrt(K.sum(K.square(rows), axis=axis)),
}


def concat(ctx: Context, call: Call, *parts: Any) -> Any:
    """Values one after the other; positions of one column each are kept apart."""
    axis = call.param("axis")
    rank = len(value_of(parts[0]).shape)
    columns = all(value_of(p).shape[-1] == 1 for p in parts) and axis in (-1, rank - 1)
    if columns and "int" in call.dtype:
        return Stacked([_without_column(p) for p in parts], -1, call.dtype)
    return _joined(call, parts)


def _joined(call: Call, parts: Sequence[Any]) -> Any:
    like = next(value_of(p) for p in parts if isinstance(p, Soft))
    joined = call.native(*(as_float(value_of(p), like) for p in parts))
    if len(parts) == 1 and isinstance(parts[0], Real):
        return Real(joined, call.dtype, shape_of=parts[0].shape_of)
    truths = all(isinstance(p, Prob) for p in parts) or call.dtype == "bool"
    return Prob(joined, call.dtype) if truths else Real(joined, call.dtype)


def positions(
    ctx: Context, index: Any, size: int | None = None, *, stays_within: bool = True
) -> tuple[Any, Any]:
    """Weights and integer positions of an index of any soft kind, both one axis longer than it.

    A rounded number is looked at over as many integers as there are positions: with its two
    neighbours alone, a table or a one-hot code is descended into the next hollow and no further.

    Args:
        ctx: The context.
        index: A soft value.
        size: How many positions there are, if known.
        stays_within: Whether a neighbour outside is moved to the nearest position.
    """
    bound = size if stays_within else None
    if isinstance(index, Real) and index.index is not None:
        index = index.index()
    if isinstance(index, Index):
        support = K.broadcast_to(K.cast(value_of(index.support), "int32"), K.shape(index.weights))
        return index.weights, support
    derived = index.derived if isinstance(index, Rounded | Mixture) else None
    if derived is not None:
        within = window(ctx, derived.source, size)
        support = K.cast(derived.at(within.support, longer), "int32")
        return within.weights, support if bound is None else K.clip(support, 0, bound - 1)
    atoms = atoms_of(_between(index) if isinstance(index, Real) else index)
    shape = K.shape(index.mean)
    weights = K.stack([K.broadcast_to(w, shape) for w, _ in atoms], axis=-1)
    # rounded: the mean of something that is known by weights is nearly an integer, if one
    nearest = [K.cast(K.round(as_float(value_of(v), weights)), "int32") for _, v in atoms]
    places = [K.broadcast_to(v, shape) for v in nearest]
    support = K.stack(places, axis=-1)
    return weights, support if bound is None else K.clip(support, 0, bound - 1)


def _between(count: Real) -> Mixture:
    """A count used as a position: the two integers around it, by how near it is to each."""
    low = K.stop_gradient(K.floor(count.tensor))
    share = count.tensor - low
    return Mixture(lambda: [(1 - share, low), (share, low + 1)], 2, count.dtype)


def places(weights: Any, dtype: str) -> Any:
    """All positions of the last axis of weights: 0 ... n-1."""
    return K.cast(K.arange(K.shape(weights)[-1]), dtype)


def _is_position(index: Any) -> bool:
    return isinstance(index, Index) and index.is_position


def columns_of(indices: Any) -> list[Any] | None:
    """The coordinates of positions, without the axis that joined them; None if all are hard."""
    if isinstance(indices, Stacked) and indices.axis in (-1, len(indices.mean.shape) - 1):
        return indices.parts
    if isinstance(indices, Soft) and indices.mean.shape[-1] == 1:
        return [_without_column(indices)]
    return None


def _without_column(value: Any) -> Any:
    """A value of shape (..., 1) as one of shape (...)."""
    if isinstance(value, Index):
        support = value_of(value.support)
        if len(support.shape) > 1:
            support = K.squeeze(support, -2)
        return Index(K.squeeze(value.weights, -2), support, value.dtype, value.is_position)
    return arranged(value, lambda t: K.squeeze(t, -1))


def rank_of(columns: Sequence[Any]) -> int:
    return len(value_of(columns[0]).shape)


def spread_out(
    ctx: Context, columns: Sequence[Any], sizes: Sequence[int | None]
) -> tuple[Any, Any]:
    """Every position that coordinates may be, one more axis for each soft one, and its weight.

    Args:
        columns: The coordinates.
        sizes: How many positions there are for each, if known, in a sequence that may go on; a
            neighbour outside is moved to the nearest.
    """
    soft = [c for c in columns if isinstance(c, Soft)]
    rank, extra = rank_of(columns), len(soft)
    weights: Any = 1.0
    placed = []
    for column, size in zip(columns, sizes, strict=False):
        if not isinstance(column, Soft):
            lengths = K.shape(column)
            placed.append(K.reshape(K.cast(column, "int32"), (*lengths, *(1,) * extra)))
            continue
        share, support = positions(ctx, column, size)
        nth = soft.index(column)
        lengths = K.shape(share)
        shape = (*lengths[:rank], *(1,) * nth, lengths[rank], *(1,) * (extra - nth - 1))
        weights = weights * K.reshape(share, shape)
        placed.append(K.reshape(support, shape))
    full = K.shape(weights)
    return K.stack([K.broadcast_to(p, full) for p in placed], axis=-1), weights
