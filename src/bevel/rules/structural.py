"""Rules for operations that move elements: whatever a soft value holds is moved the same way."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
from keras import ops as K
from keras.backend import backend

from bevel.rules import elements, held
from bevel.rules.context import Call
from bevel.soft import Index, Mixture, Order, Prob, Real, Rounded, Soft, Stacked, value_of

# The operand that is moved, where it is not the first one.
_MOVED = {"Split": 1}

# Operations that put constants beside the elements.
_FILLING = frozenset({"Pad", "PadV2", "pad", "aten::constant_pad_nd"})


Tables = list[np.ndarray | None]


def move(
    call: Call,
    static: Callable[[Any], Any] = lambda _: None,
    at_once: Callable[[], AbstractContextManager[Any]] = nullcontext,
) -> Any:
    """The results of a structural node on a soft value; NotImplemented where a position is soft.

    Args:
        call: The node and its operands.
        static: Gives the array that a tensor holds for any input, or None.
        at_once: A context in which operations on arrays give arrays, while a graph is made.
    """
    which = _MOVED.get(call.node.native, 0)
    value = call.inputs[which]
    if any(isinstance(a, Soft) for i, a in enumerate(call.inputs) if i != which):
        return NotImplemented
    fills = call.node.native in _FILLING
    if isinstance(value, Rounded) and fills:
        value = value.mixture

    def native(tensor: Any) -> list[Any]:
        operands = list(call.inputs)
        operands[which] = tensor
        return call.run(call.node, operands)

    def shown(table: np.ndarray) -> Tables:
        """Where the elements of a table go; None where that is not known before the values are."""
        operands = [
            table if i == which else a if a is None else static(a)
            for i, a in enumerate(call.inputs)
        ]
        if any(a is not None and o is None for a, o in zip(call.inputs, operands, strict=True)):
            return [None] * len(call.node.outputs)
        with at_once():
            found = [static(result) for result in call.run(call.node, operands)]
        return [t if t is None else np.asarray(t) for t in found]

    dtypes = [v.dtype for v in call.node.outputs]
    if isinstance(value, Index) and fills:
        value = Real(value.mean, value.dtype)
    if isinstance(value, Mixture) and fills:
        return [_filled_mixture(value, lambda t: native(t)[0], dtypes[0])]
    if isinstance(value, Stacked):
        apart = _moved_parts(value, shown, dtypes)
        if apart is not None:
            return apart
        value = Real(value.mean, value.dtype)
    results = moved(value, native, dtypes, shown, fills)
    if isinstance(value, Real) and value.shape_of is not None and _is_first(call, value):
        results = [replace(r, shape_of=value.shape_of) for r in results]
    return results


def _is_first(call: Call, shape: Real) -> bool:
    """Whether the first number of a shape is taken, or the only one is moved."""
    only = math.prod(shape.tensor.shape) == 1
    return only or call.param("picks") == 0 or call.param("spans") == (0, 1)


def _moved_parts(
    value: Stacked, shown: Callable[[np.ndarray], Tables], dtypes: list[str]
) -> list[Any] | None:
    """What becomes of values side by side: some of them, or all along another axis; else None.

    How a framework says that it takes a column out, or turns a table, is its own; so the places of
    a table of its shape are moved in its stead, and looked at.
    """
    shape = tuple(value.mean.shape)
    if None in shape or 0 in shape:
        return None
    axis, count = value.axis % len(shape), len(value.parts)
    places = np.arange(math.prod(shape), dtype="int32").reshape(count, -1)
    lengths = [n for a, n in enumerate(shape) if a != axis]
    table = np.moveaxis(places.reshape(count, *lengths), 0, axis)
    found = []
    for n, there in enumerate(shown(table)):
        part = None if there is None else _parts_at(value, places, there, dtypes[n])
        if part is None:
            return None
        found.append(part)
    return found


def _parts_at(value: Stacked, places: np.ndarray, there: np.ndarray, dtype: str) -> Any:
    """The part, or the parts side by side, whose places are there; None for anything else."""

    def part(shown: np.ndarray) -> Any:
        number = int(shown.flat[0]) // places.shape[1]
        if not np.array_equal(shown.ravel(), places[number]):
            return None
        return _reshaped(value.parts[number], shown.shape, dtype)

    if there.size == places.shape[1]:
        return part(there)
    for axis in range(there.ndim if there.size == places.size else 0):
        if there.shape[axis] == len(places):
            parts = [part(shown) for shown in np.moveaxis(there, axis, 0)]
            if not any(p is None for p in parts):
                return Stacked(parts, axis, dtype)
    return None


def _reshaped(part: Any, shape: tuple[int, ...], dtype: str) -> Any:
    if tuple(value_of(part).shape) == shape:
        return part
    if not isinstance(part, Soft):
        return K.reshape(part, shape)
    return moved(part, lambda t: [K.reshape(t, shape)], [dtype])[0]


def moved(
    value: Any,
    native: Callable[[Any], list[Any]],
    dtypes: list[str],
    shown: Callable[[np.ndarray], Tables] | None = None,
    fills: bool = False,
) -> list[Any]:
    """What becomes of a soft value when `native` moves tensors of its shape.

    Args:
        value: A soft value, not `Stacked` or `Selected`.
        native: Gives the moved tensors.
        dtypes: Those of the results in the user's program.
        shown: Gives what `native` makes of a table of known numbers, None where that is not known.
        fills: Whether constants come beside the elements.
    """
    if isinstance(value, Prob):
        truths = native(value.exact()) if value.exact else [None] * len(dtypes)
        return [
            Prob(p, d, None if t is None else lambda t=t: t)
            for p, d, t in zip(native(value.p), dtypes, truths, strict=True)
        ]
    if isinstance(value, Rounded):
        origin = _origin(value.u, value.origin)
        return [
            Rounded(u, d, value._nearest, origin)
            for u, d in zip(native(value.u), dtypes, strict=True)
        ]
    if isinstance(value, Real):
        origin = _origin(value.tensor, value.origin)
        return [
            Real(
                t,
                d,
                origin,
                index=_later(value.index, native, n, d),
                elements=elements.moved(value, lambda t, n=n: native(t)[n]),
                held=held.moved(value, lambda t, n=n: native(t)[n], fills),
            )
            for n, (t, d) in enumerate(zip(native(value.tensor), dtypes, strict=True))
        ]
    if isinstance(value, Mixture):
        return _moved_mixture(value, native, dtypes)
    return [_moved_index(value, native, n, d, shown) for n, d in enumerate(dtypes)]


def arranged(value: Any, change: Callable[[Any], Any]) -> Any:
    """A value of any kind, hard or soft, whose tensors are all moved the same way."""
    if not isinstance(value, Soft):
        return change(value)
    return moved(value, lambda t: [change(t)], [value.dtype])[0]


def _later(
    make: Callable[[], Index] | None, native: Callable[[Any], list[Any]], n: int, dtype: str
) -> Callable[[], Index] | None:
    """How the weights of a rank are made, where they are moved."""
    return None if make is None else lambda: _moved_index(make(), native, n, dtype)


def _origin(tensor: Any, origin: Any) -> Any:
    """The larger of what a value was cut from; a list of tensors has no spread."""
    return tensor if origin is None and "variant" not in str(tensor.dtype) else origin


def _moved_mixture(
    value: Mixture, native: Callable[[Any], list[Any]], dtypes: list[str]
) -> list[Any]:
    """Chances and values are moved alike, once both have the full shape."""

    def atoms(n: int) -> list[tuple[Any, Any]]:
        shape = K.shape(value.mean)
        pairs = []
        for weight, possible in value.atoms:
            w = native(K.broadcast_to(weight, shape))[n]
            v = native(K.broadcast_to(value_of(possible), shape))[n]
            pairs.append((w, Real(v, dtypes[n]) if isinstance(possible, Soft) else v))
        return pairs

    results = [
        Mixture(lambda n=n: atoms(n), value.count, d, lambda n=n: native(value.mean)[n])
        for n, d in enumerate(dtypes)
    ]
    derived = value.derived
    if derived is not None and derived.is_shift:  # what was done to it is the same at any place
        source = derived.source
        sources = moved(source, native, [source.dtype] * len(dtypes))
        for result, own in zip(results, sources, strict=True):
            result.derived = replace(derived, source=own)
    return results


def _filled_mixture(value: Mixture, native: Callable[[Any], Any], dtype: str) -> Mixture:
    """A mixture with constants beside its elements: there, the constant is one more value."""

    def atoms() -> list[tuple[Any, Any]]:
        shape = K.shape(value.mean)
        filled = native(K.zeros_like(value.mean))
        is_new = native(K.ones_like(value.mean)) == filled
        pairs = []
        for weight, possible in value.atoms:
            w = K.where(is_new, 0.0, native(K.broadcast_to(weight, shape)))
            v = native(K.broadcast_to(value_of(possible), shape))
            pairs.append((w, Real(v, dtype) if isinstance(possible, Soft) else v))
        like_weight, like_value = (K.dtype(value_of(t)) for t in pairs[0])
        return [*pairs, (K.cast(is_new, like_weight), K.cast(filled, like_value))]

    return Mixture(atoms, value.count + 1, dtype, lambda: native(value.mean))


def _moved_index(
    value: Index,
    native: Callable[[Any], list[Any]],
    n: int,
    dtype: str,
    shown: Callable[[np.ndarray], Tables] | None = None,
) -> Index:
    """The last axis, which the user's program does not have, stays last."""

    def along(tensor: Any) -> Any:
        if backend() == "tensorflow":
            return _by_places(tensor, lambda t: native(t)[n])
        first = K.vectorized_map(lambda t: native(t)[n], K.moveaxis(tensor, -1, 0))
        return K.moveaxis(first, 0, -1)

    order = value.order
    if order is not None and len(value_of(value.support).shape) == 1:
        moved_order = Order(
            lambda: along(order.weights),
            order.sorted,
            native(order.values)[n],
            between=order.between,
            places=None if shown is None else _moved_places(order, lambda t: shown(t)[n]),
            elements=elements.moved(order, lambda t: native(t)[n]),
        )
        return Index(moved_order, value.support, dtype, value.is_position)

    support = value.support
    if len(value_of(support).shape) > 1:
        places = along(K.broadcast_to(value_of(support), K.shape(value.weights)))
        support = Real(places, dtype) if isinstance(support, Soft) else places
    weights = along(value.weights)
    return Index(weights, support, dtype, value.is_position, among=value.among)


def _by_places(tensor: Any, native: Callable[[Any], Any]) -> Any:
    """Moves all axes but the last by where the places of such a table go.

    XLA compiles what TensorFlow's own vectorised map makes of it anew in each call.
    """
    shape = K.shape(tensor)
    rows = K.reshape(tensor, (-1, shape[-1]))
    numbers = K.arange(1, K.shape(rows)[0] + 1, dtype="int32")
    there = native(K.reshape(numbers, shape[:-1]))
    found = K.take(rows, K.maximum(there - 1, 0), axis=0)
    return K.where(K.expand_dims(there, -1) > 0, found, K.zeros_like(found))


def _moved_places(order: Order, moved: Callable[[np.ndarray], Any]) -> np.ndarray | None:
    """The ranks that stand along the last axis of moved positions; None if they are not known."""
    shape = tuple(order.values.shape)
    if order.places is None or None in shape:
        return None
    there = moved(np.ascontiguousarray(np.broadcast_to(order.places, shape).astype("int32")))
    if there is None or np.ndim(there) != len(shape):
        return None
    rows = np.reshape(there, (-1, np.shape(there)[-1]))
    return rows[0] if len(rows) and np.all(rows == rows[:1]) else None
