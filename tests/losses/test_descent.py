"""Free-prediction descent on Keras's metrics: the hard value reaches its optimum.

`benchmarks/metric_table.py` does the same from ten starts, with rare positives too, for the docs.
"""

from __future__ import annotations

import pytest

from tests.keras_metrics import NAMES, descents

# Accuracy asks floats to be equal; a sigmoid's values never are to 0 or 1. The others are smooth as
# they are, and nothing is relaxed: the optimum of one lies at infinite logits, the other's surface
# has valleys of its own.
IMPOSSIBLE = {"Accuracy", "BinaryCrossentropy", "ConcordanceCorrelation"}
# These do not count predictions outside [0, 3), so wrong ones may leave instead of getting right.
LOWER = {"IoU": 0.9, "MeanIoU": 0.9}
QUICK = {"AUC", "F1Score", "PrecisionAtRecall"}


def share(name, seed, **kind):
    return next(descents(name, [seed], **kind))[0]


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(n, marks=() if n in QUICK else pytest.mark.slow)
        for n in NAMES
        if n not in IMPOSSIBLE
    ],
)
def test_the_hard_metric_reaches_its_optimum(name):
    assert share(name, seed=11) >= LOWER.get(name, 0.99)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["AUC", "PrecisionAtRecall", "RecallAtPrecision", "SensitivityAtSpecificity"]
)
def test_so_it_does_with_one_positive_in_a_hundred(name):
    assert share(name, seed=12, rows=512, positives=0.01) >= 0.99
