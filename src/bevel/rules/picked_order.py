"""Orders of the rows that a soft mask picks: one that is half picked moves the next half a place.

Rows are sorted hard, and the place of each is the sum of the chances before it. The i-th of them is
the mean of the rows whose places are less than one away from i, weighed by that and by their own
chances: exactly the i-th picked row where chances are 0 and 1. The first and the last row, and the
largest of hard values, are known better: as none before them is picked, by independent chances.
"""

from __future__ import annotations

from typing import Any

from keras import ops as K

from bevel.ops.primitives import cumulated, taken
from bevel.rules.context import NEARLY_ONE, Call, Context
from bevel.rules.index import places
from bevel.soft import Index, Prob, Real, Selected, Soft, Stacked, as_float, value_of

# Of rows further away than one place: where fewer are picked than are asked for, the last stand in.
FAR = 1e-6


def at(p: Any, wanted: Any) -> Any:
    """The weights of all rows at some places among the picked ones, counted from 0."""
    away = K.abs(K.expand_dims(wanted, -1) - (cumulated(p) - p))
    weights = p * (K.relu(1 - away) + FAR / (1 + K.square(away)))
    total = K.sum(weights, axis=-1, keepdims=True)
    return weights / K.where(total > 0, total, 1.0)


def first(p: Any) -> Any:
    """The chance of each row, along the last axis, to be the first that is picked, if any is."""
    missed = K.log1p(-K.minimum(p, NEARLY_ONE))
    weights = p * K.exp(cumulated(missed, -1) - missed)
    total = K.sum(weights, axis=-1, keepdims=True)
    return weights / K.where(total > 0, total, 1.0)


def largest(x: Any, p: Any) -> Any:
    """The chance of each row, of hard values along the last axis, to be the largest picked one."""
    order = K.argsort(-x, axis=-1)
    chances = K.broadcast_to(p, K.shape(x))
    return taken(first(taken(chances, order)), K.argsort(order, axis=-1))


def _sorted(x: Any, p: Any) -> tuple[Any, Any, Any]:
    order = K.argsort(K.stop_gradient(x))
    return order, taken(x, order), taken(p, order)


def place(call: Call) -> Any:
    """Which of the rows a node takes, a number or a soft value; None if it takes no single one."""
    if call.param("picks") is not None or call.op != "slice":
        return call.param("picks")
    begin, alone = call.args[1], call.param("single") == (0,) and len(call.param("steps")) == 1
    # an index has its place among all rows, not among those that are picked
    counts = alone and isinstance(begin, Stacked) and not isinstance(begin.parts[0], Index)
    return begin.parts[0] if counts else None


def pick(call: Call, p: Any) -> Any:
    """The i-th of them, from the end where i is a negative number."""
    i = place(call)
    if isinstance(i, int) and i == 0:
        return _found(call, first(p))
    if isinstance(i, int) and i == -1:
        return _found(call, K.flip(first(K.flip(p))))
    if isinstance(i, int) and i < 0:
        return _found(call, K.flip(at(K.flip(p), K.cast(-1 - i, K.dtype(p)))))
    return found_at(call, p, i)


def found_at(call: Call, p: Any, wanted: Any) -> Any:
    """A look-up at hard places, or at a count, among the rows."""
    return _found(call, at(p, K.cast(value_of(wanted), K.dtype(p))))


def _found(call: Call, weights: Any) -> Any:
    rows = call.args[0].rows
    if call.param("column") is not None:
        if isinstance(rows, Soft) and not isinstance(rows, Real):
            return NotImplemented
        column = value_of(rows)[:, call.param("column")]
        rows = Real(column, rows.dtype) if isinstance(rows, Soft) else column
    x = rows.p if isinstance(rows, Prob) else as_float(value_of(rows), weights)
    if not isinstance(rows, Soft) and "int" in call.dtype and len(x.shape) == 1:
        return [Index(weights, rows, call.dtype, among=call.args[0].among)]
    found = K.tensordot(weights, x, axes=1)
    return [Prob(found) if call.dtype == "bool" else Real(found, call.dtype)]


def span(ctx: Context, call: Call, p: Any) -> Any:
    """From the i-th of them to before the j-th, each from the end where it is negative."""
    start, stop = call.param("spans")
    bounds = (start or 0, stop)
    picked = call.args[0] if call.args else call.inputs[0]
    chance = ctx.once(("span", *bounds), p, lambda: _within(p, *bounds))
    ctx.once("cut", chance, lambda: (p, bounds))
    return [Selected(picked.rows, chance, call.dtype, picked.among)]


def _within(p: Any, start: int, stop: int | None) -> Any:
    """The chances of the rows from one place to before another."""
    before = cumulated(p) - p
    after = K.sum(p) - p - before
    chance = p
    if start:
        passed = before - start + 1 if start > 0 else -start - after
        chance = chance * K.clip(passed, 0.0, 1.0)
    if stop is not None:
        left = stop - before if stop >= 0 else after + stop + 1
        chance = chance * K.clip(left, 0.0, 1.0)
    return chance


def top_k(ctx: Context, call: Call, p: Any) -> Any:
    """The k largest rows and their positions; all of them, in order, where k is how many."""
    x, k = as_float(value_of(call.args[0].rows), p), call.param("k")
    if len(x.shape) != 1:
        return NotImplemented
    order, values, chances = _sorted(-x, p)
    dtypes = [v.dtype for v in call.node.outputs]
    if not isinstance(k, int):
        return [
            Selected(Real(-values, dtypes[0]), chances, dtypes[0]),
            Selected(K.cast(order, dtypes[1]), chances, dtypes[1]),
        ]
    weights = at(chances, K.arange(k, dtype=K.dtype(p)))
    found = Real(-K.matmul(weights, values), dtypes[0])
    weights = K.take(weights, K.argsort(order), axis=-1)
    return [found, Index(weights, places(weights, dtypes[1]), dtypes[1], True, among=p)]


def median(ctx: Context, call: Call, p: Any) -> Any:
    """The row in the middle, the lower one of two."""
    x = as_float(value_of(call.args[0].rows), p)
    if len(x.shape) != 1:
        return NotImplemented
    middle = K.stop_gradient(K.floor((K.round(K.sum(p)) - 1) / 2))
    _, values, chances = _sorted(x, p)
    return [Real(K.sum(at(chances, K.maximum(middle, 0)) * values), call.dtype)]


def cumulative_sum(ctx: Context, call: Call, p: Any) -> Any:
    """Of each row, the sum of those before it and of itself, as far as they are picked."""
    x = as_float(value_of(call.args[0].rows), p)
    if call.param("axis") != 0:
        return NotImplemented
    shares = K.reshape(p, (-1,) + (1,) * (len(x.shape) - 1))
    return [Selected(Real(cumulated(shares * x), call.dtype), p, call.dtype)]
