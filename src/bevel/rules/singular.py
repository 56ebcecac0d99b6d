"""Rules for functions with an infinite or undefined derivative at a point: there it counts as 0.

The value stays what it was; only where the derivative does not exist does no gradient flow. This
cures sqrt and norm at 0, log and division at 0, and the `where` trap: a branch that is not taken
computes 0 * infinity on its way back. Where a program chooses, what may overflow is guarded too:
`where(x > 20, x, log(1 + exp(x)))` has a gradient at 100.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from keras import ops as K
from keras.backend import backend

from bevel.activity import moved_by
from bevel.ops.primitives import without_bad_gradient
from bevel.program import Node, Program
from bevel.rules.context import Call, Context
from bevel.soft import Real, Soft, value_of

# Where the derivative fails, and the operand it is to be kept away from.
_BAD: dict[str, Callable[..., Any]] = {
    "sqrt": lambda x: x <= 0,
    "rsqrt": lambda x: x <= 0,
    "log": lambda x: x <= 0,
    "log1p": lambda x: x <= -1,
    "reciprocal": lambda x: x == 0,
    "acos": lambda x: K.abs(x) >= 1,
    "asin": lambda x: K.abs(x) >= 1,
    "atanh": lambda x: K.abs(x) >= 1,
    "acosh": lambda x: x <= 1,
}
_SAFE = {"acos": 0.0, "asin": 0.0, "atanh": 0.0, "acosh": 2.0}


# Operations that choose between values, one of which may be infinite.
CHOICES = frozenset({"where", "cond", "switch", "maximum", "minimum", "max", "min", "clip"})

# Elementwise operations of one operand with a bounded derivative: of two, the other may be NaN.
_TAME = frozenset({"negative", "identity", "abs", "astype", "relu", "clip"})


def chooses(program: Program, trained: Sequence[bool]) -> bool:
    """Whether a program chooses between values of which one may have a gradient that is infinite.

    Args:
        program: The program.
        trained: For each of its inputs and captures, whether a gradient reaches it.
    """
    moving = moved_by(program, trained)
    for node in program.nodes:
        if node.op == "where" and moving.isdisjoint(node.args[1:]):
            continue
        if node.op in CHOICES or any(n.op in CHOICES for p in node.programs for n in p.walk()):
            return True
    return False


def expectations(ctx: Context, node: Node, args: Sequence[Any]) -> list[Any]:
    """The operands' expectations, guarded where the node's derivative may be infinite or NaN."""
    tame = node.nature not in ("elementwise", "smooth", "singular") or node.op in _TAME
    if tame or not ctx.chooses:
        return [value_of(a) for a in args]
    return [_guarded(a.mean) if isinstance(a, Soft) else a for a in args]


def _guarded(tensor: Any) -> Any:
    """The same tensor; a gradient that comes back infinite or NaN counts as 0.

    Where the tensor itself is NaN it stays as it is: NaN in is NaN out.
    """
    if "float" not in str(tensor.dtype):  # a list of tensors inside a loop is none
        return tensor
    if backend() == "torch":  # choosing is slow there
        return without_bad_gradient(tensor)

    @K.custom_gradient
    def passed(x: Any) -> Any:
        # closes over no tensor: in a branch of a graph, TensorFlow loses sight of such a one
        def gradient(*args: Any, upstream: Any = None) -> Any:
            g = args[0] if upstream is None else upstream
            return K.where(K.isfinite(g), g, K.zeros_like(g))

        return x, gradient

    return K.where(K.isnan(tensor), tensor, passed(tensor))


def unary(ctx: Context, call: Call, x: Any) -> Any:
    """f(x), with no gradient at a point where f' is infinite or undefined."""
    if not isinstance(x, Real):
        return NotImplemented
    bad = _BAD[call.op](x.tensor)
    safe = K.where(bad, K.full_like(x.tensor, _SAFE.get(call.op, 1.0)), x.tensor)
    return _kept(ctx, call, bad, safe)


def divide(ctx: Context, call: Call, x: Any, y: Any) -> Any:
    """x / y, with no gradient where y is 0."""
    if not isinstance(y, Real) or (isinstance(x, Soft) and not isinstance(x, Real)):
        return NotImplemented
    bad = y.tensor == 0
    return _kept(ctx, call, bad, x, K.where(bad, K.ones_like(y.tensor), y.tensor))


def power(ctx: Context, call: Call, x: Any, y: Any) -> Any:
    """x ** y, with no gradient where x is 0 and y below 1."""
    if not isinstance(x, Real) or isinstance(y, Soft):
        return NotImplemented
    bad = K.logical_and(x.tensor == 0, y < 1)
    return _kept(ctx, call, bad, K.where(bad, K.ones_like(x.tensor), x.tensor), y)


def angle(ctx: Context, call: Call, y: Any, x: Any) -> Any:
    """atan2(y, x), with no gradient at the origin."""
    if not all(isinstance(v, Real) or not isinstance(v, Soft) for v in (x, y)):
        return NotImplemented
    bad = K.logical_and(value_of(x) == 0, value_of(y) == 0)
    return _kept(ctx, call, bad, y, K.where(bad, K.ones_like(value_of(x)), value_of(x)))


def _kept(ctx: Context, call: Call, bad: Any, *safe: Any) -> Real:
    """The function at safe operands; where they were bad, its true value without a gradient.

    One operand may be NaN, as an alternative that is not taken is; the others keep the gradients
    of their other uses.
    """
    value = K.stop_gradient(call.native(*call.args))
    if ctx.chooses:
        safe = tuple(_guarded(value_of(s)) for s in safe)
    return Real(K.where(bad, value, call.native(*safe)), call.dtype)
