"""Losses of a confusion matrix: averages, weights of classes, ignored labels and kernels."""

from __future__ import annotations

import json
from typing import Any

import keras
import numpy as np
import pytest
from sklearn import metrics

from bevel import losses
from bevel.errors import BevelValueError
from bevel.ops.kernels import KERNELS
from tests.contract.gradients import array, tensor, value_and_gradient

RNG = np.random.default_rng(11)
Y = (RNG.random((60, 3)) < (0.2, 0.5, 0.7)) * 1.0
P = RNG.random((60, 3)) * 0.8 + 0.2 * Y
CLASSES = np.arange(60) % 7 // 3
SHARES = P / P.sum(1, keepdims=True)
W = RNG.random(60)
BY_CLASS = np.array([1.0, 0.5, 3.0])

EVERY = {
    "FBeta": metrics.f1_score,
    "MCC": metrics.matthews_corrcoef,
    "CohenKappa": metrics.cohen_kappa_score,
    "BalancedAccuracy": metrics.balanced_accuracy_score,
}
every = pytest.mark.parametrize("name", EVERY)


def value(loss: Any, y: np.ndarray, p: np.ndarray, weights: np.ndarray | None = None) -> Any:
    w = None if weights is None else tensor(weights, "float32")
    labels = tensor(y, "float32" if y.dtype == float else "int32")
    return array(loss(labels, tensor(p, "float32"), w))


def sharp(name: str, **how: Any) -> Any:
    return getattr(losses, name)(temperature=1e-5, **how)


@every
def test_averages_over_labels(name: str) -> None:
    of = EVERY[name]
    each = np.array([of(Y[:, k], P[:, k] > 0.5, sample_weight=W) for k in range(3)])
    flat, times = (Y.ravel(), P.ravel() > 0.5), np.repeat(W, 3)
    together, weighed = (of(*flat, sample_weight=w) for w in (times, times * np.tile(BY_CLASS, 60)))
    support = W @ Y
    for how, expected in (
        ({"average": "macro"}, each.mean()),
        ({"average": "weighted"}, np.average(each, weights=support)),
        ({"average": "micro"}, together),
        ({"class_weight": BY_CLASS}, np.average(each, weights=BY_CLASS)),
        (
            {"average": "weighted", "class_weight": BY_CLASS},
            np.average(each, weights=support * BY_CLASS),
        ),
        ({"average": "micro", "class_weight": BY_CLASS}, weighed),
    ):
        found = 1 - value(sharp(name, multi_label=True, **how), Y, P, W)
        assert found == pytest.approx(expected, abs=1e-3), how
    found = 1 - value(sharp(name, multi_label=True, average="none", reduction=None), Y, P, W)
    assert found == pytest.approx(each, abs=1e-3)


def test_weights_of_classes_in_f_beta() -> None:
    decided = SHARES.argmax(1)
    each = metrics.f1_score(CLASSES, decided, average=None)
    support = np.bincount(CLASSES)
    matrix = metrics.confusion_matrix(CLASSES, decided)
    counts = [BY_CLASS @ t for t in (np.diag(matrix), matrix.sum(1), matrix.sum(0))]
    for average, expected in (
        ("macro", np.average(each, weights=BY_CLASS)),
        ("weighted", np.average(each, weights=BY_CLASS * support)),
        ("micro", 2 * counts[0] / (counts[1] + counts[2])),
    ):
        loss = sharp("FBeta", average=average, class_weight=BY_CLASS)
        assert 1 - value(loss, CLASSES, SHARES) == pytest.approx(expected, abs=1e-3)
    for average in ("macro", "weighted", "micro"):
        found = 1 - value(sharp("FBeta", average=average), CLASSES, SHARES)
        expected = metrics.f1_score(CLASSES, decided, average=average)
        assert found == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("average", ["macro", "weighted", "micro", "none"])
def test_weights_of_classes_where_these_have_one_value(average: str) -> None:
    decided, rows = SHARES.argmax(1), BY_CLASS[CLASSES]
    recalls = metrics.recall_score(CLASSES, decided, average=None)
    kappa = metrics.cohen_kappa_score(CLASSES, decided, weights="linear", sample_weight=rows)
    for loss, expected in (
        (sharp("MCC", average=average, class_weight=BY_CLASS),
         metrics.matthews_corrcoef(CLASSES, decided, sample_weight=rows)),
        (sharp("CohenKappa", average=average, weights="linear", class_weight=BY_CLASS), kappa),
        (sharp("BalancedAccuracy", average=average, class_weight=BY_CLASS),
         np.average(recalls, weights=BY_CLASS)),
        (sharp("BalancedAccuracy", average=average, geometric=True, class_weight=BY_CLASS),
         np.exp(np.average(np.log(recalls), weights=BY_CLASS))),
    ):  # fmt: skip
        assert 1 - value(loss, CLASSES, SHARES) == pytest.approx(expected, abs=1e-3)


@every
@pytest.mark.parametrize("ignored", [255, -1])
def test_ignored_rows_are_as_if_they_were_not_there(name: str, ignored: int) -> None:
    make, kept = getattr(losses, name), np.arange(60) % 4 > 0
    for y, p in ((CLASSES, SHARES), (Y[:, 0], P[:, 0]), (CLASSES[:, None] % 2, P[:, :1])):
        labels = np.where(kept.reshape((-1,) + (1,) * (y.ndim - 1)), y, ignored)
        labels = labels.astype(y.dtype)
        alone = value(make(), y[kept], p[kept], W[kept])
        assert value(make(ignore_class=ignored), labels, p, W) == pytest.approx(alone, rel=1e-5)
        _, (found,) = value_and_gradient(
            lambda p, y=labels: make(ignore_class=ignored)(
                tensor(y, "float32" if y.dtype == float else "int32"), p
            ),
            tensor(p, "float32"),
        )
        assert not found[~kept].any()
        assert found[kept].any()


@every
def test_ignored_elements_of_labels_and_ignored_classes(name: str) -> None:
    make, kept = getattr(losses, name), RNG.random((60, 3)) < 0.7
    found = value(make(multi_label=True, ignore_class=-1), np.where(kept, Y, -1.0), P)
    assert found == pytest.approx(float(value(make(multi_label=True), Y, P, kept)), rel=1e-5)
    rows, one_hot = CLASSES != 1, np.eye(3)[CLASSES]
    alone = value(make(), CLASSES[rows], SHARES[rows])
    for labels in (CLASSES, one_hot):
        assert value(make(ignore_class=1), labels, SHARES) == pytest.approx(alone, rel=1e-5)
    # one-hot labels have no column for these
    for beyond in (255, -1):
        found = value(make(ignore_class=beyond), one_hot, SHARES)
        assert found == pytest.approx(float(value(make(), one_hot, SHARES)), rel=1e-6)


@every
@pytest.mark.parametrize("kernel", KERNELS)
def test_each_kernel_has_its_gradient_and_the_same_limit(name: str, kernel: str) -> None:
    make, gradients = getattr(losses, name), []
    for y, p, how in ((Y, P, {"multi_label": True}), (CLASSES, SHARES, {})):
        labels = tensor(y, "float32" if y.dtype == float else "int32")
        loss = make(kernel=kernel, temperature=1.0, **how)
        _, (found,) = value_and_gradient(
            lambda p, y=labels, loss=loss: loss(y, p), tensor(p, "float32")
        )
        assert np.isfinite(found).all()
        assert (np.abs(found).max(axis=0) > 1e-5).all()
        gradients.append(found)
        limits = [value(sharp(name, kernel=k, **how), y, p) for k in (kernel, "algebraic")]
        assert limits[0] == pytest.approx(limits[1], abs=1e-3)
        default = value(make(temperature=1.0, **how), y, p)
        alike = kernel == "algebraic" or (not how and kernel != "logistic")
        assert (abs(value(loss, y, p) - default) < 1e-6) == alike


@every
def test_everything_is_saved(name: str) -> None:
    loss = getattr(losses, name)(
        average="micro", class_weight=(1, 2, 3), ignore_class=255, threshold=0.4, multi_label=True,
        from_logits=True, kernel="gaussian", temperature=0.2, reduction="sum", name="own",
    )  # fmt: skip
    again = keras.losses.deserialize(json.loads(json.dumps(keras.losses.serialize(loss))))
    assert again.get_config() == loss.get_config()
    assert loss.get_config()["class_weight"] == [1.0, 2.0, 3.0]
    assert loss.get_config()["kernel"] == "gaussian"
    assert value(again, Y, P) == value(loss, Y, P)


@every
@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"average": "all"}, "average"),
        ({"class_weight": [1, -1, 1]}, "class_weight"),
        ({"kernel": "triangular"}, "kernel"),
        ({"temperature": 0}, "temperature"),
        ({"class_weight": [1, 2]}, "3 columns"),
        ({"class_weight": [1, 2], "multi_label": True}, "3 columns"),
    ],
)
def test_what_cannot_be_used_is_named(name: str, how: dict[str, Any], words: str) -> None:
    with pytest.raises(BevelValueError, match=words):
        value(getattr(losses, name)(**how), Y if "multi_label" in how else CLASSES, SHARES)


@every
def test_labels_of_their_own_are_no_class_numbers(name: str) -> None:
    with pytest.raises(BevelValueError, match="labels of their own"):
        value(getattr(losses, name)(multi_label=True), CLASSES, SHARES)
    with pytest.raises(TypeError, match="unexpected"):
        getattr(losses, name)(averaging="micro")


def test_weights_of_classes_come_in_a_list_or_a_dictionary() -> None:
    by_list, by_name = (
        losses.FBeta(class_weight=w).get_config() for w in ([1, 5, 2], {0: 1, 2: 2, 1: 5})
    )
    assert by_list == by_name
    for bad in (2.0, "balanced", {1: 2.0}, [-1.0]):
        with pytest.raises(BevelValueError, match="class_weight"):
            losses.FBeta(class_weight=bad)
        with pytest.raises(BevelValueError, match="class_weight"):
            losses.Tversky(class_weight=bad)


def test_rows_of_zeros_are_ignored_where_the_label_has_no_column() -> None:
    numbers, p = np.array([0, 1, 2, 255, 1, 255]), np.random.default_rng(0).random((6, 3))
    one_hot = np.equal(numbers[:, None], np.arange(3)).astype("float32")
    for make in (losses.FBeta, losses.MCC, losses.CohenKappa, losses.BalancedAccuracy):
        loss, given = make(ignore_class=255), tensor(p, "float32")
        by_number = float(array(loss(tensor(numbers, "int32"), given)))
        assert by_number == pytest.approx(float(array(loss(tensor(one_hot, "float32"), given))))
