"""The other side of each branch that Python took, beside the side that was taken.

Python asks for a truth and goes one way; a run with that truth forced gives the other way. With b_i
the truth of the i-th branch, y the result, and y_i that of the run with b_i turned round, the
program ends in

    y + sum over i of (cond(b_i, y or y_i) - y),

which is y itself as long as nothing is soft. Relaxed, each term is the chance that the branch turns
times what would change: exact where the branches add up, as in a profit summed by an `if` in a
loop, and to first order where they act on each other. A side that raises, as behind a check of
arguments, or that gives the same is no side at all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from bevel.errors import TraceError
from bevel.frontends.torch.recorder import Branch
from bevel.frontends.torch.templates import Slot
from bevel.program import Loc, Node, Program, Value
from bevel.vocabulary import VOCABULARY

# Each of them costs a run; how many nodes all runs together may have.
MOST_BRANCHES = 64
_MOST_NODES = 20_000


@dataclass(frozen=True)
class Sides:
    """A program that ends in its branches.

    Attributes:
        program: The program.
        captured: A tensor for each of its captures.
        checks: The lines of branches whose other side raises or gives the same: they only check
            something.
    """

    program: Program
    captured: tuple[Any, ...]
    checks: frozenset[Loc | None]


def with_other_sides(
    run: Any, name: str, trained: Sequence[int], checks: frozenset[Loc | None] = frozenset()
) -> Sides:
    """The program of a run with both sides of its branches.

    Args:
        run: The run.
        name: The function's name.
        trained: Leaves for whose sake the other sides are wanted; without any, a branch only says
            that the result depends on its condition.
        checks: Lines of branches that are known to check something only.
    """
    end, checking = _End(run), set(checks)
    results = [v.id for v in run.results]
    bits = sum(1 << n for n in trained) if trained else -1
    recorder = run.recorder
    idle: set[Loc | None] = set()
    moving: set[Loc | None] = set()
    responds = any(recorder.depends[r] & bits for r in results)
    left = min(MOST_BRANCHES, _MOST_NODES // max(1, len(recorder.nodes)))
    for n, branch in enumerate(recorder.branches):
        if not recorder.depends[branch.value] & bits or branch.loc in checks:
            continue
        other = None
        if trained:
            if not left:
                continue
            left -= 1
            try:
                other = run.again({"forced": {n: not branch.truth}})
            except TraceError:
                checking.add(branch.loc)
                continue
            if responds and _is_idle(run, branch, other):
                idle.add(branch.loc)
                continue
            moving.add(branch.loc)
        chosen = end.branch(branch, results_of(run), other if _fits(run, branch, other) else None)
        pairs = zip(results, chosen, results_of(run), strict=True)
        results = [end.corrected(*triple) for triple in pairs]
    program = Program(
        name,
        tuple(recorder.values[: recorder.leaves]),
        (*(recorder.values[i] for i in recorder.captures), *(v for v, _ in end.captures)),
        (*recorder.nodes, *end.nodes),
        tuple(results),
    )
    captured = (*recorder.captured, *(t for _, t in end.captures))
    return Sides(program, captured, frozenset(checking | (idle - moving)))


def results_of(run: Any) -> list[int]:
    """The values that a run returned."""
    return [v.id for v in run.results]


def _fits(run: Any, branch: Branch, other: Any) -> bool:
    """Whether the other side is of use: it gives a result of the same shape."""
    if other is None or len(other.results) != len(run.results):
        return False
    before = slice(branch.nodes)  # else the function is not the same from run to run
    if other.recorder.nodes[before] != run.recorder.nodes[before]:
        return False
    pairs = zip(run.results, other.results, strict=True)
    return all((a.shape, a.dtype) == (b.shape, b.dtype) for a, b in pairs)


def _is_idle(run: Any, branch: Branch, other: Any) -> bool:
    """Whether the other side gives the same, as far as this run tells."""
    pairs = zip(run.results, other.results, strict=False)
    return _fits(run, branch, other) and all(torch.equal(a.tensor, b.tensor) for a, b in pairs)


class _End:
    """What is added at the end of a program for its branches."""

    def __init__(self, run: Any) -> None:
        self._recorder = run.recorder
        self._next = len(run.recorder.values)
        self.nodes: list[Node] = []
        self.captures: list[tuple[Value, Any]] = []

    def _value(self, like: Value) -> Value:
        self._next += 1
        return replace(like, id=self._next - 1)

    def branch(self, branch: Branch, results: Sequence[int], other: Any) -> list[Value]:
        """A `cond` that gives the results of this run or of the other one."""
        values = self._recorder.values
        if other is not None:  # its program has names of its own
            self._next = max(self._next, len(other.recorder.values))
        taken_heads = [self._value(values[r]) for r in results]
        operands = list(results)
        heads = list(taken_heads)
        if other is None:
            turned = [h.id for h in taken_heads]
            nodes: tuple[Node, ...] = ()
        else:
            nodes = tuple(other.recorder.nodes[branch.nodes :])
            turned = [v.id for v in other.results]
            made = {v.id for node in nodes for v in node.outputs}
            wanted = dict.fromkeys([*(i for node in nodes for i in node.inputs), *turned])
            for i in wanted:
                if i not in made:
                    heads.append(other.recorder.values[i])
                    operands.append(self._outer(i, branch, other))
        inputs = tuple(heads)
        taken = Program("taken", inputs, (), (), tuple(h.id for h in taken_heads))
        turn = Program(
            "other side" if other else "other side, not traced", inputs, (), nodes, tuple(turned)
        )
        outputs = [self._value(values[r]) for r in results]
        self.nodes.append(
            Node(
                op="cond",
                native="py:if",
                inputs=(branch.value, *operands),
                outputs=tuple(outputs),
                nature="control",
                params=(("taken", branch.truth),),
                programs=(taken, turn) if branch.truth else (turn, taken),
                loc=branch.loc,
            )
        )
        return outputs

    def _outer(self, i: int, branch: Branch, other: Any) -> int:
        """The value of the whole program that a value of the other run is."""
        if i < branch.ids:
            return i
        tensor = other.recorder.captured[other.recorder.captures.index(i)]
        for own, mine in zip(self._recorder.captures, self._recorder.captured, strict=True):
            if mine is tensor:
                return own
        for value, mine in self.captures:
            if mine is tensor:
                return value.id
        value = self._value(other.recorder.values[i])
        self.captures.append((value, tensor))
        return value.id

    def corrected(self, so_far: int, chosen: Value, plain: int) -> int:
        """The result so far, changed by what a branch changes."""
        if so_far == plain:
            return chosen.id
        change, total = self._value(chosen), self._value(chosen)
        self.nodes += [
            _arithmetic("subtract", "sub", (chosen.id, plain), change),
            _arithmetic("add", "add", (so_far, change.id), total),
        ]
        return total.id


def _arithmetic(op: str, name: str, inputs: tuple[int, ...], output: Value) -> Node:
    attrs = (("target", f"aten.{name}.Tensor"), ("args", (Slot(0), Slot(1))), ("kwargs", ()))
    return Node(op, f"aten::{name}", inputs, (output,), (0, 1), VOCABULARY[op], (), attrs)
