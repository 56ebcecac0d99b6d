"""How a value moves when what is trained moves a little: not at all, in steps, or smoothly.

Whether two floats are equal is one thing for numbers that move smoothly, which never are, so that
the question can only guard a division or a branch; and another for counts and states that happen to
be stored as floats, whose equality is an event like any other. Which is which is read off the
structure of the program, and so is which floats are always whole numbers.

So is what numbers are measured by: `p > mean(p)` holds elements against a summary of all of them,
which moves with each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from functools import reduce
from typing import Any

import numpy as np

from bevel.program import Node, Program, Value
from bevel.vocabulary import entries_of


class Moves(IntEnum):
    """How a value moves with what is trained."""

    NOT = 0
    STEPS = 1
    SMOOTHLY = 2


@dataclass(frozen=True)
class Grain:
    """What is known of a value before it is computed.

    Attributes:
        moves: How it moves, at most.
        is_whole: Whether it is always a whole number, or a truth.
        shapes: Of what it is made of that moves smoothly, elements or summaries of them; lengths of
            1 left out.
        is_summed: Whether a summary, such as a mean, is among these.
        number: What it is, if the program says so: a single finite number.
    """

    moves: Moves = Moves.SMOOTHLY
    is_whole: bool = False
    shapes: frozenset[tuple[int | None, ...]] = frozenset()
    is_summed: bool = False
    number: float | None = None

    def joined(self, other: Grain) -> Grain:
        """What holds for a value that is one of two."""
        return Grain(
            max(self.moves, other.moves),
            self.is_whole and other.is_whole,
            self.shapes | other.shapes,
            self.is_summed or other.is_summed,
            self.number if self.number == other.number else None,
        )


Grains = dict[int, tuple[Grain, ...]]
"""For a node, by its identity, the grains of its operands."""

UNKNOWN = Grain()


def are_relative(operands: Sequence[Grain]) -> bool:
    """Whether numbers are held against a summary that is made of numbers like them."""
    shapes = {shape for g in operands for shape in g.shapes}
    return len(shapes) > 1 and any(g.is_summed for g in operands)


# A constant of this size may stand for nothing, among numbers that are not of this size; so may a
# hundredth of it, once it was scaled or something was added to it.
_LARGE = 100.0


def least_large(program: Program, captured: Sequence[Any]) -> float | None:
    """From where on a number may stand for nothing, as -1e9 and -inf do; None if none goes into a
    program.

    Args:
        program: The program.
        captured: What is known of the values that it captures: arrays, or None.
    """
    constants = [n.param("value") for n in program.walk() if n.op == "constant"]
    arrays = [*(c.array for c in constants if c is not None), *captured]
    sizes = [np.abs(a) for a in arrays if a is not None and a.dtype.kind == "f"]
    large = [float(size[size >= _LARGE].min()) for size in sizes if np.any(size >= _LARGE)]
    return max(min(large) / 100, _LARGE / 2) if large else None


_FIXED = frozenset({"shape", "constant", "stop", "effect"})

# Whole numbers make whole numbers here; of a choice, what is chosen from counts.
_KEEPS_WHOLE = frozenset(
    """
    add subtract multiply negative abs maximum minimum relu relu6 clip sum prod max min
    cumulative_sum identity where stack concat slice take gather_nd scatter scatter_add
    scatter_update segment_sum wrap_index remainder astype
    """.split()
)
_OF_TWO = frozenset({"add", "subtract", "multiply", "maximum", "minimum", "clip", "remainder"})
# What acts on each element by itself, or only moves them; the others make new numbers.
_OF_EACH = frozenset({"elementwise", "kink", "singular", "cast", "structural", "position", "wrap"})

# Make one number of many.
_SUMMARIES = frozenset({"sum", "mean", "max", "min", "prod", "variance", "median", "vector_norm"})
_MAKES_WHOLE = frozenset({"round", "floor", "ceil", "trunc", "sign", "floor_divide"})


def grains(program: Program, trained: Sequence[bool]) -> Grains:
    """The grains of the operands of every node, those of nested programs included.

    Args:
        program: The program.
        trained: For each of its inputs and captures, whether a gradient is to reach it.
    """
    found: Grains = {}
    heads = (*program.inputs, *program.captures)
    given = [
        _moving(v) if moves else Grain(Moves.NOT, _is_discrete(v))
        for v, moves in zip(heads, trained, strict=True)
    ]
    _follow(program, given, found)
    return found


def _follow(program: Program, given: Sequence[Grain], found: Grains) -> list[Grain]:
    """Grains of the results; those of all operands are written into `found`."""
    heads = (*program.inputs, *program.captures)
    known = {v.id: grain for v, grain in zip(heads, given, strict=True)}
    for node in program.nodes:
        operands = tuple(known[i] for i in node.inputs)
        earlier = found.get(id(node), operands)  # a program that is called twice
        found[id(node)] = tuple(a.joined(b) for a, b in zip(earlier, operands, strict=True))
        known.update(
            zip((v.id for v in node.outputs), _results(node, operands, found), strict=True)
        )
    return [known[i] for i in program.outputs]


def _results(node: Node, operands: Sequence[Grain], found: Grains) -> list[Grain]:
    if node.op == "while_loop":
        return _loop(node, operands, found)
    if node.op == "call":
        return _follow(node.programs[0], operands, found)
    if node.op in ("cond", "switch"):
        branches = [_follow(p, operands[1:], found) for p in node.programs]
        least = Moves.STEPS if operands[0].moves else Moves.NOT
        chosen = [reduce(Grain.joined, options) for options in zip(*branches, strict=True)]
        return [replace(g, moves=max(g.moves, least)) for g in chosen]
    moves = _moves(node, operands)
    return [_made(node, v, moves, operands) for v in node.outputs]


def _loop(node: Node, operands: Sequence[Grain], found: Grains) -> list[Grain]:
    """What holds in every round: what goes in may be what came out."""
    condition, body = node.programs
    state = list(operands)
    while True:
        _follow(condition, state, found)
        after = [a.joined(b) for a, b in zip(state, _follow(body, state, found), strict=False)]
        after += state[len(after) :]
        if after == state:
            return after[: len(node.outputs)]
        state = after


def _moves(node: Node, operands: Sequence[Grain]) -> Moves:
    """How the results move, at most; those of one that is not a float move in steps anyway."""
    most = max((g.moves for g in operands), default=Moves.NOT)
    if node.nature in _FIXED or most is Moves.NOT:
        return Moves.NOT
    if node.op == "where":
        entries = [node.operands[1], node.operands[2]]
    elif node.nature == "position" and entries_of(node) is not None:
        entries = [node.operands[i] for i in entries_of(node) or ()]
    elif node.nature in ("step", "position"):
        entries = []
    else:
        entries = list(range(len(operands)))
    return max([Moves.STEPS, *(operands[n].moves for n in entries)])


def _moving(value: Value, is_whole: bool = False, is_summed: bool = False) -> Grain:
    """A value that moves smoothly, made of numbers of its own shape."""
    shape = tuple(n for n in value.shape or () if n != 1)
    return Grain(Moves.SMOOTHLY, is_whole or _is_discrete(value), frozenset({shape}), is_summed)


def _made(node: Node, value: Value, moves: Moves, operands: Sequence[Grain]) -> Grain:
    if _is_discrete(value):
        return Grain(min(moves, Moves.STEPS), True)
    if node.op == "constant" and node.param("value") is not None:
        array = node.param("value").array
        return Grain(Moves.NOT, _holds_whole(array), number=_single(array))
    if node.op in _MAKES_WHOLE:
        return Grain(min(moves, Moves.STEPS), True)
    spoken_of = [operands[n] for n in node.operands] or list(operands[:1])
    if node.param("products"):
        spoken_of = list(operands)
    if node.op == "where":
        spoken_of = spoken_of[1:]
    keeps = node.op in _KEEPS_WHOLE or node.nature == "structural"
    keeps = keeps or bool(node.param("products") or node.param("keeps_whole"))
    if node.op in _OF_TWO and len(spoken_of) < 2:  # the other one is no operand
        keeps = False
    is_whole = keeps and all(g.is_whole for g in spoken_of)
    if moves is not Moves.SMOOTHLY:
        return Grain(moves, is_whole)
    if node.op in _SUMMARIES or node.param("one_of"):
        return _moving(value, is_whole, is_summed=True)
    if node.nature not in _OF_EACH:
        return _moving(value, is_whole)
    joined = reduce(Grain.joined, operands)
    return replace(joined, moves=moves, is_whole=is_whole, number=None)


def _is_discrete(value: Value) -> bool:
    return value.dtype == "bool" or "int" in value.dtype


def _single(array: np.ndarray) -> float | None:
    is_one = array.ndim == 0 and array.dtype.kind in "fiu" and np.isfinite(array)
    return float(array) if is_one else None


def _holds_whole(array: np.ndarray) -> bool:
    if array.dtype.kind not in "fiub":
        return False
    return bool(np.all(np.isfinite(array)) and np.all(array == np.round(array)))
