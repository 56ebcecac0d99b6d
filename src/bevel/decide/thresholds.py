"""The threshold of a score at which a metric is best: all are tried at once, and out of fold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from bevel.decide.counts import Counts, metric_of
from bevel.errors import BevelValueError


@dataclass(frozen=True)
class Threshold:
    """Where to decide.

    Attributes:
        value: Rows with a score above it count as positive.
        score: The metric of decisions made by it; out of fold, where it was chosen so.
        in_sample: The metric on the rows it was chosen on, which flatters.
    """

    value: float
    score: float
    in_sample: float


def tune_threshold(
    metric: str | Counts,
    y_true: Any,
    y_score: Any,
    *,
    sample_weight: Any = None,
    folds: int | None = 5,
    maximize: bool = True,
    seed: int = 0,
) -> Threshold:
    """The threshold at which a metric of a binary confusion matrix is best.

    All thresholds between two different scores are tried, and those beyond the ends. With folds,
    each part of the rows is decided by the threshold that is best on the others; the value is the
    median of these, and the score is that of the decisions so made.

    Args:
        metric: One of `METRICS`, or a function of arrays of counts (tp, fp, fn, tn).
        y_true: Labels 0 and 1, shape (n,).
        y_score: Scores of any size, shape (n,).
        sample_weight: A weight for each row, >= 0, or None.
        folds: Number of parts, balanced by label; None chooses on all rows.
        maximize: Whether higher is better.
        seed: Of the parts.

    Returns:
        The threshold. Among equally good ones the middle one.

    Raises:
        BevelValueError: an argument cannot be used.

    Example:
        >>> y, s = np.array([0, 0, 1, 1]), np.array([0.1, 0.4, 0.35, 0.8])
        >>> best = tune_threshold("f1", y, s, folds=None)
        >>> round(best.value, 3), round(best.score, 3)
        (0.225, 0.8)
    """
    count = metric_of(metric)
    y, s, w = _rows(y_true, y_score, sample_weight)
    sign = 1.0 if maximize else -1.0
    whole = _best(count, y, s, w, sign)
    in_sample = _score_at(count, y, s > whole, w)
    if folds is None:
        return Threshold(whole, in_sample, in_sample)
    if not 2 <= folds <= len(y):
        raise BevelValueError(f"`folds` must be None or from 2 to {len(y)} rows; got {folds}.")
    part = _parts(y, folds, seed)
    chosen = [_best(count, y[part != k], s[part != k], w[part != k], sign) for k in range(folds)]
    decided = s > np.asarray(chosen)[part]
    value = float(np.median(chosen))
    return Threshold(value, _score_at(count, y, decided, w), _score_at(count, y, s > value, w))


def _best(count: Counts, y: np.ndarray, s: np.ndarray, w: np.ndarray, sign: float) -> float:
    """The threshold with the best value; of a run of equal ones the middle."""
    order = np.argsort(-s, kind="stable")
    s, hit, w = s[order], (w * y)[order], w[order]
    tp, found = np.r_[0.0, np.cumsum(hit)], np.r_[0.0, np.cumsum(w)]
    ends = np.flatnonzero(np.r_[True, s[:-1] > s[1:], True])
    tp, fp = tp[ends], (found - tp)[ends]
    merit = sign * np.asarray(count(tp, fp, tp[-1] - tp, fp[-1] - fp), "float64")
    merit = np.where(np.isnan(merit), -np.inf, merit)
    best = np.flatnonzero(merit >= merit.max() - 1e-12)
    place = ends[best[len(best) // 2]]
    if place == 0:
        return float(s[0])
    high, low = s[place - 1], s[place] if place < len(s) else np.nextafter(s[-1], -np.inf)
    # in the precision of the scores, so that comparing them with it decides as counted here
    middle = s.dtype.type(0.5) * high + s.dtype.type(0.5) * low
    return float(middle if low < middle < high else low)


def _score_at(count: Counts, y: np.ndarray, decided: np.ndarray, w: np.ndarray) -> float:
    cells = [(w * a * b).sum() for a, b in
             ((y, decided), (1 - y, decided), (y, ~decided), (1 - y, ~decided))]  # fmt: skip
    return float(count(*(np.float64(c) for c in cells)))


def _parts(y: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """The number of the part of each row; every part has its share of each label."""
    shuffled = np.random.default_rng(seed).permutation(len(y))
    part = np.empty(len(y), int)
    part[shuffled[np.argsort(y[shuffled], kind="stable")]] = np.arange(len(y)) % folds
    return part


def _rows(y_true: Any, y_score: Any, weights: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    y, s = np.asarray(y_true, "float64"), np.asarray(y_score)
    s = s if s.dtype in (np.float32, np.float64) else s.astype("float64")
    w = np.ones_like(y) if weights is None else np.asarray(weights, "float64")
    if y.ndim != 1 or y.shape != s.shape or y.shape != w.shape or not len(y):
        raise BevelValueError(
            "labels, scores and weights must have one shape (n,) with rows; got "
            f"{y.shape}, {s.shape} and {w.shape}."
        )
    if not np.isin(y, (0, 1)).all():
        raise BevelValueError(f"`y_true` must hold 0 and 1; got {np.unique(y)[:8].tolist()}.")
    if not np.isfinite(s).all() or not np.isfinite(w).all() or (w < 0).any():
        raise BevelValueError("scores must be finite, and weights finite and >= 0.")
    if not w.any():
        raise BevelValueError("all weights are 0: there is nothing to decide for.")
    return y, s, w
