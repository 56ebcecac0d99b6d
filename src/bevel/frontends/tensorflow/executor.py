"""Runs the nodes of a program on TensorFlow: natively, with a gradient, or a whole program at once.

A native node is run by `tf.raw_ops`, so the same kernel runs with the same attributes as in the
user's function, eagerly or inside a `tf.function`. Branches and loops are handed the function that
runs their nested programs, so that other interpretations can run them too.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import tensorflow as tf
from tensorflow.python.framework import op_def_registry
from tensorflow.python.ops import control_flow_util

from bevel.errors import BevelTypeError, UnknownOperationError, render
from bevel.frontends.from_tensorflow import Trace
from bevel.frontends.running import is_alone, run_all
from bevel.program import Node, Program

NAME = "TensorFlow"

ADDS_GRADIENTS = True
"""Whether the gradients of replicas are added up, each giving its share, or averaged."""

Run = Callable[[Program, Sequence[Any]], list[Any]]


@lru_cache(maxsize=1024)
def _signature(native: str) -> tuple[Any, Callable[..., Any], dict[str, str]] | None:
    """An operation's definition, the function that runs it, and that function's argument names.

    Some arguments are renamed in `tf.raw_ops`; those keep their order.
    """
    function = getattr(tf.raw_ops, native, None)
    definition = op_def_registry.get(native)
    if function is None or definition is None:
        return None
    offered = [name for name in inspect.signature(function).parameters if name != "name"]
    inferred = {a.type_attr for a in definition.input_arg} | {
        a.number_attr for a in definition.input_arg
    }
    inferred |= {a.type_list_attr for a in definition.input_arg}
    inputs = [a.name for a in definition.input_arg]
    attributes = [a.name for a in definition.attr if a.name not in inferred]
    names = {name: name for name in (*inputs, *attributes) if name in offered}
    renamed = [name for name in offered if name not in names]
    missing = [name for name in (*inputs, *attributes) if name not in names]
    names.update(zip(missing, renamed, strict=True))
    return definition, function, names


def run_node(node: Node, operands: Sequence[Any], run: Run | None = None) -> list[Any]:
    """Runs one node on tensors.

    Args:
        node: Any node of a program traced from TensorFlow.
        operands: A tensor for each of `node.inputs`.
        run: How nested programs are run; by default natively.

    Returns:
        A list with a tensor for each output.

    Raises:
        UnknownOperationError: TensorFlow offers no way to run the operation by itself.
    """
    run = run or run_program
    special = _SPECIAL.get(node.op) or _SPECIAL.get(node.native)
    if special:
        return special(node, operands, run)
    found = _signature(node.native)
    if found is None:
        raise UnknownOperationError(
            render(
                "B106",
                "error",
                f"TensorFlow's `{node.native}` cannot be run by itself",
                node.loc,
                help="rewrite the line with another operation",
            )
        )
    definition, function, names = found
    attributes = dict(node.attrs)
    named = _name_operands(definition, attributes, operands)
    named.update({k: _attribute(v) for k, v in attributes.items() if k in names})
    return _as_list(function(**{names[k]: v for k, v in named.items()}))


def _as_list(results: Any) -> list[Any]:
    if isinstance(results, tf.Operation) or results is None:
        return []
    if isinstance(results, tuple | list):
        flat: list[Any] = []
        for item in results:
            flat.extend(item if isinstance(item, list) else [item])
        return flat
    return [results]


def _attribute(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _name_operands(
    definition: Any, attributes: dict[str, Any], operands: Sequence[Any]
) -> dict[str, Any]:
    """Gives each operand its name, and operands that must have one type the widest one of them.

    A soft value is a float where the user's program had an integer or a bool; what it meets in an
    operation that wants one type for both follows it.
    """
    named: dict[str, Any] = {}
    groups: dict[str, list[tuple[str, int | None]]] = {}
    position = 0
    for argument in definition.input_arg:
        if argument.number_attr or argument.type_list_attr:
            if argument.number_attr:
                count = attributes[argument.number_attr]
            else:
                count = len(attributes[argument.type_list_attr])
            named[argument.name] = list(operands[position : position + count])
            if argument.type_attr:
                places = [(argument.name, i) for i in range(count)]
                groups.setdefault(argument.type_attr, []).extend(places)
            position += count
        else:
            named[argument.name] = operands[position]
            if argument.type_attr:
                groups.setdefault(argument.type_attr, []).append((argument.name, None))
            position += 1
    for places in groups.values():
        if len(places) > 1:
            _unify(named, places)
    return named


def _unify(named: dict[str, Any], places: list[tuple[str, int | None]]) -> None:
    values = [named[name] if i is None else named[name][i] for name, i in places]
    kinds = {v.dtype for v in values}
    if len(kinds) == 1:
        return
    floats = [k for k in kinds if k.is_floating]
    common = max(floats or kinds, key=lambda k: k.size)
    for (name, i), value in zip(places, values, strict=True):
        converted = tf.cast(value, common)
        if i is None:
            named[name] = converted
        else:
            named[name][i] = converted


def _run_constant(node: Node, operands: Sequence[Any], run: Run) -> list[Any]:
    array = node.param("value").array
    return [tf.constant(array, dtype=node.outputs[0].dtype, shape=array.shape)]


def _run_cond(node: Node, operands: Sequence[Any], run: Run) -> list[Any]:
    predicate, *rest = operands
    then, other = node.programs
    if not node.outputs and not then.outputs:
        tf.cond(predicate, lambda: _effect(then, rest, run), lambda: _effect(other, rest, run))
        return []
    if predicate.dtype != tf.bool:
        predicate = tf.cast(predicate, tf.bool)
    return _as_list(tf.cond(predicate, lambda: run(then, rest), lambda: run(other, rest)))


def _effect(program: Program, operands: Sequence[Any], run: Run) -> tf.Tensor:
    run(program, operands)
    return tf.constant(True)


def _run_switch(node: Node, operands: Sequence[Any], run: Run) -> list[Any]:
    index, *rest = operands
    branches = [lambda p=p: run(p, rest) for p in node.programs]
    return _as_list(tf.switch_case(index, branches))


def _shape(dimensions: Any) -> tf.TensorShape:
    return tf.TensorShape(dimensions)


def _run_while(node: Node, operands: Sequence[Any], run: Run) -> list[Any]:
    """A loop; what its body hands on unchanged stays outside of the loop's state."""
    condition, body = node.programs
    moving = [i for i, out in enumerate(body.outputs) if out != body.inputs[i].id]
    shapes = [
        _shape(None if operands[i].dtype == tf.variant else node.outputs[i].shape) for i in moving
    ]

    def whole(state: Sequence[Any]) -> list[Any]:
        values = list(operands)
        for i, value in zip(moving, state, strict=True):
            values[i] = value
        return values

    def step(*state: Any) -> tuple[Any, ...]:
        results = run(body, whole(state))
        return tuple(results[i] for i in moving)

    limit = node.param("limit")
    bound = _most_rounds(node, operands) if limit is None else limit
    final = tf.while_loop(
        lambda *state: run(condition, whole(state))[0],
        step,
        tuple(operands[i] for i in moving),
        shape_invariants=tuple(shapes),
        maximum_iterations=bound,
    )
    if limit is not None:
        goes_on = run(condition, whole(final))[0]
        tf.debugging.Assert(tf.logical_not(goes_on), [f"more than {limit} rounds of a loop"])
    return whole(final)


def _most_rounds(node: Node, operands: Sequence[Any]) -> Any:
    """The bound that TensorFlow keeps as a loop's second operand; XLA needs it for a gradient."""
    bound = operands[1] if len(operands) > 1 else None
    if bound is None or bound.dtype != tf.int32 or bound.shape.rank != 0:
        return None
    known = tf.get_static_value(bound)
    return None if known is not None and known < 0 else bound


def _run_call(node: Node, operands: Sequence[Any], run: Run) -> list[Any]:
    return run(node.programs[0], operands)


def _run_custom_gradient(node: Node, operands: Sequence[Any], run: Run) -> list[Any]:
    """Values pass unchanged; what flows back is what the user declared."""
    backward = node.programs[0]
    declared = node.param("gradients")
    count = len(node.outputs)

    @tf.custom_gradient
    def pass_through(*tensors: Any) -> Any:
        values = [tf.identity(t) for t in tensors[:count]]

        def gradient(*flowing: Any) -> list[Any]:
            found = iter(run_program(backward, [*flowing, *tensors[count:]]))
            here = [
                next(found) if present else tf.zeros_like(t)
                for present, t in zip(declared, tensors[:count], strict=True)
            ]
            return here + [tf.zeros_like(t) for t in tensors[count:]]

        return values, gradient

    # what gets no gradient is cut off: a zero would go on, and become NaN at an infinite derivative
    present = (*declared, *[False] * (len(operands) - count))
    cut = [t if p else tf.stop_gradient(t) for t, p in zip(operands, present, strict=True)]
    return _as_list(pass_through(*cut))


def _run_read(node: Node, operands: Sequence[Any], run: Run) -> list[Any]:
    """A captured variable is read as a variable, so that a tape sees it."""
    return [operands[0].read_value()]


def _run_number(node: Node, operands: Sequence[Any], run: Run) -> list[Any]:
    """A number of Python's is a constant."""
    return [tf.stop_gradient(tf.cast(operands[0], node.outputs[0].dtype))]


def _run_assign(node: Node, operands: Sequence[Any], run: Run) -> list[Any]:
    """What is read back from a variable is a constant for TensorFlow."""
    return [tf.stop_gradient(operands[0])]


def _run_look_up(node: Node, operands: Sequence[Any], run: Run) -> list[Any]:
    variable, indices = operands
    return [tf.gather(variable, indices, batch_dims=dict(node.attrs)["batch_dims"])]


def _run_select(node: Node, operands: Sequence[Any], run: Run) -> list[Any]:
    """The old `Select` wants operands of one shape, which soft positions are not."""
    condition, x, y = operands
    if not node.param("rows"):
        named = {"x": x, "y": y}
        _unify(named, [("x", None), ("y", None)])
        return [tf.where(condition, *named.values())]
    return [tf.raw_ops.Select(condition=condition, x=x, y=y)]


_SPECIAL: dict[str, Callable[[Node, Sequence[Any], Run], list[Any]]] = {
    "constant": _run_constant,
    "cond": _run_cond,
    "switch": _run_switch,
    "while_loop": _run_while,
    "call": _run_call,
    "custom_gradient": _run_custom_gradient,
    "assign": _run_assign,
    "py:float": _run_number,
    "ReadVariableOp": _run_read,
    "ResourceGather": _run_look_up,
    "Select": _run_select,
}


def run_program(program: Program, operands: Sequence[Any]) -> list[Any]:
    """Runs a program natively on tensors for its inputs and captures; gives its results."""
    return run_all(program, operands, run_node)


def function(
    fn: Callable[..., Any], jit_compile: bool | None = None, state: Callable[[], Any] | None = None
) -> Callable[..., Any]:
    """Compiles a Python function of tensors; it is run as it is, without AutoGraph.

    What may change between two calls (`state`) the function reads by itself, from variables.
    """
    return tf.function(fn, jit_compile=jit_compile, autograph=False)


def prepare(compiled: Callable[..., Any], specs: Sequence[Any]) -> None:
    """Traces a compiled function for leaves of these shapes, without running it."""
    compiled.get_concrete_function(*specs)


def called(fn: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """What a function returns: whatever compiles it compiles what it relaxes."""
    return fn(*args, **kwargs)


def in_graph() -> bool:
    """Whether a graph is being built, as inside a `tf.function`."""
    return not tf.executing_eagerly()


def static_value(tensor: Any) -> Any:
    """What is known of a tensor while a graph is being built: an array, or None."""
    return tf.get_static_value(tensor)


def outside_graphs() -> Any:
    """A context in which operations run at once, even while a graph is being built."""
    return tf.init_scope()


def at_once_if_known(fn: Callable[..., Any]) -> Callable[..., Any]:
    """The function as it is: a tensor with values has them while a function is traced, too."""
    return fn


def replicas() -> int:
    """How many replicas run the same code on shards of a batch."""
    context = tf.distribute.get_replica_context()
    if context is None or is_alone():
        return 1
    return context.num_replicas_in_sync


def all_sum(value: Any) -> Any:
    """The sum over all replicas, with its gradient; must be called by all of them."""
    if replicas() == 1:
        return value
    context = tf.distribute.get_replica_context()
    return context.all_reduce(tf.distribute.ReduceOp.SUM, value)


def all_rows(value: Any) -> Any:
    """The rows of all replicas, in order, with their gradient; must be called by all of them."""
    if replicas() == 1:
        return value
    context = tf.distribute.get_replica_context()
    if isinstance(context.strategy, tf.distribute.MultiWorkerMirroredStrategy):
        raise BevelTypeError(
            "gather=True takes the replicas of one process together, as MirroredStrategy has them; "
            "over several workers use a metric whose state adds up."
        )
    return context.all_gather(value, axis=0)


def assigned_by_gradient(variables: Sequence[Any], values: Sequence[Any]) -> list[Any]:
    """The values as they are; a gradient on its way back through them assigns Keras variables.

    The gradient waits for it, since nothing else would keep a compiled backward pass from leaving
    the assignment out.
    """

    @tf.custom_gradient
    def passed(*tensors: Any) -> Any:
        def gradient(*flowing: Any) -> list[Any]:
            pairs = zip(variables, tensors, strict=True)
            done = [v.value.assign(t, read_value=False) for v, t in pairs]
            with tf.control_dependencies([op for op in done if op is not None]):
                return [tf.identity(g) for g in flowing]

        return [tf.identity(t) for t in tensors], gradient

    return list(passed(*values))


def in_xla() -> bool:
    """Whether a graph is being built that XLA will compile."""
    return control_flow_util.GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph())


def execute(trace: Trace, leaves: Sequence[Any]) -> Any:
    """Runs a trace natively on new leaves and returns what the user's function would."""
    return trace.pack(run_program(trace.program, [*leaves, *trace.captured]))


def vjp(
    node: Node, operands: Sequence[Any]
) -> tuple[list[Any], Callable[[Sequence[Any]], list[Any]]]:
    """Runs one node, and gives what turns cotangents of its results into those of its operands."""
    with tf.GradientTape() as tape:
        for operand in operands:
            if _is_differentiable(operand):
                tape.watch(operand)
        results = run_node(node, operands)

    def pull_back(cotangents: Sequence[Any]) -> list[Any]:
        pairs = [(r, c) for r, c in zip(results, cotangents, strict=True) if _is_differentiable(r)]
        sources = [operand for operand in operands if _is_differentiable(operand)]
        found = iter(
            tape.gradient([r for r, _ in pairs], sources, output_gradients=[c for _, c in pairs])
        )
        dense = (next(found) if _is_differentiable(o) else None for o in operands)
        return [None if g is None else tf.convert_to_tensor(g) for g in dense]

    return results, pull_back


def _is_differentiable(value: Any) -> bool:
    return tf.is_tensor(value) and value.dtype.is_floating


def scalar(results: Any) -> Any:
    """One float64 number for whatever a function returns: the sum of the means of its results."""
    total = tf.constant(0.0, tf.float64)
    for tensor in map(tf.convert_to_tensor, tf.nest.flatten(results, expand_composites=True)):
        if tensor.dtype.is_floating or tensor.dtype.is_integer or tensor.dtype.is_bool:
            total += tf.reduce_mean(tf.cast(tensor, tf.float64))
    return total


def value_and_gradient(
    fn: Callable[..., Any], trained: Sequence[int], compiled: bool, missing: int = 0
) -> Callable[[Sequence[Any]], tuple[float, list[Any]]]:
    """The scalar value of a function of leaves, and its gradient to the trained ones as numpy.

    Args:
        fn: A function of tensors.
        trained: Positions of the leaves to differentiate.
        compiled: Whether the function can be compiled; else it is run eagerly.
        missing: How many gradients to give as None, for arguments that are not differentiated.

    Returns:
        A function of the leaves; a gradient is None where none is connected.
    """

    def evaluate(*leaves: Any) -> Any:
        sources = [leaves[i] for i in trained]
        with tf.GradientTape() as tape:
            for source in sources:
                tape.watch(source)
            value = scalar(fn(*leaves))
        return value, tape.gradient(value, sources)

    run = function(evaluate) if compiled else evaluate

    def call(leaves: Sequence[Any]) -> tuple[float, list[Any]]:
        value, gradients = run(*map(tf.convert_to_tensor, leaves))
        arrays = [None if g is None else tf.convert_to_tensor(g).numpy() for g in gradients]
        return float(value), [*arrays, *[None] * missing]

    return call


def like(cotangent: Any, result: Any) -> Any:
    """A cotangent in the dtype of the result it belongs to (as it is, for what has none)."""
    return tf.cast(cotangent, result.dtype) if _is_differentiable(result) else cotangent


def tensor(value: Any) -> Any:
    """A leaf as a tensor."""
    return tf.convert_to_tensor(value)


def ones(result: Any) -> Any:
    """The cotangent of a result whose elements all count alike."""
    return tf.ones_like(result)
