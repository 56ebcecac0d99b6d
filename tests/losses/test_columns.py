"""Columns of labels: how their losses are averaged, and what each means at ties and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics

from bevel import losses
from bevel.errors import BevelValueError
from tests.contract.gradients import array, tensor, value_and_gradient

RNG = np.random.default_rng(8)
Y = (RNG.random((40, 3)) < (0.2, 0.5, 0.7)) * 1.0
S = RNG.normal(size=(40, 3)) + Y
SHARP = {"kernel": "linear", "temperature": 1e-4}


def value(loss, *arrays):
    return array(loss(*(tensor(a, "float32") for a in arrays)))


@pytest.mark.parametrize("average", ["micro", "macro", "weighted"])
def test_averages_are_those_of_scikit_learn(average):
    for make, metric in (
        (losses.AUC, metrics.roc_auc_score),
        (losses.AveragePrecision, metrics.average_precision_score),
    ):
        found = 1 - value(make(average=average, **SHARP), Y, S)
        assert found == pytest.approx(metric(Y, S, average=average), abs=2e-3)


MAKES = {
    "PartialAUC": lambda **how: losses.PartialAUC(0.3, **SHARP, **how),
    "RecallAtPrecision": lambda **how: losses.RecallAtPrecision(0.63, **SHARP, **how),
    "PrecisionAtRecall": lambda **how: losses.PrecisionAtRecall(0.6, **SHARP, **how),
    "AUC": lambda **how: losses.AUC(**SHARP, **how),
    "ExpectedCost": lambda **how: losses.ExpectedCost(
        [[0, 1], [4, 0]], multi_label=True, from_logits=True, **how
    ),
}


@pytest.mark.parametrize("name", MAKES)
def test_each_column_alone_and_their_means_by_weight(name):
    make = MAKES[name]
    each = value(make(average="none", reduction=None), Y, S)
    alone = [float(value(make(), Y[:, k], S[:, k])) for k in range(3)]
    np.testing.assert_allclose(each, alone, rtol=1e-5)
    assert value(make(), Y, S) == pytest.approx(np.mean(alone), rel=1e-5)
    by_positives = value(make(average="weighted"), Y, S)
    assert by_positives == pytest.approx(np.average(alone, weights=Y.sum(0)), rel=1e-5)
    by_class = value(make(class_weight=[1, 0, 3]), Y, S)
    assert by_class == pytest.approx(np.average(alone, weights=[1, 0, 3]), rel=1e-5)
    together = value(make(average="micro"), Y, S)
    assert together == pytest.approx(float(value(make(), Y.ravel(), S.ravel())), rel=1e-5)
    weighed = value(make(average="micro", class_weight=[1, 2, 0]), Y, S)
    repeated = [np.r_[t[:, 0], t[:, 1], t[:, 1]] for t in (Y, S)]
    assert weighed == pytest.approx(float(value(make(), *repeated)), abs=1e-3)
    with pytest.raises(BevelValueError, match="class_weight"):
        value(make(class_weight=[1, 2]), Y, S)


def test_the_gradient_of_a_part_goes_to_the_pairs_that_it_is_made_of():
    y, s = np.array([1.0, 1, 1, 1, 0, 0, 0, 0]), np.array([4.0, 3, 2, 1, 3.5, 2.5, 1.5, 0.5])
    loss = losses.PartialAUC(0.5, min_tpr=0.5)
    _, (found,) = value_and_gradient(lambda s: loss(tensor(y, "float32"), s), tensor(s, "float32"))
    # the two weakest positives and the two strongest negatives, and the common centre
    inside = np.abs(found - found[0]) > 1e-6
    assert inside.tolist() == [False, False, True, True, True, True, False, False]


def test_equal_scores_share_what_is_left_of_a_part():
    y = np.array([1.0, 0, 0, 0, 0])
    s = np.array([0.5, 0.5, 0.5, 0.0, 1.0])
    # two of four negatives: the one before, and half of either that is equal
    part = value(losses.PartialAUC(0.5, **SHARP), y, s)
    assert part == pytest.approx((1 + 2 * 0.5 * 0.5) / 2, abs=1e-5)
    assert value(losses.PartialAUC(1.0, **SHARP), y, s) == pytest.approx(
        1 - metrics.roc_auc_score(y, s), abs=1e-5
    )
    _, (found,) = value_and_gradient(
        lambda s: losses.PartialAUC(0.5)(tensor(y, "float32"), s), tensor(s, "float32")
    )
    assert found[1] == pytest.approx(found[2], rel=1e-4)


def test_a_later_threshold_may_be_precise_again():
    y, s = np.array([0.0, 1, 1, 1, 0]), np.array([5.0, 4, 3, 2, 1])
    assert value(losses.RecallAtPrecision(0.7, **SHARP), y, s) == pytest.approx(0, abs=1e-3)
    assert value(losses.RecallAtPrecision(0.76, **SHARP), y, s) == pytest.approx(1, abs=1e-3)
    assert value(losses.PrecisionAtRecall(0.3, **SHARP), y, s) == pytest.approx(1 / 4, abs=1e-3)


def test_the_expected_cost_of_several_classes_and_of_shares():
    costs = RNG.normal(size=(3, 3))
    true, p = RNG.integers(0, 3, 20), RNG.dirichlet([1, 1, 1], 20)
    w = RNG.integers(0, 3, 20)
    expected = np.average((costs[true] * p).sum(1), weights=w)
    loss = losses.ExpectedCost(costs)
    for labels in (true, true[:, None], np.eye(3)[true]):
        labels = tensor(labels, "float32" if labels.dtype == float else "int32")
        found = float(array(loss(labels, tensor(p, "float32"), tensor(w, "float32"))))
        assert found == pytest.approx(expected, rel=1e-5)
    logits = np.log(p)
    loss = losses.ExpectedCost(costs, from_logits=True)
    found = float(array(loss(tensor(true, "int32"), tensor(logits, "float32"))))
    assert found == pytest.approx((costs[true] * p).sum(1).mean(), rel=1e-4)
    half = losses.ExpectedCost([[0, 1], [4, 0]])
    assert value(half, np.array([0.5]), np.array([0.25])) == pytest.approx(0.5 * 0.25 + 0.5 * 3)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: losses.PartialAUC(0.0), "max_fpr"),
        (lambda: losses.PartialAUC(0.5, min_tpr=1.0), "min_tpr"),
        (lambda: losses.PartialAUC(0.5, kernel="triangular"), "kernel"),
        (lambda: losses.RecallAtPrecision(1.0), "precision"),
        (lambda: losses.PrecisionAtRecall(0.0), "recall"),
        (lambda: losses.AUC(average="all"), "average"),
        (lambda: losses.AUC(class_weight=[1, -1]), "class_weight"),
        (lambda: losses.ExpectedCost([[0, 1, 2], [1, 0, 1]]), "a row and a column"),
        (lambda: losses.ExpectedCost([[0, np.nan], [1, 0]]), "finite"),
        (lambda: losses.ExpectedCost([[0, 1], [1, 0]], class_weight=[1, 2]), "rows of"),
        (lambda: value(losses.ExpectedCost(np.eye(3)), Y[:, 0], Y[:, 0]), "3 classes"),
        (
            lambda: losses.ExpectedCost(np.eye(2), multi_label=True)(
                tensor([[0], [1], [1]], "int32"), tensor(Y[:3], "float32")
            ),
            "labels of their own",
        ),
        (lambda: value(losses.ExpectedCost(np.eye(2)), Y[:, 0], 2 * Y[:, 0]), "from_logits"),
    ],
)
def test_what_cannot_be_used_is_named(make, words):
    with pytest.raises(BevelValueError, match=words):
        make()
