"""`no_grad` and `detach` around what passes no gradient anyway.

A metric is often written under `torch.no_grad()`, or detached, since its author knew that a step or
a position has no gradient. That says nothing about a relaxed step. Where no other way leads from
what is trained to the result, such stops are taken out; one behind which a true gradient would have
passed is always kept, and so is every one of a loss that has another way.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from bevel.program import Node, Program
from bevel.vocabulary import CUTS, VOCABULARY, entries_of


def without_idle_stops(program: Program, trained: Sequence[int]) -> Program:
    """The program, with such stops taken out if the trained inputs reach no result otherwise."""
    leaves = {program.inputs[n].id for n in trained}
    if not leaves or not any(node.op == "stop_gradient" for node in program.walk()):
        return program
    if _reached(program, leaves) & set(program.outputs):
        return program
    return _cleared(program, leaves)[0]


def _reached(program: Program, moving: Iterable[int]) -> set[int]:
    """Values that a relaxed gradient reaches; by the choice of a branch alone it does not count."""
    found = set(moving)
    for node in program.nodes:
        if node.programs:
            results = [False] * len(node.outputs)
            for side in node.programs:
                inner = _inner(node, side, found)
                reached = _reached(side, inner)
                results = [a or o in reached for a, o in zip(results, side.outputs, strict=True)]
            found.update(v.id for v, is_in in zip(node.outputs, results, strict=True) if is_in)
        elif node.nature not in ("stop", "shape", "constant") and found.intersection(node.inputs):
            found.update(v.id for v in node.outputs)
    return found


def _inner(branch: Node, side: Program, outer: set[int]) -> set[int]:
    """The inputs of a branch's side that stand for some values outside of it."""
    return {v.id for v, i in zip(side.inputs, branch.inputs[1:], strict=True) if i in outer}


def _cleared(program: Program, smooth: set[int]) -> tuple[Program, set[int]]:
    """The program without idle stops, and the values that PyTorch's own gradient reaches."""
    smooth, nodes = set(smooth), []
    for node in program.nodes:
        new = node
        if node.op == "stop_gradient" and node.inputs[0] not in smooth:
            attrs = {**dict(node.attrs), "target": "aten.clone.default"}
            new = replace(
                node, op="identity", native="aten::clone", nature=VOCABULARY["identity"],
                params=(), attrs=tuple(attrs.items()),
            )  # fmt: skip
        elif node.programs:
            made = []
            for side in node.programs:
                cleared, passing = _cleared(side, _inner(node, side, smooth))
                made.append(cleared)
                pairs = zip(node.outputs, side.outputs, strict=True)
                smooth.update(v.id for v, o in pairs if o in passing)
            new = replace(node, programs=tuple(made))
        elif _passes(node, smooth):
            smooth.update(v.id for v in node.outputs if "float" in v.dtype)
        nodes.append(new)
    return replace(program, nodes=tuple(nodes)), smooth


def _passes(node: Node, smooth: set[int]) -> bool:
    """Whether PyTorch's own gradient comes through an operation."""
    entries = entries_of(node)
    if entries is not None:
        return any(node.inputs[n] in smooth for n in entries if n < len(node.inputs))
    is_cut = node.nature in CUTS - {"index", "position", "cast"}
    return not is_cut and bool(smooth.intersection(node.inputs))
