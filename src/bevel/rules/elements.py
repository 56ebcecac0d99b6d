"""Which number of a tensor a value is: what is compared with itself is equal by no accident.

`x >= max(x)`, `x >= sort(x)[-k]`, `x[:, None] > x[None, :]` compare elements with themselves. A
step of the difference 0 would say 1/2, at any temperature; that of an element and another one that
happens to be equal is a tie, and stays one. So moves and orders keep the numbers of the elements,
made when a comparison asks for them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from keras import ops as K

from bevel.ops.primitives import taken
from bevel.program import Node
from bevel.rules import held
from bevel.rules.lifting import is_elementwise
from bevel.soft import Elements, Real, Soft, value_of


def elements_of(x: Real) -> Elements:
    """What a value holds of which tensor; of anything computed, all of itself."""
    if x.elements is not None:
        return x.elements
    return Elements(x.tensor, lambda: K.reshape(K.arange(K.size(x.tensor)), K.shape(x.tensor)))


def moved(x: Any, native: Callable[[Any], Any]) -> Elements | None:
    """Those of a value, or of an order, that is moved; None where it has none."""
    if isinstance(x, Real):
        # a list of tensors has no numbers
        whole = None if "variant" in str(x.tensor.dtype) else elements_of(x)
    else:
        whole = x.elements
    return whole and _with(whole, native)


def _with(whole: Elements, change: Callable[[Any], Any], by_value: bool = False) -> Elements:
    """The same, with other numbers."""
    which = whole.which
    made = None if which is None else lambda: change(which())
    return Elements(whole.root, made, by_value or whole.by_value)


def filled(x: Real, shape: Any) -> Elements:
    """Those of a value of which some became constants, which keep their numbers."""
    return _with(elements_of(x), lambda numbers: K.broadcast_to(numbers, shape))


def ordered(x: Real, axis: int, count: Any = None, *, descending: bool = False) -> Elements:
    """Those of a value in the order of its numbers along an axis, or of the first of them."""

    def change(numbers: Any) -> Any:
        rows, numbers = (K.moveaxis(t, axis, -1) for t in (x.tensor, numbers))
        found = taken(numbers, K.argsort(-rows if descending else rows, axis=-1))
        return K.moveaxis(found if count is None else found[..., :count], -1, axis)

    return _with(elements_of(x), change, by_value=True)


def picked(x: Real, value: Any, axes: Sequence[int], keepdims: bool) -> Elements:
    """Those of a value that is one of others along some axes, as the largest or the median is."""
    rank = len(x.tensor.shape)
    axes = sorted({a % rank for a in axes})

    def change(numbers: Any) -> Any:
        others = [a for a in range(rank) if a not in axes]
        tables = [K.transpose(t, (*others, *axes)) for t in (x.tensor, numbers)]
        rest = [K.shape(x.tensor)[a] for a in others]
        rows, numbers = (K.reshape(t, (*rest, -1)) for t in tables)
        is_it = rows == K.reshape(value, (*rest, 1))
        place = K.argmax(K.cast(is_it, "int32"), axis=-1, keepdims=True)
        found = K.squeeze(K.take_along_axis(numbers, place, axis=-1), -1)
        return K.expand_dims(found, axes) if keepdims else found

    return _with(elements_of(x), change, by_value=True)


def of_result(
    node: Node, args: Sequence[Any], value: Any, wholes: Sequence[bool] = ()
) -> dict[str, Any]:
    """What is known, for `Real`, of a result that was computed from the expectations.

    Args:
        node: What was computed.
        args: Of what.
        value: The result.
        wholes: Which of these are always whole numbers, as far as that is known.
    """
    x = args[0] if args else None
    if isinstance(x, Real) and node.param("one_of"):
        return {"elements": picked(x, value, *node.param("one_of"))}
    if isinstance(x, Real) and node.param("orders") is not None:
        return {"elements": ordered(x, node.param("orders"))}
    if isinstance(x, Real) and node.param("running"):
        return {"elements": Elements(elements_of(x).root, None, True)}
    if node.op == "mean" and wholes[:1] == (True,):
        axes, shape = node.param("axis"), value_of(x).shape
        lengths = [shape[a] for a in (range(len(shape)) if axes is None else axes)]
        return {"parts": None if None in lengths else math.prod(lengths)}
    if not is_elementwise(node):
        return {}
    if node.op == "divide" and wholes == (True, True) and not isinstance(args[1], Soft):
        return {"parts": args[1]}
    moving = [a for a in args if isinstance(a, Soft)]
    known = [a.elements for a in moving if isinstance(a, Real) and a.elements is not None]
    between = len(known) == len(moving) and all(e.by_value for e in known)
    found: dict[str, Any] = {}
    if between and len({id(e.root) for e in known}) == 1:  # such as a quantile
        found["elements"] = Elements(known[0].root, None, True)
    if node.op == "subtract" and all(isinstance(a, Real) for a in args):
        found["apart"] = tuple(args)
    return found | held.of_result(node, args, value)


def are_same(x: Any, y: Any) -> Any:
    """Where two values, or those whose difference one is, hold the same element; None if nowhere.

    A mask, of those elements that are equal: it says nothing of others.
    """
    for value, other in ((x, y), (y, x)):
        if isinstance(value, Real) and value.apart is not None and not isinstance(other, Real):
            return are_same(*value.apart)
    if not isinstance(x, Real) or not isinstance(y, Real):
        return None
    left, right = elements_of(x), elements_of(y)
    if left.root is not right.root:
        return None
    return left.which() == right.which() if left.which and right.which else True
