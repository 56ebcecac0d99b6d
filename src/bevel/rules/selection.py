"""Rules for rows that a soft mask picks: every row goes on, with the chance that it was picked.

`tf.boolean_mask`, `x[mask]` and a gather by `tf.where(mask)` have as many rows as the mask is true;
with chances in place of truths, all rows are carried along and

    sum  = sum of p x,    mean = sum of p x / sum of p,    how many = sum of p,
    any  = 1 - product of (1 - p x),    all = product of (1 - p (1 - x)),
    product = product of (1 + p (x - 1)),    variance = sum of p (x - mean)^2 / (sum of p - 1),
    the i-th of them = the one that has i picked before it, sum of p.

The largest is looked for among all rows, each lowered by its improbability: the range of values
times -log p. What acts on each row by itself acts on all of them. Rows can be picked again, among
picked ones; rows picked by masks that have nothing to do with each other do not meet.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from keras import ops as K

from bevel import ops
from bevel.rules import absent, bins, neighbours, picked_order, sets
from bevel.rules.context import Call, Context
from bevel.rules.index import chances, columns_of, places, positions
from bevel.rules.lifting import is_elementwise
from bevel.rules.logic import as_prob, blend
from bevel.rules.scatter import binned
from bevel.rules.structural import arranged
from bevel.soft import Index, Prob, Real, Selected, Soft, Stacked, as_float, value_of


def nonzero(ctx: Context, call: Call, mask: Any) -> Any:
    """The positions where a mask is true: all positions, with the chances of the mask.

    Where a number of places is asked for, each is an index: the i-th is j as far as j is picked and
    i elements before it are.
    """
    mask = as_prob(mask)
    if not isinstance(mask, Prob):
        return NotImplemented
    size = call.param("size")
    if size is not None:
        return _places(mask.p, size, call.dtype)
    p = mask.p if len(mask.p.shape) == 1 else K.reshape(mask.p, (-1,))
    return Selected(_everywhere(call, mask), p, call.dtype)


def _everywhere(call: Call, mask: Prob) -> Any:
    """All positions of a mask, in the form in which the operation gives some."""
    return call.native(K.ones(K.shape(mask.p), dtype="bool"))


def _places(p: Any, size: int, dtype: str) -> Index:
    """The first places of a mask by their weights; the last weight is that there are fewer."""

    def pass_by(picked: Any, chance: Any) -> tuple[Any, Any]:
        found = picked * chance
        moved = K.concatenate([K.zeros_like(found[:1]), found[:-1]])
        return picked - found + moved, found

    start = K.cast(K.arange(size) == 0, K.dtype(p))
    _, found = K.scan(pass_by, start, p)
    missing = K.maximum(1 - K.sum(found, axis=0), 0)
    weights = K.transpose(K.concatenate([found, missing[None]]))
    return Index(weights, K.arange(len(p) + 1, dtype=dtype), dtype)


def partition(ctx: Context, call: Call, rows: Any, part: Any) -> Any:
    """Each part as all rows, with the chances that they belong to it."""
    if not isinstance(part, Soft):
        return NotImplemented
    parts, rank = call.node.outputs, len(value_of(part).shape)
    rows = arranged(rows, lambda t: _flat(t, rank))
    weights, numbers = (_flat(t, rank) for t in positions(ctx, part, len(parts)))
    shares = [K.sum(K.where(numbers == n, weights, 0.0), axis=-1) for n in range(len(parts))]
    return [Selected(rows, p, v.dtype) for p, v in zip(shares, parts, strict=True)]


def _flat(x: Any, rank: int) -> Any:
    """The first axes as one."""
    return K.reshape(x, (-1, *K.shape(x)[rank:]))


def on_rows(ctx: Context, call: Call) -> Any:
    """A node some of whose operands are selected rows; NotImplemented where rows cannot be told."""
    node = call.node
    if is_elementwise(node):
        call = replace(call, inputs=_with_numbers(ctx, call.inputs))
    picked = [a for a in call.inputs if isinstance(a, Selected)]
    p = picked[0].p
    if node.op == "concat" and call.param("axis") == 0:
        return _in_a_row(ctx, call)
    if any(s.p is not p for s in picked):
        return _picked_again(ctx, call)
    if node.param("row_shape") is not None:
        return [_reshaped(picked[0], node.param("row_shape"))]
    if picked_order.place(call) is not None:
        return picked_order.pick(call, p)
    if node.param("spans"):
        return picked_order.span(ctx, call, p)
    if node.param("counts"):
        return [_COUNTED[node.param("counts")](picked[0], call.dtype)]
    if node.op in _RULES:
        return _RULES[node.op](ctx, call, p)
    if node.op in ("take", "gather_nd", "slice"):
        table, place = call.args[:2]
        if _is_among(p, place):
            rows = [a.rows if a is table else a for a in call.inputs]
            return ctx.apply(node, rows) if call.param("axis") in (0, None) else NotImplemented
    in_each = node.op == "take" and call.param("axis") and call.param("batch_dims")
    if in_each and all(isinstance(a, Selected) for a in call.args[:2]):
        pass  # an entry of each row, by a position in that row
    elif node.op in ("take", "gather_nd"):
        if call.param("axis") not in (0, None):
            return NotImplemented
        table, place = call.args[:2]
        is_place = isinstance(place, Real) or not isinstance(place, Soft)
        if node.op == "take" and is_place and not call.param("batch_dims"):
            return picked_order.found_at(call, p, place)
        if not isinstance(place, Selected):
            return NotImplemented
    elif node.nature == "structural" and tuple(p.shape) == (1,):
        # of one row, whatever goes on with it as a number goes on with that row
        return ctx.apply(node, [a.rows if isinstance(a, Selected) else a for a in call.inputs])
    elif not (is_elementwise(node) and _fit(call.inputs)) and not _keeps_rows(call):
        return NotImplemented
    elif node.param("each_row") and any(isinstance(a, Selected) for a in call.inputs[1:]):
        return NotImplemented  # rows of one operand are multiplied by all of another
    rows = [a.rows if isinstance(a, Selected) else a for a in call.inputs]
    results = ctx.apply(node, rows)
    among = picked[0].among if node.nature == "structural" or node.op in _THE_SAME else None
    return [Selected(r, p, v.dtype, among) for r, v in zip(results, node.outputs, strict=True)]


def _with_numbers(ctx: Context, inputs: Sequence[Any]) -> list[Any]:
    """The operands; constants of as many rows as are picked, all of them alike, as a number.

    Of `ones_like(rows)` only the length is not that of all rows.
    """
    first = next(a for a in inputs if isinstance(a, Selected))
    shape = value_of(first.rows).shape

    def number(a: Any) -> Any:
        if a is None or isinstance(a, Soft) or len(a.shape) != len(shape) or a.shape[0] == shape[0]:
            return a
        known = ctx.static(a)
        if known is None or not known.size or not np.all(known == known.flat[0]):
            return a
        return K.reshape(a, (-1,))[0]

    return [number(a) for a in inputs]


_THE_SAME = frozenset({"identity", "astype", "wrap_index"})


def _again(ctx: Context, call: Call, p: Any) -> Any:
    """The positions where a mask of picked rows is true: all, as far as both masks are."""
    mask = as_prob(call.args[0].rows)
    if not isinstance(mask, Prob) or len(mask.p.shape) != 1 or call.param("size") is not None:
        return NotImplemented
    return [Selected(_everywhere(call, mask), p * mask.p, call.dtype, among=p)]


def _picked_again(ctx: Context, call: Call) -> Any:
    """Rows at positions among them, or beside the next one; all else of other masks is refused."""
    found = neighbours.beside(ctx, call)
    if found is not NotImplemented:
        return found
    if call.op not in ("take", "gather_nd") or call.param("axis") not in (0, None):
        return NotImplemented
    table, place = call.args[:2]
    if not isinstance(table, Selected) or getattr(place, "among", None) is not table.p:
        return NotImplemented
    results = ctx.apply(call.node, [a.rows if isinstance(a, Selected) else a for a in call.inputs])
    return [Selected(r, place.p, call.dtype, table.among) for r in results]


def _is_among(p: Any, place: Any) -> bool:
    """Whether a position, or the first of its coordinates, counts the rows with these chances."""
    if isinstance(place, Stacked):
        place = (columns_of(place) or [None])[0]
    return isinstance(place, Index) and place.among is p


def _put_back(ctx: Context, call: Call, p: Any) -> Any:
    """`x[mask] = f(x[mask])`: where the mask is likely, what the rows became."""
    table, places, rows = call.args
    if not all(isinstance(v, Selected) for v in (places, rows)) or isinstance(table, Selected):
        return NotImplemented
    old = value_of(table)
    depth = places.rows.shape[-1]
    new = K.reshape(as_float(value_of(rows.rows), p), old.shape)
    chance = K.reshape(p, (*old.shape[:depth], *(1,) * (len(old.shape) - depth)))
    return [blend(chance, Real(new, call.dtype), table, call.dtype)]


def filled(ctx: Context, call: Call) -> Any:
    """A number in the shape of picked rows is a row of it for each of them; else NotImplemented."""
    (size,) = call.param("sizes")
    shape = call.inputs[size]
    parts = shape.parts if isinstance(shape, Stacked) else [shape]
    picked = parts[0].shape_of if isinstance(parts[0], Real) else None
    if picked is None or any(isinstance(n, Soft) for n in parts[1:]):
        return NotImplemented
    whole = K.shape(value_of(picked.rows))
    lengths = whole if isinstance(shape, Real) and shape.tensor.shape[0] > 1 else whole[:1]
    inputs = list(call.inputs)
    inputs[size] = K.convert_to_tensor([*lengths, *parts[1:]], dtype="int32")
    (rows,) = ctx.apply(call.node, inputs)
    return [Selected(rows, picked.p, call.dtype)]


# Which operands of an operation that adds up hold what is added, and which its positions.
_UPDATES = {"scatter": (1, 0), "scatter_add": (2, 1), "segment_sum": (0, 1)}


def _added(ctx: Context, call: Call, p: Any) -> Any:
    """Rows that are added up somewhere: each as far as it was picked."""
    values, index = (call.node.operands[i] for i in _UPDATES[call.op])
    picked = {values, index}
    rows_meet = all(isinstance(a, Selected) == (n in picked) for n, a in enumerate(call.inputs))
    if not rows_meet or call.param("averages"):
        return NotImplemented
    inputs = [a.rows if isinstance(a, Selected) else a for a in call.inputs]
    added = as_float(value_of(inputs[values]), p)
    chance = K.reshape(p, (-1,) + (1,) * (len(added.shape) - 1))
    inputs[values] = Real(chance * added, call.dtype)
    return ctx.apply(call.node, inputs)


def _fit(inputs: Sequence[Any]) -> bool:
    """Whether every other operand is a number, or a row, which meets all rows alike."""
    rank = max(len(value_of(a.rows).shape) for a in inputs if isinstance(a, Selected))
    others = [value_of(a).shape for a in inputs if not isinstance(a, Selected)]
    return all(len(s) < rank or (len(s) == rank and s[0] == 1) for s in others)


def _reshaped(picked: Selected, lengths: tuple[int, ...]) -> Selected:
    """Rows of another shape each."""
    rows = arranged(picked.rows, lambda t: K.reshape(t, (-1, *lengths)))
    return Selected(rows, picked.p, picked.dtype, picked.among)


def _in_a_row(ctx: Context, call: Call) -> Any:
    """Rows one after the other, some of which may be there in any case."""
    parts = [a for n, a in enumerate(call.inputs) if n in call.node.operands]
    picked = [a for a in parts if isinstance(a, Selected)]
    like = K.dtype(picked[0].p)
    rows = [a.rows if isinstance(a, Selected) else a for a in call.inputs]
    chances = [
        a.p if isinstance(a, Selected) else K.ones((K.shape(value_of(a))[0],), dtype=like)
        for a in parts
    ]
    (found,) = ctx.apply(call.node, rows)
    return [Selected(found, K.concatenate(chances), call.dtype)]


def _keeps_rows(call: Call) -> bool:
    """Whether a structural node leaves the first axis as it is."""
    if call.param("keeps_rows") or call.param("each_row"):
        return True
    if call.op in ("stack", "concat") and all(isinstance(a, Selected) for a in call.args):
        rank = len(value_of(call.args[0].rows).shape) + (call.op == "stack")
        return call.param("axis") % rank != 0
    native, attrs = call.node.native, dict(call.node.attrs)
    if native == "Unpack":
        return attrs["axis"] % len(value_of(call.inputs[0].rows).shape) != 0
    if native == "Squeeze":
        return bool(attrs["squeeze_dims"]) and 0 not in attrs["squeeze_dims"]
    if native == "StridedSlice":
        from_end_to_end = attrs["begin_mask"] & attrs["end_mask"] & 1
        changed = (attrs["new_axis_mask"] | attrs["shrink_axis_mask"]) & 1
        return bool(from_end_to_end) and not changed and call.param("steps")[:1] == (1,)
    return False


def _reduction(ctx: Context, call: Call, p: Any) -> Any:
    """Other axes are reduced first, then the rows by their chances."""
    rows, axis = call.args[0].rows, call.param("axis")
    if axis is None:
        return NotImplemented
    found = _each(ctx, call, p)
    if found is not None:
        return found
    rank = len(value_of(rows).shape)
    axes = sorted({a % rank for a in axis})
    x = rows.p if isinstance(rows, Prob) else as_float(absent.known(rows), p)
    others = tuple(axes[1:])
    how = {"correction": call.param("correction")} if call.op == "variance" else {}
    value = _REDUCED[call.op](x, K.reshape(p, (-1,) + (1,) * (rank - 1)), others, **how)
    if call.param("keepdims"):
        value = K.expand_dims(value, tuple(axes))
    return [Prob(value) if call.dtype == "bool" else Real(value, call.dtype)]


def _each(ctx: Context, call: Call, p: Any) -> list[Any] | None:
    """The same of each row by itself, where the axis is not that of the rows; else None."""
    picked, axis = call.args[0], call.param("axis")
    rank = len(value_of(picked.rows).shape)
    axes = range(rank) if axis is None else (axis,) if isinstance(axis, int) else axis
    if 0 in {a % rank for a in axes}:
        return None
    results = ctx.apply(call.node, [picked.rows, *call.inputs[1:]])
    return [Selected(r, p, v.dtype) for r, v in zip(results, call.node.outputs, strict=True)]


def _powers(ctx: Context, call: Call, p: Any) -> Any:
    """`softmax` and its like, of each row or among the rows that are picked."""
    found = _each(ctx, call, p)
    if found is not None:
        return found
    x = as_float(absent.known(call.args[0].rows), p)
    if len(x.shape) != 1:
        return NotImplemented
    parts, total, logarithm = absent.powers(x, p, (0,))
    if call.op == "logsumexp":
        value = logarithm if call.param("keepdims") else K.squeeze(logarithm, 0)
        return [Real(value, call.dtype)]
    # among those that are picked a row counts whole
    rows = parts / total if call.op == "softmax" else x - logarithm
    return [Selected(Real(rows, call.dtype), p, call.dtype)]


def _norm(ctx: Context, call: Call, p: Any) -> Any:
    """The length of each row, or of the vector of those that are picked."""
    found = _each(ctx, call, p)
    if found is not None or call.param("order") != 2:
        return found or NotImplemented
    x = as_float(absent.known(call.args[0].rows), p)
    shares = K.reshape(p, (-1,) + (1,) * (len(x.shape) - 1))
    squares = K.sum(
        shares * K.square(x), axis=call.param("axis"), keepdims=bool(call.param("keepdims"))
    )
    safe = K.where(squares > 0, squares, 1.0)
    return [Real(K.where(squares > 0, K.sqrt(safe), 0.0), call.dtype)]


def _sum(x: Any, p: Any, axes: tuple[int, ...]) -> Any:
    return K.sum(p * x, axis=(0, *axes))


def _mean(x: Any, p: Any, axes: tuple[int, ...]) -> Any:
    along = K.mean(x, axis=axes, keepdims=True) if axes else x
    total = K.sum(p)
    mean = K.sum(p * along, axis=0) / K.where(total > 0, total, 1.0)
    return K.squeeze(mean, tuple(a - 1 for a in axes)) if axes else mean


def _any(x: Any, p: Any, axes: tuple[int, ...]) -> Any:
    return ops.any(p * x, axis=(0, *axes))


def _all(x: Any, p: Any, axes: tuple[int, ...]) -> Any:
    return ops.all(1 - p * (1 - x), axis=(0, *axes))


def _prod(x: Any, p: Any, axes: tuple[int, ...]) -> Any:
    return K.prod(1 + p * (x - 1), axis=(0, *axes))


def _variance(x: Any, p: Any, axes: tuple[int, ...], correction: float) -> Any:
    mean = _mean(x, p, axes)
    apart = K.square(x - (K.expand_dims(mean, tuple(a - 1 for a in axes)) if axes else mean))
    each = math.prod(x.shape[a] for a in axes)
    degrees = K.sum(p) * each - correction
    return _sum(apart, p, axes) / K.where(degrees > 0, degrees, math.nan)


_REDUCED: dict[str, Callable[..., Any]] = {
    "sum": _sum,
    "mean": _mean,
    "prod": _prod,
    "variance": _variance,
    "any": _any,
    "all": _all,
}


def _bincount(ctx: Context, call: Call, p: Any) -> Any:
    """Each row counts in its bin as far as it is picked."""
    index, counted, _ = call.args
    if not isinstance(index, Selected) or isinstance(counted, Soft) or counted.shape[0]:
        return NotImplemented
    if isinstance(index.rows, Soft):
        shares, support = positions(ctx, index.rows)
        shares = shares * K.expand_dims(p, -1)
    else:
        shares, support = p, index.rows
    return [Real(binned(shares, support, call.hard(2)), call.dtype)]


def _histogram(ctx: Context, call: Call, p: Any) -> Any:
    """Each row's value counts in its bin as far as it is picked."""
    values, limits, _ = call.args
    if not isinstance(values, Selected) or len(value_of(values.rows).shape) != 1:
        return NotImplemented
    found = bins.counted(ctx, call, values.rows, limits, p)
    return found if found is NotImplemented else [found]


def _extreme(ctx: Context, call: Call, p: Any) -> Any:
    """The largest or smallest of the rows that are picked, or its position among them."""
    found = _each(ctx, call, p)
    if found is not None:
        return found
    rows, axis = call.args[0].rows, call.param("axis")
    if isinstance(rows, Prob) and call.op == "argmax":
        weights = picked_order.at(p * rows.p, 0)
        return [Index(weights, places(weights, call.dtype), call.dtype, True, among=p)]
    x = as_float(value_of(rows), p)
    if len(x.shape) == 2 and x.shape[1] == 1 and (axis is None or len(axis) == 2):
        x, axis = K.squeeze(x, 1), (0,)  # as positions come
        rows = rows if isinstance(rows, Soft) else K.squeeze(rows, 1)
    search, side = (ops.argmax, 1) if call.op in ("max", "argmax") else (ops.argmin, -1)
    axes = range(len(x.shape)) if axis is None else (axis,) if isinstance(axis, int) else axis
    others = tuple(a for a in axes if a % len(x.shape))
    if call.param("keepdims") or (others and call.op in ("argmax", "argmin")):
        return NotImplemented
    x = side * K.max(side * x, axis=others) if others else x
    if not isinstance(rows, Soft) and call.op in ("max", "min"):
        values = K.moveaxis(x, 0, -1)
        return [Index(picked_order.largest(side * values, p), values, call.dtype)]
    # 1 - p in place of -log p is less than the lead of a large row that is hardly picked
    lead = K.reshape(K.log(p + LEAST_CHANCE), (-1,) + (1,) * (len(x.shape) - 1))
    behind = -side * K.stop_gradient(K.max(x, axis=0) - K.min(x, axis=0)) * lead
    weights = p * chances(ctx, x - behind, 0, search)
    total = K.sum(weights, axis=-1, keepdims=True)
    weights = weights / K.where(total > 0, total, 1.0)
    if call.op in ("argmax", "argmin"):
        return [Index(weights, places(weights, call.dtype), call.dtype, True, among=p)]
    slope = K.moveaxis(x + K.stop_gradient(behind) - behind, 0, -1)
    return [Real(K.sum(K.stop_gradient(weights) * slope, axis=-1), call.dtype)]


# Below this, a row that is not picked is as far behind as it gets.
LEAST_CHANCE = 1e-3


def _size(picked: Selected, dtype: str) -> Real:
    each = 1
    for length in value_of(picked.rows).shape[1:]:
        each = each * length
    return Real(K.sum(picked.p) * each, dtype)


def _shape(picked: Selected, dtype: str) -> Real:
    count = K.sum(picked.p)
    rest = [K.cast(n, K.dtype(count)) for n in K.shape(value_of(picked.rows))[1:]]
    return Real(K.stack([count, *rest]), dtype, shape_of=picked)


def _rows(picked: Selected, dtype: str) -> Real:
    return Real(K.sum(picked.p), dtype)


def _places_among(picked: Selected, dtype: str) -> Selected:
    """0, 1, 2 ... of the rows: how many are picked before each."""
    return Selected(Real(K.cumsum(picked.p) - picked.p, dtype), picked.p, dtype)


# What may be asked of how many rows there are: all elements, the rows, the whole shape, or a number
# for each.
_COUNTED: dict[str, Callable[[Selected, str], Soft]] = {
    "all": _size,
    "rows": _rows,
    "shape": _shape,
    "each": _places_among,
}

# What else is done with rows of which there are as many as a mask is true.
_RULES: dict[str, Callable[[Context, Call, Any], Any]] = {
    **dict.fromkeys(("max", "min", "argmax", "argmin"), _extreme),
    **dict.fromkeys(_REDUCED, _reduction),
    **dict.fromkeys(_UPDATES, _added),
    **dict.fromkeys(("softmax", "log_softmax", "logsumexp"), _powers),
    "vector_norm": _norm,
    "nonzero": _again,
    "bincount": _bincount,
    "histogram": _histogram,
    "scatter_update": _put_back,
    "set_size": sets.size,
    "top_k": picked_order.top_k,
    "median": picked_order.median,
    "cumulative_sum": picked_order.cumulative_sum,
}
