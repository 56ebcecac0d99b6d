"""Rules for values put at soft positions: each goes in shares to every position that it may have.

scatter, scatter_add      the shares are added up
segment_sum, bincount     likewise, by the weights of a segment or a bin
scatter_update            what is there gives way as far as an update is likely to meet it
"""

from __future__ import annotations

import math
from typing import Any

from keras import ops as K

from bevel import ops
from bevel.rules.context import NEARLY_ONE, Call, Context
from bevel.rules.counters import counters
from bevel.rules.index import columns_of, positions, rank_of, spread_out
from bevel.soft import Index, Prob, Real, Soft, as_float, value_of

# Hard positions that are written out as indicators.
_MOST_ROWS = 256

# What `scatter_add` stands for may subtract, too.
_SUBTRACTING = frozenset({"TensorScatterSub", "scatter-sub"})


def scatter(ctx: Context, call: Call, indices: Any, updates: Any) -> Any:
    """Each update goes to every position that its index may be, in shares."""
    table = _crossed(call, indices, updates)
    if table is not None:
        return Real(table, call.dtype)
    shared = _shared(ctx, call, indices, updates)
    if shared is None:
        return NotImplemented
    place, weights, values = shared
    return Real(call.native(place, weights * values), call.dtype)


def _crossed(call: Call, indices: Any, updates: Any) -> Any:
    """A cross table of hard positions and a soft one that may be anywhere, by a matrix product.

    That is what a confusion matrix is; element by element its sums would be slower and less exact.
    None for all other tables, and for those with too many hard positions.
    """
    columns = columns_of(indices)
    sizes = [n for n in call.node.outputs[0].shape or () if n is not None]
    if columns is None or len(sizes) != len(columns):
        return None
    soft = [n for n, c in enumerate(columns) if isinstance(c, Soft)]
    column = columns[soft[0]]
    if len(soft) > 1 or not isinstance(column, Index) or not column.is_position:
        return None
    lengths = [size for n, size in enumerate(sizes) if n not in soft]
    if column.weights.shape[-1] != sizes[soft[0]] or math.prod(lengths) > _MOST_ROWS:
        return None
    row = K.zeros_like(value_of(column), dtype="int32")
    for n, (hard, size) in enumerate(zip(columns, sizes, strict=True)):
        if n not in soft:
            row = row * size + K.cast(hard, "int32")
    shares = column.weights * K.expand_dims(as_float(value_of(updates), column.weights), -1)
    rows = K.one_hot(K.reshape(row, (-1,)), math.prod(lengths), dtype=shares.dtype)
    table = K.matmul(K.transpose(rows), K.reshape(shares, (-1, sizes[soft[0]])))
    return K.moveaxis(K.reshape(table, (*lengths, sizes[soft[0]])), -1, soft[0])


def scatter_add(ctx: Context, call: Call, table: Any, indices: Any, updates: Any) -> Any:
    """As `scatter`, on top of what is there."""
    added = _counted(ctx, call, table, indices, updates)
    if added is not None:
        return Real(as_float(value_of(table), added) + added, call.dtype)
    shared = _shared(ctx, call, indices, updates)
    if shared is None:
        return NotImplemented
    place, weights, values = shared
    return Real(
        call.native(as_float(value_of(table), weights), place, weights * values), call.dtype
    )


def _counted(ctx: Context, call: Call, table: Any, indices: Any, updates: Any) -> Any:
    """What is added, where that is a cross table or counters of a rounded number; else None."""
    columns = columns_of(indices)
    if columns is None or call.node.native in _SUBTRACTING or call.param("is_plain") is False:
        return None
    if len(columns) == 1:
        size = value_of(table).shape[0]
        return counters(ctx, updates, columns[0], size if isinstance(size, int) else None)
    return _crossed(call, indices, updates)


def scatter_update(ctx: Context, call: Call, table: Any, indices: Any, updates: Any) -> Any:
    """A position keeps what it holds with the chance that no update meets it, else it gets theirs.

    Of several updates that may meet it, it gets the mean by their weights.
    """
    shared = _shared(ctx, call, indices, updates)
    if shared is None:
        return NotImplemented
    place, weights, values = shared
    old = as_float(value_of(table), weights)
    full = K.broadcast_to(weights, K.shape(weights * values))
    missed = _added_up(place, K.log1p(-K.minimum(full, NEARLY_ONE)), old)
    total = _added_up(place, full, old)
    found = _added_up(place, full * values, old) / K.where(total > 0, total, 1.0)
    value = ops.where(K.exp(missed), old, found)
    return Prob(value) if call.dtype == "bool" else Real(value, call.dtype)


def _added_up(place: Any, values: Any, like: Any) -> Any:
    """The sums of values by their places in a table of a shape."""
    shape = tuple(like.shape)
    if None in shape:
        return K.scatter(place, values, K.shape(like))
    # one segment for each element: Keras scatters on PyTorch in a loop of Python
    depth = place.shape[-1]
    row = place[..., 0]
    for n in range(1, depth):
        row = row * shape[n] + place[..., n]
    rest = shape[depth:]
    flat = K.reshape(values, (-1, *rest))
    count = math.prod(shape[:depth])
    return K.reshape(K.segment_sum(flat, K.reshape(row, (-1,)), num_segments=count), shape)


def segment_sum(ctx: Context, call: Call, data: Any, ids: Any) -> Any:
    """Each entry goes to every segment that its id may be, in shares."""
    if not isinstance(ids, Soft) or call.node.native != "UnsortedSegmentSum":
        return NotImplemented
    size = (call.node.outputs[0].shape or (None,))[0]
    counted = counters(ctx, data, ids, size)
    if counted is not None:
        return Real(counted, call.dtype)
    weights, support = positions(ctx, ids, size)
    kept = as_float(call.hard(1) >= 0, weights)  # TensorFlow drops negative segments
    weights = weights * K.expand_dims(kept, -1)
    values = as_float(value_of(data), weights)
    rank, lengths = len(weights.shape) - 1, K.shape(values)
    values = K.reshape(values, (*lengths[:rank], 1, *lengths[rank:]))
    weights = K.reshape(weights, (*K.shape(weights), *(1,) * (len(lengths) - rank)))
    return Real(call.native(weights * values, support), call.dtype)


def bincount(ctx: Context, call: Call, index: Any, counted: Any, size: Any) -> Any:
    """Each position's bin gets its weight; how many bins there are stays hard."""
    if not isinstance(index, Soft) or len(index.mean.shape) != 1:
        return NotImplemented
    shares, support = positions(ctx, index)
    weights = value_of(counted)
    if tuple(weights.shape) != (0,):
        shares = shares * as_float(K.expand_dims(weights, -1), shares)
    return Real(binned(shares, support, call.hard(2)), call.dtype)


def binned(shares: Any, support: Any, size: Any) -> Any:
    """The sum of the shares in each of some bins; what lies outside is moved to the nearest one."""
    bins = K.cast(size, "int32")
    places = K.clip(K.cast(support, "int32"), 0, bins - 1)
    return K.segment_sum(K.reshape(shares, (-1,)), K.reshape(places, (-1,)), num_segments=bins)


def _shared(ctx: Context, call: Call, indices: Any, updates: Any) -> tuple[Any, Any, Any] | None:
    """Positions, weights and updates that broadcast against each other; None if all are hard."""
    columns = columns_of(indices)
    if columns is None:
        return None
    sizes = call.param("lengths") or call.node.outputs[0].shape
    shape = sizes or (None,) * len(columns)
    place, weights = spread_out(ctx, columns, shape)
    values = as_float(value_of(updates), weights)
    rank, depth = rank_of(columns), len(weights.shape)
    lengths = K.shape(values)
    values = K.reshape(values, (*lengths[:rank], *(1,) * (depth - rank), *lengths[rank:]))
    return place, K.reshape(weights, (*K.shape(weights), *(1,) * (len(lengths) - rank))), values
