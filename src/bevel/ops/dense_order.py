"""Soft positions of sorted elements: for each rank, weights over all elements.

The n x n weights are the relaxed permutation that a sort applies: `argsort` gives them, and a
matrix product with them sorts anything else by the same scores. For long rows there are `rank` and
`sort`, which need none of this.
"""

from __future__ import annotations

from typing import Any

from keras import ops as K

from bevel.errors import BevelValueError
from bevel.ops.arguments import (
    FORWARDS,
    choose,
    compute_dtype,
    constant,
    dtype_of,
    floating,
    ratio,
    straight_through,
    width,
)

METHODS = ("softsort", "neuralsort")


def argsort(
    x: Any,
    *,
    descending: bool = False,
    method: str = "softsort",
    temperature: Any = 0.1,
    forward: str = "soft",
    scale: Any = 1.0,
) -> Any:
    """Which element stands at each rank, as weights over the elements; they sum to 1 for each rank.

    The weights of rank i are the softmax over the elements j of

    | method | logits | from |
    |---|---|---|
    | `softsort` | -abs(s_i - x_j) / width, s sorted | Prillo and Eisenschlos, ICML 2020 |
    | `neuralsort` | ((2 i - n - 1) x_j - a_j) / width | Grover et al., ICLR 2019 |

    with a_j = sum over l of abs(x_j - x_l).
    Between neighbouring ranks both weigh a gap g as the logistic kernel does, by g / width; further
    off, `neuralsort` grows with the square of the distance. Needs n^2 numbers for a row of n.

    Args:
        x: Floating-point tensor, shape (..., n).
        descending: Whether the largest comes first.
        method: `softsort` or `neuralsort`.
        temperature: How soft: a number >= 0 or a scalar tensor; 0 gives the hard weights.
        forward: `soft` returns the surrogate, `hard` 0 and 1 with its gradient.
        scale: The size of a typical difference: a positive number or a scalar tensor.

    Returns:
        A tensor of shape (..., n, n) and the dtype of x; the last axis is that of the elements.
        Hard weights order equal elements as `keras.ops.argsort` does; soft ones give them equal
        shares.
        NaN for a row that holds NaN.

    Raises:
        BevelValueError: method, temperature, scale or forward cannot be used, or x has no axis.
        BevelTypeError: x is not floating-point.

    Example:
        >>> [[round(float(w), 1) for w in row] for row in argsort([3.0, 1.0, 2.0])]
        [[0.0, 1.0, 0.0], [0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    """
    choose("method", method, METHODS)
    choose("forward", forward, FORWARDS)
    x = floating("x", x)
    if len(x.shape) == 0:
        raise BevelValueError("`x` must have at least one axis; got a single number.")
    dtype = dtype_of(x)
    wide = K.cast(x, compute_dtype(dtype))
    if x.shape[-1] == 0:
        return K.zeros((*K.shape(x), 0), dtype=dtype)
    spread = width(temperature, scale, compute_dtype(dtype))
    missing = K.any(K.isnan(wide), axis=-1)
    lost = K.where(
        missing, constant(float("nan"), compute_dtype(dtype)), K.zeros_like(wide[..., 0])
    )
    lost = K.expand_dims(K.expand_dims(lost, -1), -1)
    exact = K.one_hot(_order(wide, descending), K.shape(x)[-1], dtype=compute_dtype(dtype))
    if spread.hard:
        return K.cast(K.stop_gradient(exact) + lost, dtype)
    logits = _logits(wide, method, descending)
    logits = logits - K.max(K.stop_gradient(logits), axis=-1, keepdims=True)
    weights = K.exp(ratio(logits, spread, dtype))
    soft = weights / K.sum(weights, axis=-1, keepdims=True)
    if forward == "hard":
        soft = straight_through(exact, soft)
    return K.cast(soft + lost, dtype)


def _order(x: Any, descending: bool) -> Any:
    order = K.argsort(K.stop_gradient(x), axis=-1)
    return K.flip(order, axis=-1) if descending else order


def _logits(x: Any, method: str, descending: bool) -> Any:
    """How near each element (last axis) is to each rank, in units of x."""
    others = K.expand_dims(x, -2)
    if method == "softsort":
        ordered = K.sort(x, axis=-1)
        ordered = K.flip(ordered, axis=-1) if descending else ordered
        ordered = K.expand_dims(ordered, -1)
        same = ordered == others  # equal infinities are no distance apart
        return -K.abs(K.where(same, K.zeros_like(ordered * others), ordered - others))
    n = K.shape(x)[-1]
    ranks = K.cast(2 * K.arange(n) - n + 1, dtype_of(x))
    ranks = -ranks if descending else ranks
    apart = K.sum(K.abs(K.expand_dims(x, -1) - others), axis=-1)
    return K.expand_dims(ranks, -1) * others - K.expand_dims(apart, -2)
