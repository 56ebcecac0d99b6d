"""What of a program depends on what, read off its structure."""

from __future__ import annotations

from collections.abc import Sequence

from bevel.program import Node, Program

_UNVARYING = frozenset({"shape", "stop", "effect", "constant"})


def varying(program: Program, operands: Sequence[bool]) -> list[bool]:
    """Which results may vary with an operand that varies.

    Args:
        program: The program.
        operands: For each of its inputs and captures, whether it varies.
    """
    moving = moved_by(program, operands)
    return [i in moving for i in program.outputs]


def moved_by(program: Program, operands: Sequence[bool]) -> set[int]:
    """Ids of all values of a program, not those in nested ones, that may vary with an operand."""
    heads = (*program.inputs, *program.captures)
    moving = {v.id for v, moves in zip(heads, operands, strict=True) if moves}
    for node in program.nodes:
        for value, moves in zip(node.outputs, _results(node, moving), strict=True):
            if moves:
                moving.add(value.id)
    return moving


def _results(node: Node, moving: set[int]) -> list[bool]:
    inputs = [i in moving for i in node.inputs]
    if node.nature in _UNVARYING or not any(inputs):
        return [False] * len(node.outputs)
    if node.op == "call":
        return varying(node.programs[0], inputs)
    if node.op in ("cond", "switch") and not inputs[0]:
        branches = [varying(p, inputs[1:]) for p in node.programs]
        return [any(b) for b in zip(*branches, strict=True)]
    if node.op == "while_loop":
        _, body = node.programs
        while True:
            after = [a or b for a, b in zip(inputs, varying(body, inputs), strict=True)]
            if after == inputs:
                return inputs
            inputs = after
    return [True] * len(node.outputs)


def feeding(program: Program) -> set[int]:
    """Ids of values that reach a result on a path that a gradient is meant to take.

    A path ends at a `stop_gradient` and where a loop goes over the values that are there; at a
    declared gradient it goes on with the operands that the declaration gives a gradient to.
    """
    makers = {v.id: node for node in program.nodes for v in node.outputs}
    found: set[int] = set()
    stack = list(program.outputs)
    while stack:
        i = stack.pop()
        if i in found:
            continue
        found.add(i)
        node = makers.get(i)
        if node is None or node.nature == "stop" or node.param("keeps_values"):
            continue
        if node.op == "custom_gradient":
            declared = node.param("gradients")
            stack.extend(j for j, given in zip(node.inputs, declared, strict=False) if given)
        else:
            stack.extend(node.inputs)
    return found
