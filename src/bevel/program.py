"""A traced function as plain frozen data, before anyone asks what it means.

A `Program` is a list of nodes in single-assignment form: each node names an operation, the values
it reads, the values it makes and the line of the user's file it came from. Branches and loops hold
nested programs. Nothing here imports a framework: front ends build programs, interpreters (the
audit, the relaxation, the plain executor) read them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from bevel.errors import BevelError


class ProgramError(BevelError):
    """A program breaks its own rules: raised by `Program.verify`, always a bug of a front end."""


@dataclass(frozen=True)
class Loc:
    """A place in the user's source.

    Attributes:
        file: Path of the source file, as Python knows it.
        line: Line number, from 1.
        function: Name of the function that holds the line.
        text: The source line, indentation included ("" where the source cannot be read).
        column: First column of the expression, from 0, or None where only the line is known.
        end_column: Column just behind the expression, or None.
    """

    file: str
    line: int
    function: str
    text: str
    column: int | None = None
    end_column: int | None = None

    def __str__(self) -> str:
        return f"{self.file}:{self.line} in {self.function}"


@dataclass(frozen=True)
class Value:
    """One value of a program: its number, its shape (None where unknown) and its dtype's name."""

    id: int
    shape: tuple[int | None, ...] | None
    dtype: str

    def __str__(self) -> str:
        if self.shape is None:
            dims = "..."
        else:
            dims = ",".join("?" if d is None else str(d) for d in self.shape)
        return f"%{self.id}: {self.dtype}[{dims}]"


class Constant:
    """A read-only array that compares by dtype, shape and bytes, so NaN equals itself."""

    __slots__ = ("array",)

    def __init__(self, array: np.ndarray) -> None:
        frozen = np.array(array)
        frozen.setflags(write=False)
        object.__setattr__(self, "array", frozen)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("a Constant cannot be changed")

    def _key(self) -> tuple[str, tuple[int, ...], bytes]:
        data = self.array.tolist() if self.array.dtype == object else self.array.tobytes()
        return str(self.array.dtype), self.array.shape, repr(data).encode()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Constant) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def __repr__(self) -> str:
        if self.array.size <= 4:
            return str(self.array.tolist())
        return f"<{self.array.dtype} array of shape {self.array.shape}>"


@dataclass(frozen=True)
class Node:
    """One operation.

    Attributes:
        op: The vocabulary's name (`bevel.vocabulary`), or "native" for an operation that only its
            own framework knows.
        native: The framework's own name, for instance "Greater".
        inputs: Ids of the operands, in the framework's order.
        operands: Positions in `inputs` of the operands the vocabulary speaks of, in its order.
        outputs: The values made.
        nature: How a gradient and a soft value pass: a word of `bevel.vocabulary.NATURES`.
        params: What the vocabulary says beside the operands (axis, keepdims, dtype ...).
        attrs: The framework's own attributes, for its executor.
        programs: Nested programs: branches, loop condition and body, called function, gradient.
        loc: The user's line, or None where no frame of the user is known.
    """

    op: str
    native: str
    inputs: tuple[int, ...]
    outputs: tuple[Value, ...]
    operands: tuple[int, ...] = ()
    nature: str = "smooth"
    params: tuple[tuple[str, Any], ...] = ()
    attrs: tuple[tuple[str, Any], ...] = ()
    programs: tuple[Program, ...] = ()
    loc: Loc | None = None

    @property
    def args(self) -> tuple[int, ...]:
        """Ids of the operands in the vocabulary's order."""
        return tuple(self.inputs[i] for i in self.operands)

    @property
    def name(self) -> str:
        """The vocabulary's name where there is one, else the framework's."""
        return self.native if self.op == "native" else self.op

    def param(self, name: str, default: Any = None) -> Any:
        """The parameter called `name`, or `default`."""
        return dict(self.params).get(name, default)

    def __str__(self) -> str:
        left = ", ".join(map(str, self.outputs))
        args = ", ".join([*(f"%{i}" for i in self.inputs), *(f"{k}={v!r}" for k, v in self.params)])
        call = f"{self.name}({args})" + (f"  # {self.loc}" if self.loc else "")
        return f"{left} = {call}" if left else call


@dataclass(frozen=True)
class Program:
    """A function as data.

    Attributes:
        name: The function's name.
        inputs: The values the caller gives.
        captures: Values taken from outside (variables, tensors of an enclosing scope); they follow
            `inputs` when a nested program is called.
        nodes: Operations in an order that can be executed.
        outputs: Ids of the results.
    """

    name: str
    inputs: tuple[Value, ...]
    captures: tuple[Value, ...]
    nodes: tuple[Node, ...]
    outputs: tuple[int, ...]
    values: Mapping[int, Value] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        table = {v.id: v for v in (*self.inputs, *self.captures)}
        table.update({v.id: v for node in self.nodes for v in node.outputs})
        object.__setattr__(self, "values", table)

    def walk(self) -> Iterator[Node]:
        """Every node, nested ones included, a branching node before what it holds."""
        stack = list(reversed(self.nodes))
        while stack:
            node = stack.pop()
            yield node
            for inner in reversed(node.programs):
                stack.extend(reversed(inner.nodes))

    def verify(self) -> Program:
        """Checks single assignment, order, operands and nested programs; returns the program.

        Raises:
            ProgramError: A value is read before it is made, made twice, or an output is unknown.
        """
        pending: list[Program] = [self]
        while pending:
            program = pending.pop()
            known: set[int] = set()
            for value in (*program.inputs, *program.captures):
                program._define(value, known)
            for node in program.nodes:
                program._check(node, known)
                for value in node.outputs:
                    program._define(value, known)
                pending.extend(node.programs)
            for missing in set(program.outputs) - known:
                raise ProgramError(f"program `{program.name}` returns %{missing}, never made.")
        return self

    def bounded(self, rounds: Mapping[int, int]) -> Program:
        """The same program with a limit of rounds for every loop: an executor raises beyond it.

        Args:
            rounds: How many a loop is known to take, by the id of its node; 0 for others.
        """
        nodes = []
        for node in self.nodes:
            params = node.params
            if node.op == "while_loop":
                params = (*params, ("limit", 1000 + 20 * rounds.get(id(node), 0)))
            inner = tuple(p.bounded(rounds) for p in node.programs)
            nodes.append(replace(node, params=params, programs=inner))
        return replace(self, nodes=tuple(nodes))

    def without(self, is_dropped: Callable[[Node], bool]) -> Program:
        """The same program without some nodes, nested ones included, whose results nobody reads."""
        nodes = tuple(
            replace(node, programs=tuple(p.without(is_dropped) for p in node.programs))
            for node in self.nodes
            if not is_dropped(node)
        )
        return replace(self, nodes=nodes)

    def _define(self, value: Value, known: set[int]) -> None:
        if value.id in known:
            raise ProgramError(f"program `{self.name}` makes %{value.id} twice.")
        known.add(value.id)

    def _check(self, node: Node, known: set[int]) -> None:
        for missing in set(node.inputs) - known:
            raise ProgramError(
                f"program `{self.name}`: `{node}` reads %{missing} before it is made."
            )
        if any(not 0 <= i < len(node.inputs) for i in node.operands):
            raise ProgramError(f"program `{self.name}`: `{node}` names an operand it lacks.")

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self, indent: str = "") -> Iterator[str]:
        args = ", ".join(map(str, self.inputs))
        captured = "; captures " + ", ".join(map(str, self.captures)) if self.captures else ""
        yield f"{indent}program {self.name}({args}{captured}):"
        for node in self.nodes:
            yield f"{indent}  {node}"
            for inner in node.programs:
                yield from inner._lines(indent + "    ")
        yield f"{indent}  return {', '.join(f'%{i}' for i in self.outputs)}"
