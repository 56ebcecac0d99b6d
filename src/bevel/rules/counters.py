"""Counters of rounded numbers: how many elements, or how much of them, fall into each of B cells.

A metric with buckets, such as the area under a curve by 200 thresholds, adds every element to the
counter of the cell that its rounded score names. Shares in the two nearest cells alone would leave
nearly all elements without a gradient once a maximum over the cells is taken. So every element goes
to the two nearest cells, and the counters are then spread over their neighbours,

    M[k, j] = S((j - k + 1/2) / (temperature * spread)) - S((j - k - 1/2) / (temperature * spread)),

which costs O(n + B^2) instead of n B, and tends to the hard counters as the temperature falls.
"""

from __future__ import annotations

from typing import Any

from keras import ops as K

from bevel import ops
from bevel.rules.context import Context, between
from bevel.soft import Mixture, Real, Rounded, as_float, value_of

# Cells beyond the counters on either side: an index is often one more or one less than the cell.
_MARGIN = 4

# Where the grid begins if there are no elements at all.
_NOWHERE = 2.0**20


def counters(ctx: Context, data: Any, index: Any, size: Any) -> Any:
    """The sum of the data in each cell, shape (size,) + what `data` has beyond the index.

    Args:
        ctx: The context.
        data: What is added up, a tensor or a soft value that begins with the shape of the index.
        index: The cells' numbers; only a rounded number, moved and bounded alike for all elements,
            can be counted so.
        size: The number of cells.

    Returns:
        A float tensor, or None where the index is another one.
    """
    derived = index.derived if isinstance(index, Rounded | Mixture) else None
    if derived is None or not derived.is_shift or not isinstance(size, int):
        return None
    source = derived.source
    u, length = K.reshape(source.u, (-1,)), size + 2 * _MARGIN
    center = ctx.mean(u)
    width = ctx.spread(u - center, Real(u, source.dtype, source.origin), center)
    floor = K.stop_gradient(K.floor(u))
    cell = as_float(derived.at(floor, _as_it_is), u)
    # the grid begins below the integer that counts for cell 0
    start = K.min(floor - cell, initial=_NOWHERE) - _MARGIN
    upper, share = ops.nearest_step(
        u - start, temperature=ctx.temperature, kernel=ctx.kernel, scale=width
    )
    values = as_float(value_of(data), u)
    values = K.reshape(values, (-1, *values.shape[len(source.u.shape) :]))
    is_counted = as_float(K.logical_and(cell >= 0, cell < size), u)
    share, is_counted = (_fitted(t, values) for t in (share, is_counted))
    lower = K.cast(upper, "int32") - 1
    grid = K.arange(length, dtype=K.dtype(u))
    distance = K.expand_dims(grid, 1) - K.expand_dims(grid[1:], 0)
    spread_out = between(ctx.step(distance + 0.5, width))  # of each cell, over all cells
    counted = _added(values * is_counted, lower, length)
    # what the share moves from a cell to the next, apart from the rest: the gradient is then a sum
    # of small terms and not the difference of two large sums
    moved = _added(values * is_counted * share, lower, length)[:-1]
    smooth = K.tensordot(spread_out, counted, axes=[[0], [0]]) + K.tensordot(
        spread_out[1:] - spread_out[:-1], moved, axes=[[0], [0]]
    )
    places = K.cast(derived.at(grid + start, _as_it_is), "int32")
    return _added(smooth, places, size)


def _added(values: Any, cells: Any, size: int) -> Any:
    """The sums by cell; what lies outside is moved to the nearest one."""
    return K.segment_sum(values, K.clip(cells, 0, size - 1), num_segments=size)


def _fitted(tensor: Any, values: Any) -> Any:
    return K.reshape(tensor, (-1, *(1,) * (len(values.shape) - 1)))


def _as_it_is(operand: Any) -> Any:
    return operand
