"""The gradients of losses against differences of their values in float64.

The units in which errors are measured, and scores for hinges, are constants for the gradient, by
design; where gradients are compared they are held, so that differences see what the gradient sees.
"""

from __future__ import annotations

from functools import partial

import keras
import numpy as np
import pytest
from keras import ops as K

from bevel import losses
from bevel.losses import concordance, lists, operating, ranking, robust
from bevel.losses import partial as partial_area
from bevel.losses.surrogate import standardised
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

# By kernels from 0 to 1, where the unit of the scores has its gradient; and whether nothing else in
# the loss is a constant for it.
GROWING = {
    "AUC": (partial(losses.AUC, kernel="logistic"), binary, True),
    "AUC micro": (partial(losses.AUC, kernel="linear", average="micro"), binary, True),
    "AveragePrecision": (losses.AveragePrecision, binary, True),
    "PartialAUC": (partial(losses.PartialAUC, 0.3, kernel="arctan"), binary, True),
    "RecallAtPrecision": (partial(losses.RecallAtPrecision, 0.7, kernel="cubic"), binary, False),
    "PrecisionAtRecall": (partial(losses.PrecisionAtRecall, 0.7, kernel="cubic"), binary, False),
    "PrecisionAtK": (partial(losses.PrecisionAtK, 7), binary, True),
    "RecallAtK": (partial(losses.RecallAtK, 7), binary, True),
    "Spearman": (losses.Spearman, real, True),
    "Kendall": (partial(losses.Kendall, kernel="quadratic"), real, True),
    "ConcordanceIndex": (partial(losses.ConcordanceIndex, kernel="quadratic"), survival, True),
    "NDCG": (partial(losses.NDCG, kernel="logistic"), ranked, True),
    "NDCG@2": (partial(losses.NDCG, k=2, kernel="gaussian"), ranked, False),
    "MeanAveragePrecision": (losses.MeanAveragePrecision, ranked, True),
    "MRR": (partial(losses.MRR, kernel="algebraic"), ranked, True),
}
SELDOM = ("AUC micro", "RecallAtK", "ConcordanceIndex", "NDCG@2", "MRR")

BRIEF = ("AUC", "PartialAUC two-way", "RecallAtPrecision", "PrecisionAtRecall", "Kendall", "MRR@2",
         "ConcordanceIndex", "ToleranceAccuracy", "ListNet", "Pairwise hinge none",
         "Pairwise logistic ndcg")  # fmt: skip


@pytest.fixture
def held(monkeypatch):
    """Every unit is 1."""
    for module in (ranking, partial_area, operating, concordance, lists):
        monkeypatch.setattr(module, "standardised", lambda scores, weights, kernel: scores)

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


@pytest.mark.parametrize(
    "case", [pytest.param(c, marks=[pytest.mark.slow] * (c in SELDOM)) for c in GROWING]
)
def test_scores_gain_nothing_by_growing_or_moving(case):
    make, data, is_whole = GROWING[case]
    rng = np.random.default_rng(4)
    y, p = data(rng)
    p = 3 * p + 7
    loss, y_tensor = make(dtype="float64"), tensor(y, "float64")
    _, (found,) = value_and_gradient(lambda p: loss(y_tensor, p), tensor(p, "float64"))
    here = (y >= 0) * 1.0 if data is ranked else np.ones_like(p)
    growth = here * (p - (here * p).sum(-1, keepdims=True) / here.sum(-1, keepdims=True))
    sizes = np.linalg.norm(found, axis=-1) * np.linalg.norm(growth, axis=-1)
    assert np.any(sizes > 0)
    assert np.all(np.abs((found * growth).sum(-1)) <= 1e-9 * sizes.max())
    assert np.all(np.abs(found.sum(-1)) <= 1e-9 * sizes.max())
    if is_whole:
        check(loss, y, p, here * rng.normal(size=(2, *p.shape)))


@pytest.mark.parametrize("kernel", ["hinge", "squared_hinge"])
def test_the_unit_of_a_hinge_is_a_constant(kernel):
    rng = np.random.default_rng(5)
    p, w, g = rng.normal(size=(1, 9)), rng.random((1, 9)), rng.normal(size=(1, 9))
    center = (w * p).sum() / w.sum()
    unit = 2**0.5 * (w * np.abs(p - center)).sum() / w.sum()
    p, w = tensor(p, "float64"), tensor(w, "float64")
    _, (found,) = value_and_gradient(lambda p: g * standardised(p, w, kernel), p)
    np.testing.assert_allclose(found, g / unit, rtol=1e-12)


@pytest.mark.parametrize("kernel", ["linear", "hinge"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_unit_is_finite_at_equal_and_at_any_scores(kernel, dtype):
    weights = tensor([[1.0, 0.0, 2.0, 1.0]], dtype)
    rows = [[0.1, 0.1, 0.1, 0.1], [0.0, 0.0, 0.0, 0.0], [1.0, 5.0, 1.0, 1.0], [0.0, 1.0, 2.0, 4.0]]
    for row in rows:
        for size in (1.0, 1e-25, 1e25):
            scores = tensor([[size * s for s in row]], dtype)
            value, (found,) = value_and_gradient(
                lambda s: K.tanh(standardised(s, weights, kernel)), scores
            )
            assert np.isfinite(value).all()
            assert np.isfinite(found).all()
