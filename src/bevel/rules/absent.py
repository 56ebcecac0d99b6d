"""Rules for the largest of values that are one of a few, such as `max(where(mask, x, -inf))`.

A value that may be far below all others, -inf or -1e9, stands for nothing: a mean of it and of x
would be a number between nothing and something. What is left are the values that count and the
chance p that one of them is there:

    max of hard values     its expectation, by the chance of each to be there and of none above it,
    max of moving values   a mean by how near each is to the largest, and how improbable,
    softmax                p_i exp(x_i) / sum of p exp(x),    logsumexp = log sum of p exp(x).

Where nothing at all is likely to be there, the value is what the program gives for nothing.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

from keras import ops as K

from bevel import ops
from bevel.ops.primitives import taken
from bevel.rules.context import Call, Context
from bevel.soft import Mixture, Real, Soft, as_float, value_of

# How many times larger than the others a value is that stands for nothing.
FAR = 1e3

# Below this, a value that is not there is as far behind as it gets.
LEAST_CHANCE = 1e-3

# A chance that has a logarithm.
_TINY = 1e-6


class Atoms(NamedTuple):
    """The possible values of a mixture, as lists of tensors.

    Attributes:
        weights: The chance of each.
        values: Each; 0 where it does not count.
        far: Whether it does not count.
        nothing: What stands for nothing, as far as something does.
        moves: Whether a value depends on the prediction.
    """

    weights: Sequence[Any]
    values: Sequence[Any]
    far: Sequence[Any]
    nothing: Any
    moves: bool


def atoms(x: Mixture, side: int, arranged: Any = lambda t: t) -> Atoms:
    """The possible values, and which of them stand for nothing.

    Args:
        x: One of a few values.
        side: 1 where the largest is looked for, so that nothing is far below; -1 for the
            smallest; 0 where it may be either.
        arranged: What is done to every tensor first.
    """
    like = K.zeros_like(functools.reduce(lambda a, b: a + b, (w for w, _ in x.atoms)))
    shape = like + K.zeros_like(as_float(x.mean, like))
    weights = [arranged(w + shape) for w, _ in x.atoms]
    values = [arranged(as_float(value_of(v), w) + shape) for w, v in x.atoms]
    best = functools.reduce(K.maximum, weights)
    sizes = [K.where(K.isfinite(v), K.abs(v), float("inf")) for v in values]
    least = functools.reduce(K.minimum, sizes)
    nothings = [(-side * v if side else K.abs(v)) >= FAR * (1 + least) for v in values]
    far = [
        K.logical_or(n, K.logical_and(K.logical_not(K.isfinite(v)), w < best))
        for n, v, w in zip(nothings, values, weights, strict=True)
    ]
    nothing = K.zeros_like(values[0])
    for stands, v in zip(nothings, values, strict=True):
        nothing = K.where(stands, K.stop_gradient(v), nothing)
    counted = [K.where(f, 0.0, v) for f, v in zip(far, values, strict=True)]
    return Atoms(weights, counted, far, nothing, moves(x))


def moves(x: Mixture) -> bool:
    """Whether one of the values moves, not only which of them it is."""
    return any(isinstance(v, Soft) for _, v in x.atoms)


def present(found: Atoms) -> tuple[Any, Any]:
    """The mean of what counts, and the chance that it is there."""
    shares = [K.where(f, 0.0, w) for f, w in zip(found.far, found.weights, strict=True)]
    p = functools.reduce(K.add, shares)
    some = K.where(p > 0, p, 1.0)
    parts = (share / some * v for share, v in zip(shares, found.values, strict=True))
    return functools.reduce(K.add, parts), p


def extreme(ctx: Context, call: Call, x: Mixture) -> Any:
    """The largest or smallest along some axes."""
    rank = len(x.mean.shape)
    axes = tuple(sorted({a % rank for a in call.param("axis") or range(rank)}))
    side = 1 if call.op == "max" else -1
    found = atoms(x, side, lambda t: _last(t, axes))
    values, p = present(found)
    if found.moves:
        weights = K.stop_gradient(_near(ctx, values, p, side))
        worth = -weights * _behind(values, p, side)
        # weights of values that move are constants for the gradient, as in the smoothed maxima
        # whose gradient is a soft argmax: else a value far behind would be pushed down
        best = K.sum(weights * values + worth - K.stop_gradient(worth), axis=-1)
    else:
        shares = _expected(found, side)
        best = K.sum(shares * K.stack(found.values, axis=-1), axis=(-2, -1))
    instead = side * K.max(side * found.nothing, axis=-1)
    lacking = K.where(K.all(p < 0.5, axis=-1), instead - best, K.zeros_like(best))
    best = best + K.stop_gradient(lacking)
    return Real(K.expand_dims(best, axes) if call.param("keepdims") else best, call.dtype)


def chances(ctx: Context, x: Mixture, axis: int, side: int) -> Any:
    """How likely each along an axis, which is moved to the end, holds the extreme."""
    found = atoms(x, side, lambda t: K.moveaxis(t, axis, -1))
    if found.moves:
        return _near(ctx, *present(found), side)
    return K.sum(_expected(found, side), axis=-1)


def _last(t: Any, axes: Sequence[int]) -> Any:
    """Some axes as one, the last."""
    rank, count = len(t.shape), len(axes)
    t = K.moveaxis(t, axes, tuple(range(rank - count, rank)))
    return t if count == 1 else K.reshape(t, (*K.shape(t)[: rank - count], -1))


def _behind(x: Any, p: Any, side: int) -> Any:
    """How much further behind than it is a value counts as that may not be there."""
    reach = K.max(x, axis=-1, keepdims=True) - K.min(x, axis=-1, keepdims=True)
    return -side * K.stop_gradient(reach) * K.log(K.minimum(p + LEAST_CHANCE, 1.0))


def _near(ctx: Context, x: Any, p: Any, side: int) -> Any:
    """Heavy-tailed weights by how near each value is to the extreme, and how likely there."""
    search = ops.argmax if side > 0 else ops.argmin
    scale = ctx.spread_of_rows(x)
    key = x - _behind(x, p, side)
    near = search(key, axis=-1, temperature=ctx.temperature, kernel="cauchy", scale=scale)
    weights = p * near
    total = K.sum(weights, axis=-1, keepdims=True)
    return weights / K.where(total > 0, total, 1.0)


def _expected(found: Atoms, side: int) -> Any:
    """The chance of each possible value of each element to be the extreme of them all.

    The largest is at most v as far as each element is: with all values in falling order, what is
    left of the product of these chances at each of them.
    """
    values, weights = K.stack(found.values, axis=-1), K.stack(found.weights, axis=-1)
    far = K.stack(found.far, axis=-1)
    keys = K.where(far, float("inf"), -side * K.stop_gradient(values))
    inner = K.argsort(keys, axis=-1)
    ordered = taken(weights, inner)
    left = K.log(K.maximum(1 - K.cumsum(ordered, axis=-1), _TINY))
    steps = K.concatenate([left[..., :1], left[..., 1:] - left[..., :-1]], axis=-1)
    flat = (*K.shape(keys)[:-2], -1)
    steps = K.reshape(taken(steps, K.argsort(inner, axis=-1)), flat)
    outer = K.argsort(K.reshape(keys, flat), axis=-1)
    steps = taken(steps, outer)
    after = K.cumsum(steps, axis=-1)
    shares = taken(K.exp(after - steps) - K.exp(after), K.argsort(outer, axis=-1))
    shares = K.where(K.reshape(far, flat), 0.0, shares)
    total = K.sum(shares, axis=-1, keepdims=True)
    return K.reshape(shares / K.where(total > 0, total, 1.0), K.shape(values))


def settled(x: Mixture, axis: int) -> Any:
    """Values along an axis to be put in order: what may be nothing, as far off as it is likely."""
    found = atoms(x, 0)
    values, p = present(found)
    reach = K.max(values, axis=axis, keepdims=True) - K.min(values, axis=axis, keepdims=True)
    off = K.stop_gradient(reach) * K.log(K.minimum(p + LEAST_CHANCE, 1.0))
    return values - K.sign(found.nothing) * off


def known(x: Any) -> Any:
    """The mean of those values of a mixture that are no NaN; of anything else its expectation."""
    if not isinstance(x, Mixture):
        return value_of(x)
    total, mean = 0.0, 0.0
    for w, v in x.atoms:
        value = as_float(value_of(v), w)
        share = K.where(K.isnan(value), 0.0, w)
        total, mean = total + share, mean + share * K.where(K.isnan(value), 0.0, value)
    return mean / total


def softmax(ctx: Context, call: Call, x: Any) -> Any:
    """Shares of what is there."""
    if not isinstance(x, Mixture):
        return NotImplemented
    values, p = present(atoms(x, 1))
    parts, total, _ = powers(values, p, call.param("axis"))
    return Real(p * parts / total, call.dtype)


def log_softmax(ctx: Context, call: Call, x: Any) -> Any:
    """Values less the logarithm of the sum of what is there."""
    if not isinstance(x, Mixture):
        return NotImplemented
    found = atoms(x, 1)
    values, p = present(found)
    _, _, logarithm = powers(values, p, call.param("axis"))
    missing = K.where(p < 0.5, found.nothing - values, K.zeros_like(values))
    return Real(values + K.stop_gradient(missing) - logarithm, call.dtype)


def logsumexp(ctx: Context, call: Call, x: Any) -> Any:
    """The logarithm of the sum of what is there."""
    if not isinstance(x, Mixture):
        return NotImplemented
    axis = call.param("axis")
    _, _, value = powers(*present(atoms(x, 1)), axis)
    return Real(value if call.param("keepdims") else K.squeeze(value, axis), call.dtype)


def powers(x: Any, p: Any, axis: Any) -> tuple[Any, Any, Any]:
    """exp(x) of each over that of the largest, the sum of what is there, and its logarithm."""
    likely = K.where(p < 0.5, K.min(x, axis=axis, keepdims=True), x)
    highest = K.stop_gradient(K.max(likely, axis=axis, keepdims=True))
    parts = K.exp(K.minimum(x - highest, 60.0))
    total = K.sum(p * parts, axis=axis, keepdims=True)
    total = K.where(total > 0, total, 1.0)
    return parts, total, highest + K.log(total)
