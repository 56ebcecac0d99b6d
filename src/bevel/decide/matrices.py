"""Metrics of the confusion matrix of several classes, by scikit-learn's definitions.

Each takes matrices of shape (..., c, c), true classes in rows and decided ones in columns, and
gives one value for each. A ratio without a denominator is 0, and a class that has no rows is left
out of a mean over classes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from bevel.decide.counts import ratio

Matrices = Callable[[Any], Any]


def _parts(matrix: Any) -> tuple[Any, Any, Any]:
    """How many of each class are right, how many there are, and how many are decided so."""
    return np.diagonal(matrix, axis1=-2, axis2=-1), matrix.sum(-1), matrix.sum(-2)


def _accuracy(matrix: Any) -> Any:
    right, true, _ = _parts(matrix)
    return ratio(right.sum(-1), true.sum(-1))


def _balanced_accuracy(matrix: Any) -> Any:
    right, true, _ = _parts(matrix)
    return ratio(ratio(right, true).sum(-1), (true > 0).sum(-1))


def _geometric_mean(matrix: Any) -> Any:
    right, true, _ = _parts(matrix)
    some = true > 0
    product = np.where(some, ratio(right, true), 1.0).prod(-1)
    return product ** ratio(1.0, some.sum(-1))


def _kappa(power: int) -> Matrices:
    def kappa(matrix: Any) -> Any:
        _, true, found = _parts(matrix)
        places = np.arange(matrix.shape[-1])
        distance = np.abs(places[:, None] - places)
        cost = distance**power if power else (distance > 0) * 1.0
        chance = ((true @ cost) * found).sum(-1)
        wrong = (cost * matrix).sum((-2, -1)) * true.sum(-1)
        return np.where(chance > 0, 1 - ratio(wrong, chance), 0.0)

    return kappa


def _f(beta: float) -> Matrices:
    square = beta * beta

    def f(matrix: Any) -> Any:
        right, true, found = _parts(matrix)
        total = square * true + found
        return ratio(ratio((1 + square) * right, total).sum(-1), (total > 0).sum(-1))

    return f


def _jaccard(matrix: Any) -> Any:
    right, true, found = _parts(matrix)
    total = true + found - right
    return ratio(ratio(right, total).sum(-1), (total > 0).sum(-1))


def _mcc(matrix: Any) -> Any:
    """Gorodkin's R_K (Computational Biology and Chemistry 2004)."""
    right, true, found = _parts(matrix)
    total = true.sum(-1)
    covariance = right.sum(-1) * total - (true * found).sum(-1)
    # sums of products, which are exactly 0 for one class
    spread = [np.sqrt((t * (t.sum(-1, keepdims=True) - t)).sum(-1)) for t in (true, found)]
    return ratio(covariance, spread[0] * spread[1])


CLASS_METRICS: dict[str, Matrices] = {
    "accuracy": _accuracy,
    "balanced_accuracy": _balanced_accuracy,
    "cohen_kappa": _kappa(0),
    "cohen_kappa_quadratic": _kappa(2),
    "f0.5": _f(0.5),
    "f1": _f(1.0),
    "f2": _f(2.0),
    "geometric_mean": _geometric_mean,
    "jaccard": _jaccard,
    "mcc": _mcc,
}
"""Metrics by name, as functions of matrices; `f` and `jaccard` are means over the classes."""


def confusion(y: np.ndarray, decided: np.ndarray, weights: np.ndarray, classes: int) -> np.ndarray:
    """The weight of the rows of each true class, decided as each.

    Args:
        y: Class numbers, shape (n,).
        decided: Likewise.
        weights: A weight for each row.
        classes: Their number.

    Returns:
        Shape (classes, classes), true classes in rows.
    """
    counts = np.bincount(y * classes + decided, weights, classes * classes)
    return counts.reshape(classes, classes)
