"""Piecewise cubics in place of smooth kernels, so that their sums over pairs are log-linear too.

A kernel is followed up to where it has come within the tolerance of 1, by cubics that have its
value and its slope at whole numbers of cells (Hermite interpolation), and is 1 from there on;
likewise to the left, where K(-z) = 1 - K(z). The number of cells is the smallest at which the
error, measured when the kernel is made, stays below the tolerance. Each cell costs a search in the
sorted array. A heavy tail has no such end: `arctan` is within 1e-3 of 1 only 318 of its units away,
which would be hundreds of cells.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from numpy.polynomial import Polynomial

from bevel.errors import BevelValueError
from bevel.ops import kernels
from bevel.ops.piecewise import Coefficients, Kernel, Piecewise

# Points of a cell at which the error is measured.
_POINTS = np.linspace(0, 1, 65)

# How much of the tolerance the cut-off tail may take; the rest is left to the cubics, which end
# there with a slope of 0.
_TAIL = 0.8

Curve = Callable[[float], float]

# 1 - K and K' to the right of 0, in units of the kernel.
_CURVES: dict[str, tuple[Curve, Curve]] = {
    "logistic": (
        lambda u: 1 / (1 + math.exp(u)),
        lambda u: 1 / (2 + math.exp(u) + math.exp(-u)),
    ),
    "gaussian": (
        lambda u: 0.5 * math.erfc(u / math.sqrt(2)),
        lambda u: math.exp(-u * u / 2) / math.sqrt(2 * math.pi),
    ),
}
NAMES = tuple(_CURVES)
"""The smooth kernels that have a compact approximation."""


@lru_cache
def approximation(kernel: str, tolerance: float) -> Kernel:
    """A compact kernel that differs from a smooth one by less than the tolerance everywhere.

    Raises:
        BevelValueError: the kernel has none.
    """
    if kernel not in _CURVES:
        raise BevelValueError(
            f"`tolerance` must be 0 for the kernel {kernel!r}: its tail is too heavy to be cut "
            f"off. The kernels with a compact approximation are {', '.join(map(repr, NAMES))}."
        )
    end = _end(kernel, _TAIL * tolerance)
    cells, (pieces, error) = 1, _pieces(kernel, end, 1)
    while error >= tolerance:
        cells += 1
        pieces, error = _pieces(kernel, end, cells)
    left = [_turned(p) for p in reversed(pieces)]
    shape = Piecewise((*left, *pieces), beyond=1.0)
    return Kernel(kernels.KERNELS[kernel].width * end / cells, shape)


def _end(kernel: str, tail: float) -> float:
    """Where 1 - K has fallen to `tail`: bisection."""
    low, high = 0.0, 64.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if _CURVES[kernel][0](middle) > tail else (low, middle)
    return high


def _pieces(kernel: str, end: float, cells: int) -> tuple[list[Coefficients], float]:
    """The cubics to the right of 0, in units of a cell, and how far they are off at most."""
    beyond, slope = _CURVES[kernel]
    unit = end / cells
    values = [1 - beyond(c * unit) for c in range(cells)] + [1.0]
    slopes = [unit * slope(c * unit) for c in range(cells)] + [0.0]
    pieces, error = [], beyond(end)
    for c in range(cells):
        (a, b), (da, db) = values[c : c + 2], slopes[c : c + 2]
        cubic = Polynomial([a, da, 3 * (b - a) - 2 * da - db, 2 * (a - b) + da + db])
        exact = [1 - beyond((c + u) * unit) for u in _POINTS]
        error = max(error, float(np.abs(cubic(_POINTS) - exact).max()))
        pieces.append(tuple(float(x) for x in cubic(Polynomial([-c, 1.0])).coef))
    return pieces, error


def _turned(piece: Coefficients) -> Coefficients:
    """1 - P(-z)."""
    first, *rest = ((-1) ** n * -a for n, a in enumerate(piece))
    return (1 + first, *rest)
