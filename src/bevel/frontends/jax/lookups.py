"""Look-ups, scatters and orders of a jaxpr, with all their dimension numbers, as words.

A gather along one axis is a `take`, whatever lies before and behind that axis: it is written as a
transposition, a take, and the transposition back. Other gathers and scatters at points are
`gather_nd`, `scatter_add` and `scatter_update`. What is left stays native.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from bevel.frontends.jax import kernels, names
from bevel.program import Node

Written = list[int] | None


def _gather(scope: Any, eqn: Any, inputs: list[int]) -> Written:
    numbers, sizes = eqn.params["dimension_numbers"], eqn.params["slice_sizes"]
    table, index = inputs
    shape, out = scope.values[table].shape, eqn.outvars[0].aval
    points = numbers.start_index_map
    # where the whole of an axis is taken, its coordinate says nothing
    free = [k for k, d in enumerate(points) if sizes[d] != shape[d] or len(points) == 1]
    if any(sizes[points[k]] != 1 for k in free):
        return None
    if len(free) == 1:
        return _take(scope, eqn, inputs, free[0])
    if any(d not in numbers.collapsed_slice_dims for d in points):
        return None
    rank = len(scope.values[index].shape) - 1
    offset = tuple(int(d) for d in numbers.offset_dims)
    found = [d for d in range(len(out.shape)) if d not in offset]
    first = [out.shape[d] for d in found]
    (made,) = scope.add(
        "gather_nd", [table, index],
        [scope.value((*first, *(out.shape[d] for d in offset)), str(out.dtype))],
        kernels.gather(eqn), scope.frames(eqn),
        params={"lengths": tuple(shape[d] for d in numbers.start_index_map)},
    )  # fmt: skip
    order = [
        rank + offset.index(d) if d in offset else found.index(d) for d in range(len(out.shape))
    ]
    return [_arranged(scope, made, order, out.shape)]


def _take(scope: Any, eqn: Any, inputs: list[int], which: int) -> Written:
    """A gather along the axis that one of the coordinates stands for."""
    numbers, sizes = eqn.params["dimension_numbers"], eqn.params["slice_sizes"]
    table, index = inputs
    shape, places = scope.values[table].shape, scope.values[index].shape[:-1]
    axis = int(numbers.start_index_map[which])
    batch = [int(d) for d in numbers.operand_batching_dims]
    along = [int(d) for d in numbers.start_indices_batching_dims]
    rest = [d for d in range(len(shape)) if d != axis and d not in batch]
    if any(sizes[d] != shape[d] for d in rest):
        return None
    others = [d for d in range(len(places)) if d not in along]
    table = _arranged(scope, table, [*batch, axis, *rest])
    index = _arranged(scope, _coordinate(scope, index, which), [*along, *others])
    (made,) = scope.add(
        "take", [table, index],
        [scope.value([*(places[d] for d in (*along, *others)), *(shape[d] for d in rest)],
                     str(eqn.outvars[0].aval.dtype))],
        kernels.take("gather", len(batch), eqn.params["mode"], eqn.params["fill_value"]),
        scope.frames(eqn), params={"axis": len(batch), "batch_dims": len(batch)},
    )  # fmt: skip
    # what stands where: axes of the index by their number, then those of the table
    here = [("index", d) for d in (*along, *others)] + [("table", d) for d in rest]
    offset = [int(d) for d in numbers.offset_dims]
    dropped = {*numbers.collapsed_slice_dims, *batch}
    kept = iter(d for d in range(len(shape)) if d not in dropped)
    first = iter(range(len(places)))
    out = eqn.outvars[0].aval.shape
    wanted = [
        ("table", next(kept)) if n in offset else ("index", next(first)) for n in range(len(out))
    ]
    order = [here.index(w) for w in wanted if w != ("table", axis)]
    return [_arranged(scope, made, order, out)]


def _dynamic_slice(scope: Any, eqn: Any, inputs: list[int]) -> Written:
    """One row at a position is a take, and so is a window of rows at one."""
    table, *starts = inputs
    shape, sizes = scope.values[table].shape, eqn.params["slice_sizes"]
    cut = [d for d, (n, k) in enumerate(zip(shape, sizes, strict=True)) if n != k]
    if any(sizes[d] != 1 or len(cut) > 1 for d in cut):
        return _window(scope, eqn, inputs, cut)
    if not cut:
        return None
    rest = [d for d in range(len(shape)) if d != cut[0]]
    table = _arranged(scope, table, [cut[0], *rest])
    (made,) = scope.add(
        "take", [table, starts[cut[0]]],
        [scope.value([shape[d] for d in rest], str(eqn.outvars[0].aval.dtype))],
        kernels.take("dynamic_slice", 0, jax.lax.GatherScatterMode.CLIP, None), scope.frames(eqn),
        params={"axis": 0, "batch_dims": 0},
    )  # fmt: skip
    return [_arranged(scope, made, list(range(len(rest))), eqn.outvars[0].aval.shape)]


def _window(scope: Any, eqn: Any, inputs: list[int], cut: list[int]) -> Written:
    """Rows from a computed position on, along one axis after another."""
    table, *starts = inputs
    if all(_known(scope, starts[d]) is not None for d in cut):
        return None
    frames, sizes = scope.frames(eqn), eqn.params["slice_sizes"]
    mode = jax.lax.GatherScatterMode.CLIP
    for d in cut:
        value, start = scope.values[table], scope.values[starts[d]]
        last = scope.constant(value.shape[d] - sizes[d], start.dtype)
        (index,) = scope.add(
            "clip", [scope.constant(0, start.dtype), starts[d], last],
            [scope.value((), start.dtype)], kernels.elementwise("clamp", jax.lax.clamp), frames,
            operands=(1, 0, 2),
        )  # fmt: skip
        (index,) = scope.add(
            "add", [index, scope.constant(np.arange(sizes[d]), start.dtype)],
            [scope.value((sizes[d],), start.dtype)], kernels.elementwise("add", jax.lax.add),
            frames,
        )  # fmt: skip
        order = [d, *(n for n in range(len(value.shape)) if n != d)]
        table = _arranged(scope, table, order)
        shape = (sizes[d], *scope.values[table].shape[1:])
        (table,) = scope.add(
            "take", [table, index], [scope.value(shape, value.dtype)],
            kernels.take("dynamic_slice", 0, mode, None), frames,
            params={"axis": 0, "batch_dims": 0},
        )  # fmt: skip
        table = _arranged(scope, table, [order.index(n) for n in range(len(order))])
    return [table]


def _scatter(scope: Any, eqn: Any, inputs: list[int]) -> Written:
    numbers = eqn.params["dimension_numbers"]
    table, index, updates = inputs
    depth = len(numbers.scatter_dims_to_operand_dims)
    points = tuple(numbers.scatter_dims_to_operand_dims)
    if any(d not in numbers.inserted_window_dims for d in points):
        return None
    word = "scatter_update" if eqn.primitive.name == "scatter" else "scatter_add"
    is_plain = points == tuple(range(depth)) and not numbers.operand_batching_dims
    if word == "scatter_update" and not is_plain:
        return None
    shape = scope.values[table].shape
    window = [int(d) for d in numbers.update_window_dims]
    first = [d for d in range(len(scope.values[updates].shape)) if d not in window]
    updates = _arranged(scope, updates, [*first, *window])
    if eqn.primitive.name == "scatter-sub":
        value = scope.values[updates]
        made, kernel = (
            scope.value(value.shape, value.dtype),
            kernels.elementwise("neg", jax.lax.neg),
        )
        (updates,) = scope.add("negative", [updates], [made], kernel, scope.frames(eqn))
    return scope.add(
        word, [table, index, updates], [scope.new(eqn.outvars[0].aval)], kernels.scatter(eqn),
        scope.frames(eqn),
        params={"lengths": tuple(shape[d] for d in points), "is_plain": is_plain},
    )  # fmt: skip


def _sort(scope: Any, eqn: Any, inputs: list[int]) -> Written:
    """Several arrays in the order of the first one; which of the others count positions."""
    axis = int(eqn.params["dimension"])
    if len(inputs) < 2:
        return scope.add(
            "native", inputs, [scope.new(eqn.outvars[0].aval)], kernels.primitive(eqn),
            scope.frames(eqn), nature="smooth", params={"orders": axis},
        )  # fmt: skip
    counted = tuple(_counts(scope.makers.get(i), scope, axis) for i in inputs[1:])
    return scope.add(
        "sort", inputs, [scope.new(v.aval) for v in eqn.outvars], kernels.primitive(eqn),
        scope.frames(eqn),
        params={"axis": axis, "positions": counted, "keys": eqn.params["num_keys"]},
    )  # fmt: skip


def _counts(maker: Node | None, scope: Any, axis: int) -> str | None:
    """Whether an array counts positions along an axis, "up" or "down"."""
    if maker is None:
        return None
    if maker.native == "iota":
        return "up" if dict(maker.params).get("dimension") == axis else None
    if maker.native == "rev":
        inner = _counts(scope.makers.get(maker.inputs[0]), scope, axis)
        return {"up": "down", "down": "up"}.get(inner or "")
    return None


def _iota(scope: Any, eqn: Any, inputs: list[int]) -> Written:
    return scope.add(
        "native", inputs, [scope.new(eqn.outvars[0].aval)], kernels.primitive(eqn),
        nature="constant", params={"dimension": int(eqn.params["dimension"])},
    )  # fmt: skip


def _select(scope: Any, eqn: Any, inputs: list[int]) -> Written:
    """`where(i < 0, i + n, i)`, which indexing writes: a position counted from the end."""
    if len(inputs) != 3:
        return None
    is_negative, index, moved = (
        scope.makers.get(inputs[0]),
        inputs[1],
        scope.makers.get(inputs[2]),
    )
    if is_negative is None or moved is None or is_negative.native != "lt" or moved.op != "add":
        return None
    number = _known(scope, moved.inputs[1])
    same = is_negative.inputs[0] == index and index in (
        moved.inputs[0],
        _before(scope, moved.inputs[0]),
    )
    if not same or _known(scope, is_negative.inputs[1]) != 0 or number is None:
        return None
    value = scope.values[index]
    if "int" not in value.dtype:
        return None
    return scope.add(
        "wrap_index", [index], [scope.value(value.shape, value.dtype)],
        kernels.wrap_index(number), scope.frames(eqn),
    )  # fmt: skip


def _cumsum(scope: Any, eqn: Any, inputs: list[int]) -> Written:
    """`nonzero(mask, size=k)`, which is written as sums: how many running counts are at most i."""
    counted = scope.makers.get(inputs[0])
    if counted is None or counted.op != "scatter_add" or not counted.param("is_plain"):
        return None
    table, index, ones = counted.inputs
    index = _behind(scope, index, "broadcast_in_dim", "wrap_index")
    lifted = scope.makers.get(index)
    if lifted is not None and lifted.op == "maximum" and _filled(scope, lifted.inputs[0]) == 0:
        index = lifted.inputs[1]
    running = scope.makers.get(index)
    if running is None or running.native != "cumsum" or eqn.params["reverse"]:
        return None
    mask = _cast_truth(scope, running.inputs[0])
    if mask is None or len(scope.values[mask].shape) != 1 or dict(running.params).get("reverse"):
        return None
    if _filled(scope, table) != 0 or _filled(scope, ones) != 1:
        return None
    size = scope.values[inputs[0]].shape[0]
    made = scope.new(eqn.outvars[0].aval)
    (found,) = scope.add(
        "nonzero", [mask], [made], kernels.nonzero(size, made.dtype), scope.frames(eqn),
        params={"size": size},
    )  # fmt: skip
    scope.picked[mask] = found
    return [found]


def _compared(scope: Any, eqn: Any, inputs: list[int]) -> Written:
    """`arange(k) < sum(mask)` beside the places of a mask: which of those were found."""
    places, total = (scope.makers.get(i) for i in inputs)
    if places is None or total is None or places.native != "iota" or total.op != "sum":
        return None
    mask = _cast_truth(scope, total.inputs[0])
    found = scope.picked.get(mask)
    if found is None or scope.values[found].shape != eqn.outvars[0].aval.shape:
        return None
    count = scope.constant(scope.values[mask].shape[0], scope.values[found].dtype)
    word, operands, _ = names.word_of(eqn)
    return scope.add(
        word, [found, count], [scope.new(eqn.outvars[0].aval)], kernels.primitive(eqn),
        scope.frames(eqn), operands=operands,
    )  # fmt: skip


# What a row goes through unchanged, as long as no other axis is longer than 1.
_TURNS = frozenset({"reshape", "squeeze", "transpose", "expand_dims"})


def _unchanged(scope: Any, eqn: Any, inputs: list[int]) -> Written:
    """A slice of everything, a turn of an axis of one; nothing is written for these."""
    shape = scope.values[inputs[0]].shape
    if eqn.primitive.name == "slice":
        same = shape == tuple(eqn.outvars[0].aval.shape)
    else:
        same = all(shape[d] == 1 for d in eqn.params["dimensions"])
    return [inputs[0]] if same else None


def _back(scope: Any, eqn: Any, inputs: list[int]) -> Written:
    """A row that was made a column and then a row again is the row."""
    shape, before = tuple(eqn.outvars[0].aval.shape), inputs[0]
    while len(shape) == 1 and max(scope.values[before].shape, default=1) == shape[0]:
        if scope.values[before].shape == shape:
            return [before]
        maker = scope.makers.get(before)
        if maker is None or maker.native not in _TURNS:
            break
        before = maker.inputs[0]
    return None


def _cast_truth(scope: Any, i: int) -> int | None:
    """The truths that a number of 0 and 1 was made from."""
    maker = scope.makers.get(i)
    if maker is None or maker.op != "astype" or scope.values[maker.inputs[0]].dtype != "bool":
        return None
    return maker.inputs[0]


def _behind(scope: Any, i: int, *passed: str) -> int:
    """What a value was before operations of these names."""
    maker = scope.makers.get(i)
    while maker is not None and (maker.native in passed or maker.op in passed):
        i = maker.inputs[0]
        maker = scope.makers.get(i)
    return i


def _filled(scope: Any, i: int) -> Any:
    """The one number that an array is full of, if that is known."""
    return _known(scope, _behind(scope, i, "broadcast_in_dim", "identity"))


def _before(scope: Any, i: int) -> int | None:
    """The operand of a cast that changes nothing."""
    maker = scope.makers.get(i)
    return maker.inputs[0] if maker is not None and maker.op == "identity" else None


def _known(scope: Any, i: int) -> Any:
    maker = scope.makers.get(i)
    if maker is None or maker.op != "constant":
        return None
    array = maker.param("value").array
    return array.item() if array.ndim == 0 else None


def _coordinate(scope: Any, index: int, which: int) -> int:
    """One coordinate of positions, without the axis that joins them."""
    maker, shape = scope.makers.get(index), scope.values[index].shape
    if shape[-1] > 1:
        if maker is not None and maker.op == "concat":
            parts = [i for i in maker.inputs if scope.values[i].shape[-1] == 1]
            if len(parts) == shape[-1]:
                return _coordinate(scope, parts[which], 0)
        column = scope.value((*shape[:-1], 1), scope.values[index].dtype)
        kernel = kernels.function("slice", lambda x: x[..., which : which + 1], "column", which)
        (index,) = scope.add("native", [index], [column], kernel)
        return _arranged(scope, index, list(range(len(shape))), shape[:-1])
    if maker is not None and maker.native in ("broadcast_in_dim", "reshape"):
        (before,) = maker.inputs
        if scope.values[before].shape == shape[:-1]:
            return before
    return _arranged(scope, index, list(range(len(shape))), shape[:-1])


def _arranged(scope: Any, i: int, order: list[int], shape: Any = None) -> int:
    """A value with its axes in another order, and then in another shape."""
    value = scope.values[i]
    before = value.shape
    if order != list(range(len(order))):
        before = tuple(before[d] for d in order)
        made = scope.value(before, value.dtype)
        (i,) = scope.add("native", [i], [made], kernels.transpose(tuple(order)))
    if shape is not None and tuple(shape) != tuple(before):
        made = scope.value(shape, value.dtype)
        (i,) = scope.add("native", [i], [made], kernels.reshape(tuple(map(int, shape))))
    return i


LOOK_UPS: dict[str, Callable[[Any, Any, list[int]], Written]] = {
    "gather": _gather,
    "dynamic_slice": _dynamic_slice,
    "scatter": _scatter,
    "scatter-add": _scatter,
    "scatter-sub": _scatter,
    "sort": _sort,
    "iota": _iota,
    "select_n": _select,
    "cumsum": _cumsum,
    "rev": _unchanged,
    "slice": _unchanged,
    "squeeze": _back,
    "reshape": _back,
    "ge": _compared,
    "lt": _compared,
}
