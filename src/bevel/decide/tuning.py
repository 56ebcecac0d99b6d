"""Where to decide, for labels 0 and 1, for several labels and for several classes; out of fold."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from bevel.decide.classes import best_values, centred, score_of_classes
from bevel.decide.counts import METRICS, Counts
from bevel.decide.matrices import CLASS_METRICS, Matrices
from bevel.decide.thresholds import best_threshold, score_of_labels
from bevel.errors import BevelValueError


@dataclass(frozen=True)
class Threshold:
    """Where to decide.

    Attributes:
        value: For labels of shape (n,), a number: rows with a score above it count as positive.
            For labels (n, c), an array (c,): a label is decided where `y_score > value`. For class
            numbers, an array (c,) with a mean of 0: the class is `argmax(y_score - value)`.
            Arrays have the dtype of the scores, in which they decide as was counted.
        score: The metric of decisions made by it; out of fold, where it was chosen so.
        in_sample: The metric on the rows it was chosen on, which flatters.
    """

    value: float | np.ndarray
    score: float
    in_sample: float


def tune_threshold(
    metric: str | Counts | Matrices,
    y_true: Any,
    y_score: Any,
    *,
    sample_weight: Any = None,
    folds: int | None = 5,
    maximize: bool = True,
    rounds: int = 10,
    seed: int = 0,
) -> Threshold:
    """The threshold, or a value for each label or class, at which a metric of decisions is best.

    For labels 0 and 1 all thresholds between two different scores are tried, and those beyond the
    ends. Labels of their own get one each, and the scores are means over them. Of several classes
    one value after the other is moved to its best place, over all of them, until none moves: the
    best by each single value, though not always by all together. A round takes O(n log n) for each
    class, and n of its c x c matrices: seconds for ten classes, minutes for fifty.

    With folds, each part of the rows is decided by what is best on the others; the value is the
    median of these, and the score is that of the decisions so made.

    Args:
        metric: One of `METRICS` for labels, or a function of arrays of counts (tp, fp, fn, tn); one
            of `CLASS_METRICS` for classes, or a function of matrices (..., c, c), true classes in
            rows.
        y_true: Labels 0 and 1, shape (n,), or (n, c) for labels of their own; or class numbers 0
            ... c - 1, shape (n,), with scores (n, c).
        y_score: Scores of any size, shape (n,) or (n, c).
        sample_weight: A weight for each row, >= 0, or None.
        folds: Number of parts, balanced by label; None chooses on all rows.
        maximize: Whether higher is better.
        rounds: How often the value of each class is looked at, at most.
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
        >>> s = np.array([[0.6, 0.4], [0.9, 0.1], [0.7, 0.3], [0.8, 0.2]])
        >>> best = tune_threshold("accuracy", [1, 0, 1, 0], s, folds=None)
        >>> best.value.round(2).tolist(), np.argmax(s - best.value, axis=1).tolist()
        ([0.25, -0.25], [1, 0, 1, 0])
    """
    y, s, w = _rows(y_true, y_score, sample_weight)
    sign = 1.0 if maximize else -1.0
    if y.shape != s.shape:
        of_matrices = _named(metric, CLASS_METRICS, "matrices (..., true, decided)")
        return _tuned(
            lambda r: best_values(of_matrices, y[r], s[r], w[r], sign, rounds),
            lambda values: score_of_classes(of_matrices, y, s, values, w),
            y, folds, seed,
        )  # fmt: skip
    count = _named(metric, METRICS, "(tp, fp, fn, tn)")
    each = [
        _tuned(
            lambda r, y=y, s=s: best_threshold(count, y[r], s[r], w[r], sign),
            lambda value, y=y, s=s: score_of_labels(count, y, s > value, w),
            y, folds, seed,
        )
        for y, s in zip(np.atleast_2d(y.T), np.atleast_2d(s.T), strict=True)
    ]  # fmt: skip
    if y.ndim == 1:
        return each[0]
    return Threshold(
        np.array([t.value for t in each], s.dtype),
        float(np.mean([t.score for t in each])),
        float(np.mean([t.in_sample for t in each])),
    )


def _tuned(
    find: Callable[[Any], Any],
    score: Callable[[Any], float],
    y: np.ndarray,
    folds: int | None,
    seed: int,
) -> Threshold:
    """What is found on all rows, or the median of what is found without each part of them.

    Args:
        find: The best value on some of the rows.
        score: The metric on all rows, of one value or of one for each row.
        y: Labels, shape (n,).
        folds: Number of parts, or None.
        seed: Of the parts.
    """
    if folds is None:
        value = find(slice(None))
        in_sample = score(value)
        return Threshold(value, in_sample, in_sample)
    if folds != int(folds) or not 2 <= folds <= len(y):
        raise BevelValueError(
            f"`folds` must be None or a whole number from 2 to {len(y)} rows; got {folds}."
        )
    part = _parts(y, folds, seed)
    chosen = np.asarray([find(part != k) for k in range(folds)])
    median = np.median(chosen, axis=0)
    value = float(median) if chosen.ndim == 1 else centred(median)
    return Threshold(value, score(chosen[part]), score(value))


def _parts(y: np.ndarray, folds: int, seed: int) -> np.ndarray:
    """The number of the part of each row; every part has its share of each label."""
    shuffled = np.random.default_rng(seed).permutation(len(y))
    part = np.empty(len(y), int)
    part[shuffled[np.argsort(y[shuffled], kind="stable")]] = np.arange(len(y)) % folds
    return part


def _named(metric: str | Callable[..., Any], known: dict[str, Any], arguments: str) -> Any:
    if callable(metric):
        return metric
    if metric not in known:
        raise BevelValueError(
            f"`metric` must be one of {', '.join(known)}, or a function of {arguments}; got "
            f"{metric!r}."
        )
    return known[metric]


def _rows(y_true: Any, y_score: Any, weights: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, scores and weights; labels have the shape of the scores, else they are classes."""
    y, s = np.asarray(y_true, "float64"), np.asarray(y_score)
    s = s if s.dtype in (np.float32, np.float64) else s.astype("float64")
    w = np.ones(y.shape[:1]) if weights is None else np.asarray(weights, "float64")
    is_classes = y.ndim == 1 and s.ndim == 2 and len(y) == len(s) and s.shape[1] > 1
    same = y.ndim in (1, 2) and y.shape == s.shape
    if not (is_classes or same) or not s.size or w.shape != y.shape[:1]:
        raise BevelValueError(
            "labels and scores must have one shape (n,) or (n, c), or class numbers (n,) and "
            "scores (n, c) with c >= 2, and weights the shape (n,), with rows; got labels "
            f"{y.shape}, scores {s.shape} and weights {w.shape}."
        )
    if same and not np.isin(y, (0, 1)).all():
        raise BevelValueError(f"`y_true` must hold 0 and 1; got {np.unique(y)[:8].tolist()}.")
    if is_classes and not np.isin(y, np.arange(s.shape[1])).all():
        raise BevelValueError(
            f"`y_true` must hold class numbers 0 ... {s.shape[1] - 1}, one for each column of the "
            f"scores; got {np.unique(y)[:8].tolist()}."
        )
    if not np.isfinite(s).all() or not np.isfinite(w).all() or (w < 0).any():
        raise BevelValueError("scores must be finite, and weights finite and >= 0.")
    if not w.any():
        raise BevelValueError("all weights are 0: there is nothing to decide for.")
    return y.astype("int64") if is_classes else y, s, w
