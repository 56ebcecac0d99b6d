"""Runs a program on soft values: the relaxation as an interpretation.

Every node is asked in turn: nothing soft goes in, so it runs natively; it has a rule; it is
elementwise, structural or smooth; else it is unknown, which is an error that names the user's line.
What only feeds a declared gradient (`stop_gradient`, a custom gradient) is run hard, as the user
wrote it. Branches on a soft condition are both run and blended; loops carry soft values, and their
trip count stays hard.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from keras import ops as K

from bevel import rules
from bevel.activity import feeding, varying
from bevel.errors import BevelError, UnknownOperationError
from bevel.grain import Grains
from bevel.program import Loc, Node, Program
from bevel.rules import elements
from bevel.rules.context import Call, Context, origin_of, whole_of
from bevel.rules.index import positions, together
from bevel.rules.lifting import DISCRETE, is_elementwise, lift
from bevel.rules.logic import as_prob, blend
from bevel.rules.selection import filled, on_rows
from bevel.rules.singular import expectations
from bevel.rules.structural import move
from bevel.soft import (
    Index,
    Mixture,
    Prob,
    Real,
    Rounded,
    Selected,
    Soft,
    Stacked,
    combine,
    value_of,
)
from bevel.vocabulary import CUTS, TRANSPARENT, entries_of

Hard = Callable[[int], Any]


@dataclass(frozen=True)
class Replacement:
    """One line of an explanation: what an operation became."""

    op: str
    native: str
    says: str
    loc: Loc | None


@dataclass
class Interpreter:
    """Runs programs on soft values.

    Attributes:
        executor: Runs native nodes: a module of `bevel.frontends`.
        temperature: See `bevel.relax`.
        kernel: See `bevel.relax`.
        on_unknown: See `bevel.relax`.
        chooses: Whether the program chooses between values, so that one of them may be infinite.
        grains: How the operands of each node move with what is trained; see `bevel.grain`.
        large: From where on a number may stand for nothing, as -1e9 does; None for nowhere.
        log: What was replaced, in the order in which it was met.
        kept_loops: Loops that go on as long as a soft value says, as often as the hard one says.
        shared: See `Context`.
    """

    executor: Any
    temperature: Any
    kernel: str
    on_unknown: str
    chooses: bool = False
    grains: Grains = field(default_factory=dict)
    large: float | None = None
    log: list[Replacement] = field(default_factory=list)
    kept_loops: list[Node] = field(default_factory=list)
    shared: dict[Any, tuple[Any, Any]] = field(default_factory=dict)

    def run(
        self, program: Program, operands: Sequence[Any], hard: Hard, effects: bool = True
    ) -> list[Any]:
        """Runs a program.

        Args:
            program: The program.
            operands: A value of any kind for each of its inputs and captures.
            hard: Gives the hard value of an operand by its position.
            effects: Whether assertions and the like are run, where nothing soft goes in.

        Returns:
            The results, of any kind.
        """
        outer, self.shared = self.shared, {}
        try:
            return self._run(program, operands, hard, effects)
        finally:
            self.shared = outer

    def _run(
        self, program: Program, operands: Sequence[Any], hard: Hard, effects: bool
    ) -> list[Any]:
        heads = (*program.inputs, *program.captures)
        env = {v.id: operand for v, operand in zip(heads, operands, strict=True)}
        exact = _HardValues(self, program, env, hard)
        live = feeding(program)
        known = _Repeats()
        for node in program.nodes:
            if node.nature == "effect":
                args = [env.get(i) for i in node.inputs]
                if effects and not any(a is None or isinstance(a, Soft) for a in args):
                    results = self.executor.run_node(node, args)
                    env.update(zip((v.id for v in node.outputs), results, strict=True))
                continue
            if node.outputs and not any(v.id in live for v in node.outputs):
                continue
            args = [env[i] if i in env else exact(i) for i in node.inputs]
            earlier = known.outputs(node, args)
            if earlier is None:
                results = self.apply(node, args, exact)
            else:
                results = [env[i] for i in earlier]
                self._note_rule(node)
            env.update(zip((v.id for v in node.outputs), results, strict=True))
        return [env[i] if i in env else exact(i) for i in program.outputs]

    def apply(self, node: Node, args: Sequence[Any], exact: Hard | None) -> list[Any]:
        """Runs one node on operands of any kind; `exact` gives hard values by id, where known.

        Raises:
            UnknownOperationError: There is no rule, or the framework refuses what the rule makes of
            it.
        """
        if node.op == "assign":
            self._note(node, "what is read back is the value itself; the variable stays as it is")
            return list(args)
        if node.param("keeps_values") and exact is not None:
            self._note(node, "the values that a loop goes over, as they are")
            return [_constant(exact(v.id)) for v in node.outputs]
        if not any(isinstance(a, Soft) for a in args):
            return self.executor.run_node(node, args)
        try:
            return self._apply_soft(node, args, exact)
        except BevelError:
            raise
        except Exception as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
            raise UnknownOperationError(
                f"relax cannot run `{node.name}` on a value that depends on the prediction",
                loc=node.loc,
                label=reason[:200],
                help="write the line with another operation",
            ) from error

    def _apply_soft(self, node: Node, args: Sequence[Any], exact: Hard | None) -> list[Any]:
        special = _SPECIAL.get(node.op)
        if special is not None and exact is not None:
            return special(self, node, args, exact)
        if node.param("stays") and isinstance(args[0], Soft):
            return list(args[:1])
        context = self._context()
        if node.param("fills"):
            results = filled(context, Call(node, args, self.executor.run_node, exact))
            if results is not NotImplemented:
                return results
        args = self._with_hard_sizes(node, args, exact)
        if not any(isinstance(a, Soft) for a in args):
            return self.executor.run_node(node, args)
        call = Call(node, args, self.executor.run_node, exact)
        if any(isinstance(a, Selected) for a in args):
            results = on_rows(context, call)
            return self._unknown(node, exact) if results is NotImplemented else results
        whole = together(call, call.args[0]) if call.args else NotImplemented
        if whole is not NotImplemented:
            return [whole]
        rule = rules.RULES.get(node.op)
        if rule is not None:
            result = rule.apply(context, call, *call.args)
            if result is not NotImplemented:
                self._note_rule(node)
                return result if isinstance(result, list) else [result]
        if node.op in rules.GUARDS and all(
            isinstance(a, Real | Soft) for a in args if a is not None
        ):
            return [_constant(r) for r in self.executor.run_node(node, [value_of(a) for a in args])]
        if is_elementwise(node):
            if any(isinstance(a, (*DISCRETE, Stacked)) for a in args):
                return [lift(context, call)]
            if node.nature != "step":
                return self._on_expectations(node, args)
        if node.nature == "structural" or (node.op in rules.LOOK_UPS and _enters(call)):
            moved = move(call, self.executor.static_value, self.executor.outside_graphs)
            if moved is not NotImplemented:
                return moved
        if node.nature == "position" and _enters(call):
            return self._on_expectations(node, args)
        if node.param("shape_only") or node.param("counts"):
            return self.executor.run_node(node, [value_of(a) for a in args])
        if _stores_integers(node, args):
            return self._unknown(node, exact)
        if node.nature in ("smooth", "kink", "singular", "wrap") and node.op != "py_call":
            return self._on_expectations(node, args)
        return self._unknown(node, exact)

    def _context(self) -> Context:
        return Context(
            self.temperature,
            self.kernel,
            self.chooses,
            lambda n, a: self.apply(n, a, None),
            self.executor.all_sum if self.executor.replicas() > 1 else None,
            self.executor.static_value,
            self.grains,
            self.large,
            self.shared,
        )

    def _with_hard_sizes(self, node: Node, args: Sequence[Any], exact: Hard | None) -> list[Any]:
        """The operands, those that only say how large something is as in the user's program."""
        sizes = node.param("sizes", ())
        if exact is None or not any(isinstance(args[n], Soft) for n in sizes):
            return list(args)
        self._note(node, "the same, with its size as it is")
        return [
            exact(i) if n in sizes else a
            for n, (i, a) in enumerate(zip(node.inputs, args, strict=True))
        ]

    def _on_expectations(self, node: Node, args: Sequence[Any]) -> list[Any]:
        operands = expectations(self._context(), node, args)
        results = self.executor.run_node(node, operands)
        origin = self._origin(node, args)
        wholes = tuple(g.is_whole for g in self.grains.get(id(node), ()))
        return [
            Prob(t)
            if v.dtype == "bool"
            else Real(t, v.dtype, origin, **elements.of_result(node, args, t, wholes))
            for t, v in zip(results, node.outputs, strict=True)
        ]

    def _origin(self, node: Node, args: Sequence[Any]) -> Callable[[], Any] | None:
        """Of a single number, `x[i] - y[j]`, gives all that it might have been: `x - y[j]`."""
        shape = node.outputs[0].shape if node.outputs else None
        if shape is None or any(n != 1 for n in shape) or not is_elementwise(node):
            return None
        cut = next((a for a in args if origin_of(a) is not None), None)
        if cut is None:
            return None

        def whole() -> Any:
            operands = [whole_of(a) if a is cut else value_of(a) for a in args]
            return self.executor.run_node(node, operands)[0]

        return whole

    def check_result(self, results: Sequence[Any]) -> None:
        """Raises where all that is left of the prediction is how often a loop ran.

        Raises:
            UnknownOperationError: No result is soft, and there is such a loop.
        """
        if self.kept_loops and not any(isinstance(r, Soft) for r in results):
            raise UnknownOperationError(
                "the value depends on the prediction only by how many rounds a loop takes, which "
                "relax keeps as it is",
                loc=self.kept_loops[0].loc,
                label="no gradient comes out of this loop",
                help="run all rounds, and let a condition inside decide what counts.",
            )

    def _note_rule(self, node: Node) -> None:
        rule = rules.RULES.get(node.op)
        if rule is not None and rule.says:
            self._note(node, rule.says)

    def _note(self, node: Node, says: str) -> None:
        entry = Replacement(node.name, node.native, says, node.loc)
        if entry not in self.log:
            self.log.append(entry)

    def _unknown(self, node: Node, exact: Hard | None) -> list[Any]:
        if self.on_unknown == "keep" and exact is not None:
            self._note(node, "kept as it is, and taken as a constant")
            return [exact(v.id) for v in node.outputs]
        raise UnknownOperationError(
            f"relax has no rule for `{node.name}` on a value that depends on the prediction",
            loc=node.loc,
            label=f"{self.executor.NAME}'s {node.native}",
            help='write the line with another operation; or pass on_unknown="keep" to run it as it '
            "is, as a constant for the gradient.",
        )

    # Operations that run nested programs or carry a declared gradient.

    def _call(self, node: Node, args: Sequence[Any], exact: Hard) -> list[Any]:
        return self.run(node.programs[0], args, lambda i: exact(node.inputs[i]))

    def _cond(self, node: Node, args: Sequence[Any], exact: Hard) -> list[Any]:
        predicate, *rest = args
        predicate = as_prob(predicate)
        inner: Hard = lambda i: exact(node.inputs[i + 1])  # noqa: E731
        if isinstance(predicate, Prob) and predicate.exact is None:
            p = predicate.p
            if predicate.passes is not None:
                # a check of a batch, `if all(x >= 0)`: the product of many chances is near 0 even
                # where each is likely, and would give the value of a side that is never taken
                passes, truth = predicate.passes(), exact(node.inputs[0])
                if np.all(self.executor.static_value(passes) or False):
                    return self._taken(node, truth, rest, inner)
                p = K.where(passes, K.cast(truth, p.dtype), p)
            self._note(node, "p then + (1 - p) else")
            then, other = (self.run(p, rest, inner, effects=False) for p in node.programs)
            return [
                blend(p, a, b, v.dtype) for a, b, v in zip(then, other, node.outputs, strict=True)
            ]
        if isinstance(predicate, Prob):
            predicate = predicate.hard()
        if isinstance(predicate, Soft):
            return self._unknown(node, exact)
        return self._taken(node, predicate, rest, inner)

    def _taken(self, node: Node, choice: Any, rest: Sequence[Any], inner: Hard) -> list[Any]:
        """The branch that a hard condition or index picks, run on soft values."""
        soft = [isinstance(a, Soft) for a in rest]
        _settle(rest)
        for n, is_soft in enumerate(soft):
            if is_soft:
                inner(n)  # known from here on, in both branches
        active = [any(b) for b in zip(*(varying(p, soft) for p in node.programs), strict=True)]

        def branch(program: Program, operands: Sequence[Any]) -> list[Any]:
            return _pack(self.run(program, operands, inner), active, node)

        return _unpack(self.executor.run_node(node, [choice, *rest], branch), active, node)

    def _switch(self, node: Node, args: Sequence[Any], exact: Hard) -> list[Any]:
        """Every branch by the chance that the index picks it; the last one where it picks none."""
        index, *rest = args
        inner: Hard = lambda i: exact(node.inputs[i + 1])  # noqa: E731
        if not isinstance(index, Soft):
            return self._taken(node, index, rest, inner)
        self._note(node, "every branch, by the weight of its index")
        weights, places = positions(self._context(), index, len(node.programs))
        last = len(node.programs) - 1
        places = K.where(K.logical_or(places < 0, places > last), last, places)
        shares = [K.sum(K.where(places == n, weights, 0.0), axis=-1) for n in range(last + 1)]
        results = [self.run(p, rest, inner, effects=False) for p in node.programs]
        return [
            combine(list(zip(shares, options, strict=True)), v.dtype)
            for *options, v in zip(*results, node.outputs, strict=True)
        ]

    def _while(self, node: Node, args: Sequence[Any], exact: Hard) -> list[Any]:
        condition, body = node.programs
        active = [isinstance(a, Soft) for a in args]
        while (
            after := [a or b for a, b in zip(active, varying(body, active), strict=True)]
        ) != active:
            active = after

        _settle(args)
        # what the body hands on unchanged keeps its kind, and its hard value
        handed_on = enumerate(zip(body.inputs, body.outputs, strict=False))
        fixed = {n for n, (value, result) in handed_on if value.id == result}
        known = {n: exact(node.inputs[n]) for n in fixed if active[n]}

        def unpacked(state: Sequence[Any]) -> list[Any]:
            values = _unpack(state, active, node)
            return [args[n] if n in fixed else value for n, value in enumerate(values)]

        def nested(program: Program, state: Sequence[Any]) -> list[Any]:
            def hard(n: int) -> Any:
                return (
                    known[n] if n in known else _harden(state[n], active[n], node.outputs[n].dtype)
                )

            if program is condition:
                return self.executor.run_program(program, [hard(n) for n in range(len(state))])
            return _pack(self.run(program, unpacked(state), hard), active, node)

        if varying(condition, active)[0]:
            self.kept_loops.append(node)
            self._note(node, "the same, with its number of rounds as it is")
        state = _pack(args, active, node)
        return unpacked(self.executor.run_node(node, state, nested))

    def _stop(self, node: Node, args: Sequence[Any], exact: Hard) -> list[Any]:
        self._note(node, "respected: the hard value, as a constant")
        return [_constant(exact(v.id)) for v in node.outputs]

    def _handed_over(self, node: Node, args: Sequence[Any], exact: Hard) -> list[Any]:
        """A number that Python goes on with is the value itself, where Python is followed."""
        return list(args[:1]) if node.param("followed") else self._unknown(node, exact)

    def _custom(self, node: Node, args: Sequence[Any], exact: Hard) -> list[Any]:
        self._note(node, "respected: the hard value, with the gradient that was declared")
        declared = node.param("gradients")
        operands = [
            value_of(a) if n < len(declared) and declared[n] else exact(i)
            for n, (i, a) in enumerate(zip(node.inputs, args, strict=True))
        ]
        results = self.executor.run_node(node, operands)
        return [Real(t, v.dtype) for t, v in zip(results, node.outputs, strict=True)]


_SPECIAL: dict[str, Callable[[Interpreter, Node, Sequence[Any], Hard], list[Any]]] = {
    "call": Interpreter._call,
    "cond": Interpreter._cond,
    "switch": Interpreter._switch,
    "while_loop": Interpreter._while,
    "stop_gradient": Interpreter._stop,
    "custom_gradient": Interpreter._custom,
    "py_call": Interpreter._handed_over,
}


def _stores_integers(node: Node, args: Sequence[Any]) -> bool:
    """Whether a soft integer or truth goes into a list of tensors, which has one dtype."""
    into_list = any(v.dtype == "variant" for v in node.outputs)
    return into_list and any(
        isinstance(a, Soft) and not a.dtype.startswith(("float", "bfloat", "variant")) for a in args
    )


def _enters(call: Call) -> bool:
    """Whether every soft operand is one that a gradient may enter by, and none is a position."""
    entries = {call.node.operands[i] for i in entries_of(call.node) or ()}
    return all(n in entries for n, a in enumerate(call.inputs) if isinstance(a, Soft))


class _Repeats:
    """Which node of a program computes what an earlier one did, from the same operands.

    Both then get one soft value: `y[p > t]` and `x[p > t]` are rows that the same mask picks.
    """

    _PURE = TRANSPARENT | CUTS - {"opaque", "python", "random", "stop"}

    def __init__(self) -> None:
        self._first: dict[int, int] = {}
        self._made: dict[Any, tuple[int, ...]] = {}

    def outputs(self, node: Node, args: Sequence[Any]) -> tuple[int, ...] | None:
        """The outputs of the earlier node, or None for the first of its kind."""
        is_constant = node.op == "constant"
        if not is_constant and (node.nature not in self._PURE or node.programs):
            return None
        if not is_constant and not any(isinstance(a, Soft) for a in args):
            return None
        operands = tuple(self._first.get(i, i) for i in node.inputs)
        # what runs it, where operations of several names are written down as the same one
        kernel = dict(node.attrs).get("target", node.native)
        key = (kernel, node.attrs, node.params, operands)
        own = tuple(v.id for v in node.outputs)
        earlier = self._made.setdefault(key, own)
        if earlier is own:
            return None
        self._first.update(zip(own, earlier, strict=True))
        return earlier


class _HardValues:
    """Hard values of a running program, computed when asked for."""

    def __init__(
        self, interpreter: Interpreter, program: Program, env: dict[int, Any], hard: Hard
    ) -> None:
        self._executor = interpreter.executor
        self._program = program
        self._env = env
        self._operand = hard
        self._known: dict[int, Any] = {}
        self._heads = {v.id: n for n, v in enumerate((*program.inputs, *program.captures))}
        self._makers = {v.id: node for node in program.nodes for v in node.outputs}

    def __call__(self, wanted: int) -> Any:
        stack = [wanted]
        while stack:
            i = stack[-1]
            if i in self._known:
                stack.pop()
                continue
            soft = self._env.get(i)
            if soft is not None and not isinstance(soft, Soft):
                self._known[i] = soft
            elif i in self._heads:
                self._known[i] = self._operand(self._heads[i])
            else:
                node = self._makers[i]
                missing = [j for j in node.inputs if j not in self._known]
                if missing:
                    stack.extend(missing)
                    continue
                results = self._executor.run_node(node, [self._known[j] for j in node.inputs])
                self._known.update(zip((v.id for v in node.outputs), results, strict=True))
        return self._known[wanted]


def _settle(values: Sequence[Any]) -> None:
    """Computes what soft values compute when asked, here rather than inside of one branch."""
    for value in values:
        if isinstance(value, Rounded):
            value = value.mixture
        if isinstance(value, Soft):
            _ = value.mean
        if isinstance(value, Prob | Mixture):
            _ = value.atoms
        if isinstance(value, Index):
            _ = value.weights, value.order and value.order.members


def _constant(tensor: Any) -> Any:
    return K.stop_gradient(tensor) if "variant" not in str(tensor.dtype) else tensor


def _pack(values: Sequence[Any], active: Sequence[bool], node: Node) -> list[Any]:
    """Values as tensors that a branch or a loop can carry: chances for bools, else expectations."""
    packed = []
    for value, soft, made in zip(values, active, node.outputs, strict=True):
        tensor = value_of(value)
        if soft and made.dtype != "variant":
            like = made.dtype if "float" in made.dtype else "float32"
            tensor = K.cast(tensor, like)
        packed.append(tensor)
    return packed


def _unpack(tensors: Sequence[Any], active: Sequence[bool], node: Node) -> list[Any]:
    """The kinds that `_pack` made tensors of."""
    values = []
    for tensor, soft, made in zip(tensors, active, node.outputs, strict=True):
        if not soft:
            values.append(tensor)
        elif made.dtype == "bool":
            values.append(Prob(tensor))
        else:
            values.append(Real(tensor, made.dtype))
    return values


def _harden(tensor: Any, soft: bool, dtype: str) -> Any:
    """The hard value nearest to what a loop carries."""
    if not soft or "float" in dtype or dtype == "variant":
        return tensor
    return tensor > 0.5 if dtype == "bool" else K.cast(K.round(tensor), dtype)
