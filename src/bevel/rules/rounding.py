"""Rules for numbers that become integers, truths that become numbers, and signs.

Rounding keeps the real that was rounded (`Rounded`), so that a comparison can look at it on its own
scale; whoever only adds it up gets the soft staircase of `bevel.ops.floor`.
"""

from __future__ import annotations

import itertools
from typing import Any

from keras import ops as K

from bevel.rules.context import Call, Context, between, origin_of
from bevel.rules.held import is_held
from bevel.soft import Index, Mixture, Prob, Real, Rounded, Soft, as_float

# The integers of a window, counted from the rounded number: all close by, few far off.
_FAR = [2**n + m for n in range(7, 11) for m in (0, 2 ** (n - 1))]
_OFFSETS = [*(-n for n in reversed(_FAR)), *range(-127, 128), *_FAR]


def sign(ctx: Context, call: Call, x: Any) -> Any:
    """The sign is 1 with chance p and -1 with chance 1 - p."""
    if not isinstance(x, Real):
        return NotImplemented
    p = ctx.crossing(call, x.tensor, ctx.spread(x.tensor, x))
    one = K.convert_to_tensor(1, dtype=x.dtype)
    return Mixture(lambda: [(1 - p, -one), (p, one)], 2, x.dtype, lambda: 2 * p - 1)


def floor(ctx: Context, call: Call, x: Any) -> Any:
    """floor(x)."""
    return _rounded(ctx, call, x, lambda t: t)


def round_half(ctx: Context, call: Call, x: Any) -> Any:
    """round(x) = floor(x + 1/2), but at ties."""
    return _rounded(ctx, call, x, lambda t: t + 0.5)


def ceil(ctx: Context, call: Call, x: Any) -> Any:
    """ceil(x) = floor(x + 1), but at integers."""
    return _rounded(ctx, call, x, lambda t: t + 1)


def floor_divide(ctx: Context, call: Call, x: Any, y: Any) -> Any:
    """x // y = floor(x / y); of a count, half-way between two integers."""
    if not all(isinstance(v, Real) or not isinstance(v, Soft) for v in (x, y)):
        return NotImplemented
    a, b = (v.tensor if isinstance(v, Real) else v for v in (x, y))
    like = a if isinstance(x, Real) else b
    half = 0.5 if "int" in call.dtype else 0.0
    quotient = (K.cast(a, K.dtype(like)) + half) / K.cast(b, K.dtype(like))
    return Rounded(quotient, call.dtype, ctx.nearest)


def remainder(ctx: Context, call: Call, x: Any, y: Any) -> Any:
    """x mod y jumps at multiples of y: for a count, half an integer below them."""
    if not isinstance(x, Real) or not x.is_count or isinstance(y, Soft):
        return NotImplemented
    divisor = K.cast(y, K.dtype(x.tensor))
    return Real(K.mod(x.tensor + 0.5, divisor) - 0.5, call.dtype)


def astype(ctx: Context, call: Call, x: Any) -> Any:
    """A cast keeps what a value is: a truth stays a truth as 0 and 1, an index an index."""
    dtype = call.dtype
    if "complex" in dtype:
        return Real(call.native(x), dtype) if isinstance(x, Soft) else NotImplemented
    if dtype == "bool":
        return _truth(ctx, call, x)
    if isinstance(x, Prob):
        return Prob(in_float(x.p, dtype), dtype, x.exact)
    if isinstance(x, Rounded):
        return Rounded(in_float(x.u, dtype), dtype, ctx.nearest, x.origin)
    if isinstance(x, Index) and not isinstance(x.support, Soft):
        support = call.native(x.support)
        if x.order is not None:
            return Index(x.order, support, dtype, x.is_position)
        return Index(in_float(x.weights, dtype), support, dtype, x.is_position)
    if isinstance(x, Real):
        if "int" in dtype and not x.is_count:
            return _truncated(ctx, call, x, dtype)
        index = x.index if "int" in dtype else None
        return Real(in_float(x.tensor, dtype), dtype, x.origin, index=index)
    return NotImplemented


def _truth(ctx: Context, call: Call, x: Any) -> Any:
    """Whether a number is not 0."""
    if isinstance(x, Prob):
        return Prob(x.p, "bool", x.exact)
    if isinstance(x, Real) and x.is_count:
        return Prob(ctx.step(K.abs(x.tensor) - 0.5, ctx.spread(x.tensor, x)))
    if isinstance(x, Real):
        return Prob(
            1 - ctx.bump(x.tensor, ctx.spread(x.tensor, x)),
            exact=lambda: call.native(x),
        )
    return NotImplemented


def _truncated(ctx: Context, call: Call, x: Real, dtype: str) -> Rounded:
    """A cast to an integer: floor above 0, ceil below, with no step at 0 itself."""
    t = x.tensor
    above = K.full_like(t, 0.5 + 2**-10)  # nearest to the step at 1; a half is nearest to that at 0
    u = K.where(t >= 0, K.maximum(t, above), K.minimum(t + 1, 0.5 * K.ones_like(t)))
    u = _settled(call, x, _far_from_zero(t, u))
    return Rounded(u, dtype, ctx.nearest, x.origin)


def _far_from_zero(t: Any, u: Any) -> Any:
    """Lets the gradient through where `u` is held: a comparison looks further than one cell."""
    held = K.logical_and(t > -0.5, t < 0.5)
    return K.where(held, t - K.stop_gradient(t) + u, u)


def _rounded(ctx: Context, call: Call, x: Any, shift: Any) -> Any:
    if not isinstance(x, Real):
        return NotImplemented
    return Rounded(_settled(call, x, shift(x.tensor)), call.dtype, ctx.nearest, origin_of(x))


def _settled(call: Call, x: Real, u: Any) -> Any:
    """What is rounded, in the middle of its step where it does not move: it may be on an edge."""
    mask = is_held(x)
    if mask is None:
        return u
    return K.where(K.broadcast_to(mask, K.shape(u)), as_float(call.native(x), u) + 0.5, u)


def window(ctx: Context, x: Rounded, size: int | None = None) -> Index:
    """A rounded number as one of many integers around it, by the chances of a comparison.

    The integer is at least k with chance K((u - k) / (temperature * spread)). Integers close by
    stand for themselves, those further off for their neighbours too. Of a number among `size`
    positions no more than those can be reached.
    """
    offsets = [n for n in _OFFSETS if size is None or abs(n) <= size]
    bounds = [(a + b + 1) // 2 for a, b in itertools.pairwise(offsets)]
    floor = K.stop_gradient(K.floor(x.u))
    reached = K.expand_dims(x.u - floor, -1) - K.convert_to_tensor(bounds, K.dtype(x.u))
    center = ctx.mean(x.u)
    above = ctx.step(reached, ctx.spread(x.u - center, Real(x.u, x.dtype, x.origin), center))
    weights = between(above)
    support = K.expand_dims(floor, -1) + K.convert_to_tensor(offsets, K.dtype(x.u))
    return Index(weights, K.cast(support, x.dtype), x.dtype)


def longer(value: Any) -> Any:
    """An operand with one more axis at the end, to broadcast against a support."""
    if isinstance(value, Real):
        return Real(K.expand_dims(value.tensor, -1), value.dtype, value.origin)
    return K.expand_dims(value, -1) if len(value.shape) else value


def in_float(tensor: Any, dtype: str) -> Any:
    """A soft value follows a cast between floats; a cast to integers leaves it a float."""
    return K.cast(tensor, dtype) if "float" in dtype else tensor
