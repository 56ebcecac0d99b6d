"""Decisions: the threshold, the cut points or the mask at which a metric is best.

A metric is optimised by how one decides as much as by how one trains. Every metric of a confusion
matrix is computed here at all thresholds at once, from one sort and running counts: O(n log n), and
exact. On the rows that a threshold was chosen on it looks better than it is, so by default it is
chosen out of fold.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from bevel.errors import BevelValueError

Counts = Callable[[Any, Any, Any, Any], Any]


def _f(beta: float) -> Counts:
    square = beta * beta
    return lambda tp, fp, fn, tn: _ratio((1 + square) * tp, (1 + square) * tp + square * fn + fp)


def _ratio(a: Any, b: Any) -> Any:
    return np.divide(a, b, out=np.zeros(np.broadcast(a, b).shape), where=np.asarray(b) > 0)


def _mcc(tp: Any, fp: Any, fn: Any, tn: Any) -> Any:
    product = np.sqrt((tp + fp) * (tp + fn)) * np.sqrt((tn + fp) * (tn + fn))
    return _ratio(tp * tn - fp * fn, product)


def _kappa(tp: Any, fp: Any, fn: Any, tn: Any) -> Any:
    chance = (tp + fp) * (fp + tn) + (tp + fn) * (fn + tn)
    return _ratio(2 * (tp * tn - fp * fn), chance)


METRICS: dict[str, Counts] = {
    "accuracy": lambda tp, fp, fn, tn: (tp + tn) / (tp + fp + fn + tn),
    "balanced_accuracy": lambda tp, fp, fn, tn: 0.5 * (_ratio(tp, tp + fn) + _ratio(tn, tn + fp)),
    "cohen_kappa": _kappa,
    "f0.5": _f(0.5),
    "f1": _f(1.0),
    "f2": _f(2.0),
    "geometric_mean": lambda tp, fp, fn, tn: np.sqrt(_ratio(tp, tp + fn) * _ratio(tn, tn + fp)),
    "jaccard": lambda tp, fp, fn, tn: _ratio(tp, tp + fp + fn),
    "mcc": _mcc,
}
"""Metrics by name, as functions of the four counts; a ratio without a denominator is 0."""


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
    count = _metric(metric)
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
    expected = _ratio((1 + square) * np.cumsum(p), square * p.sum() + number)
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
        own = _ratio(np.cumsum(p[order] ** 2), inside)  # of the mask's average true pixel
        spread = _ratio(np.cumsum(p[order] ** 2 * (1 - p[order])), inside)
        deviation = np.sqrt(np.maximum((p * (1 - p)).sum() - spread, 0))
        numbers = np.clip(p.sum() - own[:, None] + deviation[:, None] * nodes, 0, len(p))
        inverse = (shares / shares.sum() / (size[:, None] + 1 + numbers)).sum(-1)
        expected = 2 * inside * inverse
    mask = np.zeros(len(p), bool)
    if expected.max() > 0:
        mask[order[: int(np.argmax(expected)) + 1]] = True
    return mask.reshape(given.shape)


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
    return _ratio((matrix * cost).sum(axis=(1, 2)), chance)


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


def _metric(metric: str | Counts) -> Counts:
    if callable(metric):
        return metric
    if metric not in METRICS:
        raise BevelValueError(
            f"`metric` must be one of {', '.join(METRICS)}, or a function of (tp, fp, fn, tn); got "
            f"{metric!r}."
        )
    return METRICS[metric]


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


def _probabilities(given: Any) -> np.ndarray:
    p = np.asarray(given, "float64").ravel()
    if not len(p) or not ((p >= 0) & (p <= 1)).all():
        raise BevelValueError("probabilities must be between 0 and 1, and there must be some.")
    return p
