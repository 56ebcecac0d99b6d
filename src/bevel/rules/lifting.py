"""Elementwise operations on discrete soft values: act on each possible value, keep the chances.

This is what makes rules compose. `|label - argmax(p)|` is the expectation of |label - k| under the
weights of k, not |label - expected k|; a metric that is linear in the truth of a comparison stays
linear in its probability.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from keras import ops as K

from bevel.program import Node
from bevel.rules.context import Call, Context
from bevel.rules.rounding import in_float, longer, window
from bevel.rules.singular import expectations
from bevel.soft import (
    MAX_ATOMS,
    Derived,
    Index,
    Mixture,
    Prob,
    Real,
    Rounded,
    Soft,
    Stacked,
    as_float,
    atoms_of,
    chance,
    combine,
    value_of,
)

# Vocabulary that acts on each element by itself: lifted where its rule says nothing.
ELEMENTWISE = frozenset(
    """
    greater greater_equal less less_equal equal not_equal sign round floor ceil floor_divide
    remainder logical_and logical_or logical_not logical_xor where astype abs relu relu6 leaky_relu
    maximum minimum clip sqrt rsqrt reciprocal divide log log1p pow atan2 acos asin atanh acosh add
    subtract multiply negative bitwise_and isnan isfinite isinf
    """.split()
)

# Linear in each operand, so the expectation of the result is the result of the expectations.
MULTILINEAR = frozenset({"add", "subtract", "multiply", "negative"})

# Operations that move or bound an integer, if their other operands are single numbers.
_SHIFTS = frozenset({"add", "subtract", "relu", "maximum", "minimum", "clip", "astype", "identity"})

_COMPARISONS = frozenset({"greater", "greater_equal", "less", "less_equal", "equal", "not_equal"})

DISCRETE = (Prob, Mixture, Index, Rounded)

MAX_JOINT = 4096

# Combinations of a few possible values that are computed one by one.
MAX_PAIRS = 16


def is_elementwise(node: Node) -> bool:
    """Whether a node acts on each element by itself."""
    return node.op in ELEMENTWISE or node.nature == "elementwise"


def lift(ctx: Context, call: Call) -> Any:
    """The result of an elementwise node some of whose operands are discrete."""
    args = list(call.inputs)
    stacked = next((a for a in args if isinstance(a, Stacked)), None)
    if stacked is not None:
        return _per_part(ctx, call, stacked)
    certain = _certain(ctx, call, args)
    if certain is not None:
        return certain
    derived = _derived(call, args)
    if derived is not None and call.node.nature == "step":
        return _within_window(ctx, call, derived)
    result = _lifted(ctx, call, args)
    if isinstance(result, Mixture):
        result.derived = derived
    return result


def _certain(ctx: Context, call: Call, args: Sequence[Any]) -> Any:
    """A comparison whose answer is the same at every position, as in `0 <= argmax(p) < n`; or None.

    It stays hard, and so does what is chosen by it.
    """
    if call.op not in _COMPARISONS or len(args) != 2:
        return None
    index = next((a for a in args if isinstance(a, Index) and a.is_position), None)
    other = next((a for a in args if not isinstance(a, Soft)), None)
    if index is None or other is None or any(n != 1 for n in other.shape):
        return None
    number = ctx.static(other)
    if index.weights.shape[-1] is None or number is None:
        return None
    places = np.arange(index.weights.shape[-1])
    answers = getattr(np, call.op)(*(places if a is index else number.item() for a in args))
    if np.all(answers) != np.any(answers):
        return None
    shape = index.weights.shape[:-1]
    if None not in tuple(shape):  # known while a graph is made
        return np.full(shape, answers[0])
    return K.full(K.shape(index.weights)[:-1], bool(answers[0]), dtype="bool")


def _derived(call: Call, args: Sequence[Any]) -> Derived | None:
    """How the result comes from a rounded number, where every soft operand comes from that one."""
    made = [a.derived if isinstance(a, Rounded | Mixture) else None for a in args]
    sources = {id(d.source) for d in made if d is not None}
    if len(sources) != 1:
        return None
    if any(isinstance(a, Soft) and d is None for a, d in zip(args, made, strict=True)):
        return None
    known = [d for d in made if d is not None]
    hard = [a for a, d in zip(args, made, strict=True) if d is None]

    def at(values: Any, fit: Callable[[Any], Any]) -> Any:
        operands = [
            fit(a) if d is None else d.at(values, fit) for a, d in zip(args, made, strict=True)
        ]
        return call.run(call.node, operands)[0]

    moved = call.op in _SHIFTS and len(known) == 1 and all(_rank(a) == 0 for a in hard)
    is_shift = moved and known[0].is_shift and (call.op != "subtract" or made[0] is not None)
    return Derived(known[0].source, at, is_shift)


def _within_window(ctx: Context, call: Call, derived: Derived) -> Any:
    """The node at every integer of a window, made once for all that comes from one number."""
    source = derived.source
    if source.window is None:
        source.window = window(ctx, source)
    found = derived.at(source.window.support, longer)
    return _gathered(found, source.window.weights, call.dtype)


def _lifted(ctx: Context, call: Call, args: Sequence[Any]) -> Any:
    finite = [i for i, a in enumerate(args) if isinstance(a, Prob | Mixture | Rounded)]
    if finite and call.dtype != "bool" and _is_multilinear(call):
        mean = lambda: call.run(call.node, expectations(ctx, call.node, args))[0]  # noqa: E731
        if _joint_count(args) > MAX_ATOMS:
            return Real(mean(), call.dtype)
        atoms = lambda: atoms_of(_per_atom(ctx, call, args, finite[0]))  # noqa: E731
        return Mixture(atoms, _joint_count(args), call.dtype, mean)
    if finite and _joint_count(args) > MAX_PAIRS:
        return ctx.apply(call.node, _bounded(args))[0]
    if finite:
        return _per_atom(ctx, call, args, finite[0])
    if not any(isinstance(a, Index) for a in args):
        return ctx.apply(call.node, args)[0]
    return _per_position(ctx, call, args)


def _bounded(args: Sequence[Any]) -> list[Any]:
    """The operands, the ones with most values by their expectation until few combinations are left.

    Without a bound, a running maximum of running counts takes minutes to compile.
    """
    args = list(args)
    while _joint_count(args) > MAX_PAIRS:
        largest = max((a for a in args if isinstance(a, Mixture)), key=lambda a: a.count)
        args = [Real(largest.mean, a.dtype) if a is largest else a for a in args]
    return args


def _per_part(ctx: Context, call: Call, stacked: Stacked) -> Any:
    """Runs the node on each part of values that stand side by side."""
    axis = stacked.axis - len(stacked.mean.shape) if stacked.axis >= 0 else stacked.axis
    cut = [_parts(a, axis, len(stacked.parts)) for a in call.inputs]
    if any(parts is None for parts in cut):
        means = [Real(a.mean, a.dtype) if isinstance(a, Stacked) else a for a in call.inputs]
        return ctx.apply(call.node, means)[0]
    results = [ctx.apply(call.node, chosen)[0] for chosen in zip(*cut, strict=True)]
    together = Stacked(results, axis, call.dtype)
    return Prob(together.mean) if call.dtype == "bool" else together


def _parts(value: Any, axis: int, count: int) -> list[Any] | None:
    """What an operand holds at each place of an axis counted from the end; None if not known."""
    if isinstance(value, Stacked):
        same = axis in (value.axis, value.axis - len(value.mean.shape))
        return value.parts if same and len(value.parts) == count else None
    if isinstance(value, Soft) and not isinstance(value, Real):
        return None
    tensor = value_of(value)
    if len(tensor.shape) < -axis:  # it broadcasts along the axis
        return [value] * count
    pieces = K.unstack(tensor, axis=axis)
    pieces = pieces * count if len(pieces) == 1 else pieces
    return [Real(t, value.dtype) for t in pieces] if isinstance(value, Real) else pieces


def _joint_count(args: Sequence[Any]) -> int:
    """How many combinations of possible values there are."""
    count = 1
    for a in args:
        count *= a.count if isinstance(a, Mixture) else 2 if isinstance(a, Prob | Rounded) else 1
    return count


def _is_multilinear(call: Call) -> bool:
    """Whether the expectation of the result is the result of the expectations."""
    if call.op == "divide":
        return not isinstance(call.args[1], Soft)
    soft = [id(a) for a in call.args if isinstance(a, Soft)]
    return call.op in MULTILINEAR and len(set(soft)) == len(soft)


def _per_atom(ctx: Context, call: Call, args: Sequence[Any], which: int) -> Any:
    """Runs the node once for each possible value of one operand (wherever that operand stands)."""
    operand = args[which]
    results = []
    for weight, value in atoms_of(operand):
        chosen = [value if a is operand else a for a in args]
        share = in_float(weight, call.dtype) if call.op == "astype" else weight
        results.append((share, _at_value(ctx, call, chosen, which)))
    return combine(results, call.dtype)


def _at_value(ctx: Context, call: Call, args: Sequence[Any], which: int) -> Any:
    """The result at one possible value of an operand.

    Where that is not finite, the result counts for nothing, but the derivative with respect to the
    other operands is NaN there, and 0 times NaN would reach them: the result is a constant then.
    """
    value = value_of(args[which])
    if call.node.nature != "singular" or "float" not in K.dtype(value):
        return ctx.apply(call.node, args)[0]
    is_finite = K.isfinite(value)
    safe = K.where(is_finite, value, K.ones_like(value))
    inside = list(args)
    inside[which] = Real(safe, call.dtype) if isinstance(args[which], Soft) else safe
    found = ctx.apply(call.node, inside)[0]
    if isinstance(found, Soft) and not isinstance(found, Real):
        return ctx.apply(call.node, args)[0]
    true = K.stop_gradient(call.run(call.node, [value_of(a) for a in args])[0])
    return Real(K.where(is_finite, value_of(found), true), call.dtype)


def _per_position(ctx: Context, call: Call, args: Sequence[Any]) -> Any:
    """Runs the node on the support of an index, with every other operand one axis longer."""
    which = next(i for i, a in enumerate(args) if isinstance(a, Index))
    index = args[which]
    chosen = list(args)
    for i, a in enumerate(args):
        if not isinstance(a, Index):
            chosen[i] = longer(a)
        elif a.source is index.source:  # computed from the same index: the two move together
            chosen[i] = a.support
        else:
            return _joint(ctx, call, args, which, i)
    result = ctx.apply(call.node, chosen)[0]
    if index.order is not None and not isinstance(result, Soft) and _rank(result) == 1:
        # another number at each position: nobody asks for the weights yet
        if call.dtype != "bool" or index.order.members is not None:
            return Index(index.order, result, call.dtype)
    return _gathered(result, index.weights, call.dtype)


def _joint(ctx: Context, call: Call, args: Sequence[Any], first: int, second: int) -> Any:
    """Two independent indices: every pair of positions, unless there are too many of them."""
    a, b = args[first], args[second]
    if call.op in ("equal", "not_equal") and a.is_position and b.is_position:
        if a.weights.shape[-1] == b.weights.shape[-1]:
            same = K.sum(a.weights * b.weights, axis=-1)
            return Prob(same if call.op == "equal" else 1 - same)
    sizes = (a.weights.shape[-1], b.weights.shape[-1])
    if None in sizes or sizes[0] * sizes[1] > MAX_JOINT or len(args) > 2:
        args = list(args)
        args[second] = Real(b.mean, b.dtype)
        return ctx.apply(call.node, args)[0]
    chosen = list(args)
    chosen[first] = _map_tensor(a.support, lambda t: K.expand_dims(t, -1))
    chosen[second] = _map_tensor(b.support, lambda t: K.expand_dims(t, -2))
    weights = K.expand_dims(a.weights, -1) * K.expand_dims(b.weights, -2)
    pairs = sizes[0] * sizes[1]
    result = ctx.apply(call.node, chosen)[0]
    dtype = call.dtype
    flat = [_merge(t, weights, pairs) for t in (weights, value_of(result))]
    if isinstance(result, Prob):
        return Prob(K.sum(flat[0] * flat[1], axis=-1))
    if isinstance(result, Soft):
        return _gathered(Real(flat[1], dtype), flat[0], dtype)
    return _gathered(flat[1], flat[0], dtype)


def _merge(tensor: Any, weights: Any, pairs: int) -> Any:
    full = K.broadcast_to(tensor, K.shape(weights)) if _rank(tensor) < _rank(weights) else tensor
    return K.reshape(full, (*K.shape(full)[:-2], pairs))


def _gathered(result: Any, weights: Any, dtype: str) -> Any:
    """Puts the weights of the last axis back to what an operation gave along it."""
    if dtype == "bool" and isinstance(result, Soft):
        return Prob(K.sum(weights * chance(result, like=weights), axis=-1))
    if isinstance(result, Soft) and not isinstance(result, Real):
        return Real(K.sum(weights * as_float(result.mean, weights), axis=-1), dtype)
    values = value_of(result)
    if _rank(values) > 1 and tuple(values.shape) != tuple(weights.shape):
        weights = weights * K.ones_like(as_float(values, weights))  # other operands were larger
    return Index(weights, result, dtype)


def _map_tensor(value: Any, fn: Any) -> Any:
    return Real(fn(value.tensor), value.dtype) if isinstance(value, Real) else fn(value)


def _rank(value: Any) -> int:
    return len(value.shape)
