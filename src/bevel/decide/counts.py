"""Metrics of a binary confusion matrix, as functions of its four counts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Counts = Callable[[Any, Any, Any, Any], Any]


def ratio(a: Any, b: Any) -> Any:
    """a / b, and 0 where b is not above 0."""
    return np.divide(a, b, out=np.zeros(np.broadcast(a, b).shape), where=np.asarray(b) > 0)


def _f(beta: float) -> Counts:
    square = beta * beta
    return lambda tp, fp, fn, tn: ratio((1 + square) * tp, (1 + square) * tp + square * fn + fp)


def _mcc(tp: Any, fp: Any, fn: Any, tn: Any) -> Any:
    product = np.sqrt((tp + fp) * (tp + fn)) * np.sqrt((tn + fp) * (tn + fn))
    return ratio(tp * tn - fp * fn, product)


def _kappa(tp: Any, fp: Any, fn: Any, tn: Any) -> Any:
    chance = (tp + fp) * (fp + tn) + (tp + fn) * (fn + tn)
    return ratio(2 * (tp * tn - fp * fn), chance)


METRICS: dict[str, Counts] = {
    "accuracy": lambda tp, fp, fn, tn: ratio(tp + tn, tp + fp + fn + tn),
    "balanced_accuracy": lambda tp, fp, fn, tn: 0.5 * (ratio(tp, tp + fn) + ratio(tn, tn + fp)),
    "cohen_kappa": _kappa,
    "f0.5": _f(0.5),
    "f1": _f(1.0),
    "f2": _f(2.0),
    "geometric_mean": lambda tp, fp, fn, tn: np.sqrt(ratio(tp, tp + fn) * ratio(tn, tn + fp)),
    "jaccard": lambda tp, fp, fn, tn: ratio(tp, tp + fp + fn),
    "mcc": _mcc,
}
"""Metrics by name, as functions of the four counts; a ratio without a denominator is 0."""
