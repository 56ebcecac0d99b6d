"""From a jaxpr to a `Program`: one node for each equation, with nested programs for control flow.

Jitted functions are written out where they are called. Those of JAX's own library that are a word
of the vocabulary (`searchsorted`, `floor_divide`, `one_hot`, ...) become that word; their lines are
those of the call, since JAX keeps the trace of whoever called them first.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax import numpy as jnp
from jax.extend.core import Literal

from bevel.frontends.jax import kernels, names
from bevel.frontends.jax.control import COMPOSITES, CONTROL, file_of
from bevel.frontends.jax.kernels import Kernel
from bevel.frontends.jax.lookups import LOOK_UPS
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
        picked: The places of a mask, by the mask's id, where they were looked for.
    """

    def __init__(self, builder: Builder, frames: Sequence[Frame] | None = None) -> None:
        self._builder = builder
        self._frames = frames
        self._nodes: list[Node] = []
        self._count = 0
        self._constants: dict[Any, int] = {}
        self.values: dict[int, Value] = {}
        self.makers: dict[int, Node] = {}
        self.picked: dict[int, int] = {}

    # Writing.

    def new(self, aval: Any) -> Value:
        """A new value like one of a jaxpr's."""
        return self.value(aval.shape, str(aval.dtype))

    def value(self, shape: Any, dtype: str) -> Value:
        """A new value of a shape, which is always known here."""
        made = Value(self._count, tuple(map(int, shape)), dtype)
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
        inputs = tuple(scope.value(self.values[i].shape, self.values[i].dtype) for i in like)
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
        env: dict[Any, int] = dict(zip((*jaxpr.constvars, *jaxpr.invars), operands, strict=True))

        def read(atom: Any) -> int:
            known = isinstance(atom, Literal)
            return self.constant(atom.val, names.dtype_of(atom)) if known else env[atom]

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
        special = CONTROL.get(name)
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
        if name in names.PRODUCTS:
            known["products"] = True
        if name in names.RUNNING:
            known["running"] = True
        if name in names.KEEPING_WHOLE:
            known["keeps_whole"] = True
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
        composite = None if is_own else COMPOSITES.get(eqn.params.get("name", ""))
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
    return [(f.file_name, f.line_num, f.function_name.rpartition(".")[2]) for f in reversed(frames)]


def _is_asked_for(frames: Sequence[Frame]) -> bool:
    """Whether the user's own code called `stop_gradient`, through whatever library."""
    for caller, (file, _, function) in itertools.pairwise(frames):
        if function == "stop_gradient" and not is_users(file):
            return is_users(caller[0])
    return False


def _is_implicit(frames: Sequence[Frame]) -> bool:
    """Whether an array was broadcast because it met another one, and nobody asked for it."""
    functions = {function for _, _, function in frames}
    return "promote_shapes" in functions or "broadcast_in_dim" not in functions
