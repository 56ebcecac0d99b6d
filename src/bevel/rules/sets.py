"""Rules for sets of integers, some known by weights: what each of them holds, by its chance.

A set that a soft index spans may hold any value of its support, with the chance that one of its
positions is there; a hard one holds what it holds. Of two sets A and B, with chances a and b for a
value,

    intersection  a b,    difference  a (1 - b),    union  a + b - a b,

and the result is the values that may be in it, as rows picked with these chances; its size is the
sum of them, for each pair of sets. The sets lie along the last axis.
"""

from __future__ import annotations

from typing import Any

from keras import ops as K

from bevel import ops
from bevel.rules.context import Call, Context
from bevel.soft import Index, Real, Selected, Soft, as_float, value_of

# Values that may be in a set, each once, and the chances that they are: both (..., n).
Members = tuple[Any, Any]


def operation(ctx: Context, call: Call, a: Any, b: Any) -> Any:
    """Positions, values and shape of what two sets give, as a sparse tensor holds them."""
    ours, theirs = _members(a), _members(b)
    if ours is None or theirs is None:
        return NotImplemented
    like = ours[1] if isinstance(a, Soft) else theirs[1]
    ours, theirs = ((values, as_float(chances, like)) for values, chances in (ours, theirs))
    kind = call.param("kind")
    if kind == "union":
        rest = _without(theirs, ours)
        values, chances = (K.concatenate(pair, axis=-1) for pair in zip(ours, rest, strict=True))
    elif kind == "intersection":
        # the values of a hard set are few; those of a soft one are its whole support
        values, chances = _common(theirs, ours) if isinstance(b, Soft) else _common(ours, theirs)
    else:
        values, chances = _without(ours, theirs) if kind == "a-b" else _without(theirs, ours)
    lengths = K.shape(chances)
    axes = [K.arange(n, dtype=call.dtype) for n in lengths]
    places = K.stack(K.meshgrid(*axes, indexing="ij"), axis=-1)
    p = K.reshape(chances, (-1,))
    rows = [K.reshape(places, (-1, len(lengths))), K.reshape(values, (-1,))]
    picked = [Selected(r, p, v.dtype) for r, v in zip(rows, call.node.outputs, strict=False)]
    return [*picked, K.stack([K.cast(n, call.node.outputs[2].dtype) for n in lengths])]


def unique(ctx: Context, call: Call, x: Any) -> Any:
    """The values that are there at all, and how often each: rows picked by the chance of that.

    They stand in the order of the support. Where the place of each element among them is asked
    for, there is no rule.
    """
    if call.param("inverse") is not False or not isinstance(x, Index):
        return NotImplemented
    support = value_of(x.support)
    if isinstance(x.support, Soft) or len(support.shape) != 1:
        return NotImplemented
    weights = K.reshape(x.weights, (-1, K.shape(support)[0]))
    same = K.equal(K.expand_dims(support, -1), support)
    is_repeated = K.any(K.tril(same, -1), axis=-1)
    weights = K.matmul(weights, K.cast(same, weights.dtype))
    p = K.where(is_repeated, 0.0, ops.any(weights, axis=0))
    count = K.sum(weights, axis=0) / K.where(p > 0, p, 1.0)
    values, _, *counts = call.node.outputs
    made = [Selected(K.cast(support, values.dtype), p, values.dtype), value_of(x)]
    return made + [Selected(Real(count, v.dtype), p, v.dtype) for v in counts]


def size(ctx: Context, call: Call, p: Any) -> Any:
    """How many values each set is likely to hold, in all."""
    shape = call.args[2]
    if isinstance(shape, Soft) or not isinstance(call.args[0], Selected):
        return NotImplemented
    return [Real(K.sum(K.reshape(p, shape), axis=-1), call.dtype)]


def _members(numbers: Any) -> Members | None:
    """What may be in each set; None where a soft one is not known by weights over one support."""
    if isinstance(numbers, Index) and len(value_of(numbers.support).shape) == 1:
        chances = ops.any(numbers.weights, axis=-2)
        support = K.cast(value_of(numbers.support), numbers.dtype)
        return K.broadcast_to(support, K.shape(chances)), chances
    if isinstance(numbers, Soft):
        return None
    same = K.equal(K.expand_dims(numbers, -1), K.expand_dims(numbers, -2))
    is_repeated = K.any(K.tril(same, -1), axis=-1)
    return numbers, K.cast(K.logical_not(is_repeated), "float32")


def _is_in(values: Any, members: Members) -> Any:
    """The chance that each value is in a set."""
    support, chances = members
    same = K.equal(K.expand_dims(values, -1), K.expand_dims(support, -2))
    return K.sum(as_float(same, chances) * K.expand_dims(chances, -2), axis=-1)


def _common(a: Members, b: Members) -> Members:
    return b[0], b[1] * _is_in(b[0], a)


def _without(a: Members, b: Members) -> Members:
    return a[0], a[1] * (1 - _is_in(a[0], b))
