"""Decisions among several classes, and of labels of their own, against brute force."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from bevel.decide import CLASS_METRICS, tune_threshold
from bevel.errors import BevelValueError

SKLEARN = {
    "accuracy": metrics.accuracy_score,
    "balanced_accuracy": metrics.balanced_accuracy_score,
    "cohen_kappa": metrics.cohen_kappa_score,
    "cohen_kappa_quadratic": partial(metrics.cohen_kappa_score, weights="quadratic"),
    "f0.5": partial(metrics.fbeta_score, beta=0.5, average="macro"),
    "f1": partial(metrics.f1_score, average="macro"),
    "f2": partial(metrics.fbeta_score, beta=2, average="macro"),
    "jaccard": partial(metrics.jaccard_score, average="macro"),
    "mcc": metrics.matthews_corrcoef,
}


def _geometric_mean(y: np.ndarray, decided: np.ndarray, **how: Any) -> float:
    recalls = metrics.recall_score(y, decided, average=None, labels=np.unique(y), **how)
    return float(np.prod(recalls) ** (1 / len(recalls)))


EVERY = SKLEARN | {"geometric_mean": _geometric_mean}


def _drawn(seed: int, n: int = 50, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Class numbers of uneven frequency, and rounded scores: some margins are equal."""
    rng = np.random.default_rng(seed)
    y = np.minimum(rng.geometric(0.6, n) - 1, classes - 1)
    y[:classes] = np.arange(classes)
    return y, np.round(8 * (np.eye(classes)[y] + rng.normal(size=(n, classes)))) / 8


def _moves(s: np.ndarray, value: np.ndarray) -> Any:
    """The values with one of them moved, to each place where it decides differently."""
    for k in range(len(value)):
        margin = s[:, k] - np.delete(s - value, k, axis=1).max(axis=1)
        margin = np.unique(np.round(margin, 5))  # rounding is no place
        for place in np.r_[margin[0] - 1, (margin[1:] + margin[:-1]) / 2, margin[-1] + 1]:
            yield np.where(np.arange(len(value)) == k, place, value)


@pytest.mark.parametrize("name", EVERY)
def test_the_metrics_are_those_of_scikit_learn(name: str) -> None:
    rng = np.random.default_rng(2)
    for classes in (2, 4):
        y, decided, w = *rng.integers(0, classes, (2, 40)), rng.random(40)
        matrix = metrics.confusion_matrix(y, decided, sample_weight=w)
        expected = EVERY[name](y, decided, sample_weight=w)
        found = CLASS_METRICS[name](np.stack([matrix, 3 * matrix]))
        np.testing.assert_allclose(found, expected)
    # a class that neither has rows nor is decided, and nothing but one class
    matrix = np.pad(np.array([[4.0, 1.0], [2.0, 3.0]]), (0, 1))
    assert CLASS_METRICS[name](matrix) == pytest.approx(CLASS_METRICS[name](matrix[:2, :2]))
    assert np.isfinite(CLASS_METRICS[name](np.diag([5.0, 0.0, 0.0])))


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.filterwarnings("ignore")
def test_no_value_can_be_moved_to_where_it_is_better(name: str) -> None:
    for seed, dtype in enumerate(("float64", "float32")):
        y, s = _drawn(seed, 40)
        s = s.astype(dtype)
        best = tune_threshold(name, y, s, folds=None)
        assert best.value.dtype == dtype
        assert best.value.mean() == pytest.approx(0, abs=1e-6)
        assert best.score == best.in_sample
        assert best.score == pytest.approx(EVERY[name](y, np.argmax(s - best.value, axis=1)))
        assert best.score > EVERY[name](y, np.argmax(s, axis=1))
        wide = s.astype("float64")
        tried = [EVERY[name](y, np.argmax(wide - v, axis=1)) for v in _moves(wide, best.value)]
        assert best.score >= max(tried) - 1e-9


def test_counts_are_the_same_in_small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    y, s = _drawn(3, 60)
    w = np.random.default_rng(3).random(60)
    whole = tune_threshold("f1", y, s, sample_weight=w, folds=None)
    monkeypatch.setattr("bevel.decide.classes._BLOCK", 63)  # seven matrices
    again = tune_threshold("f1", y, s, sample_weight=w, folds=None)
    np.testing.assert_allclose(again.value, whole.value)


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_weights_count_repetitions(data: Any) -> None:
    n, classes = data.draw(st.integers(2, 9)), data.draw(st.integers(2, 4))
    draw = lambda each, size: np.array(data.draw(st.lists(each, min_size=size, max_size=size)))  # noqa: E731
    y, w = draw(st.integers(0, classes - 1), n), draw(st.integers(0, 3), n)
    s = draw(st.floats(-9, 9, width=32), n * classes).reshape(n, classes)
    name = data.draw(st.sampled_from(sorted(CLASS_METRICS)))
    if not w.sum():
        return
    weighed = tune_threshold(name, y, s, sample_weight=w, folds=None)
    repeated = tune_threshold(name, np.repeat(y, w), np.repeat(s, w, axis=0), folds=None)
    assert weighed.score == pytest.approx(repeated.score)


def test_scores_that_are_nearly_equal_decide_as_they_are_counted() -> None:
    near = np.float32([0.99999994, 0.99999994, 1, 1])
    for s, y in (
        (np.stack([near, 1 - near], axis=1), [1, 1, 0, 0]),
        (np.stack([near, np.full(4, 1e7, "float32")], axis=1), [1, 1, 0, 0]),
        (np.array([[1e17, 2e17], [2e17, 2e17], [3e17, 2e17], [2.5e17, 2e17]]), [0, 0, 0, 1]),
    ):
        best = tune_threshold("accuracy", y, s, folds=None)
        assert best.score == np.mean(np.argmax(s - best.value, axis=1) == y)
        assert best.score >= 0.5


def test_a_place_that_rounding_takes_away_is_none() -> None:
    # in float32 none of the first four can be told from another beside 1e7
    s = np.float32([[0.99999994, 0.99999994, 0.99999994, 1, 50, 50], np.full(6, 1e7)]).T
    best = tune_threshold("accuracy", [1, 1, 1, 0, 0, 0], s, folds=None)
    assert best.score == pytest.approx(5 / 6)


def test_of_equally_good_places_it_is_the_middle_one() -> None:
    s = np.stack([np.arange(18.0, 10, -1), np.zeros(8)], axis=1)
    best = tune_threshold("accuracy", [0, 0, 1, 0, 1, 0, 1, 1], s, folds=None)
    assert best.value.tolist() == [7.25, -7.25]


def test_a_function_of_matrices_and_a_cost() -> None:
    y, s = _drawn(7)
    costs = np.array([[0, 1, 1], [5, 0, 1], [9, 2, 0]])
    found = tune_threshold(lambda m: (m * costs).sum((-2, -1)), y, s, folds=None, maximize=False)
    paid = lambda v: costs[y, np.argmax(s - v, axis=1)].sum()  # noqa: E731
    assert found.score == paid(found.value) < paid(np.zeros(3))
    assert found.score == min(paid(v) for v in _moves(s, found.value))


def test_out_of_fold_does_not_flatter_among_classes() -> None:
    gaps, truth = [], []
    fresh_y, fresh_s = _drawn(999, 4000)
    for seed in range(12):
        y, s = _drawn(seed, 60)
        found = tune_threshold("f1", y, s, seed=seed)
        assert found.value.mean() == pytest.approx(0, abs=1e-12)
        again = EVERY["f1"](y, np.argmax(s - found.value, axis=1))
        assert found.in_sample == pytest.approx(again)
        fresh = EVERY["f1"](fresh_y, np.argmax(fresh_s - found.value, axis=1))
        gaps.append(tune_threshold("f1", y, s, folds=None).score - fresh)
        truth.append(found.score - fresh)
    assert np.mean(gaps) > 0.05
    assert np.mean(truth) < np.mean(gaps) / 2


@pytest.mark.parametrize("name", ["f1", "mcc"])
@pytest.mark.parametrize("folds", [None, 4])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_labels_of_their_own_are_tuned_each_by_itself(
    name: str, folds: int | None, dtype: str
) -> None:
    rng = np.random.default_rng(4)
    y = (rng.random((40, 3)) < (0.2, 0.5, 0.7)).astype(int)
    s, w = np.round(y + rng.normal(size=(40, 3)), 1).astype(dtype), rng.random(40)
    found = tune_threshold(name, y, s, sample_weight=w, folds=folds)
    each = [tune_threshold(name, y[:, k], s[:, k], sample_weight=w, folds=folds) for k in range(3)]
    np.testing.assert_allclose(found.value, [t.value for t in each], rtol=1e-6)
    assert found.value.dtype == dtype
    assert found.score == pytest.approx(np.mean([t.score for t in each]))
    decided = (s > found.value).T
    again = [
        SKLEARN_OF_LABELS[name](a, b, sample_weight=w) for a, b in zip(y.T, decided, strict=True)
    ]
    assert found.in_sample == pytest.approx(np.mean(again))


SKLEARN_OF_LABELS = {"f1": metrics.f1_score, "mcc": metrics.matthews_corrcoef}


def test_rows_of_weight_zero_change_nothing() -> None:
    (y, s), w = _drawn(2, 40), np.arange(40) % 3 > 0
    found = tune_threshold("f1", y, s, sample_weight=w, folds=None)
    assert found.value.tolist() == tune_threshold("f1", y[w], s[w], folds=None).value.tolist()


def test_a_function_never_sees_what_rounding_leaves_of_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("bevel.decide.classes._BLOCK", 63)  # sums of sums
    y, s = _drawn(5, 40)
    seen = []

    def accuracy(matrix: np.ndarray) -> Any:
        seen.append(matrix.ravel())
        return np.trace(matrix, axis1=-2, axis2=-1)

    tune_threshold(accuracy, y, s, sample_weight=np.arange(1, 41) / 10, folds=None)
    cells = np.concatenate(seen)
    assert ((cells == 0) | (cells > 0.09)).all()


def test_rows_that_all_have_weight_zero_in_a_part() -> None:
    y, s = _drawn(1, 10)
    found = tune_threshold("f1", y, s, sample_weight=np.arange(10) == 4, folds=5)
    assert np.isfinite(found.value).all()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda y, s: tune_threshold("f3", y, s), "cohen_kappa_quadratic.*matrices"),
        (lambda y, s: tune_threshold("f1", y, s[:, :1]), "c >= 2"),
        (lambda y, s: tune_threshold("f1", y[:, None], s), "one shape"),
        (lambda y, s: tune_threshold("f1", y, s[:4]), "one shape"),
        (lambda y, s: tune_threshold("f1", y, s, sample_weight=np.ones((50, 3))), "one shape"),
        (lambda y, s: tune_threshold("f1", y[:0], s[:0]), "with rows"),
        (lambda y, s: tune_threshold("f1", y, s[:, :2]), "class numbers 0 ... 1"),
        (lambda y, s: tune_threshold("f1", y - 1, s), "class numbers 0 ... 2"),
        (lambda y, s: tune_threshold("f1", y + 0.5, s), "class numbers"),
        (lambda y, s: tune_threshold("f1", s, s), "0 and 1"),
        (lambda y, s: tune_threshold("f1", y, s + np.inf), "finite"),
        (lambda y, s: tune_threshold("f1", y, s, sample_weight=-np.ones(50)), "finite and >= 0"),
        (lambda y, s: tune_threshold("f1", y, s, sample_weight=np.zeros(50)), "weights are 0"),
        (lambda y, s: tune_threshold("f1", y, s, folds=51), "folds"),
        (lambda y, s: tune_threshold(np.trace, y, s), "one value for each matrix"),
    ],
)
def test_what_cannot_be_decided(call: Any, words: str) -> None:
    with pytest.raises(BevelValueError, match=words):
        call(*_drawn(0))


def test_equal_margins_of_large_scores_are_passed() -> None:
    s = np.tile(np.array([[1e8, 0, 0]], "float32"), (6, 1))
    found = tune_threshold("accuracy", [1, 1, 1, 1, 1, 0], s, folds=None)
    assert found.score == pytest.approx(5 / 6)
