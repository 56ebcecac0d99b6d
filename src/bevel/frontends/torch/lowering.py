"""PyTorch's arithmetic, logic, reductions and orders in the vocabulary's smaller words.

The vocabulary's rules want a number as an operand, an axis as a parameter, and an order from the
largest down. Each function here says one family of operations in those words, as nodes whose
results are those of the operation itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from bevel.backend import dtype_name
from bevel.frontends.torch.act import Act, Lowering
from bevel.frontends.torch.templates import Var


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


def logical(op: str) -> Lowering:
    """`and`, `or`, `xor` of truths."""

    def lower(act: Act) -> list[Var]:
        a, b = act.args[0], act.arg(1, "other")
        a, b = act.truth(act.var(a, b)), act.truth(act.var(b, a))
        return [act.emit(op, f"aten.{op}.default", a, b, results=_first(act))]

    return lower


def bitwise(op: str) -> Lowering:
    """The same of truths; bits of integers are another matter."""
    of_truths = logical(op)

    def lower(act: Act) -> list[Var]:
        a, b = act.args[0], act.arg(1, "other")
        both = act.var(a, b).dtype == act.var(b, a).dtype == torch.bool
        return of_truths(act) if both else act.as_it_is("bitwise_and")

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


def along(op: str) -> Lowering:
    """The operation itself, which says its axis as PyTorch says it."""

    def lower(act: Act) -> list[Var]:
        x, dims = act.args[0], act.arg(1, "dim")
        axes = _axes(dims, x.rank) or [-1]
        keep = isinstance(dims, list) and bool(act.arg(2, "keepdim", False))
        params = {"axis": tuple(axes), "keepdims": keep}
        return act.as_it_is(op, (0,), params)

    return lower


def norm(act: Act) -> list[Var]:
    """`linalg_vector_norm`, as it is."""
    x, order = act.args[0], act.arg(1, "ord", 2)
    params = {
        "axis": tuple(_axes(act.arg(2, "dim"), x.rank)),
        "keepdims": bool(act.arg(3, "keepdim", False)),
        "order": order,
    }
    return act.as_it_is("vector_norm", (0,), params)


def dot(act: Act) -> list[Var]:
    """`dot`: the sum of products."""
    product = act.emit("multiply", "aten.mul.Tensor", *act.args)
    return reduction("sum", "aten.sum.dim_IntList")(replace(act, args=[product]))


def sum_of_known(act: Act) -> list[Var]:
    """`nansum`: what is NaN counts as 0; `nanmean` is made of it."""
    x = act.args[0]
    unknown = act.emit("isnan", "aten.isnan.default", x)
    x = act.emit("where", "aten.where.self", unknown, act.var(0.0, x), x)
    return reduction("sum", "aten.sum.dim_IntList")(replace(act, args=[x, *act.args[1:]]))


def product(act: Act) -> list[Var]:
    """`prod`, over one axis or over all."""
    x, dim, dtype = act.args[0], act.arg(1, "dim"), act.kwargs.get("dtype")
    if not isinstance(dim, int) or not x.rank:
        params = {"axis": tuple(range(x.rank)), "keepdims": False}
        found = act.emit("prod", "aten.prod.default", x, kwargs={"dtype": dtype}, params=params)
        return [found]
    axis, keep = dim % x.rank, bool(act.arg(2, "keepdim", False))
    params = {"axis": (axis,), "keepdims": keep}
    return [act.emit("prod", "aten.prod.dim_int", x, axis, keep, kwargs={"dtype": dtype},
                     params=params)]  # fmt: skip


def variance(is_root: bool) -> Lowering:
    """`var`, and `std`, its root."""

    def lower(act: Act) -> list[Var]:
        x, axes = act.args[0], _axes(act.arg(1, "dim"), act.args[0].rank)
        correction = act.kwargs.get("correction")
        how = {
            "correction": 1 if correction is None else correction,
            "keepdim": bool(act.kwargs.get("keepdim", False)),
        }
        params = {"axis": tuple(axes), "keepdims": how["keepdim"], "correction": how["correction"]}
        found = act.emit("variance", "aten.var.correction", x, axes, kwargs=how, params=params)
        return [act.emit("sqrt", "aten.sqrt.default", found) if is_root else found]

    return lower


def threshold(act: Act) -> list[Var]:
    """`threshold`: the number above it, something else below."""
    x, bound, value = act.args[0], act.arg(1, "threshold"), act.arg(2, "value")
    return [_above(act, x, x, bound, value)]


def hard_shrink(act: Act) -> list[Var]:
    """`hardshrink`: 0 around 0."""
    x = act.args[0]
    size = act.emit("abs", "aten.abs.default", x)
    return [_above(act, x, size, act.arg(1, "lambd", 0.5), 0.0)]


def _above(act: Act, x: Var, size: Var, bound: Any, value: Any) -> Var:
    truth = act.emit("greater", "aten.gt.Tensor", size, act.var(bound, size))
    return act.emit("where", "aten.where.self", truth, x, act.var(value, x), results=_first(act))


def at_rank(place: int) -> Lowering:
    """`median` and `kthvalue`, which are one of the elements over everything or along an axis.

    Args:
        place: Where among the arguments the axis is.
    """

    def lower(act: Act) -> list[Var]:
        x = act.args[0]
        is_whole = place == 1 and len(act.args) < 2 and "dim" not in act.kwargs
        axes = tuple(range(x.rank)) if is_whole else (act.arg(place, "dim", -1),)
        params = {"one_of": (axes, bool(act.arg(place + 1, "keepdim", False)))}
        return act.as_it_is("median" if is_whole else "native", (0,), params if x.rank else None)

    return lower


def is_in(act: Act) -> list[Var]:
    """`isin`: whether an element is equal to any of those that are looked for."""
    x, wanted = act.args
    x, wanted = act.var(x, wanted), act.var(wanted, x)
    same = act.emit("equal", "aten.eq.Tensor", act.view(x, [*x.shape, 1]), act.view(wanted, [-1]))
    axis = x.rank
    params = {"axis": (axis,), "keepdims": False}
    found = act.emit("any", "aten.any.dims", same, [axis], False, params=params)
    if act.kwargs.get("invert"):
        found = act.emit("logical_not", "aten.logical_not.default", found)
    return [found]


def cumulative_sum(act: Act) -> list[Var]:
    """`cumsum`: truths are counted, and a dtype that is asked for is a cast before."""
    x, axis = _to_accumulate(act)
    return [act.emit("cumulative_sum", "aten.cumsum.default", x, axis, params={"axis": axis})]


def cumulative_product(act: Act) -> list[Var]:
    """`cumprod`, with the same dtypes."""
    x, axis = _to_accumulate(act)
    return [act.emit("native", "aten.cumprod.default", x, axis, nature="smooth")]


def _to_accumulate(act: Act) -> tuple[Var, int]:
    x, axis = act.args[0], act.arg(1, "dim", 0)
    dtype = act.kwargs.get("dtype") or (torch.int64 if x.dtype == torch.bool else x.dtype)
    return act.cast(x, dtype), axis


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
        found = _position(act, x if x.rank == 1 else act.view(x, [-1]), 0, False, op)
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


def unique(act: Act) -> list[Var]:
    """`unique`: of numbers that all differ, as predictions do, it is an order with its ranks."""
    x, found = act.args[0], act.results
    params = {"inverse": found is None or bool(found[1].numel())}
    if found is None or not x.dtype.is_floating_point or found[0].numel() != x.tensor.numel():
        return act.as_it_is("unique_values", (0,), params)
    if not found[0].ndim or not found[0].numel() or not act.recorder.depends_on(x):
        return act.as_it_is("unique_values", (0,), params)
    act.recorder.fixed = False  # others may be equal
    values, order = _ordered(act, act.view(x, [-1]), -1, False, None)
    made = [values]
    if found[1].numel():
        ranks = _ordered(act, order, -1, False, None)[1]
        made.append(act.view(ranks, list(found[1].shape)))
    else:
        made.append(act.recorder.constant(found[1].clone()))
    return [*made, act.recorder.constant(found[2].clone())]


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
    truth, a, b = act.truth(condition), act.var(x, y), act.var(y, x)
    return [act.emit("where", "aten.where.self", truth, a, b, results=_first(act))]


def masked_fill(act: Act) -> list[Var]:
    """A choice between a number and what is there."""
    x, mask, value = act.args[0], act.arg(1, "mask"), act.arg(2, "value")
    value = act.cast(act.var(value, x), x.dtype)
    return [act.emit("where", "aten.where.self", act.truth(mask), value, x)]


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


def count_nonzero(act: Act) -> list[Var]:
    """How many values are not 0."""
    x, dims = act.args[0], act.arg(1, "dim")
    axes = _axes(dims, x.rank)
    different = act.emit("not_equal", "aten.ne.Tensor", x, act.var(0, x))
    return [act.emit("sum", "aten.sum.dim_IntList", different, axes, False,
                     params={"axis": tuple(axes), "keepdims": False})]  # fmt: skip
