"""Decisions against brute force: no other threshold, mask or set of cut points is better."""

from __future__ import annotations

from itertools import combinations, product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from bevel.decide import METRICS, best_mask, cut_points, f_threshold, tune_threshold
from bevel.errors import BevelValueError

SKLEARN = {
    "accuracy": metrics.accuracy_score,
    "balanced_accuracy": metrics.balanced_accuracy_score,
    "cohen_kappa": metrics.cohen_kappa_score,
    "f1": metrics.f1_score,
    "f2": lambda y, d, **how: metrics.fbeta_score(y, d, beta=2, **how),
    "jaccard": metrics.jaccard_score,
    "mcc": metrics.matthews_corrcoef,
}


def _drawn(seed: int, n: int = 60) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = (rng.random(n) < 0.3).astype(int)
    return y, np.round(y + rng.normal(size=n), 1)


@pytest.mark.parametrize("name", SKLEARN)
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.filterwarnings("ignore")
def test_no_other_threshold_is_better(name: str, seed: int) -> None:
    y, s = _drawn(seed)
    best = tune_threshold(name, y, s, folds=None)
    tried = [SKLEARN[name](y, s > t) for t in np.r_[s.min() - 1, np.unique(s)]]
    assert best.score == pytest.approx(max(tried))
    assert SKLEARN[name](y, s > best.value) == pytest.approx(max(tried))


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_weights_count_repetitions(data: Any) -> None:
    n = data.draw(st.integers(2, 12))
    y = np.array(data.draw(st.lists(st.integers(0, 1), min_size=n, max_size=n)))
    s = np.array(data.draw(st.lists(st.floats(-9, 9), min_size=n, max_size=n)))
    w = np.array(data.draw(st.lists(st.integers(0, 3), min_size=n, max_size=n)))
    name = data.draw(st.sampled_from(sorted(METRICS)))
    if not w.sum():
        return
    weighed = tune_threshold(name, y, s, sample_weight=w, folds=None)
    repeated = tune_threshold(name, np.repeat(y, w), np.repeat(s, w), folds=None)
    assert weighed.score == pytest.approx(repeated.score)


def test_a_metric_of_ones_own_and_a_cost() -> None:
    y, s = _drawn(5)
    cost = tune_threshold(lambda tp, fp, fn, tn: 5 * fn + fp, y, s, folds=None, maximize=False)
    tried = [(5 * (y * (s <= t)) + (1 - y) * (s > t)).sum() for t in np.r_[-9, np.unique(s)]]
    assert cost.score == min(tried)


def test_a_threshold_decides_as_it_was_counted() -> None:
    for y, s in (
        ([0, 0, 1, 1], np.float32([0.99999994, 0.99999994, 1, 1])),
        ([1, 1, 1, 0], np.array([1e17, 2e17, 3e17, 2.5e17])),
        ([1, 1, 1, 0], np.array([1.0, 2.0, 3.0, 2.5])),
    ):
        best = tune_threshold("f1", y, s, folds=None)
        assert metrics.f1_score(y, s > s.dtype.type(best.value)) == pytest.approx(best.score)
        assert best.score >= 0.857


def test_out_of_fold_does_not_flatter() -> None:
    gaps, truth = [], []
    rng = np.random.default_rng(0)
    for seed in range(40):
        y, s = _drawn(seed, 40)
        found = tune_threshold("f1", y, s, seed=seed)
        fresh_y = (rng.random(4000) < 0.3).astype(int)
        fresh = metrics.f1_score(fresh_y, fresh_y + rng.normal(size=4000) > found.value)
        inside = tune_threshold("f1", y, s, folds=None).score
        gaps.append(inside - fresh)
        truth.append(found.score - fresh)
    assert np.mean(gaps) > 0.03
    assert abs(np.mean(truth)) < np.mean(gaps) / 2


def test_the_threshold_of_f1_for_right_probabilities() -> None:
    rng = np.random.default_rng(1)
    p = rng.beta(1, 4, 200_000)
    y = (rng.random(len(p)) < p).astype(int)
    best = tune_threshold("f1", y, p, folds=None)
    assert f_threshold(p) == pytest.approx(best.score / 2, abs=3e-3)
    assert metrics.f1_score(y, p > f_threshold(p)) == pytest.approx(best.score, abs=1e-3)


def _expected(p: np.ndarray, mask: np.ndarray, metric: str) -> float:
    total = 0.0
    for y in product((0, 1), repeat=len(p)):
        y = np.array(y)
        chance = np.prod(np.where(y, p, 1 - p))
        both, union = (y & mask).sum(), (y | mask).sum()
        value = (
            2 * both / max(y.sum() + mask.sum(), 1) if metric == "dice" else both / max(union, 1)
        )
        total += chance * value
    return total


@pytest.mark.parametrize("metric", ["dice", "iou"])
@pytest.mark.parametrize("seed", range(4))
def test_the_mask_is_nearly_the_best_of_all(metric: str, seed: int) -> None:
    p = np.random.default_rng(seed).random(9)
    found = _expected(p, best_mask(p, metric).astype(int), metric)
    order = np.argsort(-p)
    sizes = [np.isin(np.arange(9), order[:k]).astype(int) for k in range(1, 10)]
    assert found >= 0.99 * max(_expected(p, mask, metric) for mask in sizes)
    assert best_mask(p.reshape(3, 3), metric).shape == (3, 3)
    assert not best_mask(np.zeros(4), metric).any()


def test_the_mask_of_a_few_pixels() -> None:
    for p in ([0.9, 0.4, 0.1], [1.0, 0.4], [0.5, 0.2]):
        assert best_mask(p).sum() == 1


@pytest.mark.parametrize("seed", range(4))
def test_cut_points_are_nearly_the_best_of_all(seed: int) -> None:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, 25)
    s = np.round(y + rng.normal(size=25), 2)

    def kappa(cuts: Any) -> float:
        return metrics.cohen_kappa_score(y, np.searchsorted(cuts, s), weights="quadratic")

    every = np.r_[s.min() - 1, (np.unique(s)[1:] + np.unique(s)[:-1]) / 2]
    best = max(kappa(c) for c in combinations(every, 2))
    assert kappa(cut_points(y, s)) >= best - 0.03


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: tune_threshold("f3", [0, 1], [0.1, 0.2]), "must be one of"),
        (lambda: tune_threshold("f1", [0, 2], [0.1, 0.2]), "0 and 1"),
        (lambda: tune_threshold("f1", [0, 1], [0.1]), "one shape"),
        (lambda: tune_threshold("f1", [], []), "one shape"),
        (lambda: tune_threshold("f1", [0, 1], [0.1, np.nan]), "finite"),
        (lambda: tune_threshold("f1", [0, 1], [0.1, 0.3], folds=3), "folds"),
        (lambda: f_threshold([1.5]), "between 0 and 1"),
        (lambda: best_mask([0.5], "f1"), "'dice' or 'iou'"),
        (lambda: cut_points([0, 0], [0.1, 0.3]), "two classes"),
        (lambda: cut_points([0, 1], [0.1, np.nan]), "finite"),
        (lambda: tune_threshold("f1", [0, 1], [0, 1], sample_weight=[0, 0]), "weights are 0"),
    ],
)
def test_what_cannot_be_decided(call: Any, words: str) -> None:
    with pytest.raises(BevelValueError, match=words):
        call()


def test_rows_without_weight_say_nothing() -> None:
    y, s, w = np.array([0, 1, 1]), np.array([0.1, 0.2, 0.9]), np.array([1, 0, 1])
    weighed, left = tune_threshold("f1", y, s, sample_weight=w, folds=None), y[w > 0]
    assert weighed.value == tune_threshold("f1", left, s[w > 0], folds=None).value
    one = [1, 0, 0, 0, 0, 0]  # four of five parts have no row that counts outside of them
    found = tune_threshold("accuracy", [0, 1] * 3, np.arange(6.0), sample_weight=one)
    assert np.isfinite(found.value)
    with pytest.raises(BevelValueError, match="folds"):
        tune_threshold("f1", y, s, folds=2.5)  # type: ignore[arg-type]
