"""Writes a program down while an eager PyTorch function runs on values.

Every operation that reaches PyTorch's dispatcher becomes a node (or a few, where the vocabulary
says it in smaller words: `bevel.frontends.torch.names`). The function keeps running on its values.
What it takes from outside becomes a capture; what depends on nothing becomes a constant.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from bevel.backend import dtype_name, to_numpy
from bevel.errors import TraceError
from bevel.frontends.torch import kernels, names
from bevel.frontends.torch.act import Act
from bevel.frontends.torch.templates import Slot, Var, concrete, template
from bevel.frontends.torch.values import Values, covers, places
from bevel.program import Constant, Loc, Node, Value
from bevel.source import Frame, Locator
from bevel.vocabulary import VOCABULARY

# Marks what comes from outside of the function, beside a bit for each leaf.
OUTSIDE = 1 << 62

# Larger constants are kept as tensors beside the program.
_MOST_CONSTANT = 64

# Where the front ends lie; nothing in there is the user's line.
_OWN = str(Path(__file__).parents[1])


@dataclass(frozen=True)
class Branch:
    """A truth that Python asked for: which value, what it was, and how far the program was."""

    value: int
    truth: bool
    nodes: int
    ids: int
    loc: Loc | None


@dataclass(frozen=True)
class Leak:
    """A value that was handed to Python, by what call, and where."""

    var: Var
    name: str
    loc: Loc | None


class Recorder:
    """One run of a function, written down.

    Attributes:
        nodes: So far.
        values: The values made so far, by id.
        leaves: How many of the values are the arguments' own: the first ones.
        captures: Ids of the values from outside.
        captured: The tensors behind them.
        depends: For each value, the bits of the leaves that it depends on.
        branches: The truths that were asked for.
        leaks: Values that were handed to Python, which goes on with numbers of its own.
        seen: What came back from Python: numbers and tensors that no operation made.
        sized: Values that have as many rows as other values say.
        copies: Entries that PyTorch would give as views of a tensor, with it and their positions.
        astray: Those of them that were written into without being put back.
        fixed: Whether the same program serves other values of the arguments.
    """

    def __init__(
        self,
        leaves: Sequence[torch.Tensor],
        locate: Locator,
        entry: str,
        forced: dict[int, bool] | None = None,
        returning: frozenset[int] = frozenset(),
        alter: bool = False,
    ) -> None:
        self.nodes: list[Node] = []
        self.values: list[Value] = []
        self.leaves = len(leaves)
        self.captures: list[int] = []
        self.captured: list[torch.Tensor] = []
        self.depends: list[int] = []
        self.branches: list[Branch] = []
        self.leaks: list[Leak] = []
        self.seen: list[Any] = []
        self.sized: set[int] = set()
        self.copies: dict[int, tuple[torch.Tensor, torch.Tensor, Any]] = {}
        self.astray: set[int] = set()
        self.fixed = True
        self.paused = 0
        self.alter = alter
        self._forced = forced or {}
        self._returning = returning
        self._locate = locate
        self._entry = entry
        self._known = Values()
        for n, leaf in enumerate(leaves):
            self._known.bind(leaf, self._new(leaf, 1 << n))

    # Values and tensors.

    def _new(self, tensor: torch.Tensor, depends: int) -> int:
        self.values.append(Value(len(self.values), tuple(tensor.shape), dtype_name(tensor)))
        self.depends.append(depends)
        return len(self.values) - 1

    def read(self, tensor: torch.Tensor) -> Var:
        """The value that a tensor holds now."""
        found = self._known.current(tensor)
        if found is not None:
            return Var(found, tensor)
        if not self._known.is_known(tensor):
            return self._from_outside(tensor)
        home = self._home(tensor)
        if home is None:
            return self._from_outside(tensor)
        if covers(tensor):
            var = self._single("native", "aten.view.default", home, list(tensor.shape))
        else:
            flat = self._single("native", "aten.view.default", home, [-1])
            index = self.constant(places(tensor).to(tensor.device))
            var = self._single(
                "take", "bevel.take", flat, index, 0, 0, params={"axis": 0, "batch_dims": 0}
            )
        self._known.bind(tensor, var.id)
        return Var(var.id, tensor)

    def _single(self, op: str, target: str, *args: Any, **more: Any) -> Var:
        return self.emit(op, target, args, {}, **more)[0]

    def _home(self, tensor: torch.Tensor) -> Var | None:
        """The value that covers a tensor's storage, as far as it is known."""
        home = self._known.storage(tensor).home
        if home is None:
            return None
        whole = tensor.detach().as_strided(
            (tensor.untyped_storage().nbytes() // tensor.element_size(),), (1,), 0
        )
        return Var(home[0], whole.reshape(home[1]).clone())

    def bind(self, tensor: torch.Tensor, var: Var) -> None:
        """Says which value a tensor of the user's holds."""
        self._known.bind(tensor, var.id)

    def _from_outside(self, tensor: torch.Tensor) -> Var:
        returned = self.returned(tensor)
        if returned is not None:
            self._known.bind(tensor, returned.id)
            return returned
        return self._capture(tensor, OUTSIDE)

    def _capture(self, tensor: torch.Tensor, depends: int) -> Var:
        found = self._new(tensor, depends)
        self.captures.append(found)
        self.captured.append(tensor)
        self._known.bind(tensor, found)
        return Var(found, tensor)

    def constant(self, value: Any, dtype: torch.dtype | None = None, device: Any = None) -> Var:
        """A value that depends on nothing."""
        tensor = torch.as_tensor(value, dtype=dtype, device=device)
        if tensor.numel() > _MOST_CONSTANT or tensor.is_complex():
            return self._capture(tensor, 0)
        attrs = (("device", str(tensor.device)), ("dtype", tensor.dtype))
        params = (("value", Constant(to_numpy(tensor))),)
        found = self._new(tensor, 0)
        self.nodes.append(
            Node("constant", "constant", (), (self.values[found],), (), "constant", params, attrs)
        )
        return Var(found, tensor)

    def number(self, value: Any, dtype: torch.dtype, device: Any) -> Var:
        """A Python number that met a tensor; it may have come from values handed to Python."""
        tensor = torch.tensor(value, dtype=dtype, device=device)
        return self.returned(tensor) or self.constant(tensor)

    def depends_on(self, var: Var) -> int:
        """The bits of the leaves that a value depends on."""
        return self.depends[var.id]

    # What leaves PyTorch and what comes back.

    def leak(self, var: Var, name: str) -> None:
        """Notes that a value was handed to Python as plain numbers."""
        if not self.depends_on(var):
            return
        self.fixed = False
        var = self.undetached(var)
        loc = self.place("py_call", name.rpartition(".")[2])
        self.leaks.append(Leak(var, name, loc))

    def undetached(self, var: Var) -> Var:
        """What `x.detach().cpu()` was made of: what goes to Python is detached for that alone."""
        made = {v.id: node for node in reversed(self.nodes) for v in node.outputs}
        i = var.id
        while i in made and made[i].op in ("stop_gradient", "identity"):
            i = made[i].inputs[0]
        return Var(i, var.tensor)

    def returned(self, tensor: torch.Tensor) -> Var | None:
        """What Python made of numbers that were handed to it: the result of a `py_call`."""
        if not self.leaks:
            return None
        with self.pause():
            self.seen.append(tensor.detach().clone())
        if len(self.seen) - 1 not in self._returning:
            return None
        depends = 0
        for leak in self.leaks:
            depends |= self.depends_on(leak.var)
        # of several, the one of the last argument: that is the prediction more often than not
        shown = max(self.leaks, key=lambda leak: self.depends_on(leak.var) & ~OUTSIDE)
        found = self._new(tensor, depends)
        self.nodes.append(
            Node(
                op="py_call",
                native=f"py:{shown.name}",
                inputs=tuple(dict.fromkeys(leak.var.id for leak in self.leaks)),
                outputs=(self.values[found],),
                nature="python",
                params=(("value", Constant(to_numpy(tensor))),),
                attrs=(("device", str(tensor.device)), ("dtype", tensor.dtype)),
                loc=shown.loc,
            )
        )
        return Var(found, tensor)

    def ask(self, var: Var, truth: bool) -> bool:
        """A truth that Python asks for: noted as a branch, and perhaps forced the other way."""
        if not self.depends_on(var):
            return truth
        self.fixed = False
        truth = self._forced.get(len(self.branches), truth)
        loc = self.place("cond", "if")
        self.branches.append(Branch(var.id, truth, len(self.nodes), len(self.values), loc))
        return truth

    # Nodes.

    def place(self, op: str, native: str) -> Loc | None:
        """The user's line that is running now."""
        return self._locate(self._frames(), op, native)

    def _frames(self) -> list[Frame]:
        frame, found = sys._getframe(1), []
        while frame is not None and frame.f_code.co_filename != self._entry:
            code = frame.f_code
            if not code.co_filename.startswith(_OWN):
                found.append((code.co_filename, frame.f_lineno, code.co_name))
            frame = frame.f_back
        return found[::-1]

    def emit(
        self,
        op: str,
        target: str,
        args: Sequence[Any],
        kwargs: dict[str, Any],
        *,
        native: str = "",
        operands: Sequence[int] | None = None,
        params: dict[str, Any] | None = None,
        nature: str = "",
        results: Sequence[torch.Tensor] | None = None,
        loc: Loc | None = None,
        attrs: tuple[tuple[str, Any], ...] = (),
    ) -> list[Var]:
        """Adds a node; gives a value for each of its results.

        Args:
            op: The vocabulary's word, or `native`.
            target: What runs it, see `bevel.frontends.torch.kernels`.
            args: Its arguments, with `Var`s for tensors.
            kwargs: Likewise, by name.
            native: The name that the user knows it by.
            operands: See `Node`; by default all of them.
            params: See `Node`.
            nature: See `Node`; by default that of the word, or of the target.
            results: Its results in this run; by default it is run to get them.
            loc: The user's line.
            attrs: More attributes.
        """
        inputs: list[Var] = []

        def slot(value: Any) -> Slot | None:
            if not isinstance(value, Var):
                return None
            inputs.append(value)
            return Slot(len(inputs) - 1)

        kept = (
            ("target", target),
            ("args", template(list(args), slot)),
            ("kwargs", template(kwargs, slot)),
            *attrs,
        )
        if op == "native":
            params = (params or {}) | names.facts(target, args)
        if not nature:
            nature = VOCABULARY[op] if op != "native" else names.nature(target, args, kwargs)
        if results is None:
            with torch.no_grad():
                results = kernels.run_target(target, concrete(list(args)), concrete(kwargs))
        depends = 0
        for var in inputs:
            depends |= self.depends_on(var)
        if nature == "shape" or (not depends and nature != "random"):
            return [self.constant(r.clone()) for r in results]
        outputs = [self._new(r, depends) for r in results]
        if op in names.CHANGING_SIZE or any(v.id in self.sized for v in inputs):
            self.sized.update(i for i, r in zip(outputs, results, strict=True) if r.ndim)
            self.fixed = False
        self.nodes.append(
            Node(
                op=op,
                native=native or "aten::" + target.split(".")[1],
                inputs=tuple(v.id for v in inputs),
                outputs=tuple(self.values[i] for i in outputs),
                operands=tuple(range(len(inputs)) if operands is None else operands),
                nature=nature,
                params=tuple((params or {}).items()),
                attrs=kept,
                loc=loc,
            )
        )
        return [Var(i, r) for i, r in zip(outputs, results, strict=True)]

    # Operations of PyTorch.

    def operation(self, func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
        """Runs an operation of the user's function, and writes it down."""
        name = func._schema.name.partition("::")[2]
        if name == "_local_scalar_dense":
            self.leak(self.read(args[0]), "Tensor.item")
            return func(*args, **kwargs)
        if name in names.PLAIN_ANSWERS:  # gives a bool of Python's
            for value in args:
                if isinstance(value, torch.Tensor):
                    self.leak(self.read(value), f"torch.{name}")
            return func(*args, **kwargs)
        written = _written(func)
        if written and torch.Tag.inplace_view not in func.tags:
            return self._write(func, name, args, kwargs, written)
        functional = func
        if written:
            functional = _functional(func, name)
        given, named = self._vars(list(args)), self._vars(dict(kwargs))
        results = func(*args, **kwargs)
        flat = _tensors(results)
        if name in names.UNINITIALISED:  # what lies there by chance is not to be mixed in
            for tensor in flat:
                tensor.zero_()
        act = Act(self, name, functional, given, named, flat)
        for tensor, var in zip(flat, self._stopped(names.lower(act), act), strict=True):
            self.bind(tensor, var)
        return results

    def _stopped(self, found: list[Var], act: Any) -> list[Var]:
        """Under `torch.no_grad()` no gradient comes out of an operation."""
        if torch.is_grad_enabled():
            return found
        return [
            act.emit("stop_gradient", "aten.detach.default", v, native="torch.no_grad")
            if v.tensor.is_floating_point() and self.depends_on(v) & ~OUTSIDE
            else v
            for v in found
        ]

    def _vars(self, value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            return self.read(value)
        if isinstance(value, list | tuple):
            return [self._vars(v) for v in value]
        if isinstance(value, dict):
            return {k: self._vars(v) for k, v in value.items()}
        return value

    def _write(
        self, func: Any, name: str, args: Sequence[Any], kwargs: dict[str, Any], written: list[str]
    ) -> Any:
        """An operation in place, as one that gives a new value, which is then put there."""
        functional = kernels.functional(func, written)
        into = {k: v for k, v in kwargs.items() if k in written} or {"self": args[0]}
        rest = {k: v for k, v in kwargs.items() if k not in into}
        if functional is None or len(into) != 1:
            raise TraceError(
                f"`{name}` writes into tensors in a way that Bevel cannot follow",
                loc=self.place("native", name),
                label=f"PyTorch's {func}",
                help="assign the result to a new variable instead.",
            )
        (target,) = into.values()
        if not target.numel():  # `x[len(x):] = 0`
            return func(*args, **kwargs)
        if id(target) in self.copies:
            self.astray.add(id(target))
        old = self.read(target)
        self._keep(target)
        act = Act(self, name, functional, self._vars(list(args)), self._vars(rest), None)
        (new,) = self._stopped(names.lower(act), act)
        if new.dtype != target.dtype:
            new = act.cast(new, target.dtype)
        if new.shape != tuple(target.shape):
            new = act.expand(new, target.shape)
        home = (new.id, new.shape) if covers(target) else self._among(target, new, act)
        results = func(*args, **kwargs)
        self._known.write(target, new.id, home or (old.id, old.shape))
        return results

    def _keep(self, target: torch.Tensor) -> None:
        """A capture that is about to be overwritten stays what it was."""
        for n, tensor in enumerate(self.captured):
            if tensor.untyped_storage()._cdata == target.untyped_storage()._cdata:
                self.captured[n] = tensor.detach().clone()
                self.fixed = False

    def _among(
        self, target: torch.Tensor, new: Var, act: Any
    ) -> tuple[int, tuple[int, ...]] | None:
        """A new part of a storage among its old elements, as a value that covers it."""
        home = self._home(target)
        if home is None:
            return None
        where = places(target).reshape(-1)
        count = home.tensor.numel()
        fresh = torch.zeros(count, dtype=torch.bool)
        fresh[where] = True
        source = torch.zeros(count, dtype=torch.int64)
        source[where] = torch.arange(len(where))
        moved = act.take(act.view(new, [-1]), self.constant(source.to(target.device)), 0)
        flat = act.view(home, [-1])
        mask = self.constant(fresh.to(target.device))
        whole = act.emit("where", "aten.where.self", mask, moved, flat)
        return whole.id, whole.shape

    @contextmanager
    def pause(self) -> Iterator[None]:
        """What runs in here is not written down."""
        self.paused += 1
        try:
            yield
        finally:
            self.paused -= 1


def _tensors(results: Any) -> list[torch.Tensor]:
    flat = list(results) if isinstance(results, list | tuple) else [results]
    return [r for r in flat if isinstance(r, torch.Tensor)]


@functools.cache
def _written(func: Any) -> list[str]:
    """The arguments that an operation writes into; to ask PyTorch takes longer than the rest."""
    return [a.name for a in func._schema.arguments if a.alias_info and a.alias_info.is_write]


def _functional(func: Any, name: str) -> Any:
    """The operation that gives what another one does in place: of the same operands."""
    packet = getattr(torch.ops.aten, name.removesuffix("_"))
    wanted = [str(a.type) for a in func._schema.arguments]
    overloads = [getattr(packet, name) for name in packet.overloads()]
    return next(o for o in overloads if [str(a.type) for a in o._schema.arguments] == wanted)
