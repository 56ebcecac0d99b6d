"""One run of a program, written down: which values came from where, and where a gradient was lost.

Branches that are taken and rounds of a loop are written out one after the other, so a recording is
a straight line of events. It answers three questions: does the result depend on what is trained;
can a gradient get there; and which events cut it off nearest to the prediction.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from bevel.backend import to_numpy
from bevel.errors import BevelError, BevelValueError
from bevel.program import Node, Program
from bevel.vocabulary import CUTS, entries_of

# What is not done again for an audit.
_SPEAKING = frozenset({"Print", "PrintV2", "PyFunc", "PyFuncStateless", "EagerPyFunc"})

_STEPS = frozenset({"step", "index", "cast", "position"})
_VALIDITY = frozenset({"isnan", "isinf", "isfinite"})

# Operations that add up, and the signs of their operands.
_SUMS = {"add": (1, 1), "subtract": (1, -1), "negative": (-1,), "identity": (1,)}
_ADDING = frozenset({*_SUMS, "sum", "mean", "stack", "concat"})
_SCALING = frozenset({"multiply", "divide", "astype"})
_DIFFERENTIABLE = ("float", "bfloat", "variant", "complex")


@dataclass(frozen=True, eq=False)
class Event:
    """One operation that ran on a value that depends on the prediction.

    Attributes:
        node: What ran.
        nth: How often the same node had run before.
        inputs: Tokens of its operands.
        outputs: Tokens of its results.
        operands: Values of its operands.
        results: Values of its results.
        is_joint: Whether it only stands for a branch or loop: its results are its last operands.
    """

    node: Node
    nth: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    operands: tuple[Any, ...]
    results: tuple[Any, ...]
    is_joint: bool = False


@dataclass
class Recording:
    """A run of a program.

    Attributes:
        events: In the order in which they ran.
        trained: Tokens of the values that a gradient must reach.
        results: Tokens of the program's results.
        values: The value behind each token.
        live: Tokens that a gradient can get to from the trained ones.
        active: Tokens that depend on the trained ones at all.
        rounds: The most rounds that a loop took, by the id of its node.
    """

    events: list[Event] = field(default_factory=list)
    trained: tuple[int, ...] = ()
    results: tuple[int, ...] = ()
    values: list[Any] = field(default_factory=list)
    live: set[int] = field(default_factory=set)
    active: set[int] = field(default_factory=set)
    rounds: dict[int, int] = field(default_factory=dict)

    def reaching(self, through_declared: bool) -> set[int]:
        """Tokens that the results depend on.

        Args:
            through_declared: Whether to go on behind `stop_gradient` and behind the values of a
                declared gradient.
        """
        found = set(self.results)
        stood_for = set() if through_declared else self.estimators[1]
        for event in reversed(self.events):
            if not any(t in found for t in event.outputs):
                continue
            for position, token in enumerate(event.inputs):
                is_shut = (id(event), position) in stood_for
                if through_declared or (is_open(event.node, position) and not is_shut):
                    found.add(token)
        return found

    @cached_property
    def estimators(self) -> tuple[set[int], set[tuple[int, int]]]:
        """Straight-through estimators by sums: `v - stop_gradient(v) + hard`, in any order.

        Returns:
            The outputs of the `stop_gradient`s whose own operand is added to what they take away;
            and the operands, by event and position, for which the gradient of that one stands.
        """
        stopped = {e.outputs[0]: e.inputs[0] for e in self.events if e.node.nature == "stop"}
        if not stopped:
            return set(), set()
        whole = set(stopped.values())
        sums: dict[int, dict[int, int]] = {}
        paired: set[int] = set()
        stood_for: set[tuple[int, int]] = set()
        for event in self.events:
            signs = _SUMS.get(event.node.op)
            if signs is None or len(event.inputs) != len(signs):
                continue
            total: dict[int, int] = {}
            for sign, token in zip(signs, event.inputs, strict=True):
                parts = {token: 1} if token in whole else sums.get(token, {token: 1})
                for part, share in parts.items():
                    total[part] = total.get(part, 0) + sign * share
            sums[event.outputs[0]] = total
            pairs = {
                s for s in total if s in stopped and 0 != total[s] == -total.get(stopped[s], 0)
            }
            if pairs:
                paired |= pairs
                hard = (n for n, t in enumerate(event.inputs) if t not in self.live)
                stood_for |= {(id(event), n) for n in hard}
        return paired, stood_for

    def cuts(self, reached: set[int]) -> list[Event]:
        """Events into which a gradient can get, and out of which something reached cannot be got.

        A branch or a loop as a whole is none: what made its condition is. Nor is the question
        whether a number is one at all, whose answer no small change turns over.
        """
        return [
            event
            for event in self.events
            if not event.is_joint
            and event.node.op not in _VALIDITY
            and any(t in self.live for t in event.inputs)
            and any(t in self.active and t not in self.live and t in reached for t in event.outputs)
        ]

    def is_stepped(self, stop: Event) -> bool:
        """Whether what a declared gradient hides is a step, as in a straight-through estimator.

        Or whether it takes away what is added besides, and so hides nothing.
        """
        if not self.estimators[0].isdisjoint(stop.outputs):
            return True
        wanted = set(stop.inputs)
        for event in reversed(self.events):
            if not any(t in wanted for t in event.outputs):
                continue
            if event.node.nature in _STEPS and any(t in self.live for t in event.inputs):
                return True
            wanted.update(event.inputs)
        return False

    def behind_lost_terms(self) -> set[int]:
        """Tokens of which a term is made, of those that are added up to results, that gets no
        gradient at all.
        """
        made = {t: event for event in self.events for t in event.outputs}
        pending, lost = list(self.results), set()
        while pending:
            token = pending.pop()
            event = made.get(token)
            if token in self.active and token not in self.live:
                lost.add(token)
            elif event is not None and self._adds_up(event):
                pending.extend(event.inputs)
        for event in reversed(self.events):
            if not lost.isdisjoint(event.outputs):
                lost.update(event.inputs)
        return lost

    def _adds_up(self, event: Event) -> bool:
        """Whether a result is a sum, or a multiple of one operand."""
        if event.is_joint or event.node.op in _ADDING:
            return True
        moving = sum(t in self.active for t in event.inputs)
        return moving == 1 and event.node.op in _SCALING

    def of(self, token: int) -> Recording:
        """The same run, seen from one of the trained values alone."""
        events, active, live = [], {token}, {token}
        for event in self.events:
            if not any(t in active for t in event.inputs):
                continue
            events.append(event)
            for n, (made, result) in enumerate(zip(event.outputs, event.results, strict=True)):
                active.add(made)
                if _is_differentiable(result) and passes(event, n, live):
                    live.add(made)
        return replace(self, events=events, trained=(token,), active=active, live=live)

    @property
    def depends(self) -> bool:
        """Whether a result depends on what is trained."""
        return any(t in self.active for t in self.results)

    @property
    def flows(self) -> bool:
        """Whether a path that a gradient can take leads to a result."""
        return any(t in self.live for t in self.results)


def passes(event: Event, n: int, live: set[int]) -> bool:
    """Whether a gradient can get from live operands to the n-th result of an event."""
    node = event.node
    if event.is_joint:
        return event.inputs[len(event.inputs) - len(event.outputs) + n] in live
    if node.op == "custom_gradient":
        declared = node.param("gradients")
        return any(t in live for t, g in zip(event.inputs, declared, strict=False) if g)
    if node.op == "top_k":
        return n == 0 and event.inputs[0] in live
    if node.op == "sort":  # each array of several; which element stands where is a position
        return event.inputs[n] in live
    listed = entries_of(node)
    if listed is not None:
        entries = [node.inputs[node.operands[i]] for i in listed]
        ids = dict(zip(node.inputs, event.inputs, strict=True))
        return any(ids[i] in live for i in entries)
    if node.nature in CUTS and node.nature != "cast":
        return False
    return any(t in live for t in event.inputs)


def is_open(node: Node, position: int) -> bool:
    """Whether a gradient may be looked for behind an operand: not where one was declared."""
    if node.nature == "stop":
        return False
    if node.op == "custom_gradient":
        declared = node.param("gradients")
        return position < len(declared) and declared[position]
    return True


def record(
    program: Program, operands: Sequence[Any], trained: Sequence[int], executor: Any
) -> Recording:
    """Runs a program eagerly and writes down what depends on the trained operands.

    Args:
        program: The program.
        operands: A tensor for each of its inputs and captures.
        trained: Positions of the operands that a gradient must reach.
        executor: Runs nodes: a module of `bevel.frontends`.
    """
    recorder = _Recorder(executor)
    tokens = [recorder.token(operand) for operand in operands]
    recording = recorder.recording
    recording.trained = tuple(tokens[i] for i in trained)
    recording.active.update(recording.trained)
    recording.live.update(recording.trained)
    recording.results = tuple(recorder.run(program, tokens))
    return recording


class _Recorder:
    def __init__(self, executor: Any) -> None:
        self.executor = executor
        self.recording = Recording()
        self._counts: dict[int, int] = {}

    def token(self, value: Any) -> int:
        self.recording.values.append(value)
        return len(self.recording.values) - 1

    def run(self, program: Program, operands: Sequence[int]) -> list[int]:
        heads = (*program.inputs, *program.captures)
        env = {v.id: token for v, token in zip(heads, operands, strict=True)}
        for node in program.nodes:
            if node.nature == "effect":
                if not _speaks(node) and all(i in env for i in node.inputs):
                    made = map(self.token, self.native(node, [env[i] for i in node.inputs]))
                    env.update(zip((v.id for v in node.outputs), made, strict=True))
                continue
            results = self.step(node, [env[i] for i in node.inputs])
            env.update(zip((v.id for v in node.outputs), results, strict=True))
        return [env[i] for i in program.outputs]

    def step(self, node: Node, inputs: list[int]) -> list[int]:
        if node.op == "call":
            return self.run(node.programs[0], inputs)
        if node.op in ("cond", "switch"):
            return self._branch(node, inputs)
        if node.op == "while_loop":
            return self._loop(node, inputs)
        return self._write(node, inputs, self.native(node, inputs), is_joint=False)

    def native(self, node: Node, inputs: Sequence[int]) -> list[Any]:
        """Runs a node as the user's program does; what it does not take is said at its line."""
        try:
            return self.executor.run_node(node, [self.recording.values[t] for t in inputs])
        except BevelError:
            raise
        except Exception as error:  # an assertion or a look-up, in any framework's words
            raise _refusal(node, error) from error

    def _branch(self, node: Node, inputs: list[int]) -> list[int]:
        taken = node.programs[_taken(node, self.recording.values[inputs[0]])]
        outputs = self.run(taken, inputs[1:])
        return self._join(node, [inputs[0]], outputs)

    def _loop(self, node: Node, inputs: list[int]) -> list[int]:
        condition, body = node.programs
        state, asked = list(inputs), []
        while True:
            asked.append(self.run(condition, state)[0])
            if not _truth(self.recording.values[asked[-1]]):
                most = self.recording.rounds
                most[id(node)] = max(most.get(id(node), 0), len(asked) - 1)
                if node.nature != "opaque":
                    return self._join(node, asked, state)
                values = [self.recording.values[t] for t in state]  # there is no way back
                return self._write(node, [*asked, *state], values, is_joint=False)
            state = self.run(body, state)

    def _join(self, node: Node, asked: list[int], outputs: list[int]) -> list[int]:
        """Results of a branch or loop, which depend on its conditions too."""
        if not any(t in self.recording.active for t in asked):
            return outputs
        values = [self.recording.values[t] for t in outputs]
        return self._write(node, [*asked, *outputs], values, is_joint=True)

    def _write(
        self, node: Node, inputs: Sequence[int], results: Sequence[Any], is_joint: bool
    ) -> list[int]:
        recording = self.recording
        outputs = [self.token(r) for r in results]
        if node.nature == "shape" or not any(t in recording.active for t in inputs):
            return outputs
        nth = self._counts[id(node)] = self._counts.get(id(node), -1) + 1
        operands = tuple(recording.values[t] for t in inputs)
        event = Event(node, nth, tuple(inputs), tuple(outputs), operands, tuple(results), is_joint)
        recording.events.append(event)
        for n, (token, result) in enumerate(zip(outputs, results, strict=True)):
            recording.active.add(token)
            if _is_differentiable(result) and passes(event, n, recording.live):
                recording.live.add(token)
        return outputs


def is_print(node: Node) -> bool:
    """Whether a node only tells something; an audit, which runs it hundreds of times, drops it."""
    return node.nature == "effect" and not node.outputs and _speaks(node)


def _speaks(node: Node) -> bool:
    """Whether a node, which is run for its effect, does more than to check something."""
    inner = (n for program in node.programs for n in program.walk())
    return any(n.native in _SPEAKING for n in (node, *inner))


def _refusal(node: Node, error: Exception) -> BevelValueError:
    """Says at the user's line which operation does not take the values that it met."""
    reason = next((line for line in str(error).splitlines() if line.strip()), repr(error))
    reason = re.sub(r"{{.*?}}", "", reason)  # TensorFlow's names of devices and kernels
    return BevelValueError(
        f"`{node.name}` does not take these values",
        loc=node.loc,
        label=reason.strip()[:300],
        help="look for labels out of range, or for an assertion that does not hold.",
    )


def _taken(node: Node, choice: Any) -> int:
    """Which nested program is run; of an index that names none, the last."""
    if node.op == "cond":
        return 0 if _truth(choice) else 1
    last = len(node.programs) - 1
    return int(choice) if 0 <= int(choice) < last else last


def _truth(value: Any) -> bool:
    return bool(to_numpy(value))


def _is_differentiable(value: Any) -> bool:
    dtype = getattr(value, "dtype", None)
    name = getattr(dtype, "name", str(dtype))
    return name.removeprefix("torch.").startswith(_DIFFERENTIABLE)
