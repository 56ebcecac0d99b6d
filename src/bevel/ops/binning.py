"""Soft positions among edges, and how much falls between them: sums over pairs of values and edges.

How many edges a value has passed is a sum of steps over the edges; how many values have passed an
edge is one over the values, and a bin holds what has passed its left edge less what has passed its
right one:

    position(x) = sum over k of K((x - edge_k) / width),
    count of bin k = sum over j of w_j (K((x_j - edge_k) / width) - K((x_j - edge_(k+1)) / width)).

By `pairwise_sum`: O((n + m) log(n + m)) for n values and m edges, no n x m numbers.
"""

from __future__ import annotations

from typing import Any

from keras import ops as K

from bevel.errors import BevelValueError
from bevel.ops.arguments import (
    FORWARDS,
    choose,
    compute_dtype,
    dtype_of,
    floating,
    straight_through,
)
from bevel.ops.order import RISING
from bevel.ops.pairwise import pairwise_sum


def searchsorted(
    edges: Any,
    x: Any,
    *,
    temperature: Any = 0.1,
    kernel: str = "linear",
    forward: str = "soft",
    scale: Any = 1.0,
) -> Any:
    """How many edges lie below each value; one that is equal to it counts half.

    Args:
        edges: Floating-point tensor, shape (m,) or (..., m); they need not be sorted.
        x: Floating-point tensor, shape (..., n).
        temperature: How soft: a number >= 0 or a scalar tensor; 0 counts hard.
        kernel: A kernel of `pairwise_sum` that rises from 0 to 1.
        forward: `soft` returns the surrogate, `hard` the exact count with its gradient.
        scale: The size of a typical difference: a positive number or a scalar tensor.

    Returns:
        A tensor of the shape of x, from 0 to m; float64 where x or the edges are, else float32.
        NaN for a row that holds NaN.

    Raises:
        BevelValueError: temperature, scale, kernel, forward or shapes cannot be used.
        BevelTypeError: x or the edges are not floating-point.

    Example:
        >>> [float(p) for p in searchsorted([1.0, 2.0, 4.0], [0.0, 2.0, 9.0])]
        [0.0, 1.5, 3.0]
    """
    x = _rows_of("x", x)
    edges = _beside(edges, x)
    return _passed(x, edges, None, temperature, kernel, forward, scale)


def histogram(
    x: Any,
    edges: Any,
    *,
    weights: Any = None,
    temperature: Any = 0.1,
    kernel: str = "linear",
    forward: str = "soft",
    scale: Any = 1.0,
) -> Any:
    """How many values lie between each edge and the next; what lies outside of all is not counted.

    A value at an edge counts half on either side of it.

    Args:
        x: Floating-point tensor, shape (..., n).
        edges: Floating-point tensor, shape (m + 1,) or (..., m + 1), rising.
        weights: Of the values, shape (..., n) or what broadcasts to it; by default 1.
        temperature: How soft: a number >= 0 or a scalar tensor; 0 counts hard. Beside bins of a
            width of 1, 0.1 leaves most of a value in its own bin.
        kernel: A kernel of `pairwise_sum` that rises from 0 to 1.
        forward: `soft` returns the surrogate, `hard` the exact counts with its gradient.
        scale: The size of a typical difference, such as the width of a bin: a positive number or a
            scalar tensor.

    Returns:
        A tensor of shape (..., m), float64 where x or the edges are, else float32. A count is the
        difference of two sums: in float32 it is exact to a few 1e-7 of the sum of all weights. NaN
        for a row that holds NaN.

    Raises:
        BevelValueError: temperature, scale, kernel, forward or shapes cannot be used, or there are
            less than two edges.
        BevelTypeError: x or the edges are not floating-point.

    Example:
        >>> [float(c) for c in histogram([0.5, 0.6, 2.5], [0.0, 1.0, 2.0, 3.0])]
        [2.0, 0.0, 1.0]
    """
    x = _rows_of("x", x)
    edges = _beside(edges, x)
    if edges.shape[-1] is not None and edges.shape[-1] < 2:
        raise BevelValueError(
            f"`edges` must hold at least two numbers; got shape {tuple(edges.shape)}."
        )
    # what lies below each edge
    below = _passed(edges, x, weights, temperature, kernel, forward, scale)
    return below[..., 1:] - below[..., :-1]


def bincount(
    x: Any,
    length: int,
    *,
    weights: Any = None,
    temperature: Any = 0.1,
    kernel: str = "linear",
    forward: str = "soft",
    scale: Any = 1.0,
) -> Any:
    """How many values are 0, 1, ..., length - 1: `histogram` with edges half-way between.

    Args:
        x: Floating-point tensor, shape (..., n): soft integers.
        length: How many bins.
        weights: Of the values, shape (..., n) or what broadcasts to it; by default 1.
        temperature: How soft: a number >= 0 or a scalar tensor; 0 counts hard.
        kernel: A kernel of `pairwise_sum` that rises from 0 to 1.
        forward: `soft` returns the surrogate, `hard` the exact counts with its gradient.
        scale: The size of a typical difference: a positive number or a scalar tensor.

    Returns:
        A tensor of shape (..., length), float64 for float64 and else float32; see `histogram`.

    Raises:
        BevelValueError: temperature, scale, kernel, forward or shapes cannot be used, or the length
            is not a whole number >= 0.
        BevelTypeError: x is not floating-point.

    Example:
        >>> [float(c) for c in bincount([0.0, 2.0, 2.0, 1.5], 3)]
        [1.0, 0.5, 2.5]
    """
    x = _rows_of("x", x)
    if isinstance(length, bool) or not isinstance(length, int) or length < 0:
        raise BevelValueError(f"`length` must be a whole number >= 0; got {length!r}.")
    edges = K.cast(K.arange(length + 1), compute_dtype(dtype_of(x))) - 0.5
    below = _passed(_beside(edges, x), x, weights, temperature, kernel, forward, scale)
    return below[..., 1:] - below[..., :-1]


def unique_counts(
    x: Any,
    *,
    temperature: Any = 0.1,
    forward: str = "soft",
    scale: Any = 1.0,
) -> Any:
    """How many elements of its row each one is equal to, itself included.

    sum over j of max(0, 1 - u^2) with u = (x_i - x_j) / width, the kernel `epanechnikov`. The sum
    of 1 / counts is how many different values there are, softly. Unlike the hard function, this
    gives one number for each element and not for each value: how many values there are would depend
    on x.

    Args:
        x: Floating-point tensor, shape (..., n).
        temperature: How soft: a number >= 0 or a scalar tensor; 0 counts hard.
        forward: `soft` returns the surrogate, `hard` the exact counts with its gradient.
        scale: The size of a typical difference: a positive number or a scalar tensor.

    Returns:
        A tensor of the shape of x, float64 for float64 and else float32. NaN for a row that holds
        NaN.

    Raises:
        BevelValueError: temperature, scale or forward cannot be used.
        BevelTypeError: x is not floating-point.

    Example:
        >>> counts = unique_counts([3.0, 1.0, 3.0])
        >>> [float(c) for c in counts], float(K.sum(1 / counts))
        ([2.0, 1.0, 2.0], 2.0)
    """
    choose("forward", forward, FORWARDS)
    x = _rows_of("x", x)
    how = {"kernel": "epanechnikov", "temperature": temperature, "scale": scale}
    soft = pairwise_sum(x, **how)
    if forward == "hard":
        exact = pairwise_sum(K.stop_gradient(x), kernel="epanechnikov", temperature=0)
        soft = straight_through(exact, soft)
    return soft


def _passed(
    x: Any, y: Any, weights: Any, temperature: Any, kernel: str, forward: str, scale: Any
) -> Any:
    """How much of y lies below each of x."""
    choose("kernel", kernel, RISING)
    choose("forward", forward, FORWARDS)
    how = {"kernel": kernel, "temperature": temperature, "scale": scale}
    soft = pairwise_sum(x, y, weights=weights, **how)
    if forward == "hard":
        x, y = K.stop_gradient(x), K.stop_gradient(y)
        soft = straight_through(pairwise_sum(x, y, weights=weights, temperature=0), soft)
    return soft


def _rows_of(name: str, x: Any) -> Any:
    x = floating(name, x)
    if len(x.shape) == 0:
        raise BevelValueError(f"`{name}` must have at least one axis; got a single number.")
    return x


def _beside(edges: Any, x: Any) -> Any:
    """The same edges for every row of x, where there are no others."""
    edges = _rows_of("edges", edges)
    if len(edges.shape) == 1 and len(x.shape) > 1:
        edges = K.broadcast_to(edges, (*K.shape(x)[:-1], K.shape(edges)[0]))
    return edges
