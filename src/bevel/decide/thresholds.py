"""The threshold of a score at which a metric of labels 0 and 1 is best.

The counts of all thresholds come from one sort and running sums: exact, O(n log n).
"""

from __future__ import annotations

import numpy as np

from bevel.decide.counts import Counts


def best_threshold(
    count: Counts, y: np.ndarray, s: np.ndarray, w: np.ndarray, sign: float
) -> float:
    """The threshold with the best value; of a run of equal ones the middle.

    Args:
        count: A function of arrays of counts.
        y: Labels 0 and 1, shape (n,).
        s: Scores, likewise.
        w: Weights, likewise.
        sign: 1 where higher is better, else -1.
    """
    y, s, w = y[w > 0], s[w > 0], w[w > 0]
    if not len(y):
        return 0.0
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


def score_of_labels(count: Counts, y: np.ndarray, decided: np.ndarray, w: np.ndarray) -> float:
    """The metric of labels that are decided, as booleans."""
    cells = [(w * a * b).sum() for a, b in
             ((y, decided), (1 - y, decided), (y, ~decided), (1 - y, ~decided))]  # fmt: skip
    return float(count(*(np.float64(c) for c in cells)))
