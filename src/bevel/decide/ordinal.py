"""Cuts of one score into ordered classes."""

from __future__ import annotations

from typing import Any

import numpy as np

from bevel.decide.counts import ratio
from bevel.errors import BevelValueError


def cut_points(y_true: Any, y_score: Any, *, rounds: int = 10) -> np.ndarray:
    """Cut points of a score into ordered classes, for the best quadratic weighted kappa.

    One cut after the other is moved to its best place, over all of them, until none moves.

    Args:
        y_true: Class numbers 0 ... c - 1, shape (n,).
        y_score: Scores that rise with the class, shape (n,).
        rounds: How often each cut is looked at, at most.

    Returns:
        c - 1 rising numbers; `np.searchsorted(cuts, y_score)` is the class.

    Raises:
        BevelValueError: the shapes differ, or there is one class only.

    Example:
        >>> cuts = cut_points([0, 0, 1, 2, 2], [0.1, 0.3, 1.0, 1.9, 2.5])
        >>> np.searchsorted(cuts, [0.0, 1.2, 3.0]).tolist()
        [0, 1, 2]
    """
    y, s = np.asarray(y_true).astype("int64").ravel(), np.asarray(y_score, "float64").ravel()
    if not np.isfinite(s).all():
        raise BevelValueError("scores must be finite.")
    if y.shape != s.shape or not len(y):
        raise BevelValueError(f"labels and scores must have one shape; got {y.shape}, {s.shape}.")
    classes = int(y.max()) + 1
    if classes < 2 or y.min() < 0:
        raise BevelValueError("`y_true` must hold at least two classes, numbered from 0.")
    order = np.argsort(s, kind="stable")
    y, s = y[order], s[order]
    # how many of each true class stand before each place
    before = np.zeros((len(y) + 1, classes))
    before[1:] = np.cumsum(np.eye(classes)[y], axis=0)
    places = np.flatnonzero(np.r_[True, s[1:] > s[:-1], True])
    shares = np.cumsum(np.bincount(y, minlength=classes))[:-1]
    ends = np.r_[0, places[np.searchsorted(places, shares)], len(y)]
    for _ in range(rounds):
        old = ends.copy()
        for cut in range(1, classes):
            trials = places[(places >= ends[cut - 1]) & (places <= ends[cut + 1])]
            ends[cut] = trials[int(np.argmin(_disagreement(before, ends, cut, trials)))]
        if (ends == old).all():
            break
    padded = np.r_[s[0] - 1, s, s[-1] + 1]
    return 0.5 * (padded[ends[1:-1]] + padded[ends[1:-1] + 1])


def _disagreement(before: np.ndarray, ends: np.ndarray, cut: int, trials: np.ndarray) -> np.ndarray:
    """1 - the quadratic kappa with one cut at each of the trials."""
    classes = before.shape[1]
    tried = np.tile(ends, (len(trials), 1))
    tried[:, cut] = trials
    matrix = np.diff(before[tried], axis=1)  # trials, decided, true
    numbers = np.arange(classes)
    cost = (numbers[:, None] - numbers) ** 2
    decided, true = matrix.sum(axis=2), before[-1]
    chance = (decided[:, :, None] * true * cost).sum(axis=(1, 2)) / len(before[1:])
    return ratio((matrix * cost).sum(axis=(1, 2)), chance)
