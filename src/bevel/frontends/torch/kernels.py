"""What a node's target runs: an overload of `torch.ops`, or one of the few operations written here.

PyTorch has no single operation for "entries at these positions" whose positions may have more axes
than the user's did, which is what a soft position needs; those are the ones written here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import torch


def take(x: Any, index: Any, axis: int, batch_dims: int) -> Any:
    """Entries along an axis: those of its own row for each index where `batch_dims` is the axis."""
    index = index.long()
    index = torch.where(index < 0, index + x.shape[axis], index)
    if batch_dims:
        rows = index.reshape(*x.shape[:axis], -1)
        return torch.gather(x, axis, rows).reshape(index.shape)
    found = x.index_select(axis, index.reshape(-1))
    return found.reshape((*x.shape[:axis], *index.shape, *x.shape[axis + 1 :]))


def gather_nd(x: Any, indices: Any) -> Any:
    """Entries at positions of several coordinates, which stand on the last axis."""
    return x[tuple(indices.long().unbind(-1))]


def scatter_update(table: Any, indices: Any, updates: Any) -> Any:
    """The table with updates at positions of several coordinates."""
    return table.index_put(tuple(indices.long().unbind(-1)), updates.to(table.dtype))


def scatter_add(table: Any, indices: Any, updates: Any) -> Any:
    """The table plus updates at positions of several coordinates."""
    places = tuple(indices.long().unbind(-1))
    return table.index_put(places, updates.to(table.dtype), accumulate=True)


def one_hot(index: Any, on: Any, off: Any, num_classes: int) -> Any:
    """Codes on a new last axis."""
    classes = torch.arange(num_classes, device=index.device)
    return torch.where(index.unsqueeze(-1) == classes, on, off)


def first(mask: Any) -> Any:
    """The position of the first truth."""
    return torch.argmax(mask.long() * torch.arange(mask.shape[0], 0, -1, device=mask.device))


def bincount(index: Any, counted: Any, size: Any) -> Any:
    """How often each integer below a size occurs, or how much it weighs."""
    weights = None if counted.shape == (0,) else counted
    return torch.bincount(index.long(), weights, minlength=int(size))[: int(size)]


def histogram(values: Any, limits: Any, bins: Any) -> Any:
    """How many values lie in each of some bins of one width."""
    low, high = limits.tolist()
    return torch.histc(values, int(bins), low, high)


def size(x: Any, counts: str) -> Any:
    """How many rows, or elements, there are."""
    return torch.tensor(x.shape[0] if counts == "rows" else x.numel(), device=x.device)


def each(x: Any) -> Any:
    """A number for each row."""
    return torch.arange(x.shape[0], device=x.device)


def loss_of_elements(loss: str, **given: Any) -> Any:
    """One of PyTorch's losses before it is reduced, of tensors that broadcast."""
    tensors = {k: v for k, v in given.items() if isinstance(v, torch.Tensor)}
    unified = _unified(torch.broadcast_tensors(*tensors.values()))
    given |= dict(zip(tensors, unified, strict=True))
    return getattr(torch.ops.aten, loss)(**given, reduction=0)


OWN: dict[str, Callable[..., Any]] = {
    "bevel.take": take,
    "bevel.gather_nd": gather_nd,
    "bevel.scatter_update": scatter_update,
    "bevel.scatter_add": scatter_add,
    "bevel.one_hot": one_hot,
    "bevel.first": first,
    "bevel.bincount": bincount,
    "bevel.histogram": histogram,
    "bevel.size": size,
    "bevel.each": each,
    "bevel.loss_of_elements": loss_of_elements,
}

# Targets that want one dtype for all their tensors.
_STRICT = frozenset(
    """
    mm bmm mv dot vdot addmm addmv baddbmm addbmm linalg_vector_norm lerp addcmul addcdiv
    convolution scatter scatter_add scatter_reduce index_add index_copy index_put slice_scatter
    select_scatter native_layer_norm _cdist_forward grid_sampler_2d
    """.split()
)


@lru_cache(maxsize=4096)
def resolve(target: str) -> Callable[..., Any]:
    """The function behind a target such as `aten.gt.Tensor`."""
    if target in OWN:
        return OWN[target]
    found: Any = torch.ops
    for part in target.split("."):
        found = getattr(found, part)
    return found


def name_of(func: Any) -> str:
    """The target that stands for an overload of `torch.ops`."""
    space, _, name = func._schema.name.partition("::")
    return f"{space}.{name}.{func._schema.overload_name or 'default'}"


def run_target(target: str, args: Sequence[Any], kwargs: dict[str, Any]) -> list[Any]:
    """Runs a target; gives its tensors as a flat list."""
    packet = target.split(".")[1]
    if packet in ("view", "_unsafe_view"):  # a soft value may lie in memory in another way
        return [args[0].reshape(args[1])]
    if packet in _STRICT:
        args = _unified(args)
    dtype = kwargs.get("dtype")
    if dtype is not None and packet != "_to_copy" and _is_soft_count(args, dtype):
        kwargs = {**kwargs, "dtype": None}
    found = resolve(target)(*args, **kwargs)
    results = list(found) if isinstance(found, list | tuple) else [found]
    return [r for r in results if isinstance(r, torch.Tensor)]


def _is_soft_count(args: Sequence[Any], dtype: torch.dtype) -> bool:
    """Whether truths or integers that are summed up are floats here, by their expectation."""
    first = args[0] if args else None
    is_float = isinstance(first, torch.Tensor) and first.is_floating_point()
    return is_float and not dtype.is_floating_point


def _unified(args: Sequence[Any]) -> list[Any]:
    """Floats, and integers that meet them as numbers, in the widest float dtype.

    A soft value is a float where the user's program had an integer or a bool.
    """
    floats = [a.dtype for a in args if isinstance(a, torch.Tensor) and a.is_floating_point()]
    if not floats:
        return list(args)
    widest = max(floats, key=lambda d: torch.finfo(d).bits)
    plain = not any(isinstance(a, int) for a in args)  # with an axis comes an index
    return [
        a.to(widest)
        if isinstance(a, torch.Tensor) and (a.is_floating_point() or plain) and a.dtype != widest
        else a
        for a in args
    ]


def functional(func: Any, written: Sequence[str]) -> Callable[..., Any] | None:
    """The operation that gives as a new value what `func` writes into a tensor."""
    space, _, name = func._schema.name.partition("::")
    if written == ["self"] and name.endswith("_"):
        packet = getattr(getattr(torch.ops, space), name.removesuffix("_"), None)
        return getattr(packet, func._overloadname, None)
    wanted = [(a.name, str(a.type)) for a in func._schema.arguments if a.name not in written]
    packet = func.overloadpacket
    for overload in packet.overloads():
        found = getattr(packet, overload)
        if [(a.name, str(a.type)) for a in found._schema.arguments] == wanted:
            return found
    return None
