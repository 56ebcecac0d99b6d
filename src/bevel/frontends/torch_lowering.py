"""PyTorch's operations in the vocabulary's smaller words.

The vocabulary's rules want a number as an operand, an axis as a parameter, positions of several
coordinates side by side, and an order from the largest down. Each function here says one family of
operations in those words, as nodes whose results are exactly those of the operation itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch

from bevel.backend import dtype_name
from bevel.frontends.torch_kernels import name_of
from bevel.frontends.torch_templates import Var
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


def plain(op: str, operands: Sequence[int] | None = None) -> Lowering:
    """One node with the operation's own arguments."""
    return lambda act: act.as_it_is(op, operands)


def binary(op: str, target: str) -> Lowering:
    """Two operands, either of which may be a number."""

    def lower(act: Act) -> list[Var]:
        a, b = act.args[0], act.arg(1, "other")
        if b is None:  # `pow` calls it otherwise
            b = act.kwargs.get("exponent")
        if act.kwargs.get("alpha", 1) != 1:
            b = act.emit("multiply", "aten.mul.Tensor", act.var(b, a), act.kwargs["alpha"])
        a, b = act.var(a, b), act.var(b, a)
        return [act.emit(op, target, a, b, results=_first(act))]

    return lower


def _first(act: Act) -> Sequence[torch.Tensor] | None:
    return None if act.results is None else act.results[:1]


def reversed_subtract(act: Act) -> list[Var]:
    """`rsub`: 1 - x."""
    x, other = act.args[0], act.arg(1, "other")
    return [act.emit("subtract", "aten.sub.Tensor", act.var(other, x), x, results=_first(act))]


def divide(act: Act) -> list[Var]:
    """A quotient, perhaps rounded."""
    x, y = act.args[0], act.arg(1, "other")
    x, y = act.var(x, y), act.var(y, x)
    mode = act.kwargs.get("rounding_mode")
    if mode == "floor":
        return [act.emit("floor_divide", "aten.floor_divide.default", x, y)]
    quotient = act.emit("divide", "aten.div.Tensor", x, y)
    if mode == "trunc":
        integers = x.dtype.is_floating_point or y.dtype.is_floating_point
        return [_truncated(act, quotient, quotient.dtype if integers else x.dtype)]
    return [quotient]


def _truncated(act: Act, x: Var, dtype: torch.dtype) -> Var:
    return act.cast(act.cast(x, torch.int64), dtype)


def truncate(act: Act) -> list[Var]:
    """`trunc` is a cast to an integer and back."""
    return [_truncated(act, act.args[0], act.args[0].dtype)]


def fraction(act: Act) -> list[Var]:
    """`frac`."""
    x = act.args[0]
    return [act.emit("subtract", "aten.sub.Tensor", x, _truncated(act, x, x.dtype))]


def rounded(act: Act) -> list[Var]:
    """`round`, to some decimals if asked."""
    x, decimals = act.args[0], act.arg(1, "decimals", 0)
    if not decimals:
        return [act.emit("round", "aten.round.default", x)]
    scale = act.var(10.0**decimals, x)
    shifted = act.emit("multiply", "aten.mul.Tensor", x, scale)
    return [act.emit("divide", "aten.div.Tensor",
                     act.emit("round", "aten.round.default", shifted), scale)]  # fmt: skip


def heaviside(act: Act) -> list[Var]:
    """`heaviside(x, v)`: 1 above 0, v at 0."""
    x, values = act.args
    zero = act.var(0.0, x)
    above = act.cast(act.emit("greater", "aten.gt.Tensor", x, zero), x.dtype)
    at = act.emit("equal", "aten.eq.Tensor", x, zero)
    return [act.emit("where", "aten.where.self", at, values, above)]


def logical(op: str, target: str, bitwise: bool = False) -> Lowering:
    """`and`, `or`, `xor` of truths; bits of integers are another matter."""

    def lower(act: Act) -> list[Var]:
        a, b = act.args[0], act.arg(1, "other")
        a, b = act.var(a, b), act.var(b, a)
        if bitwise and not a.dtype == b.dtype == torch.bool:
            return act.as_it_is("bitwise_and")
        return [act.emit(op, target, act.truth(a), act.truth(b), results=_first(act))]

    return lower


def negation(act: Act) -> list[Var]:
    """`not`, of truths or of bits."""
    x = act.args[0]
    if act.name.startswith("bitwise") and x.dtype != torch.bool:
        return act.as_it_is("bitwise_and")
    return [act.emit("logical_not", "aten.logical_not.default", act.truth(x))]


def reduction(op: str, target: str, of_truths: bool = False) -> Lowering:
    """A reduction over some axes, or over all."""

    def lower(act: Act) -> list[Var]:
        x, dims = act.args[0], act.arg(1, "dim")
        keep = bool(act.arg(2, "keepdim", False))
        if not isinstance(dims, int | list) or isinstance(dims, bool):
            dims, keep = None, False
        axes = _axes(dims, x.rank)
        if of_truths:
            x = act.truth(x)
        dtype = act.kwargs.get("dtype")
        named = {"dtype": dtype} if dtype is not None else {}
        params = {"axis": tuple(axes), "keepdims": keep}
        if not axes and op in ("max", "min", "any", "all"):
            return [act.emit("identity", "aten.clone.default", x)]
        found = act.emit(
            op, target, x, axes, keep, kwargs=named, params=params, results=_first(act)
        )
        return [found]

    return lower


def _axes(dims: Any, rank: int) -> list[int]:
    if dims is None or dims == []:
        return list(range(rank))
    return [d % max(rank, 1) for d in (dims if isinstance(dims, list) else [dims]) if rank]


def extreme(op: str, target: str, search: str) -> Lowering:
    """`max` and `min`: of two, over everything, or along an axis with the position."""
    over = reduction(op, target)

    def lower(act: Act) -> list[Var]:
        x, dim = act.args[0], act.arg(1, "dim", act.kwargs.get("other"))
        if isinstance(dim, Var):
            return binary(f"{op}imum", f"aten.{op}imum.default")(act)
        if dim is None or not x.rank:
            return over(act)
        keep = bool(act.arg(2, "keepdim", False))
        axis = dim % x.rank
        value = act.emit(op, target, x, [axis], keep, params={"axis": (axis,), "keepdims": keep})
        return [value, _position(act, x, axis, keep, search)]

    return lower


def _position(act: Act, x: Var, axis: int, keep: bool, search: str) -> Var:
    found = act.emit(
        search, f"aten.{search}.default", x, axis, False, operands=(0,), params={"axis": axis}
    )
    return act.emit("native", "aten.unsqueeze.default", found, axis) if keep else found


def search(op: str) -> Lowering:
    """`argmax` and `argmin`."""

    def lower(act: Act) -> list[Var]:
        x, dim, keep = act.args[0], act.arg(1, "dim"), bool(act.arg(2, "keepdim", False))
        if dim is not None and x.rank:
            return [_position(act, x, dim % x.rank, keep, op)]
        found = _position(act, act.view(x, [-1]), 0, False, op)
        return [act.view(found, [1] * x.rank)] if keep and x.rank else [found]

    return lower


def sort(act: Act) -> list[Var]:
    """`sort` and `argsort`: all of the elements, the largest first, from the last axis."""
    named = {a.name: v for a, v in zip(act.func._schema.arguments, act.args, strict=False)}
    named |= act.kwargs
    return _ordered(act, named["self"], named.get("dim", -1), named.get("descending", False), None)


def top_k(act: Act) -> list[Var]:
    """The k largest or smallest."""
    largest = act.arg(3, "largest", True)
    return _ordered(act, act.args[0], act.arg(2, "dim", -1), largest, act.arg(1, "k"))


def _ordered(act: Act, x: Var, dim: int, descending: bool, k: int | None) -> list[Var]:
    if not x.rank:
        return act.as_it_is("native", nature="index")
    axis = dim % x.rank
    moved, dtype = act.swap(x, axis, -1), x.dtype
    if not descending:
        if dtype in (torch.bool, torch.uint8):
            moved = act.cast(moved, torch.int64)
        moved = act.emit("negative", "aten.neg.default", moved)
    if k is None:
        target, args = "aten.sort.stable", {"stable": True, "dim": -1, "descending": True}
        found = act.emit_all("top_k", target, moved, kwargs=args, params={"k": x.shape[axis]})
    else:
        found = act.emit_all("top_k", "aten.topk.default", moved, k, params={"k": k})
    values, positions = found
    if not descending:
        values = act.cast(act.emit("negative", "aten.neg.default", values), dtype)
    return [act.swap(values, axis, -1), act.swap(positions, axis, -1)]


def cast(act: Act) -> list[Var]:
    """A change of dtype, or of device alone."""
    x, dtype = act.args[0], act.kwargs.get("dtype")
    if dtype is None or dtype == x.dtype:
        return act.as_it_is("identity", (0,))
    params = {"dtype": dtype_name(torch.empty(0, dtype=dtype, device="meta"))}
    return act.as_it_is("astype", (0,), params)


def filled(act: Act) -> list[Var]:
    """`fill`, and `copy`: the old values do not matter."""
    x, value = act.args[0], act.args[1]
    return [act.expand(act.cast(act.var(value, x), x.dtype), x.shape)]


def from_shape(act: Act) -> list[Var]:
    """Made from the shape of a tensor alone."""
    if act.results is None:
        return act.as_it_is(nature="shape")
    return [act.recorder.constant(r.clone()) for r in act.results]


def where(act: Act) -> list[Var]:
    """A choice between two."""
    condition, x, y = act.args
    return [
        act.emit(
            "where",
            "aten.where.self",
            act.truth(condition),
            act.var(x, y),
            act.var(y, x),
            results=_first(act),
        )  # fmt: skip
    ]


def masked_fill(act: Act) -> list[Var]:
    """A choice between a number and what is there."""
    x, mask, value = act.args[0], act.arg(1, "mask"), act.arg(2, "value")
    value = act.cast(act.var(value, x), x.dtype)
    return [act.emit("where", "aten.where.self", act.truth(mask), value, x)]


def _is_mask(index: Any) -> bool:
    return isinstance(index, Var) and index.dtype in (torch.bool, torch.uint8)


def _picked(act: Act, mask: Var) -> Var:
    return act.emit("nonzero", "aten.nonzero.default", act.truth(mask))


def index(act: Act) -> list[Var]:
    """`x[i]`, `x[:, i]`, `x[i, j]` and `x[mask]`."""
    x, indices = act.args
    given = [n for n, i in enumerate(indices) if i is not None]
    if len(given) == 1 and _is_mask(indices[given[0]]):
        if given[0] == 0:
            return [_at(act, x, _picked(act, indices[0]))]
        if indices[given[0]].rank == 1:
            rows = act.view(_picked(act, indices[given[0]]), [-1])
            return [act.take(x, rows, given[0])]
    if any(_is_mask(i) for i in indices):
        return act.as_it_is(nature="position")
    if len(given) == 1:
        return [act.take(x, indices[given[0]], given[0])]
    if given == list(range(len(given))):
        return [_at(act, x, _columns(act, indices))]
    return act.as_it_is(nature="position")


def _at(act: Act, x: Var, positions: Var) -> Var:
    return act.emit("gather_nd", "bevel.gather_nd", x, positions, params={"axis": None})


def _columns(act: Act, indices: Sequence[Var]) -> Var:
    """Coordinates side by side on a new last axis."""
    shape = torch.broadcast_shapes(*(i.shape for i in indices))
    return act.stack([act.cast(act.expand(i, shape), torch.int64) for i in indices])


def masked_select(act: Act) -> list[Var]:
    """`x[mask]` with both of one shape."""
    x, mask = act.args
    shape = torch.broadcast_shapes(x.shape, mask.shape)
    return [_at(act, act.expand(x, shape), _picked(act, act.expand(mask, shape)))]


def nonzero(act: Act) -> list[Var]:
    """Positions where a mask is true."""
    return [_picked(act, act.args[0])]


def index_put(act: Act) -> list[Var]:
    """`x[mask] = v`, `x[i] = v`, `x[i, j] += v`."""
    x, indices, values = act.args[:3]
    add = bool(act.arg(3, "accumulate", False))
    given = [n for n, i in enumerate(indices) if i is not None]
    values = act.cast(values, x.dtype)
    if len(given) == 1 and _is_mask(indices[given[0]]) and not add:
        mask = indices[given[0]]
        if math.prod(values.shape) == 1:
            before = given[0]
            rest = x.rank - before - mask.rank
            full = act.view(act.truth(mask), [1] * before + list(mask.shape) + [1] * rest)
            return [act.emit("where", "aten.where.self", full, act.view(values, []), x)]
        if given[0] == 0:
            return [_put(act, "scatter_update", x, _picked(act, mask), values)]
    if given != list(range(len(given))) or any(_is_mask(i) for i in indices):
        return act.as_it_is(nature="position")
    return [
        _put(act, "scatter_add" if add else "scatter_update", x, _columns(act, indices), values)
    ]


def _put(act: Act, op: str, table: Var, positions: Var, values: Var) -> Var:
    shape = positions.shape[:-1] + table.shape[positions.shape[-1] :]
    return act.emit(op, f"bevel.{op}", table, positions, act.expand(values, shape))


def scatter(op: str) -> Lowering:
    """Values at positions along one axis."""

    def lower(act: Act) -> list[Var]:
        x, dim, places, values = act.args[:4]
        how = act.arg(4, "reduce")
        if how not in (None, "sum", "add") or not act.kwargs.get("include_self", True):
            return act.as_it_is(nature="position")
        word = "scatter_add" if how else op
        if not x.rank:
            return act.as_it_is(nature="position")
        values = act.cast(act.var(values, x), x.dtype)
        if values.rank:
            values = _cut(act, values, places.shape, None)
        values = act.expand(values, places.shape)
        return [_put(act, word, x, _grid(act, places, dim % x.rank), values)]

    return lower


def _cut(act: Act, x: Var, shape: Sequence[int], axis: int | None) -> Var:
    """The first elements of x along each axis, so that it has a shape; one axis is left alone."""
    for n, length in enumerate(shape):
        if n != axis and x.shape[n] != length:
            x = act.emit("native", "aten.slice.Tensor", x, n, 0, length)
    return x


def _grid(act: Act, places: Var, axis: int) -> Var:
    """Full coordinates of positions along one axis."""
    if places.rank == 1:
        return act.view(places, [*places.shape, 1])
    columns = []
    for n, length in enumerate(places.shape):
        if n == axis:
            columns.append(places)
            continue
        steps = torch.arange(length, device=places.tensor.device)
        steps = steps.reshape([-1 if m == n else 1 for m in range(places.rank)])
        columns.append(act.recorder.constant(steps.expand(places.shape).clone()))
    return act.stack(columns)


def index_add(act: Act) -> list[Var]:
    """Rows added at positions."""
    x, dim, places, values = act.args[:4]
    if not x.rank or dim % x.rank or act.kwargs.get("alpha", 1) != 1:
        return act.as_it_is(nature="position")
    return [_put(act, "scatter_add", x, act.view(places, [-1, 1]), act.cast(values, x.dtype))]


def gather(act: Act) -> list[Var]:
    """For each index the entry of its own row."""
    x, dim, places = act.args[:3]
    if not x.rank or not places.rank:
        return act.as_it_is(nature="position")
    axis = dim % x.rank
    x = _cut(act, x, places.shape, axis)
    last = x.rank - 1
    found = act.take(act.swap(x, axis, -1), act.swap(places, axis, -1), last, last)
    return [act.swap(found, axis, -1)]


def index_select(act: Act) -> list[Var]:
    """Whole rows by position."""
    x, dim, places = act.args[:3]
    return [act.take(x, places, dim % max(x.rank, 1))]


def embedding(act: Act) -> list[Var]:
    """Rows of a table."""
    return [act.take(act.args[0], act.args[1], 0)]


def join(op: str) -> Lowering:
    """`cat` and `stack`."""

    def lower(act: Act) -> list[Var]:
        parts, dim = act.args[0], act.arg(1, "dim", 0)
        parts = [p for p in parts if not (op == "concat" and p.shape == (0,))] or parts
        rank = parts[0].rank + (op == "stack")
        axis = dim % max(rank, 1)
        target = f"aten.{'cat' if op == 'concat' else 'stack'}.default"
        return [act.emit(op, target, parts, axis, params={"axis": axis}, results=_first(act))]

    return lower


def bincount(act: Act) -> list[Var]:
    """How often each integer occurs; how many bins there are is what it was in this run."""
    x, weights, least = act.args[0], act.arg(1, "weights"), act.arg(2, "minlength", 0)
    size = act.results[0].shape[0] if act.results else 0
    if size > least:
        act.recorder.fixed = False
    device = x.tensor.device
    counted = weights if weights is not None else act.recorder.constant([], torch.int64, device)
    bins = act.recorder.constant(size, torch.int64, device)
    return [act.emit("bincount", "bevel.bincount", x, counted, bins)]


def histogram(act: Act) -> list[Var]:
    """`histc`."""
    x, bins = act.args[0], act.arg(1, "bins", 100)
    low, high = act.arg(2, "min", 0), act.arg(3, "max", 0)
    if low == high:
        low, high = (float(v) for v in torch.aminmax(x.tensor))
        act.recorder.fixed = False
    limits = act.recorder.constant([float(low), float(high)], x.dtype, x.tensor.device)
    count = act.recorder.constant(bins, torch.int64, x.tensor.device)
    return [act.emit("histogram", "bevel.histogram", x, limits, count, params={"nbins": bins})]


def bucketize(act: Act) -> list[Var]:
    """Positions of values among edges."""
    values, edges = act.args[:2]
    if not isinstance(values, Var):
        return act.as_it_is(nature="index")
    return act.as_it_is("searchsorted", (1, 0))


def count_nonzero(act: Act) -> list[Var]:
    """How many values are not 0."""
    x, dims = act.args[0], act.arg(1, "dim")
    axes = _axes(dims, x.rank)
    different = act.emit("not_equal", "aten.ne.Tensor", x, act.var(0, x))
    return [act.emit("sum", "aten.sum.dim_IntList", different, axes, False,
                     params={"axis": tuple(axes), "keepdims": False})]  # fmt: skip
