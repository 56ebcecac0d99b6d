"""Sums over all pairs, r_i = sum over j of w_j K((x_i - y_j) / temperature), in O(n log n).

Ranks, areas under curves, average precision and their gradients are such sums. All of them are
sums of one array against itself: where x and y differ, they are joined and the elements of x get no
weight. The gradients are sums of the same kind over the same sorted array, with the kernel's
derivative or its mirror image; so are those of the gradients.
"""

from __future__ import annotations

from typing import Any

from keras import ops as K

from bevel.ops import neighbours as compact
from bevel.ops import one_sided
from bevel.ops.neighbours import Neighbours, as_given, in_order, neighbours
from bevel.ops.piecewise import Hinge, Shape
from bevel.ops.primitives import double_precision, with_gradient


def sums(x: Any, weights: Any, unit: Any, kernel: Shape, ids: Any = None, found: Any = None) -> Any:
    """S_i = sum over j of w_j K((x_i - x_j) / unit), in the same row and segment.

    Args:
        x: Shape (rows, n), float32 or float64, without NaN.
        weights: Shape (rows, n), or (channels, rows, n) for a sum with each of several, or None for
            ones.
        unit: A scalar of the dtype of x, constant for the gradient.
        kernel: The kernel.
        ids: Integers, shape (rows, n), or None.
        found: The `Neighbours` of x, where they are known.

    Returns:
        A tensor like x, or one for each channel.
    """

    def value(known: Any, x: Any, unit: Any, w: Any = None) -> tuple[Any, Neighbours]:
        with double_precision():
            ids, found = known
            found = neighbours(x, unit, [kernel], ids) if found is None else found
            totals = [
                as_given(found, _summed(found, kernel, in_order(found, c)), x) for c in _channels(w)
            ]
            return totals[0] if w is None or len(w.shape) == 2 else K.stack(totals), found

    def gradient(known: Any, found: Any, g: Any, x: Any, unit: Any, w: Any = None) -> Any:
        pairs = zip(_channels(w), _channels(g), strict=True)
        along = sum(_forces(x, c, h, unit, kernel.derivative, found) for c, h in pairs)
        if w is None:
            return along, K.zeros_like(unit)
        return along, K.zeros_like(unit), lambda: sums(x, g, unit, kernel.mirrored, None, found)

    tensors = (x, unit) if weights is None else (x, unit, weights)
    return with_gradient(value, gradient, tensors, (ids, found))


def _forces(x: Any, weights: Any, g: Any, unit: Any, slope: Shape, found: Neighbours) -> Any:
    """How the sum of g_i S_i changes with x: by what x_i sees of others, and they of it.

    F_i = (g_i sum over j of w_j K'(z_ij) - w_i sum over j of g_j K'(z_ji)) / unit, as one sum in
    float64, because the two nearly cancel where g is nearly constant.
    """

    def value(found: Any, x: Any, unit: Any, g: Any, w: Any = None) -> tuple[Any, None]:
        with double_precision():
            g, w = in_order(found, g), in_order(found, w)
            pulled = _summed(found, slope.mirrored, g)
            force = g * _summed(found, slope, w) - (pulled if w is None else w * pulled)
            return as_given(found, force / K.cast(unit, "float64"), x), None

    def gradient(found: Any, _: Any, h: Any, x: Any, unit: Any, g: Any, w: Any = None) -> Any:
        h = h / unit
        along = _forces(x, w, h * g, unit, slope.derivative, found)
        hw = h if w is None else h * w
        against = _forces(x, g, hw, unit, slope.mirrored.derivative, found)
        for_g = h * sums(x, w, unit, slope, None, found) - sums(x, hw, unit, slope, None, found)
        if w is None:
            return along - against, K.zeros_like(unit), for_g
        turned = slope.mirrored
        for_w = sums(x, h * g, unit, turned, None, found) - h * sums(
            x, g, unit, turned, None, found
        )
        return along - against, K.zeros_like(unit), for_g, for_w

    tensors = (x, unit, g) if weights is None else (x, unit, g, weights)
    return with_gradient(value, gradient, tensors, found)


def _channels(values: Any) -> list[Any]:
    if values is None or len(values.shape) == 2:
        return [values]
    return [values[c] for c in range(values.shape[0])]


def _summed(found: Neighbours, kernel: Shape, weights: Any) -> Any:
    """In the order of the sorted array."""
    summed = one_sided.summed if isinstance(kernel, Hinge) else compact.summed
    return summed(found, kernel, weights)  # pyright: ignore[reportArgumentType]
