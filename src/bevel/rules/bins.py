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
from bevel.rules.scatter import binned
from bevel.soft import (
    Index,
    Mixture,
    Prob,
    Real,
    Rounded,
    Soft,
    as_float,
    atoms_of,
    combine,
    value_of,
)


def searchsorted(ctx: Context, call: Call, edges: Any, values: Any) -> Any:
    """How many edges of its row a value has passed, as weights over all positions."""
    found = _at_each_value(call, values, edges)
    if found is not None:
        return found
    x, edges = _floats(values, edges)
    rows = K.expand_dims(edges, -2) if len(edges.shape) > 1 else edges
    return _index(call, _shares(ctx, x, rows))


def bucketize(ctx: Context, call: Call, values: Any) -> Any:
    """How many of the fixed boundaries a value has passed."""
    found = _at_each_value(call, values)
    if found is not None:
        return found
    x, edges = _floats(values, K.convert_to_tensor(call.param("boundaries"), dtype="float32"))
    return _index(call, _shares(ctx, x, edges))


# The most values of a position that are looked up one by one.
_MOST_VALUES = 128


def _pairs(values: Any) -> list[tuple[Any, Any]] | None:
    """The chances and values that a discrete one may have, in its shape; None of anything else."""
    shape = K.shape(values.mean) if isinstance(values, Soft) else ()
    if isinstance(values, Prob | Mixture | Rounded):
        return [
            (w, v if isinstance(v, Soft) else K.broadcast_to(v, shape)) for w, v in atoms_of(values)
        ]
    if not isinstance(values, Index) or isinstance(values.support, Soft):
        return None
    count = values.weights.shape[-1]
    if count is None or count > _MOST_VALUES:
        return None
    return [
        (values.weights[..., n], K.broadcast_to(values.support[..., n], shape))
        for n in range(count)
    ]


def _at_each_value(call: Call, values: Any, *edges: Any) -> Soft | None:
    """The position of each value that a discrete one may have; None where it moves smoothly.

    Whole numbers often lie on the edges: of such a one a comparison with a width knows nothing.
    """
    pairs = _pairs(values)
    if not pairs or any(isinstance(v, Soft) for v in (*edges, *(v for _, v in pairs))):
        return None

    def at(value: Any) -> Any:
        operands = _floats(value, edges[0])[::-1] if edges else [as_float(value, K.zeros(()))]
        return call.native(*operands)

    if isinstance(values, Index):
        return Index(values.weights, K.stack([at(v) for _, v in pairs], axis=-1), call.dtype)
    return combine([(w, at(v)) for w, v in pairs], call.dtype)


def _counts(call: Call, pairs: list[tuple[Any, Any]], limits: Any, count: int) -> Any:
    """How many of some discrete values lie in each bin, by their chances."""
    found = 0.0
    for weight, value in pairs:
        x, ends = _floats(value, limits)
        place = K.floor((x - ends[0]) / (ends[1] - ends[0]) * count)
        if call.param("drops"):  # what lies beyond the ends
            inside = K.logical_and(x >= ends[0], x <= ends[1])
            weight = K.where(inside, weight, 0.0)
        weight = weight + K.zeros_like(x)
        found = found + binned(weight, place, count)
    return found


def histogram(ctx: Context, call: Call, values: Any, limits: Any, bins: Any) -> Any:
    """Every value counts in each bin by its weight there; beyond the ends, in the last bins."""
    return counted(ctx, call, values, limits)


def counted(ctx: Context, call: Call, values: Any, limits: Any, p: Any = None) -> Any:
    """How many values lie in each bin between two limits; of a row's values, each by a chance."""
    count = call.param("nbins")
    if count is None or isinstance(limits, Soft):
        return NotImplemented
    pairs = _pairs(values)
    if p is not None:
        pairs = [(p * w, v) for w, v in pairs] if pairs else pairs
        pairs = pairs if isinstance(values, Soft) else [(p, values)]
    if pairs and not any(isinstance(v, Soft) for _, v in pairs):
        return Real(_counts(call, pairs, limits, count), call.dtype)
    x, limits = _floats(values, limits)
    low, high = limits[0], limits[1]
    beyond = 1 if call.param("drops") else 0  # what lies beyond the ends has bins of its own
    numbers = K.arange(1 - beyond, count + beyond, dtype=K.dtype(x))
    x = K.reshape(x, (-1, 1))
    shares = _shares(ctx, x[:, 0], low + (high - low) * numbers / count)
    if beyond:
        under, over, places = shares[:, :1], shares[:, -1:], K.arange(count)
        shares = shares[:, 1:-1]
        # an end itself is inside
        shares = shares + K.where(K.logical_and(x == low, places == 0), under, 0.0)
        shares = shares + K.where(K.logical_and(x == high, places == count - 1), over, 0.0)
    shares = shares if p is None else shares * K.expand_dims(p, -1)
    return Real(K.sum(shares, axis=0), call.dtype)


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
