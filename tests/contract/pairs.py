"""Sums over all pairs in float64 NumPy: what every fast one is held against."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from bevel.ops.kernels import KERNELS as SMOOTH
from bevel.ops.piecewise import KERNELS as POLYNOMIAL

_erfc = np.vectorize(math.erfc, otypes=[float])
_CURVES = {
    "logistic": lambda u: 1 / (1 + np.exp(-u)),
    "arctan": lambda u: np.arctan2(1, -u) / np.pi,
    "algebraic": lambda u: 0.5 + 0.5 * u / np.sqrt(1 + u * u),
    "gaussian": lambda u: 0.5 * _erfc(-u / np.sqrt(2)),
    "linear": lambda u: np.clip(0.5 + u / 2, 0, 1),
    "quadratic": lambda u: np.where(u < 0, _edge(1 + u) ** 2 / 2, 1 - _edge(1 - u) ** 2 / 2),
    "cubic": lambda u: 0.5 + (3 * np.clip(u, -1, 1) - np.clip(u, -1, 1) ** 3) / 4,
    "triangular": lambda u: _edge(1 - np.abs(u)),
    "epanechnikov": lambda u: _edge(1 - u * u),
    "hinge": lambda u: _edge(1 + u),
    "squared_hinge": lambda u: _edge(1 + u) ** 2,
}
_SLOPES = {
    "logistic": lambda u: np.exp(-np.abs(u)) / (1 + np.exp(-np.abs(u))) ** 2,
    "arctan": lambda u: 1 / (np.pi * (1 + u * u)),
    "algebraic": lambda u: 0.5 * (1 + u * u) ** -1.5,
    "gaussian": lambda u: np.exp(-u * u / 2) / np.sqrt(2 * np.pi),
    "linear": lambda u: 0.5 * (np.abs(u) < 1),
    "quadratic": lambda u: _edge(1 - np.abs(u)),
    "cubic": lambda u: 0.75 * _edge(1 - u * u),
    "triangular": lambda u: -np.sign(u) * (np.abs(u) < 1),
    "epanechnikov": lambda u: -2 * u * (np.abs(u) < 1),
    "hinge": lambda u: 1.0 * (u > -1),
    "squared_hinge": lambda u: 2 * _edge(1 + u),
}


def _edge(u: Any) -> Any:
    return np.maximum(u, 0.0)


def width(kernel: str) -> float:
    """How many temperatures one unit of a kernel is."""
    return (POLYNOMIAL.get(kernel) or SMOOTH[kernel]).width


def at_an_edge(kernel: str, x: Any, y: Any, temperature: float) -> np.ndarray:
    """Whether some pair of an element lies within float32's rounding of a jump of the slope.

    Which side of the jump such a pair is on is a matter of rounding, and so is the gradient.
    """
    if kernel not in ("linear", "triangular", "epanechnikov", "hinge"):
        return np.zeros(len(x), bool)
    unit, others = temperature * width(kernel), np.sort(np.asarray(y, "float64"))
    found = np.zeros(len(x), bool)
    for jump in (-1, 1):
        places = np.asarray(x, "float64") - jump * unit
        rounding = 1e-6 * unit  # differences are in float64, the unit is not
        below = np.searchsorted(others, places - rounding)
        above = np.searchsorted(others, places + rounding, "right")
        found |= above > below
    return found


def dense(
    kernel: str, x: Any, y: Any, weights: Any, temperature: float, same: Any = True
) -> tuple[np.ndarray, Any]:
    """The sums, and a function from the gradient of them to those of x, y and the weights."""
    x, y, weights = (np.asarray(t, "float64") for t in (x, y, weights))
    unit = temperature * width(kernel)
    u = (x[..., :, None] - y[..., None, :]) / unit
    share, slope = _CURVES[kernel](u) * same, _SLOPES[kernel](u) * same / unit

    def pulled(g: Any) -> tuple[np.ndarray, ...]:
        g = np.asarray(g, "float64")[..., :, None]
        force = g * weights[..., None, :] * slope
        return force.sum(-1), -force.sum(-2), (g * share).sum(-2)

    return (share * weights[..., None, :]).sum(-1), pulled
