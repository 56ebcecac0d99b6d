"""From a jaxpr to a `Program`: one node for each equation, with nested programs for control flow.

Jitted functions are written out where they are called. Those of JAX's own library that are a word
of the vocabulary (`searchsorted`, `floor_divide`, `one_hot`, ...) become that word; their lines are
those of the call, since JAX keeps the trace of whoever called them first. A scan becomes a loop
with a known number of rounds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax import numpy as jnp
from jax.extend.core import ClosedJaxpr, Literal

from bevel.frontends import jax_kernels as kernels
from bevel.frontends import jax_names as names
from bevel.frontends.jax_kernels import Kernel
from bevel.frontends.jax_lookups import LOOK_UPS
from bevel.program import Constant, Node, Program, Value
from bevel.source import Frame, Locator, is_users
from bevel.vocabulary import VOCABULARY


class Builder:
    """Copies jaxprs into programs; one builder serves one trace, so lines are told apart."""

    def __init__(self, locate: Locator) -> None:
        self.locate = locate

    def program(self, closed: Any, name: str, frames: Sequence[Frame] | None = None) -> Program:
        """A whole jaxpr as a program; its constants become captures.

        Args:
            closed: A closed jaxpr.
            name: What the program is called.
            frames: Where it was asked for, if that is where its operations are to be found.
        """
        scope = Scope(self, frames)
        inputs = tuple(scope.new(v.aval) for v in closed.jaxpr.invars)
        captures = tuple(scope.new(v.aval) for v in closed.jaxpr.constvars)
        outputs = scope.inline(closed.jaxpr, [v.id for v in (*captures, *inputs)])
        return scope.finish(name, inputs, captures, outputs)


class Scope:
    """One program that is being written.

    Attributes:
        makers: The node that made a value, by the value's id.
    """

    def __init__(self, builder: Builder, frames: Sequence[Frame] | None = None) -> None:
        self._builder = builder
        self._frames = frames
        self._nodes: list[Node] = []
        self._count = 0
        self._constants: dict[Any, int] = {}
        self.values: dict[int, Value] = {}
        self.makers: dict[int, Node] = {}

    # Writing.

    def new(self, aval: Any) -> Value:
        """A new value like one of a jaxpr's."""
        return self.value(aval.shape, str(aval.dtype))

    def value(self, shape: Sequence[int], dtype: str) -> Value:
        made = Value(self._count, tuple(int(n) for n in shape), dtype)
        self.values[made.id] = made
        self._count += 1
        return made

    def add(
        self,
        op: str,
        inputs: Sequence[int],
        outputs: Sequence[Value],
        kernel: Kernel,
        frames: Sequence[Frame] = (),
        **more: Any,
    ) -> list[int]:
        """Writes a node; gives the ids of its results."""
        nature = more.pop("nature", None) or VOCABULARY.get(op, "structural")
        params = more.pop("params", {})
        operands = more.pop("operands", ()) or tuple(range(len(inputs)))
        node = Node(
            op=op,
            native=more.pop("native", kernel.name),
            inputs=tuple(inputs),
            operands=operands,
            outputs=tuple(outputs),
            nature=nature,
            params=tuple(params.items()),
            attrs=(("kernel", kernel),),
            loc=self._builder.locate(frames, op, kernel.name) if frames else None,
            **more,
        )
        self._nodes.append(node)
        self.makers.update({v.id: node for v in outputs})
        return [v.id for v in outputs]

    def constant(self, value: Any, dtype: Any = None) -> int:
        """The id of a number or an array that is known."""
        if jnp.issubdtype(getattr(value, "dtype", None) or np.float32, jax.dtypes.extended):
            kernel = kernels.function("key", lambda: value, id(value))
            return self.add("native", (), [self.new(value)], kernel, nature="constant")[0]
        array = np.asarray(value, dtype)
        key = (str(array.dtype), array.shape, array.tobytes())
        if key not in self._constants:
            kernel = kernels.function("constant", lambda: jnp.asarray(array, array.dtype), *key)
            made = self.value(array.shape, str(array.dtype))
            (self._constants[key],) = self.add(
                "constant", (), [made], kernel, params={"value": Constant(array)}
            )
        return self._constants[key]

    def nested(self, write: Callable[[Scope, list[int]], list[int]], name: str,
               like: Sequence[int], frames: Sequence[Frame] | None = None) -> Program:  # fmt: skip
        """A program whose inputs are like some values of this one."""
        scope = Scope(self._builder, self._frames if frames is None else frames)
        inputs = tuple(scope.value(self.values[i].shape or (), self.values[i].dtype) for i in like)
        outputs = write(scope, [v.id for v in inputs])
        return scope.finish(name, inputs, (), outputs)

    def finish(
        self, name: str, inputs: Sequence[Value], captures: Sequence[Value], outputs: Sequence[int]
    ) -> Program:
        """The program, without what its results do not need."""
        needed = set(outputs)
        kept = []
        for node in reversed(self._nodes):
            if any(v.id in needed for v in node.outputs):
                kept.append(node)
                needed.update(node.inputs)
        return Program(name, tuple(inputs), tuple(captures), tuple(reversed(kept)), tuple(outputs))

    # Reading jaxprs.

    def inline(self, jaxpr: Any, operands: Sequence[int]) -> list[int]:
        """Writes out a jaxpr for operands: those of its constants first."""
        env: dict[Any, int] = dict(
            zip((*jaxpr.constvars, *jaxpr.invars), operands, strict=True)
        )

        def read(atom: Any) -> int:
            return self.constant(atom.val, atom.aval.dtype) if isinstance(atom, Literal) else env[atom]

        for eqn in jaxpr.eqns:
            results = self._equation(eqn, [read(a) for a in eqn.invars])
            env.update(zip(eqn.outvars, results, strict=True))
        return [read(a) for a in jaxpr.outvars]

    def closed(self, closed: Any, operands: Sequence[int]) -> list[int]:
        """Writes out a jaxpr with constants of its own."""
        consts = [self.constant(c) for c in getattr(closed, "consts", ())]
        return self.inline(getattr(closed, "jaxpr", closed), [*consts, *operands])

    def frames(self, eqn: Any) -> list[Frame]:
        """Python's stack where an equation was made, outermost first."""
        return list(self._frames) if self._frames is not None else frames_of(eqn)

    def _equation(self, eqn: Any, inputs: list[int]) -> list[int]:
        name = eqn.primitive.name
        if name in names.CALLS:
            return self._call(eqn, inputs)
        special = _CONTROL.get(name)
        if special is not None:
            return special(self, eqn, inputs)
        look_up = LOOK_UPS.get(name)
        found = look_up(self, eqn, inputs) if look_up else None
        return self._plain(eqn, inputs) if found is None else found

    def _plain(self, eqn: Any, inputs: list[int]) -> list[int]:
        name = eqn.primitive.name
        word, operands, params = names.word_of(eqn)
        frames = self.frames(eqn)
        if word == "stop_gradient" and not _is_asked_for(frames):
            word = "identity"  # the library's, where it changes no derivative
        known = params(eqn)
        if name == "broadcast_in_dim" and _is_implicit(frames):
            known["implicit"] = True
        return self.add(
            word, inputs, [self.new(v.aval) for v in eqn.outvars], kernels.primitive(eqn), frames,
            operands=operands, params=known,
            nature=names.nature_of(name, word, eqn.primitive),
        )  # fmt: skip

    def _call(self, eqn: Any, inputs: list[int]) -> list[int]:
        inner = eqn.params.get("jaxpr") or eqn.params.get("call_jaxpr") or eqn.params.get("call")
        frames = self.frames(eqn)
        is_own = file_of(inner) is not None and is_users(file_of(inner) or "")
        composite = None if is_own else _COMPOSITES.get(eqn.params.get("name", ""))
        found = composite(self, eqn, inputs, frames) if composite else None
        if found is not None:
            return found
        before = self._frames
        self._frames = before if is_own else frames
        results = self.closed(inner, inputs)
        self._frames = before
        return results


def frames_of(eqn: Any) -> list[Frame]:
    """The frames of an equation's traceback, outermost first; functions by their bare name."""
    trace = eqn.source_info.traceback
    frames = trace.frames if trace is not None else ()
    return [
        (f.file_name, f.line_num, f.function_name.rpartition(".")[2]) for f in reversed(frames)
    ]


def file_of(closed: Any) -> str | None:
    """The file in which a traced function was defined, if JAX knows it."""
    info = getattr(getattr(closed, "jaxpr", closed), "debug_info", None)
    place = getattr(info, "func_src_info", None) or ""
    _, _, place = place.partition(" at ")
    return place.rpartition(":")[0] or None


def _is_asked_for(frames: Sequence[Frame]) -> bool:
    """Whether the user's own code called `stop_gradient`, through whatever library."""
    for caller, (file, _, function) in zip(frames, frames[1:], strict=False):
        if function == "stop_gradient" and not is_users(file):
            return is_users(caller[0])
    return False


def _is_implicit(frames: Sequence[Frame]) -> bool:
    """Whether an array was broadcast because it met another one, and nobody asked for it."""
    functions = {function for _, _, function in frames}
    return "promote_shapes" in functions or "broadcast_in_dim" not in functions


# Functions of JAX's library that are one word.


def _binary(word: str, run: Callable[..., Any]) -> Callable[..., Any]:
    def write(scope: Scope, eqn: Any, inputs: list[int], frames: Sequence[Frame]) -> Any:
        if len(inputs) != 2 or len(eqn.outvars) != 1:
            return None
        outputs = [scope.new(eqn.outvars[0].aval)]
        return scope.add(word, inputs, outputs, kernels.elementwise(word, run), frames)

    return write


def _searchsorted(scope: Scope, eqn: Any, inputs: list[int], frames: Sequence[Frame]) -> Any:
    if len(inputs) != 2 or len(eqn.invars[0].aval.shape) != 1:
        return None
    kernel = kernels.closed("searchsorted", eqn.params["jaxpr"])
    return scope.add("searchsorted", inputs, [scope.new(eqn.outvars[0].aval)], kernel, frames)


def _one_hot(scope: Scope, eqn: Any, inputs: list[int], frames: Sequence[Frame]) -> Any:
    inner = eqn.params["jaxpr"].jaxpr
    iota = next((e for e in inner.eqns if e.primitive.name == "iota"), None)
    out = eqn.outvars[0].aval
    if iota is None or len(inputs) != 1:
        return None
    axis = iota.params["dimension"]
    classes = iota.params["shape"][axis]
    axis = -1 if axis == len(out.shape) - 1 else axis
    on, off = (scope.constant(v, out.dtype) for v in (1, 0))
    kernel = kernels.one_hot(classes, axis, out.dtype)
    params = {"num_classes": classes, "axis": axis}
    return scope.add("one_hot", [*inputs, on, off], [scope.new(out)], kernel, frames, params=params)


_COMPOSITES: dict[str, Callable[..., Any]] = {
    "floor_divide": _binary("floor_divide", jnp.floor_divide),
    "remainder": _binary("remainder", jnp.remainder),
    "searchsorted": _searchsorted,
    "_one_hot": _one_hot,
}


# Branches, loops and declared gradients.


def _cond(scope: Scope, eqn: Any, inputs: list[int]) -> list[int]:
    frames, branches = scope.frames(eqn), eqn.params["branches"]
    index, *rest = inputs
    maker = scope.makers.get(index)
    is_truth = maker is not None and scope.values[maker.inputs[0]].dtype == "bool" if (
        maker is not None and maker.op == "astype"
    ) else False  # fmt: skip
    shown = [f"branch {i}" for i in range(len(branches))]
    if is_truth:
        shown, branches, index = ["then", "else"], branches[::-1], maker.inputs[0]
    programs = tuple(
        scope.nested(lambda inner, ids, b=b: inner.closed(b, ids), name, rest)
        for name, b in zip(shown, branches, strict=True)
    )
    return scope.add(
        "cond" if is_truth else "switch", [index, *rest], [scope.new(v.aval) for v in eqn.outvars],
        kernels.function("cond", _never), frames, programs=programs,
    )  # fmt: skip


def _while(scope: Scope, eqn: Any, inputs: list[int]) -> list[int]:
    params = eqn.params
    first, second = params["cond_nconsts"], params["body_nconsts"]
    held = first + second

    def condition(inner: Scope, state: list[int]) -> list[int]:
        return inner.closed(params["cond_jaxpr"], [*state[:first], *state[held:]])

    def body(inner: Scope, state: list[int]) -> list[int]:
        return [*state[:held], *inner.closed(params["body_jaxpr"], state[first:])]

    results = _loop(scope, eqn, inputs, condition, body)
    return results[held:]


def _scan(scope: Scope, eqn: Any, inputs: list[int]) -> list[int]:
    """A loop over a counter, the constants, the carry, the rows and the results so far."""
    params = eqn.params
    length, consts, carried = params["length"], params["num_consts"], params["num_carry"]
    held = consts + carried
    made = [v.aval for v in eqn.outvars[carried:]]
    counter = scope.constant(np.int32(0))
    stores = [
        scope.add("native", (), [scope.new(a)], kernels.zeros(a.shape, a.dtype), nature="constant")[0]
        for a in made
    ]

    def condition(inner: Scope, state: list[int]) -> list[int]:
        bound = inner.constant(np.int32(length))
        return inner.add(
            "less", [state[0], bound], [inner.value((), "bool")], kernels.elementwise("lt", jnp.less)
        )

    def body(inner: Scope, state: list[int]) -> list[int]:
        i = state[0]
        one = inner.constant(np.int32(1))
        (following,) = inner.add(
            "add", [i, one], [inner.value((), "int32")], kernels.elementwise("add", jnp.add)
        )
        place = i
        if params["reverse"]:
            (place,) = inner.add(
                "subtract", [inner.constant(np.int32(length - 1)), i],
                [inner.value((), "int32")], kernels.elementwise("sub", jnp.subtract),
            )  # fmt: skip
        rows = state[1 + held : 1 + len(inputs)]
        current = [_row(inner, row, place) for row in rows]
        results = inner.closed(params["jaxpr"], [*state[1 : 1 + held], *current])
        stored = [
            _stored(inner, store, place, result)
            for store, result in zip(state[1 + len(inputs) :], results[carried:], strict=True)
        ]
        return [following, *state[1 : 1 + consts], *results[:carried], *rows, *stored]

    state = [counter, *inputs, *stores]
    results = _loop(scope, eqn, state, condition, body, rounds=length)
    return [*results[1 + consts : 1 + held], *results[1 + len(inputs) :]]


def _row(scope: Scope, rows: int, place: int) -> int:
    kernel = kernels.take("scan", 0, jax.lax.GatherScatterMode.CLIP, None)
    value = scope.values[rows]
    made = scope.value((value.shape or ())[1:], value.dtype)
    params = {"axis": 0, "batch_dims": 0}
    return scope.add("take", [rows, place], [made], kernel, params=params)[0]


def _stored(scope: Scope, store: int, place: int, result: int) -> int:
    def run(rows: Any, i: Any, row: Any) -> Any:
        return jax.lax.dynamic_update_index_in_dim(rows, row, i, 0)

    kernel = kernels.function("scan", run, "store", alike=(0, 2))
    value = scope.values[store]
    made = scope.value(value.shape or (), value.dtype)
    return scope.add("native", [store, place, result], [made], kernel, nature="smooth")[0]


def _loop(
    scope: Scope,
    eqn: Any,
    inputs: list[int],
    condition: Callable[[Scope, list[int]], list[int]],
    body: Callable[[Scope, list[int]], list[int]],
    rounds: int | None = None,
) -> list[int]:
    """A loop whose number of rounds is not known has no derivative on the way back in JAX."""
    programs = (
        scope.nested(condition, "condition", inputs),
        scope.nested(body, "body", inputs),
    )
    results = [scope.value(scope.values[i].shape or (), scope.values[i].dtype) for i in inputs]
    return scope.add(
        "while_loop", inputs, results, kernels.function(eqn.primitive.name, _never),
        scope.frames(eqn), programs=programs, params={} if rounds is None else {"rounds": rounds},
        nature="opaque" if rounds is None else "control",
    )  # fmt: skip


def _never(*operands: Any) -> Any:
    raise AssertionError("control flow is run by the executor")


def _declared(scope: Scope, eqn: Any, inputs: list[int]) -> list[int]:
    """A function with a declared derivative: the library's is an operation, the user's is shown.

    The values are written out too, so that it is seen what the declared gradient stands in for.
    """
    inner = eqn.params.get("call_jaxpr") or eqn.params.get("fun_jaxpr")
    called = _called(inner)
    frames = scope.frames(eqn)
    outputs = [scope.new(v.aval) for v in eqn.outvars]
    if not is_users(file_of(inner) or "<unknown>"):
        word = names.DECLARED.get(called, "native")
        kernel = (
            kernels.elementwise(called, getattr(jax.nn, called))
            if word != "native"
            else kernels.declared(eqn, inner, called)
        )
        shapes = {v.aval.shape for v in (*eqn.invars, *eqn.outvars) if v.aval.shape}
        alone = len(eqn.outvars) == 1 and len(shapes) < 2
        nature = VOCABULARY.get(word, "elementwise" if alone else "smooth")
        return scope.add(word, inputs, outputs, kernel, frames, nature=nature)
    values = scope.closed(inner, inputs)
    whole = kernels.primitive(eqn)
    count = len(values)
    kernel = kernels.function(whole.name, lambda *xs: whole(xs[count:]), id(inner))
    flows = [names.dtype_of(v).startswith(("float", "bfloat", "complex")) for v in eqn.invars]
    program = Program(f"gradient of {called}", (), (), (), ())
    return scope.add(
        "custom_gradient", [*values, *inputs], outputs, kernel, frames, programs=(program,),
        params={"gradients": (*[False] * count, *flows)},
    )  # fmt: skip


def _called(closed: ClosedJaxpr | Any) -> str:
    info = getattr(getattr(closed, "jaxpr", closed), "debug_info", None)
    return (getattr(info, "func_src_info", None) or "function").partition(" at ")[0]


_CONTROL: dict[str, Callable[[Scope, Any, list[int]], list[int]]] = {
    "cond": _cond,
    "while": _while,
    "scan": _scan,
    "custom_jvp_call": _declared,
    "custom_vjp_call": _declared,
    "custom_vjp_call_jaxpr": _declared,
}
