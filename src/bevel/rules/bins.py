"""Rules for positions among edges: a value lies in a bin as far as it has passed the edge below it
and not the edge above.

    chance of bin k  =  K((x - edge_k) / width) - K((x - edge_(k+1)) / width)

One width serves all edges, so the chances are never negative and sum to 1: the temperature times
the mean distance of the edges, or the spread of the values where that is smaller. Not stretched as
the steps of a rounding are: the tails of a few wide bins would then overlap so far that the right
soft counts come from wrong hard ones. Dense: a weight for each value and bin.
"""

from __future__ import annotations

from typing import Any

from keras import ops as K

from bevel.rules.context import Call, Context, between
from bevel.rules.index import places
from bevel.soft import Index, Real, as_float, value_of


def searchsorted(ctx: Context, call: Call, edges: Any, values: Any) -> Any:
    """How many edges of its row a value has passed, as weights over all positions."""
    x, edges = _floats(values, edges)
    rows = K.expand_dims(edges, -2) if len(edges.shape) > 1 else edges
    return _index(call, _shares(ctx, x, rows))


def bucketize(ctx: Context, call: Call, values: Any) -> Any:
    """How many of the fixed boundaries a value has passed."""
    x, edges = _floats(values, K.convert_to_tensor(call.param("boundaries"), dtype="float32"))
    return _index(call, _shares(ctx, x, edges))


def histogram(ctx: Context, call: Call, values: Any, limits: Any, bins: Any) -> Any:
    """Every value counts in each bin by its weight there; beyond the ends, in the last bins."""
    count = call.param("nbins")
    if count is None:
        return NotImplemented
    x, limits = _floats(values, limits)
    low, high = limits[0], limits[1]
    edges = low + (high - low) * K.arange(1, count, dtype=K.dtype(x)) / count
    return Real(K.sum(_shares(ctx, K.reshape(x, (-1,)), edges), axis=0), call.dtype)


def _shares(ctx: Context, x: Any, edges: Any) -> Any:
    """Chances of the bins between and beyond sorted edges, on one more axis."""
    d = K.expand_dims(x, -1) - edges
    return between(ctx.step(d, _width(ctx, d, edges, x)))


def _width(ctx: Context, d: Any, edges: Any, x: Any) -> Any:
    if edges.shape[-1] in (0, 1):
        return ctx.spread(d)
    gap = K.mean(K.abs(edges[..., 1:] - edges[..., :-1]))
    usable = K.logical_and(K.isfinite(gap), gap > 0)
    width = K.minimum(gap, ctx.spread(x - ctx.mean(x), Real(x, "float32"), ctx.mean(x)))
    return K.stop_gradient(K.where(usable, width, ctx.spread(d)))


def _floats(values: Any, edges: Any) -> tuple[Any, Any]:
    """Expectations of both in the float dtype of the one that has one."""
    x, y = value_of(values), value_of(edges)
    like = x if "float" in K.dtype(x) else y
    return as_float(x, like), as_float(y, like)


def _index(call: Call, weights: Any) -> Index:
    return Index(weights, places(weights, call.dtype), call.dtype, is_position=True)
