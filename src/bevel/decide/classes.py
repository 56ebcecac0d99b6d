"""Values of classes for a metric: a row is decided as the class whose score less its value leads.

One value after the other is moved to its best place. With the others fixed, row i is decided as k
where the value of k lies below the margin m_i = s_ik - max over j != k of (s_ij - v_j). So all
places between two margins are tried at once, from one sort and running counts: exact, and for each
class and round O(n log n) and n matrices.
"""

from __future__ import annotations

import numpy as np

from bevel.decide.matrices import Matrices, confusion
from bevel.errors import BevelValueError

_BLOCK = 2**22  # numbers of matrices at a time


def decide(scores: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The class of each row: where the score less the value is largest, of equals the first."""
    return np.argmax(scores - values, axis=-1)


def score_of_classes(
    metric: Matrices, y: np.ndarray, s: np.ndarray, values: np.ndarray, w: np.ndarray
) -> float:
    """The metric of the decisions, values of shape (classes,) or with one row for each of s."""
    return float(metric(confusion(y, decide(s, values), w, s.shape[1])))


def best_values(
    metric: Matrices, y: np.ndarray, s: np.ndarray, w: np.ndarray, sign: float, rounds: int
) -> np.ndarray:
    """Values of the classes, of which none can be moved by itself to where the metric is better.

    Args:
        metric: A function of matrices.
        y: Class numbers, shape (n,).
        s: Scores, shape (n, classes).
        w: A weight for each row.
        sign: 1 where higher is better, else -1.
        rounds: How often each value is looked at, at most.

    Returns:
        Shape (classes,), with a mean of 0, in the dtype of the scores.
    """
    values = np.zeros(s.shape[1], s.dtype)
    y, s, w = y[w > 0], s[w > 0], w[w > 0]
    if not len(y):
        return values
    best = sign * score_of_classes(metric, y, s, values, w)
    best = -np.inf if np.isnan(best) else best
    for _ in range(rounds):
        moved = False
        for k in range(len(values)):
            tried = values.copy()
            tried[k] = _best_place(metric, y, s, w, sign, values, k)
            # what counts is how the values decide in the end, after all rounding
            tried = centred(tried)
            merit = sign * score_of_classes(metric, y, s, tried, w)
            if merit > best + 1e-12:
                values, best, moved = tried, merit, True
        if not moved:
            break
    return values


def centred(values: np.ndarray) -> np.ndarray:
    """The values less their mean, which decides the same."""
    return values - values.mean()


def _best_place(
    metric: Matrices,
    y: np.ndarray,
    s: np.ndarray,
    w: np.ndarray,
    sign: float,
    values: np.ndarray,
    k: int,
) -> float:
    """The value of class k at which the metric is best; of equally good places the middle one."""
    others = s - values
    others[:, k] = -np.inf
    rival = np.argmax(others, axis=1)
    lead = np.take_along_axis(others, rival[:, None], axis=1)[:, 0].astype("float64")
    margin = s[:, k] - lead
    order = np.argsort(-margin, kind="stable")
    margin, lead = margin[order], np.abs(lead[order])
    merit = sign * _at_all_places(metric, y[order], rival[order], w[order], s.shape[1], k)
    merit = np.where(np.isnan(merit), -np.inf, merit)
    # a place is where no rounding in the precision of the scores changes a decision
    blur = 2 * np.finfo(s.dtype).eps * (np.abs(margin) + lead)
    wide = margin[:-1] - margin[1:] > blur[:-1] + blur[1:]
    places = np.flatnonzero(np.r_[True, wide, True])
    best = places[merit[places] >= merit[places].max() - 1e-12]
    place = best[len(best) // 2]
    beyond = max(np.ptp(margin), 4 * blur.max()) or 1.0
    ends = np.r_[margin[0] + beyond, margin, margin[-1] - beyond]
    return 0.5 * (ends[place] + ends[place + 1])


def _at_all_places(
    metric: Matrices, y: np.ndarray, rival: np.ndarray, w: np.ndarray, classes: int, k: int
) -> np.ndarray:
    """The metric with the first 0 ... n rows decided as k and the others as their rival."""
    matrix = confusion(y, rival, w, classes)
    least = 1e-12 * matrix.sum()
    merits = [np.atleast_1d(metric(matrix))]
    size = max(1, _BLOCK // classes**2)
    for start in range(0, len(y), size):
        rows = slice(start, start + size)
        change = np.zeros((len(y[rows]), classes, classes))
        number = np.arange(len(change))
        change[number, y[rows], rival[rows]] = -w[rows]
        change[number, y[rows], k] = w[rows]
        matrices = matrix + np.cumsum(change, axis=0)
        matrix = matrices[-1]
        # what rounding leaves of a count of 0 is no count
        merit = np.asarray(metric(np.where(matrices < least, 0.0, matrices)))
        if merit.shape != number.shape:
            raise BevelValueError(
                f"`metric` must give one value for each matrix, for {matrices.shape} the shape "
                f"{number.shape}; got {merit.shape}."
            )
        merits.append(merit)
    return np.concatenate(merits).astype("float64")
