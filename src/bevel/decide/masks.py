"""Decisions from calibrated probabilities alone: no labels are needed."""

from __future__ import annotations

from typing import Any

import numpy as np

from bevel.decide.counts import ratio
from bevel.errors import BevelValueError


def f_threshold(probabilities: Any, beta: float = 1.0) -> float:
    """The threshold that is best for F_beta if the probabilities are right: no labels needed.

    It is F* / (1 + beta^2), half of the best expected F1 (Lipton, Elkan and Naryanaswamy, ECML
    2014), with F* = max over t of (1 + beta^2) sum_{p > t} p / (beta^2 sum p + #{p > t}).

    Args:
        probabilities: Calibrated probabilities of a large sample, shape (n,).
        beta: How many times as much recall counts as precision.

    Returns:
        The threshold.

    Raises:
        BevelValueError: there are none, or one lies outside of [0, 1].

    Example:
        >>> f_threshold([1.0, 1.0, 0.0, 0.0])
        0.5
    """
    p = np.sort(_probabilities(probabilities))[::-1]
    square, number = beta * beta, np.arange(1, len(p) + 1)
    expected = ratio((1 + square) * np.cumsum(p), square * p.sum() + number)
    return float(expected.max() / (1 + square))


def best_mask(probabilities: Any, metric: str = "dice") -> np.ndarray:
    """The mask with the best expected Dice or IoU if the pixels' probabilities are right.

    It holds the most likely pixels (Dai and Li, RankDice, JMLR 2023); how many is found for all
    sizes at once. For Dice that is sum_{i <= k} 2 p_i E[1 / (k + 1 + N_i)] with N_i true pixels
    beside i, taken for normal, with the mean and the variance that N_i has for the mask's average
    true pixel; the IoU is taken at the mean numbers. Both are approximations, in O(n log n), that
    improve with the number of pixels.

    Args:
        probabilities: Independent probabilities, any shape.
        metric: `dice` or `iou`.

    Returns:
        Booleans of that shape.

    Raises:
        BevelValueError: there are none, one lies outside of [0, 1], or the metric is another.

    Example:
        >>> best_mask([0.9, 0.4, 0.1]).tolist()
        [True, False, False]
    """
    if metric not in ("dice", "iou"):
        raise BevelValueError(f"`metric` must be 'dice' or 'iou'; got {metric!r}.")
    given = np.asarray(probabilities, "float64")
    p = _probabilities(probabilities)
    order = np.argsort(-p, kind="stable")
    inside, size = np.cumsum(p[order]), np.arange(1, len(p) + 1)
    if metric == "iou":
        expected = inside / (size + p.sum() - inside)
    else:
        nodes, shares = np.polynomial.hermite_e.hermegauss(15)
        own = ratio(np.cumsum(p[order] ** 2), inside)  # of the mask's average true pixel
        spread = ratio(np.cumsum(p[order] ** 2 * (1 - p[order])), inside)
        deviation = np.sqrt(np.maximum((p * (1 - p)).sum() - spread, 0))
        numbers = np.clip(p.sum() - own[:, None] + deviation[:, None] * nodes, 0, len(p))
        inverse = (shares / shares.sum() / (size[:, None] + 1 + numbers)).sum(-1)
        expected = 2 * inside * inverse
    mask = np.zeros(len(p), bool)
    if expected.max() > 0:
        mask[order[: int(np.argmax(expected)) + 1]] = True
    return mask.reshape(given.shape)


def _probabilities(given: Any) -> np.ndarray:
    p = np.asarray(given, "float64").ravel()
    if not len(p) or not ((p >= 0) & (p <= 1)).all():
        raise BevelValueError("probabilities must be between 0 and 1, and there must be some.")
    return p
