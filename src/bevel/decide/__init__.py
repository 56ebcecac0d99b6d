"""Decisions: the threshold, the cut points or the mask at which a metric is best.

A metric is optimised by how one decides as much as by how one trains. Every metric of a confusion
matrix is computed here at all thresholds at once, from one sort and running counts: O(n log n), and
exact (`thresholds`; `classes` for several classes, one class at a time). On the rows that a
threshold was chosen on it looks better than it is, so by default it is chosen out of fold
(`tuning`).
"""

from __future__ import annotations

from bevel.decide.counts import METRICS
from bevel.decide.masks import best_mask, f_threshold
from bevel.decide.matrices import CLASS_METRICS
from bevel.decide.ordinal import cut_points
from bevel.decide.tuning import Threshold, tune_threshold

__all__ = [
    "CLASS_METRICS",
    "METRICS",
    "Threshold",
    "best_mask",
    "cut_points",
    "f_threshold",
    "tune_threshold",
]
