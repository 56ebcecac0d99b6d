"""Functions with many steps: the multi-step neuron, and the quadruple piecewise-constant one.

Thresholds t_1 < ... < t_m separate levels l_0 ... l_m. Two ways to soften the stairs:

    sum     l_0 + sum over i of (l_i - l_(i-1)) K((z - t_i) / temperature)
    cells   l_(i-1) + (l_i - l_(i-1)) K((z - t_i) / (w_i temperature))   for e_(i-1) < z <= e_i

The first is smooth everywhere. The second has one S-curve in each cell between given edges,
stretched to the width w_i of its cell, so that only neighbours matter; it jumps at the edges unless
the temperature is low. Both are what they stand for at temperature 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops as K

from bevel.errors import BevelValueError
from bevel.ops import kernels
from bevel.ops.arguments import (
    FORWARDS,
    Width,
    choose,
    compute_dtype,
    dtype_of,
    floating,
    hardened,
    ratio,
    straight_through,
    width,
)

BLENDS = ("sum", "cells")
BOUNDARIES = ("clamp", "extend")


def staircase(
    z: Any,
    thresholds: Any,
    levels: Any,
    temperature: Any = 0.1,
    blend: str = "sum",
    edges: Any = None,
    domain: tuple[float, float] | None = None,
    boundary: str = "clamp",
    *,
    kernel: str = "logistic",
    forward: str = "soft",
) -> Any:
    """Stairs that rise (or fall) from one level to the next at each threshold.

    Args:
        z: Floating-point tensor of any shape.
        thresholds: m rising numbers, or a tensor of shape (m,), which gets a gradient.
        levels: m + 1 numbers, or a tensor of shape (m + 1,), which gets a gradient.
        temperature: How soft: a number >= 0 or a scalar tensor; 0 is the hard staircase, which
            takes its step at z >= threshold. For `cells` it is relative to the width of the cell.
        blend: `sum` or `cells`, as the module describes.
        edges: m + 1 rising numbers, the cells' borders, for `cells` only. By default half-way
            between thresholds, and as far outside the outer ones.
        domain: Two numbers: where the stairs begin and end. By default the whole line for `sum`,
            from the first to the last edge for `cells`.
        boundary: What happens outside the domain: `clamp` holds the value of the hard staircase at
            its end (half a step, where a threshold lies there) with slope 0, from the end itself
            on; `extend` lets the outer curves run on.
        kernel: See `step`.
        forward: `soft` returns the surrogate, `hard` the exact value with the surrogate's gradient.

    Returns:
        A tensor of the shape and dtype of `z`; NaN where `z` is NaN.

    Raises:
        BevelValueError: thresholds or edges do not rise, numbers of thresholds, levels and edges do
            not fit, or another argument cannot be used.
        BevelTypeError: `z` is not floating-point.

    Example:
        >>> float(staircase(2.5, thresholds=[1.0, 2.0, 3.0], levels=[0.0, 1.0, 4.0, 9.0],
        ...                 temperature=0.0))
        4.0
    """
    for name, value, choices in (
        ("blend", blend, BLENDS),
        ("boundary", boundary, BOUNDARIES),
        ("kernel", kernel, kernels.KERNELS),
        ("forward", forward, FORWARDS),
    ):
        choose(name, value, choices)
    z = floating("z", z)
    dtype = dtype_of(z)
    compute = compute_dtype(dtype)
    z = K.cast(z, compute)
    spread = width(temperature, 1.0, compute)
    stairs = _Stairs(thresholds, levels, edges, blend, compute)
    hard = _total(stairs, K.cast(z[..., None] >= stairs.thresholds, compute))
    if spread.hard:
        value = hardened(hard, z)
    elif blend == "sum":
        value = _total(stairs, _risen(z[..., None] - stairs.thresholds, spread, kernel, dtype))
    else:
        value = _cells(z, stairs, spread, kernel, dtype)
    if forward == "hard" and not spread.hard:
        value = straight_through(hard, value)
    if boundary == "clamp":
        value = _clamped(value, z, stairs, domain)
    return K.cast(value, dtype)


def qpwc(z: Any, temperature: Any = 0.1) -> Any:
    """The quadruple piecewise-constant neuron: four logistic steps between 0 and 1.

    With k = 1 / temperature it is 0 for z <= 0, 1 for z >= 1, and between them, with the logistic
    function s,

        1/4 s(k (z - 1/8) / (1/4))          on (0, 1/4]
        1/4 + 1/4 s(k (z - 3/8) / (1/4))    on (1/4, 1/2]
        1/2 + 1/4 s(k (z - 5/8) / (1/4))    on (1/2, 3/4]
        3/4 + 1/2 s(k (z - 1) / (1/2))      on (3/4, 1)

    Args:
        z: Floating-point tensor of any shape.
        temperature: How soft, relative to the width of a step; see `staircase`.

    Returns:
        A tensor of the shape and dtype of `z`, in [0, 1].

    Raises:
        BevelValueError: the temperature cannot be used.
        BevelTypeError: `z` is not floating-point.

    Example:
        >>> [float(qpwc(z)) for z in (-1.0, 0.125, 0.375, 1.0)]
        [0.0, 0.125, 0.375, 1.0]
    """
    return staircase(
        z,
        thresholds=(0.125, 0.375, 0.625, 1.0),
        levels=(0.0, 0.25, 0.5, 0.75, 1.25),
        temperature=temperature,
        blend="cells",
        edges=(0.0, 0.25, 0.5, 0.75, 1.25),
        domain=(0.0, 1.0),
    )


class _Stairs:
    """Thresholds, levels and edges as tensors in the dtype to compute in, checked for fit.

    `edges` is None for blend='sum'.
    """

    edges: Any

    def __init__(self, thresholds: Any, levels: Any, edges: Any, blend: str, dtype: str) -> None:
        self.thresholds = _line("thresholds", thresholds, dtype, rising=True)
        self.levels = _line("levels", levels, dtype)
        count = self.thresholds.shape[0]
        if count == 0 or self.levels.shape[0] != count + 1:
            raise BevelValueError(
                "`levels` must hold one number more than `thresholds`, of which there is at least "
                f"one; got {self.levels.shape[0]} levels and {count} thresholds."
            )
        self.heights = self.levels[1:] - self.levels[:-1]
        if blend == "sum":
            if edges is not None:
                raise BevelValueError("`edges` belongs to blend='cells'; got it with blend='sum'.")
            self.edges = None
            return
        if edges is None:
            edges = self._halfway(count)
        self.edges = _line("edges", edges, dtype, rising=True)
        if self.edges.shape[0] != count + 1:
            raise BevelValueError(
                "`edges` must hold one number more than `thresholds`; "
                f"got {self.edges.shape[0]} edges and {count} thresholds."
            )

    def _halfway(self, count: int) -> Any:
        if count == 1:
            raise BevelValueError("`edges` must be given for blend='cells' with one threshold.")
        at = self.thresholds
        between = 0.5 * (at[1:] + at[:-1])
        first, last = 2 * at[:1] - between[:1], 2 * at[-1:] - between[-1:]
        return K.concatenate([first, between, last])


def _line(name: str, numbers: Any, dtype: str, rising: bool = False) -> Any:
    """A vector in `dtype`; where the numbers are known without a framework they are checked."""
    if isinstance(numbers, (Sequence, np.ndarray)) and not isinstance(numbers, str):
        given = np.asarray(numbers, dtype="float64")
        if not np.isfinite(given).all():
            raise BevelValueError(f"`{name}` must be finite; got {given.tolist()}.")
        if rising and (np.diff(given) <= 0).any():
            at = int(np.argmax(np.diff(given) <= 0)) + 1
            raise BevelValueError(
                f"`{name}` must rise strictly; got {given[at]} after {given[at - 1]} at index {at}."
            )
        numbers = given
    tensor = K.cast(K.convert_to_tensor(numbers), dtype)
    if len(tensor.shape) != 1 or tensor.shape[0] is None:
        raise BevelValueError(
            f"`{name}` must be a vector of known length; got shape {tuple(tensor.shape)}."
        )
    return tensor


def _total(stairs: _Stairs, risen: Any) -> Any:
    """The first level plus the share of every step that has been taken, on the last axis."""
    return stairs.levels[0] + K.sum(stairs.heights * risen, axis=-1)


def _risen(d: Any, spread: Width, kernel: str, dtype: str) -> Any:
    return kernels.cumulative(ratio(d, spread, dtype), kernel)


def _cells(z: Any, stairs: _Stairs, spread: Width, kernel: str, dtype: str) -> Any:
    borders = stairs.edges
    cell = K.sum(K.cast(z[..., None] > borders[1:-1], "int32"), axis=-1)
    widths = K.take(borders[1:] - borders[:-1], cell, axis=0)
    distance = (z - K.take(stairs.thresholds, cell, axis=0)) / widths
    base, height = (K.take(x, cell, axis=0) for x in (stairs.levels[:-1], stairs.heights))
    return base + height * _risen(distance, spread, kernel, dtype)


def _clamped(value: Any, z: Any, stairs: _Stairs, domain: Any) -> Any:
    """Hold the value from both ends of the domain on, if there is one."""
    if domain is None and stairs.edges is None:
        return value
    ends = stairs.edges if domain is None else _line("domain", domain, dtype_of(z), rising=True)
    if domain is not None and ends.shape[0] != 2:
        raise BevelValueError(f"`domain` must be two numbers; got {ends.shape[0]}.")
    low, high = ends[0], ends[-1]
    for end, outside in ((low, z <= low), (high, z >= high)):
        taken = 0.5 * K.cast(end > stairs.thresholds, dtype_of(z))
        taken = taken + 0.5 * K.cast(end >= stairs.thresholds, dtype_of(z))
        value = K.where(outside, _total(stairs, taken), value)
    return value
