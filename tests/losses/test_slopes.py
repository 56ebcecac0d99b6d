"""The gradients of losses against differences of their values in float64.

The units in which scores and errors are measured are constants for the gradient, by design; here
they are held, so that differences see what the gradient sees.
"""

from __future__ import annotations

from functools import partial

import keras
import numpy as np
import pytest

from bevel import losses
from bevel.losses import concordance, lists, operating, ranking, robust
from bevel.losses import partial as partial_area
from tests.contract.gradients import array, tensor, value_and_gradient

if keras.backend.backend() == "jax":
    import jax

    if not jax.config.jax_enable_x64:
        pytest.skip("differences need float64", allow_module_level=True)


def binary(rng):
    return (np.arange(20) % 3 == 0) * 1.0, rng.normal(size=20)


def real(rng):
    return np.round(rng.normal(size=20), 1), rng.normal(size=20)


def survival(rng):
    return np.c_[np.round(rng.exponential(size=20), 1), np.arange(20) % 3 > 0], real(rng)[1]


def ranked(rng):
    y = rng.integers(0, 4, (3, 6)) * 1.0
    y[:, 0], y[0, 4:] = 1, -1
    return y, rng.normal(size=(3, 6))


COSTS = [[0, 1], [5, 0]]
CASES = {
    "AUC": (losses.AUC, binary),
    "AveragePrecision": (losses.AveragePrecision, binary),
    "PartialAUC": (partial(losses.PartialAUC, 0.3), binary),
    "PartialAUC two-way": (partial(losses.PartialAUC, 0.4, min_tpr=0.5), binary),
    "RecallAtPrecision": (partial(losses.RecallAtPrecision, 0.7), binary),
    "PrecisionAtRecall": (partial(losses.PrecisionAtRecall, 0.7), binary),
    "ExpectedCost": (partial(losses.ExpectedCost, COSTS, from_logits=True), binary),
    "Spearman": (losses.Spearman, real),
    "Kendall": (losses.Kendall, real),
    "ConcordanceIndex": (losses.ConcordanceIndex, survival),
    "ToleranceAccuracy": (partial(losses.ToleranceAccuracy, 0.5), real),
    "NDCG": (losses.NDCG, ranked),
    "MRR": (losses.MRR, ranked),
    "MRR@2": (partial(losses.MRR, k=2), ranked),
    "ListwiseSoftmax": (losses.ListwiseSoftmax, ranked),
    "ListNet": (partial(losses.ListwiseSoftmax, targets="softmax"), ranked),
    **{
        f"Pairwise {form} {weighting}": (
            partial(losses.Pairwise, form=form, weighting=weighting, temperature=0.7),
            ranked,
        )
        for form in ("logistic", "hinge", "squared_hinge")
        for weighting in ("none", "ndcg")
    },
}

BRIEF = ("AUC", "PartialAUC two-way", "RecallAtPrecision", "PrecisionAtRecall", "Kendall", "MRR@2",
         "ConcordanceIndex", "ToleranceAccuracy", "ListNet", "Pairwise hinge none",
         "Pairwise logistic ndcg")  # fmt: skip


@pytest.fixture
def held(monkeypatch):
    """Every unit is 1."""
    for module in (ranking, partial_area, operating, concordance, lists):
        monkeypatch.setattr(module, "standardised", lambda scores, weights: scores)

    def in_units_of_one(function):
        def call(*args, scale=None, **how):
            return function(*args, **how)

        return call

    for module, name in ((operating, "greater"), (robust, "greater"), (lists, "step")):
        monkeypatch.setattr(module, name, in_units_of_one(getattr(module, name)))
    largest = operating.largest
    monkeypatch.setattr(operating, "largest", lambda p, among, t, scale: largest(p, among, t))


def check(loss, y, p, directions):
    y = tensor(y, "float64")
    _, (found,) = value_and_gradient(lambda p: loss(y, p), tensor(p, "float64"))
    for d in directions:
        h = 1e-6
        ends = [float(array(loss(y, tensor(p + s * h * d, "float64")))) for s in (1, -1)]
        slope = (ends[0] - ends[1]) / (2 * h)
        assert slope == pytest.approx((found * d).sum(), rel=1e-5, abs=1e-7)
        assert abs(slope) > 1e-7


@pytest.mark.usefixtures("held")
@pytest.mark.parametrize(
    "case", [pytest.param(c, marks=[pytest.mark.slow] * (c not in BRIEF)) for c in CASES]
)
def test_the_gradient_is_the_slope(case):
    make, data = CASES[case]
    rng = np.random.default_rng(2)
    y, p = data(rng)
    check(make(dtype="float64"), y, p, rng.normal(size=(3, *p.shape)))


def test_the_slope_of_a_median_where_the_mean_error_stays():
    rng = np.random.default_rng(3)
    y, p = real(rng)
    side = np.sign(y - p)
    for n in (19, 20):
        directions = rng.normal(size=(2, n))
        directions -= (directions * side[:n]).mean(1, keepdims=True) * side[:n]
        check(losses.MedianAbsoluteError(dtype="float64"), y[:n], p[:n], directions)
