"""Rules for truth values: chances of independent events, and choices blended by them."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from keras import ops as K

from bevel import ops
from bevel.ops.arguments import promoted
from bevel.rules import absent, elements, held
from bevel.rules.context import Call, Context
from bevel.soft import Index, Mixture, Prob, Real, Soft, combine, value_of

_BINARY = {
    "logical_and": ops.logical_and,
    "logical_or": ops.logical_or,
    "logical_xor": ops.logical_xor,
}

# Of so few elements it is a question like others, such as whether a label is among the first k; of
# more it is taken for a check of a batch.
_FEW = 16

_EXTREME = {"max": ops.argmax, "min": ops.argmin}


def identity(ctx: Context, call: Call, x: Any) -> Any:
    """A copy is of the same kind."""
    return x


def binary(ctx: Context, call: Call, x: Any, y: Any) -> Any:
    """and = pq, or = p + q - pq, xor = p + q - 2pq."""
    independent = isinstance(x, Index) and isinstance(y, Index) and x.source is not y.source
    if independent or any(isinstance(v, Prob) for v in (x, y)):
        x, y = (as_prob(v) for v in (x, y))
    soft = [v for v in (x, y) if isinstance(v, Prob)]
    if len(soft) < sum(isinstance(v, Soft) for v in (x, y)):
        return NotImplemented
    like = K.dtype(soft[0].p)
    p, q = (v.p if isinstance(v, Prob) else K.cast(v, like) for v in (x, y))
    exact = None
    if any(v.exact for v in soft):
        exact = lambda: call.native(_hard(x), _hard(y))  # noqa: E731
    passes = None
    checks = [v.passes for v in soft if v.passes is not None]
    if len(checks) == len(soft):
        passes = lambda: functools.reduce(K.logical_and, [c() for c in checks])  # noqa: E731
    return Prob(_BINARY[call.op](p, q), exact=exact, passes=passes)


def negation(ctx: Context, call: Call, x: Any) -> Any:
    """not = 1 - p."""
    if not isinstance(x, Prob):
        return NotImplemented
    exact = (lambda: call.native(_hard(x))) if x.exact else None
    asked = x.asked and (x.asked[0], [K.logical_not(t) for t in x.asked[1]])
    return Prob(1 - x.p, exact=exact, passes=x.passes, asked=asked)


def missing(ctx: Context, call: Call, x: Any, *again: Any) -> Any:
    """The chance of a value that is NaN or infinite to be taken, where it is one of a few.

    Some frameworks ask whether it differs from itself, and name it twice.
    """
    if not isinstance(x, Mixture):
        return NotImplemented
    answers = [call.native(*[value_of(v)] * (1 + len(again))) for _, v in x.atoms]
    weights = [w for w, _ in x.atoms]
    chances = (K.where(a, w, 0.0) for a, w in zip(answers, weights, strict=True))
    return Prob(functools.reduce(K.add, chances), asked=(x, answers))


def every(ctx: Context, call: Call, x: Any) -> Any:
    """all = product of the chances; the smallest of 0-1 numbers is the same thing."""
    return _reduced(ops.all, ctx, call, x)


def some(ctx: Context, call: Call, x: Any) -> Any:
    """any = 1 - product of (1 - p); the largest of 0-1 numbers is the same thing."""
    return _reduced(ops.any, ctx, call, x)


def where(ctx: Context, call: Call, condition: Any, x: Any, y: Any) -> Any:
    """p x + (1 - p) y, where what is infinite or NaN on the side not taken does not count."""
    if call.param("rows") and isinstance(condition, Prob):
        condition = Prob(_as_rows(condition.p, value_of(x)), "bool", condition.exact)
    if not isinstance(condition, Soft):
        return _chosen(ctx, call, condition, x, y)
    if not isinstance(condition, Prob):
        return NotImplemented
    if condition.exact is not None and any(isinstance(v, Soft) for v in (x, y)):
        truth = condition.exact()
        found = _chosen(ctx, call, truth, x, y)
        if found is not NotImplemented:
            return found
        first = call.node.operands[0]
        operands = [truth if n == first else a for n, a in enumerate(call.inputs)]
        return ctx.apply(call.node, operands)[0]
    if condition.asked is not None and any(v is condition.asked[0] for v in (x, y)):
        return _answered(ctx, call, *condition.asked)
    numbers = [g.number for g in ctx.grains_of(call)[1:]]
    return blend(condition.p, x, y, call.dtype, None if None in numbers else numbers)


def _answered(ctx: Context, call: Call, mixture: Mixture, answers: Any) -> Soft:
    """A choice by what was asked of one of the two values: for each that it may have by itself."""
    condition = call.args[0]
    results = []
    for (weight, value), answer in zip(mixture.atoms, answers, strict=True):
        known = {id(condition): answer, id(mixture): value}
        operands = [known.get(id(a), a) for a in call.inputs]
        results.append((weight, ctx.apply(call.node, operands)[0]))
    return combine(results, call.dtype)


def blend(p: Any, x: Any, y: Any, dtype: str, numbers: Sequence[Any] | None = None) -> Soft:
    """One of two values of any kind, the first with chance p; `numbers` if that is what they are.

    Two plain numbers are finite, which saves half of the work.
    """
    if dtype == "bool":
        like = K.dtype(p)
        return Prob(ops.where(p, *(K.cast(value_of(v), like) for v in (x, y))))
    like = K.dtype(p) if "float" not in dtype else dtype

    def mean() -> Any:
        if numbers is None:
            return ops.where(p, *(K.cast(value_of(v), like) for v in (x, y)))
        fine = K.cast(p, promoted([like, K.dtype(p)]))
        return K.cast(ops.where(fine, *numbers), like)

    return combine([(p, x), (1 - p, y)], dtype, mean)


def _chosen(ctx: Context, call: Call, condition: Any, x: Any, y: Any) -> Any:
    """A hard choice between soft values."""
    dtype = call.dtype
    known = ctx.static(condition)
    if known is not None and known.size and np.all(known) == np.any(known):
        taken, shape = (x, y)[not np.any(known)], call.node.outputs[0].shape
        if isinstance(taken, Soft) and tuple(taken.mean.shape) == shape:
            return taken
    if dtype == "bool":
        like = K.dtype(next(value_of(v) for v in (x, y) if isinstance(v, Soft)))
        return Prob(call.native(condition, *(K.cast(value_of(v), like) for v in (x, y))))
    if all(not isinstance(v, Soft) or isinstance(v, Real) for v in (x, y)):
        reals = [v for v in (x, y) if isinstance(v, Real)]
        value = call.native(condition, x, y)
        own = elements.filled(reals[0], K.shape(value)) if len(reals) == 1 else None
        stays = held.chosen(condition, x, y, K.shape(value))
        return Real(value, dtype, reals[0].origin, elements=own, held=stays)
    return _chosen_position(ctx, condition, x, y)


def _chosen_position(ctx: Context, condition: Any, x: Any, y: Any) -> Any:
    """A hard choice between a soft position and one that is known: a position as well."""
    index, other = (x, y) if isinstance(x, Index) else (y, x)
    if not isinstance(index, Index) or not index.is_position or isinstance(other, Soft):
        return NotImplemented
    places, count = ctx.static(other), index.weights.shape[-1]
    if places is None or count is None or len(np.unique(places)) != 1:
        return NotImplemented
    place = np.ravel(places)[0]
    if not 0 <= place < count:
        return NotImplemented
    if tuple(condition.shape) != tuple(index.weights.shape[:-1]):
        return NotImplemented
    there = K.one_hot(int(place), count, dtype=K.dtype(index.weights))
    taken = condition if index is x else K.logical_not(condition)
    weights = K.where(K.expand_dims(taken, -1), index.weights, there)
    return Index(weights, index.support, index.dtype, is_position=True)


def _reduced(reduce: Any, ctx: Context, call: Call, x: Any) -> Any:
    x = as_prob(x)
    axis, keepdims = call.param("axis"), call.param("keepdims")
    if isinstance(x, Mixture) and call.op in _EXTREME:
        return absent.extreme(ctx, call, x)
    if isinstance(x, Real) and call.op in _EXTREME:
        axes = range(len(x.tensor.shape)) if axis is None else axis
        is_row = len(axes) == 1 and (keepdims or len(x.tensor.shape) == 1)
        found = (x, axes[0], _EXTREME[call.op]) if is_row else None
        value = call.native(x)
        which = elements.picked(x, value, axes, keepdims)
        return Real(value, call.dtype, extreme=found, elements=which)
    if not isinstance(x, Prob):
        return NotImplemented
    p = reduce(x.p, axis=axis, keepdims=keepdims)
    return Prob(p, x.dtype, passes=_passes(call, x.p) if not len(p.shape) else None)


def _passes(call: Call, p: Any) -> Callable[[], Any] | None:
    """How it is known whether all elements of a batch agree, as `all` and `any` ask."""
    exact, result = call.exact, call.node.outputs[0].id
    shape = tuple(p.shape)
    if exact is None or (None not in shape and math.prod(shape) <= _FEW):
        return None
    is_all = call.op in ("all", "min")
    return lambda: K.cast(exact(result), "bool") == is_all


def _as_rows(p: Any, x: Any) -> Any:
    """A vector that picks rows, made to broadcast against the rows."""
    return K.reshape(p, (-1,) + (1,) * (len(x.shape) - 1))


def as_prob(value: Any) -> Any:
    """A truth that depends on a soft index, without the memory of which index it was."""
    if isinstance(value, Index) and value.dtype == "bool":
        return Prob(value.mean)
    return value


def _hard(value: Any) -> Any:
    return value.hard() if isinstance(value, Prob) else value
