"""Sums over hinges: kernels that rise without an end, so that every element counts everywhere.

Let T_p(v) be the sum of w_j (v - v_j)^p over the elements of a row up to v. The sum of hinges at
v_i is T_p(v_i + 1). From an element to the next, a gap g further on,

    T_0 rises by the element's weight,   T_1 by g T_0,   T_2 by g (T_1 before + T_1 after),

the last because T_1 is straight in between. So all of them are running sums of running sums, of
terms that do not cancel where the weights are positive.
"""

from __future__ import annotations

from typing import Any

from keras import ops as K

from bevel.ops.neighbours import Neighbours
from bevel.ops.piecewise import Hinge, Place
from bevel.ops.primitives import before_each, cumulated, gathered, length_of


def summed(found: Neighbours, kernel: Hinge, weights: Any = None) -> Any:
    """Sums of weights times the kernel over all elements of the same row and segment.

    In `double_precision`, and in the order of the sorted array; see `neighbours.summed`.
    """
    w = K.ones_like(found.u) if weights is None else weights
    count = length_of(found.u)
    gap, position, start = found.gap, found.position, found.places[Place("row", 0)]
    end = found.places[Place("edge", -1)]
    if kernel.sign < 0:
        w, position = K.flip(w), -K.flip(position)
        gap = K.flip(K.concatenate([gap[1:], K.zeros_like(gap[:1])]))
        start = count - K.flip(found.places[Place("row", 1)])
        end = count - K.flip(found.places[Place("edge", 1)])
    last = end - 1
    beyond = 1 - (gathered(position, last) - position)  # of v_i + 1 behind the last one before it
    sums = [_within(w, start)]
    at = [gathered(sums[0], last)]
    if kernel.power > 0:
        sums.append(_within(gap * (sums[0] - w), start))
        at.append(gathered(sums[1], last) + beyond * at[0])
    if kernel.power > 1:
        here = gathered(sums[1], last)
        sums.append(_within(gap * (_shifted(sums[1]) + sums[1]), start))
        at.append(gathered(sums[2], last) + beyond * (here + at[1]))
    total = kernel.factor * at[kernel.power]
    return (K.flip(total) if kernel.sign < 0 else total) + found.poison


def _within(steps: Any, start: Any) -> Any:
    """Running sums that begin anew with each row or segment."""
    return cumulated(steps) - gathered(before_each(steps), start)


def _shifted(values: Any) -> Any:
    """Each value at the place after its own; the gap there is 0 where another row begins."""
    return K.concatenate([K.zeros_like(values[:1]), values[:-1]])
