"""One operation of PyTorch while it is written down, and the small words that many are made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch

from bevel.backend import dtype_name
from bevel.frontends.torch.kernels import name_of
from bevel.frontends.torch.templates import Var
from bevel.program import Loc


@dataclass
class Act:
    """One operation that the user's function asked for, while it is written down.

    Attributes:
        recorder: Where to.
        name: Its name in PyTorch, such as `gt` or `scatter_`.
        func: The overload; of an operation in place the one that gives a new value.
        args: Its arguments, with `Var`s for tensors.
        kwargs: Likewise, by name.
        results: Its results in this run, if it has run.
        word: The vocabulary's name of it, by which the user's line is searched.
    """

    recorder: Any
    name: str
    func: Any
    args: list[Any]
    kwargs: dict[str, Any]
    results: Sequence[torch.Tensor] | None
    word: str = "native"

    @cached_property
    def loc(self) -> Loc | None:
        """The user's line."""
        return self.recorder.place(self.word, self.name)

    def arg(self, position: int, name: str, default: Any = None) -> Any:
        """An argument, given by position or by name."""
        if len(self.args) > position:
            return self.args[position]
        return self.kwargs.get(name, default)

    def emit_all(self, op: str, target: str, *args: Any, **more: Any) -> list[Var]:
        """Adds a node with all of its results; arguments by name go in as `kwargs`."""
        named = more.pop("kwargs", {})
        more.setdefault("native", f"aten::{self.name}")
        return self.recorder.emit(op, target, args, named, loc=self.loc, **more)

    def emit(self, op: str, target: str, *args: Any, **more: Any) -> Var:
        """Adds a node with one result."""
        return self.emit_all(op, target, *args, **more)[0]

    def as_it_is(
        self,
        op: str = "native",
        operands: Sequence[int] | None = None,
        params: dict[str, Any] | None = None,
        nature: str = "",
    ) -> list[Var]:
        """Adds the operation itself as one node."""
        return self.emit_all(
            op, name_of(self.func), *self.args, kwargs=self.kwargs, operands=operands,
            params=params, nature=nature, results=self.results,
        )  # fmt: skip

    def var(self, value: Any, like: Any = None) -> Var:
        """An operand; a number gets the dtype that it has for PyTorch beside `like`."""
        if isinstance(value, Var):
            return value
        device = like.tensor.device if isinstance(like, Var) else None
        return self.recorder.number(value, _dtype_of(value, like), device)

    # Small words that many of the functions below are made of.

    def cast(self, x: Var, dtype: torch.dtype) -> Var:
        """The same values in another dtype."""
        if x.dtype == dtype:
            return x
        return self.emit(
            "astype", "aten._to_copy.default", x, kwargs={"dtype": dtype},
            params={"dtype": dtype_name(torch.empty(0, dtype=dtype, device="meta"))},
        )  # fmt: skip

    def truth(self, x: Var) -> Var:
        """Whether the values are not 0."""
        return self.cast(x, torch.bool)

    def view(self, x: Var, shape: Sequence[int]) -> Var:
        return self.emit("native", "aten.view.default", x, list(shape))

    def expand(self, x: Var, shape: Sequence[int]) -> Var:
        if x.shape == tuple(shape):
            return x
        return self.emit("native", "aten.expand.default", x, list(shape))

    def swap(self, x: Var, a: int, b: int) -> Var:
        if a % max(x.rank, 1) == b % max(x.rank, 1):
            return x
        return self.emit("native", "aten.transpose.int", x, a, b)

    def arranged(self, x: Var, order: Sequence[int]) -> Var:
        """The axes in another order."""
        if list(order) == list(range(x.rank)):
            return x
        return self.emit("native", "aten.permute.default", x, list(order))

    def take(self, x: Var, index: Var, axis: int, batch_dims: int = 0) -> Var:
        return self.emit(
            "take", "bevel.take", x, index, axis, batch_dims,
            params={"axis": axis, "batch_dims": batch_dims},
        )  # fmt: skip

    def stack(self, parts: Sequence[Var]) -> Var:
        axis = parts[0].rank
        return self.emit("stack", "aten.stack.default", list(parts), axis, params={"axis": axis})

    def arange(self, n: int, like: Var) -> Var:
        return self.recorder.constant(torch.arange(n, device=like.tensor.device))


Lowering = Callable[[Act], list[Var]]


def _dtype_of(value: Any, like: Any) -> torch.dtype:
    own = torch.get_default_dtype() if isinstance(value, float) else torch.int64
    if isinstance(value, bool):
        own = torch.bool
    if not isinstance(like, Var):
        return own
    if isinstance(value, complex):
        return torch.complex64
    if like.dtype.is_floating_point or like.dtype.is_complex:
        return like.dtype
    if own == torch.bool or (own == torch.int64 and like.dtype != torch.bool):
        return like.dtype
    return own
