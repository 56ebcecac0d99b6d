"""Variables that a function assigns: what is put into one is what the function reads from then on.

A loss that updates a metric and returns its result keeps values in variables on the way. In a
program such an assignment is a node that hands its value on (`assign`), and the reads after it are
that value; the variable itself stays as it is. So the way through the variable can be seen.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import tensorflow as tf
from tensorflow.python.ops.resource_variable_ops import ResourceVariable

from bevel.program import Loc, Node, Value

# Operations that replace what a variable holds: the word, and the operation that makes the value.
_COMPUTED = {
    "AssignVariableOp": None,
    "AssignAddVariableOp": ("add", "AddV2"),
    "AssignSubVariableOp": ("subtract", "Sub"),
}


@contextlib.contextmanager
def made_outside(made: list[tf.Variable]) -> Iterator[None]:
    """Variables that a function makes are made outside of its graph, and collected.

    `tf.function` allows them on the first of two traces only.
    """

    def create(_: Callable[..., Any], initial_value: Any = None, **options: Any) -> tf.Variable:
        kept = {n: options.get(n) for n in ("trainable", "name", "dtype", "shape")}
        with tf.init_scope():
            made.append(ResourceVariable(initial_value, **kept))
        return made[-1]

    with tf.variable_creator_scope(create):
        yield


class Assignments:
    """The assignments of a graph, in their order.

    Args:
        graph: The graph.
        made: The variables that the function makes itself; the others last longer than a call.
        followed: Whether there is anything to follow.

    Attributes:
        operations: Those that are followed.
    """

    def __init__(self, graph: Any, made: Sequence[tf.Variable], followed: bool) -> None:
        self.operations: set[tf.Operation] = set()
        own = {id(variable.handle) for variable in made}
        self._own = {inner.name for outer, inner in graph.captures if id(outer) in own}
        self._before: dict[tf.Operation, tf.Operation] = {}
        last: dict[str, tf.Operation] = {}
        for op in graph.get_operations() if followed else ():
            for handle in _handles(op):
                if handle in last:
                    self._before[op] = last[handle]
            if op.type in _COMPUTED:
                self.operations.add(op)
                last[op.inputs[0].name] = op

    def needed_by(self, op: tf.Operation) -> list[tf.Operation]:
        """The operations that must have run before, beside those that make the operands."""
        before = self._before.get(op)
        return [] if before is None else [before]

    def read(self, op: tf.Operation, ids: dict[str, int]) -> int | None:
        """What the variable that an operation uses holds, if it was assigned before."""
        before = self._before.get(op)
        return None if before is None else ids[_put(before)]

    def nodes(self, op: tf.Operation, ids: dict[str, int], loc: Loc | None) -> list[Node]:
        """What an assignment does to what its variable held."""
        handle, given = op.inputs
        dtype = given.dtype.name
        value, made = ids[given.name], []

        def emit(word: str, native: str, nature: str, inputs: Sequence[int], name: str) -> int:
            number = ids.setdefault(name, len(ids))
            lasts = word == "assign" and handle.name not in self._own
            rank = given.shape.rank
            result = Value(number, None if rank is None else tuple(given.shape), dtype)
            attrs = () if word == "assign" else (("dtype" if word == "native" else "T", dtype),)
            made.append(
                Node(
                    op=word,
                    native=native,
                    inputs=tuple(inputs),
                    operands=tuple(range(len(inputs))),
                    outputs=(result,),
                    nature=nature,
                    params=(("lasts", True),) if lasts else (),
                    attrs=attrs,
                    loc=loc,
                )
            )
            return number

        computed = _COMPUTED[op.type]
        if computed is not None:
            held = self.read(op, ids)
            if held is None:
                name = f"{op.name}:held"
                held = emit("native", "ReadVariableOp", "smooth", [ids[handle.name]], name)
            word, native = computed
            value = emit(word, native, "elementwise", [held, value], f"{op.name}:computed")
        emit("assign", op.type, "state", [value], _put(op))
        return made


def _handles(op: tf.Operation) -> list[str]:
    return [t.name for t in op.inputs if t.dtype == tf.resource]


def _put(op: tf.Operation) -> str:
    return f"{op.name}:put"
