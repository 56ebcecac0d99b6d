"""Sums over all pairs for kernels that have no end: all with all, a block of them at a time.

O(n m) time, and memory for one block. The gradients are such sums too: for x with the slope of the
kernel, for y likewise with both arrays exchanged, because that slope is even, and for the weights
with both arrays exchanged and turned round.
"""

from __future__ import annotations

import math
from typing import Any

from keras import ops as K

from bevel.ops import kernels
from bevel.ops.primitives import with_gradient

# Elements of a block.
_BLOCK = 2**21

# K'(0), in units of each kernel's own width.
SLOPES = {
    "logistic": 0.25,
    "arctan": 1 / math.pi,
    "algebraic": 0.5,
    "gaussian": 1 / math.sqrt(2 * math.pi),
}


def all_pairs(x: Any, y: Any, weights: Any, unit: Any, kernel: str, ids: Any = None) -> Any:
    """S_i = sum over j of w_j K((x_i - y_j) / unit), in the same row and segment.

    Args:
        x: Shape (rows, n), float32 or float64.
        y: Shape (rows, m), likewise.
        weights: Shape (rows, m), likewise.
        unit: A scalar of the dtype of x, constant for the gradient.
        kernel: One of `SLOPES`.
        ids: Integers, shapes (rows, n) and (rows, m), or None.

    Returns:
        A tensor like x.
    """

    def value(known: Any, x: Any, y: Any, w: Any, unit: Any) -> tuple[Any, None]:
        return _blockwise(x, y, w, unit, kernel, known, is_slope=False), None

    def gradient(known: Any, _: Any, g: Any, x: Any, y: Any, w: Any, unit: Any) -> Any:
        turned = None if known is None else known[::-1]
        for_x = g * _blockwise(x, y, w, unit, kernel, known, is_slope=True) / unit
        for_y = -w * _blockwise(y, x, g, unit, kernel, turned, is_slope=True) / unit
        return (
            for_x,
            for_y,
            lambda: _blockwise(-y, -x, g, unit, kernel, turned, is_slope=False),
            K.zeros_like(unit),
        )

    return with_gradient(value, gradient, (x, y, weights, unit), ids)


def _blockwise(
    x: Any, y: Any, weights: Any, unit: Any, kernel: str, ids: Any, *, is_slope: bool
) -> Any:
    rows, n = K.shape(x)
    longest = y.shape[-1] or 4096
    height = max(1, min(_BLOCK // (longest * max(x.shape[0] or 1, 1)), x.shape[-1] or _BLOCK))
    blocks = -(-n // height) if isinstance(n, int) else K.maximum(-(-n // height), 1)

    def cut(t: Any) -> Any:
        padded = K.pad(t, [(0, 0), (0, blocks * height - n)])
        return K.transpose(K.reshape(padded, (rows, blocks, height)), (1, 0, 2))

    def sums(block: Any) -> Any:
        own = K.expand_dims(block[0], -1)
        other = K.expand_dims(y, -2)
        same = own == other  # equal infinities are no distance apart
        z = K.where(same, K.zeros_like(own * other), own - other) / unit
        if is_slope:
            share = kernels.peak(z, kernel) * (SLOPES[kernel] / kernels.KERNELS[kernel].width)
        else:
            share = kernels.cumulative(z, kernel)
        counted = K.expand_dims(weights, -2) * share
        if ids is not None:
            meet = K.expand_dims(block[1], -1) == K.expand_dims(ids[1], -2)
            counted = K.where(meet, counted, K.zeros_like(counted))
        return K.sum(counted, axis=-1)

    found = K.map(sums, (cut(x),) if ids is None else (cut(x), cut(ids[0])))
    return K.reshape(K.transpose(found, (1, 0, 2)), (rows, blocks * height))[:, :n]
