"""Rules for comparisons: a step becomes a cumulative kernel of the difference over its spread.

    x > y   ->  K((x - y) / (temperature * spread of x - y))

Whole numbers, of whatever dtype, are compared half-way between them, and nearer than 1 they are
not: else the last of them that differ would be forgotten once all others are equal. A rounded
number is compared on the scale of what was rounded. Floats that are asked to be equal get a bump
around 0. If they move smoothly, they never are, and the question is a guard: whoever branches on it
gets its hard truth. If they move in steps, as a count does, it is an event like others; whether
they are whole numbers then tell their hard values, where the program does not.
"""

from __future__ import annotations

import functools
from typing import Any

from keras import ops as K

from bevel import ops
from bevel.grain import Moves
from bevel.rules.context import Call, Context
from bevel.rules.elements import are_same
from bevel.rules.held import is_held, unclamped
from bevel.rules.index import chances
from bevel.rules.order import reaches
from bevel.soft import Prob, Real, Rounded, Soft, as_float, value_of

_SWAPPED = {"less": "greater", "less_equal": "greater_equal"}
_OPPOSITE = {"greater": "less_equal", "greater_equal": "less", "less": "greater_equal",
             "less_equal": "greater"}  # fmt: skip
_MIRRORED = {"greater": "less", "greater_equal": "less_equal", "less": "greater",
             "less_equal": "greater_equal"}  # fmt: skip

# How small the spread of differences counts, in units of that of the rounded number itself. By
# descent: without a bound the last elements that are far off are forgotten once all others fit.
_LEAST = 0.3


def inequality(ctx: Context, call: Call, x: Any, y: Any) -> Any:
    """`greater`, `greater_equal`, `less` and `less_equal` of reals, counts and rounded numbers."""
    op = call.op
    if isinstance(y, Rounded) and not isinstance(x, Soft):
        x, y, op = y, x, _MIRRORED[op]
    if isinstance(x, Rounded) and not isinstance(y, Soft):
        return _rounded_inequality(ctx, op, x, y)
    if not _are_plain(x, y):
        return NotImplemented
    if (found := _is_extreme(ctx, op, x, y)) is not None:
        return Prob(found)
    if op in _SWAPPED:
        x, y, op = y, x, _SWAPPED[op]
    if not _are_whole(ctx, call, x, y):
        shares = _share_exceeds(ctx, op == "greater", x, y)
        if shares is not None:
            return Prob(shares)
        if (found := reaches(ctx, call, x, y, op == "greater")) is not None:
            return Prob(found)
        if (found := reaches(ctx, call, y, x, op != "greater")) is not None:
            return Prob(1 - found)
        return Prob(_exceeds(ctx, call, op == "greater", x, y))
    d = _difference(x, y)
    d = d - 0.5 if op == "greater" else d + 0.5
    return Prob(ctx.step(d, K.maximum(ctx.spread(d, x, y), 1.0)))


def _share_exceeds(ctx: Context, strictly: bool, x: Any, y: Any) -> Any:
    """The same of a share of whole numbers, as a mean of truths is, and a hard one; None else.

    Half-way between the numbers of parts, where the other one is a number of parts itself.
    """
    share, other = (x, y) if isinstance(x, Real) else (y, x)
    if isinstance(other, Soft) or share.parts is None:
        return None
    d = _difference(x, y)
    parts = as_float(share.parts, d)
    bound = as_float(other, d) * parts
    is_on_edge = K.abs(bound - K.round(bound)) < _NEAR
    half = K.where(is_on_edge, -0.5 if strictly else 0.5, 0.0)
    return ctx.step(d * parts + half, K.maximum(ctx.spread(d, x, y) * parts, 1.0))


# How near to a whole number of parts a threshold is one.
_NEAR = 1e-3


def _exceeds(ctx: Context, call: Call, strictly: bool, x: Any, y: Any) -> Any:
    """The chance of x > y, or of x >= y, of numbers that are not whole."""
    # as x > y of what is clamped: -y >= -x is the same question from the other side
    left, right = unclamped(x, y, strictly), unclamped(y, x, not strictly)
    like = next(v for v in (left, right) if "float" in K.dtype(v))
    d = as_float(left, like) - as_float(right, like)
    p = ctx.crossing(call, d, ctx.spread(d, x, y))
    stays = [m for m in (are_same(x, y), is_held(x, y)) if m is not None]
    if stays:
        at_it = K.logical_and(functools.reduce(K.logical_or, stays), d == 0)
        at_it = K.broadcast_to(at_it, K.shape(p))
        p = K.where(at_it, K.cast(not strictly, K.dtype(p)), p)
    return p


def equality(ctx: Context, call: Call, x: Any, y: Any) -> Any:
    """`equal` and `not_equal`: a window for integers, a bump for floats."""
    if isinstance(y, Rounded):
        x, y = y, x
    if isinstance(x, Rounded) and not isinstance(y, Soft):
        u, target = x.u, as_float(value_of(y), x.u)
        wide = Real(u, x.dtype, x.origin)
        own = ctx.spread(u - ctx.mean(u), wide, ctx.mean(u))
        size = K.maximum(ctx.spread(u - target - 0.5, wide, y), _LEAST * own)
        p = ctx.step(u - target, size) - ctx.step(u - target - 1, size)
        p = K.where(target == K.floor(target), p, K.zeros_like(p))
        return Prob(p if call.op == "equal" else 1 - p)
    if not _are_plain(x, y):
        return NotImplemented
    if (found := _is_extreme(ctx, call.op, x, y)) is not None:
        return Prob(found)
    d = _difference(x, y)
    size = ctx.spread(d, x, y)
    if _are_whole(ctx, call, x, y):
        p = _window(ctx, d, size)
        return Prob(p if call.op == "equal" else 1 - p)
    p = ctx.bump(d, size)
    moves = max(g.moves for g in ctx.grains_of(call))
    if moves is Moves.STEPS and call.exact is not None:
        p = K.where(_hold_whole(call.hard(0), call.hard(1)), _window(ctx, d, size), p)
    exact = (lambda: call.native(x, y)) if moves is Moves.SMOOTHLY else None
    return Prob(p if call.op == "equal" else 1 - p, exact=exact)


def _window(ctx: Context, d: Any, size: Any) -> Any:
    """The chance that whole numbers are equal, by their difference and its spread."""
    size = K.maximum(size, 1.0)
    return ctx.step(d + 0.5, size) - ctx.step(d - 0.5, size)


def _hold_whole(*values: Any) -> Any:
    """Whether all numbers in these tensors are whole."""
    return functools.reduce(K.logical_and, (K.all(v == K.floor(v)) for v in values))


def _rounded_inequality(ctx: Context, op: str, x: Rounded, y: Any) -> Prob:
    """floor(u) >= c is u >= ceil(c), and floor(u) > c is u >= floor(c) + 1."""
    if op in ("less", "less_equal"):
        return Prob(1 - _rounded_inequality(ctx, _OPPOSITE[op], x, y).p)
    bound = as_float(value_of(y), x.u)
    threshold = K.floor(bound) + 1 if op == "greater" else K.ceil(bound)
    d = x.u - threshold
    return Prob(ctx.step(d, ctx.spread(d, Real(x.u, x.dtype, x.origin), threshold)))


def _is_extreme(ctx: Context, op: str, x: Any, y: Any) -> Any:
    """The chance of each element to be the largest, or not, where that is what is asked; else None.

    `x == max(x)` is a position in other words, and gets the weights of one.
    """
    for whole, part, asked in ((x, y, op), (y, x, _MIRRORED.get(op, op))):
        if not isinstance(part, Real) or part.extreme is None or part.extreme[0] is not whole:
            continue
        _, axis, search = part.extreme
        reaches = "greater_equal" if search is ops.argmax else "less_equal"
        if asked in ("equal", reaches, "not_equal", _OPPOSITE[reaches]):
            found = K.moveaxis(chances(ctx, whole.mean, axis, search), -1, axis)
            return found if asked in ("equal", reaches) else 1 - found
    return None


def _difference(x: Any, y: Any) -> Any:
    a, b = value_of(x), value_of(y)
    like = next(v for v in (a, b) if "float" in K.dtype(v))
    return as_float(a, like) - as_float(b, like)


def _are_plain(x: Any, y: Any) -> bool:
    """Whether both are reals or tensors; other kinds are compared value by possible value."""
    return all(isinstance(v, Real) or not isinstance(v, Soft) for v in (x, y))


def _are_whole(ctx: Context, call: Call, x: Any, y: Any) -> bool:
    """Whether both are whole numbers in any case: by the program, or by their dtypes."""
    if all(g.is_whole for g in ctx.grains_of(call)):
        return True
    return all("int" in (v.dtype if isinstance(v, Real | Rounded) else K.dtype(v)) for v in (x, y))
