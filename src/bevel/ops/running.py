"""The running maximum, softly: a mean of all so far, whose weights rise with what they weigh.

Sums of weights and of weighted values are kept relative to the largest of a stretch, and two
stretches join into one: the larger of the two, and both sums brought to it. So stretches of 1, 2,
4, ... elements that end at each place are joined for all places at once, log2 n times.
"""

from __future__ import annotations

from typing import Any

from keras import ops as K

from bevel.ops.arguments import (
    FORWARDS,
    choose,
    compute_dtype,
    dtype_of,
    floating,
    ratio,
    straight_through,
    width,
)

# The largest, and the sums, of no element.
_NOTHING = (float("-inf"), 0.0, 0.0)

# A distance that has no weight at any temperature, and times 0 is 0.
_FAR = -1e30


def cumulative_max(
    x: Any,
    axis: int = -1,
    *,
    temperature: Any = 0.1,
    forward: str = "soft",
    scale: Any = 1.0,
) -> Any:
    """The largest so far along an axis: at each place `max` of the elements up to there.

        y_i = sum over j <= i of x_j w_j / sum over j <= i of w_j,  w_j = exp(x_j / width),

    with width = temperature * scale. O(n log n) in time and, for the gradient, in memory.

    Args:
        x: Floating-point tensor; the length of the axis has to be known when traced.
        axis: The axis to run along.
        temperature: How soft: a number >= 0 or a scalar tensor; 0 is the hard running maximum,
            whose gradient equal values share.
        forward: `soft` returns the mean, `hard` the running maximum with the mean's gradient.
        scale: The size of a typical difference: a positive number or a scalar tensor.

    Returns:
        A tensor of the shape and dtype of x. NaN from the first NaN on.

    Raises:
        BevelValueError: temperature, scale or forward cannot be used.
        BevelTypeError: x is not floating-point.

    Example:
        >>> [round(float(v), 3) for v in cumulative_max([1.0, 3.0, 2.0, 5.0])]
        [1.0, 3.0, 3.0, 5.0]
    """
    choose("forward", forward, FORWARDS)
    x = floating("x", x)
    dtype = dtype_of(x)
    if x.shape[axis] == 0:
        return x
    spread = width(temperature, scale, compute_dtype(dtype))
    wide = K.moveaxis(K.cast(x, compute_dtype(dtype)), axis, -1)
    level = K.stop_gradient(wide)
    is_finite = K.isfinite(wide)
    change = K.where(is_finite, wide, K.zeros_like(wide))
    change = change - K.stop_gradient(change)  # 0, with a slope of 1

    def weight(distance: Any) -> Any:
        """Of what lies a distance <= 0 below the largest."""
        if spread.hard:
            return K.cast(distance >= 0, dtype_of(distance))
        return K.exp(ratio(distance, spread, dtype))

    def joined(first: Any, second: Any) -> Any:
        # Keras rounds the maximum to float32 in PyTorch; NaN is the larger one
        is_first = K.logical_or(first[0] >= second[0], K.isnan(first[0]))
        top = K.where(is_first, first[0], second[0])
        total, mean = K.zeros_like(top), K.zeros_like(top)
        for m, s, v in (first, second):
            below = K.where(m == top, K.zeros_like(m), m - top)
            # what is infinitely far below has no weight, and 0 of infinity is none
            below = K.where(K.isinf(below), K.full_like(below, _FAR), below)
            w = weight(below)
            total, mean = total + w * s, mean + w * (v + below * s)
        return top, total, mean

    start = weight(change) if not spread.hard else K.ones_like(change)
    found, reach = (level, start, change * start), 1
    while reach < x.shape[axis]:
        found = joined([_moved(t, reach, e) for t, e in zip(found, _NOTHING, strict=True)], found)
        reach *= 2
    top, total, mean = found
    soft = top + mean / total
    if forward == "hard":
        soft = straight_through(top, soft)
    return K.cast(K.moveaxis(soft, -1, axis), dtype)


def _moved(x: Any, places: int, fill: float) -> Any:
    """Along the last axis, what stood some places before."""
    return K.concatenate([K.full_like(x[..., :places], fill), x[..., :-places]], axis=-1)
