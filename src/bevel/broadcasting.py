"""Broadcast accidents: labels of shape (n,) meet predictions (n, 1), and n x n values come out.

The frameworks do this silently, and the mean of the n x n differences looks like a loss. Comparing
each element with each other on purpose, as a ranking loss does with x[:, None] - x, is none: there
one argument is reshaped by the function itself.
"""

from __future__ import annotations

from collections.abc import Sequence

from bevel.errors import BevelValueError
from bevel.program import Node, Program

Shape = tuple[int | None, ...]
_KEPT = frozenset({"astype", "identity", "clip", "round", "floor", "ceil", "sign", "abs"})


def check_broadcasts(program: Program, names: Sequence[str]) -> None:
    """Raises where two arguments as they were given broadcast against each other by accident.

    Args:
        program: A traced function.
        names: The parameter behind each of its inputs.

    Raises:
        BevelValueError: Shapes (n,) and (n, 1) meet; names both, with the line.
    """
    _check(program, {v.id: n for n, v in enumerate(program.inputs)}, names)


def _check(program: Program, given: dict[int, int], names: Sequence[str]) -> None:
    """`given` says which values are arguments of the whole function, of unchanged shape.

    Where a framework writes out that it broadcasts, the shape before that counts.
    """
    same, shapes = dict(given), {i: program.values[i].shape for i in given}
    for node in program.nodes:
        if node.op == "call":
            inner = node.programs[0]
            heads = (*inner.inputs, *inner.captures)
            passed = {v.id: same[i] for v, i in zip(heads, node.inputs, strict=True) if i in same}
            _check(inner, passed, names)
            continue
        met = [(i, same[i]) for i in node.inputs if i in same]
        if len(node.inputs) == 2 and len(met) == 2 and met[0][1] != met[1][1]:
            a, b = (shapes[i] for i, _ in met)
            if a is not None and b is not None and _is_accident(a, b, node):
                raise _accident(node, [names[k] for _, k in met], a, b)
        if len(met) == 1 and (node.param("implicit") or _keeps_shape(node, program, met[0][0])):
            same[node.outputs[0].id] = met[0][1]
            shapes[node.outputs[0].id] = shapes[met[0][0]]


def _keeps_shape(node: Node, program: Program, operand: int) -> bool:
    kept = node.op in _KEPT or node.nature in ("elementwise", "step")
    return kept and len(node.outputs) == 1 and (
        node.outputs[0].shape == program.values[operand].shape
    )  # fmt: skip


def _is_accident(a: Shape, b: Shape, node: Node) -> bool:
    """Whether (n,) meets (n, 1) and (n, n) comes out, n not being 1."""
    short, long = sorted((a, b), key=len)
    if len(short) != 1 or len(long) != 2 or long[1] != 1:
        return False
    rows = {n for n in (short[0], long[0]) if n is not None}
    result = node.outputs[0].shape if node.outputs else None
    return len(rows) < 2 and rows != {1} and result is not None and len(result) == 2


def _accident(node: Node, names: Sequence[str], a: Shape, b: Shape) -> BevelValueError:
    first, second = (f"`{n}` has shape {s}" for n, s in zip(names, (a, b), strict=True))
    column = names[0] if len(a) == 2 else names[1]
    row = names[1] if len(a) == 2 else names[0]
    n = next((d for d in (*a, *b) if d not in (None, 1)), "n")
    return BevelValueError(
        f"{first} but {second}: they broadcast to ({n}, {n})",
        loc=node.loc,
        label="every label meets every prediction here",
        help=f"pass {row}[:, None], or {column} without its last axis.",
    )
