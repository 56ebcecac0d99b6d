"""A sorted array that knows where, for each element, the neighbours within a kernel begin and end.

Every pairwise sum over a compact kernel needs the same few places in the sorted array, and prefix
sums up to there: O(n log n) for the sort and the searches, O(n) for the rest, no element against
each. Three things make that exact:

- Gaps wider than the kernel are cut to one that is just as good. Positions are then at most a few
  n, whatever the numbers were: two clusters far apart are as exact as one. Segments of a row are
  laid one after the other with such a gap, so that a single search serves them all.
- What is summed is the fraction u of a position, a number below 1, and never the position itself.
- Prefix sums are in float64 on every backend.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from keras import ops as K

from bevel.ops.arguments import dtype_of
from bevel.ops.piecewise import Piecewise, Place, Shape
from bevel.ops.primitives import (
    before_each,
    counted,
    cumulated,
    gathered,
    latest,
    length_of,
    placed,
    search,
)


class Neighbours(NamedTuple):
    """The order of n numbers, row by row, and the places that a kernel's sums end at.

    Attributes:
        order: Where each element of the sorted array stands in the flattened input.
        u: The fractions of the positions, float64.
        position: The positions, the empty space between them cut.
        gap: The distances to the element before, in units, uncut; 0 for the first of a row.
        poison: NaN in rows and segments that hold NaN, else 0.
        places: For each element, the numbers of elements before its places.
    """

    order: Any
    u: Any
    position: Any
    gap: Any
    poison: Any
    places: dict[Place, Any]


def neighbours(x: Any, unit: Any, kernels: Iterable[Shape], ids: Any = None) -> Neighbours:
    """Sorts, and finds the places. In `double_precision`.

    Args:
        x: Shape (rows, n), any float dtype.
        unit: What a unit of the kernels is in x; a scalar.
        kernels: Those that will be summed; they and their derivatives can be.
        ids: Integers like x; only elements with the same one are neighbours.
    """
    kernels, x = list(kernels), K.stop_gradient(x)
    is_missing = K.isnan(x)
    x = K.where(is_missing, K.zeros_like(x), x)
    order = _order(x, ids)
    index = K.arange(length_of(order), dtype="int32")
    row_length = K.shape(x)[1]
    row_start = index - index % row_length
    is_first = index == row_start
    if ids is not None:
        groups = gathered(K.reshape(ids, (-1,)), order)
        is_first = K.logical_or(is_first, _after(True, groups[1:] != groups[:-1]))
    ordered = gathered(K.cast(K.reshape(x, (-1,)), "float64"), order)
    gap = _after(0.0, ordered[1:] - ordered[:-1]) / K.cast(unit, "float64")
    nowhere = K.logical_or(is_first, K.isnan(gap))  # equal infinities are no distance apart
    gap = K.where(nowhere, K.zeros_like(gap), gap)
    apart = K.convert_to_tensor(max((k.reach for k in kernels), default=1) + 1.0, dtype="float64")
    position = cumulated(K.where(K.logical_or(is_first, gap > apart), apart, gap))
    cell = K.cast(K.cast(position, "int32"), "float64")

    places: dict[Place, Any] = {}
    wanted = frozenset[Place]().union(*(k.places for k in kernels))
    for place in sorted(wanted):
        if place in places:
            continue
        if place.kind == "row":
            row = (row_start, row_start + row_length) if ids is None else _segments(is_first)
            places |= {Place("row", 0): row[0], Place("row", 1): row[1]}
        elif place == Place("edge", 0):
            places[place] = index
        else:
            found = max(place, place.opposite)
            if found == Place("tie", 0):
                left = latest(K.logical_or(is_first, gap != 0))
            elif found == Place("cell", 0):
                left = latest(K.logical_or(is_first, _after(True, cell[1:] != cell[:-1])))
            else:
                own = cell if place.kind == "cell" else position
                by_row = [K.reshape(t, K.shape(x)) for t in (position, own - found.offset)]
                left = K.reshape(search(*by_row), (-1,)) + row_start
            places |= {found: left, found.opposite: _reversed(left)}
    poison = _poison(is_missing, order, None if ids is None else _segments(is_first))
    return Neighbours(order, position - cell, position, gap, poison, places)


def summed(found: Neighbours, kernel: Piecewise, weights: Any = None) -> Any:
    """Sums of weights times the kernel over all elements of the same row and segment.

    In `double_precision`, and in the order of the sorted array.

    Args:
        found: What `neighbours` gave for the kernel, for its mirror image, or for what it is a
            derivative of.
        kernel: The kernel.
        weights: A weight for each element, float64; by default 1.

    Returns:
        A float64 tensor, one sum for each element.
    """
    upto: dict[int, Any] = {}
    total = K.zeros_like(found.u)
    for place, power, coefficients in kernel.terms:
        index = found.places[place]
        if weights is None and power == 0:
            before = K.cast(index, "float64")
        else:
            if power not in upto:
                upto[power] = before_each(_moment(found.u, power, weights))
            before = gathered(upto[power], index)
        total = total + _polynomial(coefficients, found.u) * before
    return total + found.poison


def in_order(found: Neighbours, values: Any) -> Any:
    """Values of any shape as float64 in the order of the sorted array; None stays None."""
    if values is None:
        return None
    return gathered(K.reshape(K.cast(values, "float64"), (-1,)), found.order)


def as_given(found: Neighbours, values: Any, like: Any) -> Any:
    """Values in the order of the sorted array, in the order, shape and dtype of the input."""
    return K.cast(K.reshape(placed(values, found.order), K.shape(like)), dtype_of(like))


def _order(x: Any, ids: Any) -> Any:
    """Flat positions of the elements, row by row, each row by segment and then by size."""
    order = K.argsort(x, axis=-1)
    if ids is not None:
        by_id = K.argsort(K.take_along_axis(ids, order, axis=-1), axis=-1)
        order = K.take_along_axis(order, by_id, axis=-1)
    order = K.cast(order, "int32")
    rows, length = K.shape(x)
    starts = K.expand_dims(K.arange(rows, dtype="int32") * length, -1)
    return K.reshape(order + starts, (-1,))


def _reversed(left: Any) -> Any:
    """Where the elements end whose own `left` place does not lie beyond this one."""
    return cumulated(counted(left))


def _segments(is_first: Any) -> tuple[Any, Any]:
    """Where the segment of each element starts and ends."""
    run = cumulated(K.cast(is_first, "int32")) - 1
    counts = counted(run)
    end = gathered(cumulated(counts), run)
    return end - gathered(counts, run), end


def _poison(is_missing: Any, order: Any, row: tuple[Any, Any] | None) -> Any:
    """NaN for all elements of a row, or of a segment of it, in which one is missing; else 0."""
    if row is None:
        is_lost = K.broadcast_to(K.any(is_missing, axis=1, keepdims=True), K.shape(is_missing))
        is_lost = K.reshape(is_lost, (-1,))
    else:
        missing = gathered(K.reshape(is_missing, (-1,)), order)
        before = before_each(K.cast(missing, "int32"))
        is_lost = gathered(before, row[1]) > gathered(before, row[0])
    zero = K.zeros_like(is_lost, dtype="float64")
    return K.where(is_lost, zero + float("nan"), zero)


def _after(first: Any, rest: Any) -> Any:
    return K.concatenate([K.full((1,), first, dtype=dtype_of(rest)), rest])


def _moment(u: Any, power: int, weights: Any) -> Any:
    """weights u^power, without ones and without powers of 0."""
    factors = [u] * power + ([] if weights is None else [weights])
    value = factors[0]
    for factor in factors[1:]:
        value = value * factor
    return value


def _polynomial(coefficients: tuple[float, ...], u: Any) -> Any:
    value: Any = coefficients[-1]
    for a in reversed(coefficients[:-1]):
        value = value * u + a
    return value
