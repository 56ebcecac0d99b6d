"""The rule for a piece that begins at a soft position: `x[argmax(s)]` is the expected entry.

Only an axis of which a single position is taken can have a soft one. Along such an axis the table
is averaged by the weights of the position; the piece of what is left begins at hard positions.
"""

from __future__ import annotations

from typing import Any

from keras import ops as K

from bevel.rules.context import Call, Context
from bevel.rules.index import positions
from bevel.soft import Index, Real, Soft, Stacked, as_float, value_of


def sliced(
    ctx: Context, call: Call, table: Any, begin: Any, end: Any, steps: Any
) -> Real | Index | Any:
    """The piece, each axis with a soft position replaced by one entry, the expected one."""
    if not isinstance(begin, Stacked) or not isinstance(end, Stacked):
        return NotImplemented
    soft = [axis for axis, part in enumerate(begin.parts) if isinstance(part, Soft)]
    if not set(soft) <= set(call.param("single") or ()):
        return NotImplemented
    entries = value_of(table)
    if len(entries.shape) == 1 and not isinstance(table, Soft):
        weights, support = positions(ctx, begin.parts[0], entries.shape[0])
        return Index(weights, K.take(entries, support), call.dtype)
    for axis in soft:
        weights, support = positions(ctx, begin.parts[axis], entries.shape[axis])
        share = K.reshape(weights, (-1,) + (1,) * (len(entries.shape) - axis - 1))
        found = as_float(K.take(entries, support, axis=axis), weights)
        entries = K.sum(share * found, axis=axis, keepdims=True)

    def bound(parts: Any, of_entry: int) -> Any:
        hard = [of_entry if axis in soft else part for axis, part in enumerate(parts)]
        return K.stack([K.cast(part, K.dtype(steps)) for part in hard])

    found = call.native(entries, bound(begin.parts, 0), bound(end.parts, 1), steps)
    return Real(found, call.dtype)
