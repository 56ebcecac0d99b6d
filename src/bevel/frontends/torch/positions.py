"""PyTorch's look-ups, writes and counts by position in the vocabulary's smaller words.

`x[i, j]`, `gather`, `scatter` and `index_put` each have a form of their own for positions. The
vocabulary has two: one position along an axis (`take`), and positions of several coordinates, side
by side on a last axis (`gather_nd`, `scatter_update`, `scatter_add`). A mask is the positions where
it is true.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch

from bevel.frontends.torch.accumulate import added_to
from bevel.frontends.torch.act import Act, Lowering
from bevel.frontends.torch.templates import Var
from bevel.program import Node


def _is_mask(index: Any) -> bool:
    return isinstance(index, Var) and index.dtype in (torch.bool, torch.uint8)


def _picked(act: Act, mask: Var) -> Var:
    return act.emit("nonzero", "aten.nonzero.default", act.truth(mask))


def _native(act: Act, places: Sequence[Var | None]) -> list[Var]:
    """The operation itself, which a gradient passes by all that are no positions."""
    taken = {place.id for place in places if place is not None}
    given = [v for a in act.args for v in (a if isinstance(a, list) else [a]) if isinstance(v, Var)]
    entries = tuple(n for n, v in enumerate(given) if v.id not in taken)
    return act.as_it_is(nature="position", params={"entries": entries})


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
        return _native(act, indices)
    if len(given) == 1:
        return [act.take(x, indices[given[0]], given[0])]
    columns = _columns(act, [indices[n] for n in given])
    found = _at(act, act.arranged(x, _in_front(x, given)), columns)
    # what was looked up stands in front, but where the axes are neighbours in their place
    rank = columns.rank - 1
    first = given[0] if given[-1] - given[0] < len(given) else 0
    order = [*range(rank, rank + first), *range(rank), *range(rank + first, found.rank)]
    return [act.arranged(found, order)]


def _in_front(x: Var, axes: Sequence[int]) -> list[int]:
    return [*axes, *(n for n in range(x.rank) if n not in axes)]


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


# What leaves positions what they are.
_RESHAPING = frozenset(
    f"aten::{n}" for n in ("view", "_unsafe_view", "squeeze", "unbind", "clone", "alias", "reshape")
)


def select(act: Act) -> list[Var]:
    """`x[i]` by a number; the first of the positions where a mask is true is a search."""
    x, axis, place = act.args[0], act.arg(1, "dim", 0), act.arg(2, "index", 0)
    mask = _mask_of(act, x) if axis % max(x.rank, 1) == 0 and place == 0 else None
    if mask is None or not x.shape[0]:
        return act.as_it_is()
    found = act.emit("argmax", "bevel.first", mask, params={"axis": 0})
    return [act.view(found, act.results[0].shape) if act.results else found]


def unbind(act: Act) -> list[Var]:
    """The parts of a tensor; `for c in x.unique()` goes over the values that are there now."""
    x = act.args[0]
    is_over_values = x.id in act.recorder.sized and _are_distinct(act, x)
    return act.as_it_is(params={"keeps_values": True} if is_over_values else None)


def _are_distinct(act: Act, x: Var) -> bool:
    """Whether values are what `unique` found, handed on as they are."""
    handing_on = frozenset({"identity", "astype", "py_call"})
    node, value = _maker(act.recorder.nodes, x.id, lambda node: node.op in handing_on)
    return node is not None and node.op == "unique_values" and value == node.outputs[0].id


def _maker(
    nodes: Sequence[Node], value: int, passes: Callable[[Node], bool]
) -> tuple[Node | None, int]:
    """The node that made a value, and which of its results it was, behind those that pass it on."""
    made = {v.id: node for node in nodes for v in node.outputs}
    node = made.get(value)
    while node is not None and passes(node):
        value = node.inputs[0]
        node = made.get(value)
    return node, value


def _mask_of(act: Act, positions: Var) -> Var | None:
    """The mask of one axis whose positions some values are, in another shape perhaps."""
    near = act.recorder.nodes[-8:]
    node, _ = _maker(near, positions.id, lambda node: node.native in _RESHAPING)
    if node is None or node.op != "nonzero":
        return None
    value = act.recorder.values[node.inputs[0]]
    mask = torch.zeros(value.shape, dtype=torch.bool, device=positions.tensor.device)
    if mask.ndim != 1:
        return None
    mask[positions.tensor.reshape(-1)] = True
    return Var(value.id, mask)


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
        return _native(act, indices)
    positions = _columns(act, indices[: len(given)])
    added = None if add else added_to(act, x, positions, values)
    if added is not None:
        return [_put(act, "scatter_add", x, positions, added)]
    return [_put(act, "scatter_add" if add else "scatter_update", x, positions, values)]


def masked_scatter(act: Act) -> list[Var]:
    """The places where a mask is true get the first of some values, one after the other."""
    x, mask, values = act.args[:3]
    positions = _picked(act, act.expand(mask, x.shape))
    values = act.view(act.cast(values, x.dtype), [-1])
    return [_put(act, "scatter_update", x, positions, _cut(act, values, positions.shape[:1], None))]


def _put(act: Act, op: str, table: Var, positions: Var, values: Var) -> Var:
    shape = positions.shape[:-1] + table.shape[positions.shape[-1] :]
    return act.emit(op, f"bevel.{op}", table, positions, act.expand(values, shape))


def scatter(op: str) -> Lowering:
    """Values at positions along one axis."""

    def lower(act: Act) -> list[Var]:
        x, dim, places, values = act.args[:4]
        how = act.arg(4, "reduce")
        if how not in (None, "sum", "add") or not act.kwargs.get("include_self", True):
            return _native(act, [places])
        word = "scatter_add" if how else op
        if not x.rank:
            return _native(act, [places])
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
        return _native(act, [places])
    return [_put(act, "scatter_add", x, act.view(places, [-1, 1]), act.cast(values, x.dtype))]


def gather(act: Act) -> list[Var]:
    """For each index the entry of its own row."""
    x, dim, places = act.args[:3]
    if not x.rank or not places.rank:
        return _native(act, [places])
    axis = dim % x.rank
    x = _cut(act, x, places.shape, axis)
    last = x.rank - 1
    found = act.take(act.swap(x, axis, -1), act.swap(places, axis, -1), last, last)
    return [act.swap(found, axis, -1)]


def index_select(act: Act) -> list[Var]:
    """Whole rows by position."""
    x, dim, places = act.args[:3]
    return [act.take(x, places, dim % max(x.rank, 1))]


def take_flat(act: Act) -> list[Var]:
    """Entries by their positions in the flattened tensor."""
    return [act.take(act.view(act.args[0], [-1]), act.args[1], 0)]


def index_fill(act: Act) -> list[Var]:
    """One value in whole rows."""
    x, dim, places, value = act.args[:4]
    if not x.rank or dim % x.rank:
        return _native(act, [places])
    value = act.cast(act.var(value, x), x.dtype)
    return [_put(act, "scatter_update", x, act.view(places, [-1, 1]), value)]


def embedding(act: Act) -> list[Var]:
    """Rows of a table."""
    return [act.take(act.args[0], act.args[1], 0)]


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
    is_given = low != high  # nothing lies beyond limits that are those of the values
    if not is_given:
        low, high = (float(v) for v in torch.aminmax(x.tensor))
        act.recorder.fixed = False
    limits = act.recorder.constant([float(low), float(high)], x.dtype, x.tensor.device)
    count = act.recorder.constant(bins, torch.int64, x.tensor.device)
    params = {"nbins": bins, "drops": is_given}
    return [act.emit("histogram", "bevel.histogram", x, limits, count, params=params)]


def bucketize(act: Act) -> list[Var]:
    """Positions of values among edges."""
    if not isinstance(act.args[0], Var):
        return act.as_it_is(nature="index")
    return act.as_it_is("searchsorted", (1, 0))
