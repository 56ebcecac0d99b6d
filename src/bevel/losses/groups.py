"""Flat lists: items in any order, each with the number of its list, packed into padded lists.

A table of sources says which item stands in each place; whatever belongs to the items is then
looked up in it, so gradients find their way back.
"""

from __future__ import annotations

from typing import Any

from keras import ops as K

from bevel.backend import is_concrete, to_numpy
from bevel.errors import BevelTypeError, BevelValueError
from bevel.ops.arguments import dtype_of
from bevel.ops.primitives import cumulated, latest


def sources(group_ids: Any, shape: tuple[int, int] | None) -> tuple[Any, Any]:
    """Which item stands in each place of the padded lists.

    Args:
        group_ids: Integers, shape (n,).
        shape: How many lists there are at most, and how many items in the longest; None counts.

    Returns:
        Integers of this shape, 1 for the first item and so on, 0 for padding; lists come in the
        order of their ids. And whether the shape was too small for them.

    Raises:
        BevelTypeError: group_ids are not integers.
        BevelValueError: they are not one axis, or the shape is too small or, where a function is
            compiled, not given.
    """
    ids = K.convert_to_tensor(group_ids)
    if "int" not in dtype_of(ids):
        raise BevelTypeError(f"`group_ids` must hold integers; got dtype {dtype_of(ids)}.")
    if len(ids.shape) != 1:
        raise BevelValueError(
            f"`group_ids` must have shape (n,), one for each item; got {tuple(ids.shape)}."
        )
    if ids.shape[0] == 0:
        return K.zeros(shape or (1, 1), dtype="int32"), K.convert_to_tensor(False)
    order = K.cast(K.argsort(ids), "int32")
    ordered = K.take(ids, order)
    is_first = K.concatenate([K.ones_like(ordered[:1], dtype="bool"), ordered[1:] != ordered[:-1]])
    row = cumulated(K.cast(is_first, "int32")) - 1
    place = K.arange(K.shape(ids)[0], dtype="int32") - K.cast(latest(is_first), "int32")
    lists, longest = _fitting(shape, row, place)
    outside = K.logical_or(row >= lists, place >= longest)
    beyond = lists * longest
    slot = K.where(outside, K.full_like(row, beyond), row * longest + place)
    table = K.scatter(K.expand_dims(slot, -1), order + 1, (beyond + 1,))
    return K.reshape(table[:beyond], (lists, longest)), K.any(outside)


def _fitting(shape: tuple[int, int] | None, row: Any, place: Any) -> tuple[int, int]:
    """The shape, if all fit; what is needed if none is given."""
    if not is_concrete(row):
        if shape is None:
            raise BevelValueError(
                "`shape` must be given where the loss is compiled: how many lists there are at "
                "most, and how many items in the longest."
            )
        return shape
    needed = int(to_numpy(row)[-1]) + 1, int(to_numpy(place).max()) + 1
    if shape is not None and (needed[0] > shape[0] or needed[1] > shape[1]):
        raise BevelValueError(
            f"`shape` {tuple(shape)} is too small: `group_ids` hold {needed[0]} lists, the longest "
            f"of {needed[1]} items."
        )
    return shape or needed


def packed(items: Any, table: Any, padding: float) -> Any:
    """Items of shape (n,) or (n, 1) in the places of the table of `sources`."""
    items = K.reshape(items, (-1,))
    items = K.concatenate([K.cast(K.full((1,), padding), items.dtype), items])
    return K.take(items, table)
