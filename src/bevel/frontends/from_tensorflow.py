"""TensorFlow's front end: from a Python function to a `Program`, by way of `tf.function`.

`trace` lets AutoGraph and TensorFlow build a graph, then copies what the results need into plain
data: operations the vocabulary knows get its names, nested graphs become nested programs, a
declared gradient (`tf.custom_gradient`) becomes a nested program too. The executor of the result is
`bevel.frontends.tensorflow.executor`.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.framework.function_def_to_graph import function_def_to_graph
from tensorflow.python.framework.ops import gradient_registry

from bevel.errors import TraceError
from bevel.frontends.arguments import Arguments, flatten
from bevel.frontends.refusals import (
    advice,
    not_taken,
    returns_nothing,
    unreadable,
    untraceable,
    users_line,
)
from bevel.frontends.tensorflow import names
from bevel.frontends.tensorflow.python import as_it_runs, is_number
from bevel.frontends.tensorflow.variables import Assignments, made_outside
from bevel.program import Constant, Node, Program, Value
from bevel.source import Locator
from bevel.vocabulary import VOCABULARY

ARRAYS = (tf.Tensor, tf.Variable, tf.TensorSpec, np.ndarray, np.generic)

_CONTROL = {
    "cond": (("then", "then_branch"), ("else", "else_branch")),
    "while_loop": (("condition", "cond"), ("body", "body")),
    "call": (("called", "f"),),
}
_IGNORED_EFFECTS = frozenset({"NoOp", "ReadVariableOp", "Placeholder", "Const"})


@dataclass(frozen=True)
class Trace:
    """A program with what it needs to run again.

    Attributes:
        program: The function as data.
        captured: A tensor or variable for each of the program's captures.
        arguments: The call it was traced with.
        pack: Puts a flat list of results into the structure that the function returns.
        name: The function's name.
        keep: Objects that must outlive the program (registered Python functions, variables).
    """

    program: Program
    captured: tuple[Any, ...]
    arguments: Arguments
    pack: Callable[[Sequence[Any]], Any]
    name: str
    keep: Any


def is_array(value: Any) -> bool:
    """Whether TensorFlow takes a value as a tensor here (Python numbers are fixed)."""
    return isinstance(value, ARRAYS) or tf.is_tensor(value)


def arguments(fn: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Arguments:
    """A call taken apart, its arrays turned into tensors."""
    call = flatten(fn, args, kwargs, is_array)
    return replace(call, leaves=tuple(map(as_tensor, call.leaves)))


def as_tensor(value: Any) -> Any:
    """A tensor, with specifications left as they are.

    Raises:
        BevelTypeError: An array that TensorFlow has no dtype for.
    """
    if isinstance(value, tf.TensorSpec):
        return value
    try:
        return tf.convert_to_tensor(value)
    except (TypeError, ValueError) as error:
        raise not_taken(value, "tensor", error) from None


def spec(leaf: Any) -> tf.TensorSpec:
    """Shape and dtype of a leaf, as far as they are known."""
    return tf.TensorSpec(leaf.shape, leaf.dtype)


def kind(spec: tf.TensorSpec) -> tuple[Any, ...]:
    """What all leaves have in common that one trace may serve: dtype and rank."""
    return spec.dtype, spec.shape.rank


def common_spec(a: tf.TensorSpec, b: tf.TensorSpec) -> tf.TensorSpec:
    """The shape of two leaves of the same rank, open where they differ."""
    if a.shape.rank is None:
        return a
    lengths = [m if m == n else None for m, n in zip(a.shape, b.shape, strict=True)]
    return tf.TensorSpec(lengths, a.dtype)


def trace(fn: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Trace:
    """Traces `fn` for one call's shapes and dtypes; see `bevel.trace`."""
    return trace_call(fn, arguments(fn, args, kwargs))


def trace_call(fn: Callable[..., Any], call: Arguments) -> Trace:
    """Traces `fn` for a call that has been taken apart.

    Raises:
        TraceError: The function leaves the graph, or raises.
    """
    name = getattr(fn, "__name__", type(fn).__name__)

    @tf.autograph.experimental.do_not_convert
    def rebuild(*tensors: Any) -> Any:
        return call.rebuild(tensors)

    made: list[tf.Variable] = []

    def traced(*tensors: Any) -> Any:
        positional, named = rebuild(*tensors)
        with made_outside(made):
            return fn(*positional, **named)

    try:
        with as_it_runs():
            concrete = tf.function(traced).get_concrete_function(*map(spec, call.leaves))
    except Exception as error:
        raise _trace_error(error, name, call) from error
    graph = concrete.graph
    if not graph.outputs:
        raise returns_nothing(name, "tensor")
    builder = _Builder(Locator(__file__), made)
    given = len(call.leaves)
    heads = (graph.inputs[:given], graph.inputs[given:], graph.outputs)
    try:
        program = builder.build(graph, name, *heads)
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise unreadable(name, error) from error
    variables = {id(v.handle): v for v in graph.variables}
    captured = tuple(variables.get(id(outer), outer) for outer, _ in graph.captures)
    structure = concrete.structured_outputs

    def pack(results: Sequence[Any]) -> Any:
        return tf.nest.pack_sequence_as(structure, list(results), expand_composites=True)

    return Trace(program.verify(), captured, call, pack, name, (concrete, made))


class _Builder:
    """Copies graphs into programs; one builder serves one trace, so lines are told apart."""

    def __init__(self, locate: Locator, made: Sequence[tf.Variable]) -> None:
        self._locate = locate
        self._made = made

    def build(
        self,
        graph: Any,
        name: str,
        inputs: Sequence[tf.Tensor],
        captures: Sequence[tf.Tensor],
        outputs: Sequence[tf.Tensor],
    ) -> Program:
        # only the outermost graph has captures; in a nested one nobody knows what has run before
        assigned = Assignments(graph, self._made, followed=bool(captures))
        effects = [
            op
            for op in getattr(graph, "control_outputs", ())
            if op.type not in _IGNORED_EFFECTS and op not in assigned.operations
        ]
        results = [t.op for t in outputs]
        stop = {t.op for t in (*inputs, *captures)}
        declared = _declarations(graph, [*results, *effects], stop, assigned)
        # a declared gradient may read what no value needs
        results += [t.op for d in declared.values() for t in d.read]
        needed = _slice(graph, results + effects, stop, assigned)
        for_value = set(_slice(graph, results, set(), assigned))
        ids: dict[str, int] = {}
        given, taken = (tuple(_value(t, ids) for t in heads) for heads in (inputs, captures))
        nodes: list[Node] = []
        for op in needed:
            if op in declared:
                nodes.append(self._custom_gradient(op, ids, declared[op]))
            elif op in assigned.operations:
                nodes += assigned.nodes(op, ids, self._locate(_frames(op), "assign", op.type))
            elif (held := assigned.read(op, ids)) is not None and op.type == "ReadVariableOp":
                ids[op.outputs[0].name] = held
            else:
                if held is not None:
                    raise self._hidden_state(op, "a variable is used after it was assigned")
                nodes.append(self._node(op, graph, ids, op in for_value))
        return Program(name, given, taken, tuple(nodes), tuple(ids[t.name] for t in outputs))

    def _node(self, op: tf.Operation, graph: Any, ids: dict[str, int], used: bool) -> Node:
        word, operands, params = names.NAMES.get(op.type, names.NATIVE)
        if op.type in names.ASSIGNING:
            raise self._hidden_state(op, "the function assigns a variable")
        if op.type == "Const":
            word, params = "constant", _constant
        elif graph._is_function(op.type):  # an old kind of call: the function's name is the type
            word = "call"
        native, parameters = op.type, params(op) | names.facts(op)
        if is_number(op):
            word, native, parameters = "py_call", "py:float", {"followed": True}
        if isinstance(operands, slice):
            operands = tuple(range(len(op.inputs)))[operands]
        elif operands == ():
            operands = tuple(range(len(op.inputs)))
        if not used:
            parameters["effect"] = True
        programs = tuple(self._nested(n, f, graph, op) for n, f in _functions(op, word))
        return Node(
            op=word,
            native=native,
            inputs=tuple(ids[t.name] for t in op.inputs),
            operands=operands,
            outputs=tuple(_value(t, ids) for t in op.outputs),
            nature=_nature(op, word) if used else "effect",
            params=tuple(parameters.items()),
            attrs=_attributes(op),
            programs=programs,
            loc=self._locate(_frames(op), word, native.removeprefix("py:")),
        )

    def _hidden_state(self, op: tf.Operation, message: str) -> TraceError:
        """What to say where a variable's value cannot be followed."""
        return TraceError(
            message + " in a way that is not followed",
            loc=self._locate(_frames(op), "assign", op.type),
            label=f"TensorFlow's {op.type}",
            help="return what is computed; of a Keras metric pass the object itself.",
        )

    def _nested(self, name: str, function: str, graph: Any, op: tf.Operation) -> Program:
        found = graph._get_function(function)
        inner = getattr(found, "graph", None)
        if inner is None:  # a function that only TensorFlow's runtime knows: rebuilt, without lines
            with graph.as_default():
                inner = function_def_to_graph(
                    found.cached_definition, include_library_functions=True
                )
        # once it was differentiated, a graph gives what the way back needs, too, after its results
        return self.build(inner, name, inner.inputs, (), inner.outputs[: len(op.outputs)])

    def _custom_gradient(self, op: tf.Operation, ids: dict[str, int], declared: _Declared) -> Node:
        own: dict[str, int] = {}
        given, taken = (
            tuple(_value(t, own) for t in heads) for heads in (declared.flowing, declared.read)
        )
        nodes = tuple(self._node(o, op.graph, own, True) for o in declared.made)
        results = tuple(own[g.name] for g in declared.gradients if g is not None)
        program = Program(f"gradient of {_called(op)}", given, taken, nodes, results)
        # Where the decorated function itself is traced, no line of the user's calls it.
        loc = self._locate(_frames(op), "custom_gradient", op.type)
        loc = loc or next((node.loc for node in nodes if node.loc), None)
        return Node(
            op="custom_gradient",
            native=op.type,
            inputs=tuple(ids[t.name] for t in (*op.inputs, *declared.read)),
            operands=tuple(range(len(op.inputs))),
            outputs=tuple(_value(t, ids) for t in op.outputs),
            nature="custom",
            params=(("gradients", tuple(g is not None for g in declared.gradients)),),
            programs=(program,),
            loc=loc,
        )


@dataclass(frozen=True)
class _Declared:
    """A declared gradient as operations of the graph, built for placeholders of what flows back.

    Attributes:
        flowing: The placeholders.
        gradients: A tensor for each operand, or None.
        made: The operations that make them.
        read: The tensors of the function itself that those read.
    """

    flowing: tuple[tf.Tensor, ...]
    gradients: tuple[tf.Tensor | None, ...]
    made: tuple[tf.Operation, ...]
    read: tuple[tf.Tensor, ...]


def _declarations(
    graph: Any, ends: Sequence[Any], stop: set[Any], assigned: Assignments
) -> dict[Any, _Declared]:
    """The declared gradients that `ends` meet, and those that these read in turn."""
    found: dict[Any, _Declared] = {}
    pending = list(ends)
    while pending:
        met = [op for op in _slice(graph, pending, stop, assigned) if op not in found]
        new = {op: _declared(graph, op, name) for op in met if (name := _declared_gradient(op))}
        found |= new
        pending = [t.op for declared in new.values() for t in declared.read]
    return found


def _declared(graph: Any, op: tf.Operation, name: str) -> _Declared:
    before = set(graph.get_operations())
    with graph.as_default():
        flowing = tuple(tf.compat.v1.placeholder(t.dtype, t.shape) for t in op.outputs)
        gradients = gradient_registry.lookup(name)(op, *flowing)
        gradients = tuple(None if g is None else tf.convert_to_tensor(g) for g in gradients)
    arriving = [g for g in gradients if g is not None]
    added = set(graph.get_operations()) - before
    flows = {p.op for p in flowing}
    reached = _slice(graph, [g.op for g in arriving], stop=set())
    read = [t for o in reached if o in added for t in o.inputs if t.op not in added]
    read += [g for g in arriving if g.op not in added]
    made = tuple(o for o in reached if o in added and o not in flows)
    return _Declared(flowing, gradients, made, tuple({t.name: t for t in read}.values()))


def _slice(
    graph: Any, ends: Sequence[Any], stop: set[Any], assigned: Assignments | None = None
) -> list[Any]:
    """The operations that `ends` need, in the order in which the graph made them."""
    needed: set[Any] = set()
    stack = [op for op in ends if op not in stop]
    while stack:
        op = stack.pop()
        if op in needed:
            continue
        needed.add(op)
        stack.extend(t.op for t in op.inputs if t.op not in stop)
        stack.extend(assigned.needed_by(op) if assigned else ())
    return [op for op in graph.get_operations() if op in needed and op.type != "Placeholder"]


def _value(tensor: tf.Tensor, ids: dict[str, int]) -> Value:
    number = ids.setdefault(tensor.name, len(ids))
    shape = tensor.shape
    return Value(number, None if shape.rank is None else tuple(shape), tensor.dtype.name)


def _constant(op: tf.Operation) -> dict[str, Any]:
    return {"value": Constant(tf.make_ndarray(op.get_attr("value")))}


def _nature(op: tf.Operation, word: str) -> str:
    if op.type == "EagerPyFunc":
        return "wrap"  # TensorFlow differentiates what runs inside, as far as it is smooth
    if word != "native":
        return VOCABULARY[word]
    for nature, table in (
        ("elementwise", names.ELEMENTWISE),
        ("structural", names.STRUCTURAL),
        ("shape", names.SHAPE if _has_fixed_shape(op) else ()),
        ("random", names.RANDOM),
    ):
        if op.type in table:
            return nature
    if op.type in names.SHAPE:
        return "position"
    try:
        return "smooth" if gradient_registry.lookup(op.type) is not None else "opaque"
    except LookupError:
        return "opaque"


def _has_fixed_shape(op: tf.Operation) -> bool:
    """Whether the shape of the operands cannot depend on values: nothing was selected by them."""
    stack, seen = [t.op for t in op.inputs], set()
    while stack:
        maker = stack.pop()
        if maker in seen:
            continue
        seen.add(maker)
        if maker.type in names.SELECTING:
            return False
        stack.extend(t.op for t in maker.inputs if None in tuple(t.shape or (None,)))
    return True


def _declared_gradient(op: tf.Operation) -> str | None:
    if op.type != "IdentityN":
        return None
    try:
        return tf.compat.as_str(op.get_attr("_gradient_op_type"))
    except ValueError:
        return None


def _called(op: tf.Operation) -> str:
    return "/".join(op.name.split("/")[:-1]) or op.name


def _functions(op: tf.Operation, word: str) -> list[tuple[str, str]]:
    """What an operation runs: a name to show, and the graph's own name of the function."""
    if word == "switch":
        return [(f"branch {i}", f.name) for i, f in enumerate(op.get_attr("branches"))]
    if word == "call" and op.type not in names.NAMES:
        return [("called", op.type)]
    return [(show, op.get_attr(attribute).name) for show, attribute in _CONTROL.get(word, ())]


def _attributes(op: tf.Operation) -> tuple[tuple[str, Any], ...]:
    """The attributes as plain values, without those that only name functions or hold constants."""
    if op.type == "Const" or names.NAMES.get(op.type, ("",))[0] in (*_CONTROL, "switch"):
        return ()
    plain = []
    for attribute in op.op_def.attr:
        if attribute.type in ("func", "list(func)"):
            continue
        plain.append((attribute.name, _plain(op.get_attr(attribute.name))))
    return tuple(plain)


def _plain(value: Any) -> Any:
    if isinstance(value, tf.DType):
        return value.name
    if isinstance(value, list | tuple):
        return tuple(_plain(v) for v in value)
    if isinstance(value, tf.TensorShape):
        return None if value.rank is None else tuple(value)
    if hasattr(value, "unknown_rank"):
        return _plain(tf.TensorShape(value))
    if hasattr(value, "tensor_shape") and hasattr(value, "dtype"):
        return Constant(tf.make_ndarray(value))
    return value


def _frames(op: tf.Operation) -> list[tuple[str, int, str]]:
    """Python's stack where an operation was made; a function that was rebuilt has none.

    What `tf.vectorized_map` makes of an operation is named after that operation, which the mapped
    function has made.
    """
    original, _, made = op.name.partition("/pfor/")
    if made:
        with contextlib.suppress(KeyError):
            op = op.graph.get_operation_by_name(original)
    return [(f.filename, f.lineno, f.name) for f in op.traceback or ()]


_QUOTED_FRAME = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+), in (?P<function>\S+)')


def _trace_error(error: Exception, name: str, call: Arguments) -> TraceError:
    """Says at the user's line why a function cannot be traced."""
    if isinstance(error, TraceError):
        return error
    reason = str(error).strip().splitlines()
    last = next((r.strip() for r in reversed(reason) if r.strip()), type(error).__name__)
    if type(error).__name__ not in last:
        last = f"{type(error).__name__}: {last}"
    quoted = [
        (m["file"], int(m["line"]), m["function"]) for m in _QUOTED_FRAME.finditer(str(error))
    ]
    return untraceable(
        name,
        last,
        users_line(error, __file__, "py_call", "numpy", quoted),
        call,
        _shown,
        advice(last, _ADVICE),
        "Keep to tensor operations (tf.*, keras.ops); a black box of numpy or Python code can "
        "be audited, but not relaxed.",
    )


def _shown(leaf: Any) -> str:
    shape = tuple(leaf.shape) if leaf.shape.rank is not None else "?"
    return f"{leaf.dtype.name} {shape}"


_ADVICE = (
    (
        "no attribute '(numpy|item|tolist)'|to a numpy array|any non-tensor type",
        "this line leaves the graph: it needs the values as numpy or Python numbers.",
    ),
    (
        "as a Python `bool`",
        "this line asks for the truth of a tensor, and AutoGraph could not turn it into a branch.",
    ),
    (
        "'NoneType'|None values not supported|partially known TensorShape",
        "this line needs a size that is not known when tracing; pass arrays of a fixed shape.",
    ),
    (
        "Iterating over a symbolic",
        "this line loops over a tensor in a way that AutoGraph cannot turn into a loop.",
    ),
)
