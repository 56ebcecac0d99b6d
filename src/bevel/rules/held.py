"""Numbers that do not move: a bound, a mask, a padding or a label of 0 holds them where they are.

`relu(x) > 0`, `x * mask > 0`, `clip(x, 0, 1) >= 1` ask whether a number is beyond the very bound
that it is held at. To a step that is a tie, a half; yet it is none, for it stays there: the answer
is the hard one. And whether a clamped number is beyond something within its bounds, the number
itself tells, that of an element that is held too: `relu(x) > 0` is `x > 0`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

from keras import ops as K

from bevel.program import Node
from bevel.soft import Real, Soft, as_float, value_of

_CLAMPS = frozenset({"relu", "clip", "maximum", "minimum"})


def of_result(node: Node, args: Sequence[Any], value: Any) -> dict[str, Any]:
    """What is known, for `Real`, of the result of an elementwise operation."""
    soft = [a for a in args if isinstance(a, Real)]
    hard = [a for a in args if a is not None and not isinstance(a, Soft)]
    if not soft or len(soft) < sum(isinstance(a, Soft) for a in args):
        return {}
    x = soft[0]
    found: dict[str, Any] = {}
    own: Callable[[], Any] | None = None
    if len(soft) == 1 and node.op in _CLAMPS:
        own = lambda: K.not_equal(value, as_float(x.tensor, value))  # noqa: E731
        bounds = _bounds(node.op, hard)
        if bounds is not None and "float" in x.dtype:
            found["clamped"] = (x, *bounds)
    if len(soft) == 1 and len(hard) == 1 and node.op == "multiply":
        own = lambda: K.logical_and(K.equal(hard[0], 0), K.isfinite(value))  # noqa: E731
    theirs = [a.held for a in soft if a.held is not None]
    masks = [own] if own else []
    if len(theirs) == len(soft):
        masks.append(lambda: reduce(K.logical_and, [held() for held in theirs]))
    if masks:
        found["held"] = lambda: reduce(
            K.logical_or, [K.broadcast_to(m(), K.shape(value)) for m in masks]
        )
    return found


def _bounds(op: str, hard: Sequence[Any]) -> tuple[Any, Any] | None:
    if op == "relu" and not hard:
        return 0.0, math.inf
    if op == "maximum":
        return hard[0], math.inf
    if op == "minimum":
        return -math.inf, hard[0]
    if op == "clip" and len(hard) == 2:
        return K.minimum(*hard), K.maximum(*hard)
    return None


def chosen(condition: Any, x: Any, y: Any, shape: Any) -> Callable[[], Any]:
    """Where a hard choice between values took one that does not move."""

    def held() -> Any:
        ours, theirs = (_where(v, shape) for v in (x, y))
        return K.where(condition, ours, theirs)

    return held


def _where(value: Any, shape: Any) -> Any:
    if isinstance(value, Real):
        mask = value.held() if value.held else False
    else:
        mask = not isinstance(value, Soft)
    return K.broadcast_to(K.convert_to_tensor(mask, "bool"), shape)


def moved(x: Real, native: Callable[[Any], Any], fills: bool) -> Callable[[], Any] | None:
    """Where a value that is moved is held; of what is filled in beside it, everywhere."""
    if x.held is None and not fills:
        return None

    def held() -> Any:
        one = K.ones_like(x.tensor)
        mask = K.cast(x.held(), one.dtype) if x.held else K.zeros_like(one)
        found = native(mask) > 0.5
        if fills:
            found = K.logical_or(found, K.equal(native(one), native(K.zeros_like(one))))
        return found

    return held


def unclamped(x: Any, y: Any, strictly: bool) -> Any:
    """A clamped number that is asked whether it exceeds another: within its bounds, what it was.

    Args:
        x: What is compared.
        y: A hard number.
        strictly: Whether `x > y` is asked, or `x >= y`.
    """
    if not isinstance(x, Real) or x.clamped is None or isinstance(y, Soft):
        return value_of(x)
    source, low, high = x.clamped
    y = as_float(y, x.tensor)
    low, high = (as_float(K.convert_to_tensor(b), x.tensor) for b in (low, high))
    inside = K.logical_and(y >= low, y < high) if strictly else K.logical_and(y > low, y <= high)
    return K.where(inside, as_float(unclamped(source, y, strictly), x.tensor), x.tensor)


def is_held(*values: Any) -> Any:
    """Where none of the soft ones among some values moves, as a mask; None if nowhere."""
    soft = [v for v in values if isinstance(v, Soft)]
    known = [v.held for v in soft if isinstance(v, Real) and v.held is not None]
    return reduce(K.logical_and, [mask() for mask in known]) if len(known) == len(soft) else None
