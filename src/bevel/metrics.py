"""Metrics that people are judged by, hard decision and all: the built-in targets of `train`.

Each takes `y_true` and `y_pred` of shape `(n,)`, 0/1 labels and probabilities, decides at 0.5 and
returns a float32 scalar. They are written on `keras.ops` in the most ordinary way, comparison and
all: nothing here helps a gradient, that is what `bevel.relax` is for. An undefined ratio (0/0, for
instance no positive label and no positive decision) is 0, as scikit-learn's `zero_division=0`.
"""

from __future__ import annotations

from typing import Any

from keras import ops as K

from bevel.errors import BevelValueError


def f1(y_true: Any, y_pred: Any) -> Any:
    """F1 = 2·TP / (2·TP + FP + FN).

    Args:
        y_true: 0/1 labels, shape `(n,)`, float.
        y_pred: Probabilities, shape `(n,)`, float.

    Returns:
        A float32 scalar in [0, 1]; higher is better.

    Raises:
        BevelValueError: If the shapes are not both `(n,)`.

    Example:
        >>> import numpy as np
        >>> float(f1(np.array([1.0, 0.0, 1.0]), np.array([0.9, 0.2, 0.3]))).__round__(3)
        0.667
    """
    tp, fp, fn, _ = _counts(y_true, y_pred)
    return _ratio(2.0 * tp, 2.0 * tp + fp + fn)


def accuracy(y_true: Any, y_pred: Any) -> Any:
    """Accuracy = (TP + TN) / n. Arguments, result and errors as `f1`."""
    tp, fp, fn, tn = _counts(y_true, y_pred)
    return (tp + tn) / (tp + fp + fn + tn)


def balanced_accuracy(y_true: Any, y_pred: Any) -> Any:
    """Balanced accuracy = (TP/(TP+FN) + TN/(TN+FP)) / 2. Arguments, result and errors as `f1`."""
    tp, fp, fn, tn = _counts(y_true, y_pred)
    return 0.5 * (_ratio(tp, tp + fn) + _ratio(tn, tn + fp))


def gmean(y_true: Any, y_pred: Any) -> Any:
    """G-mean = √(TP/(TP+FN) · TN/(TN+FP)) (Kubat & Matwin 1997). Otherwise as `f1`."""
    tp, fp, fn, tn = _counts(y_true, y_pred)
    product = _ratio(tp, tp + fn) * _ratio(tn, tn + fp)
    return K.where(product > 0, K.sqrt(K.where(product > 0, product, 1.0)), 0.0)


def mcc(y_true: Any, y_pred: Any) -> Any:
    """Matthews correlation (Matthews 1975), in [-1, 1]. Arguments and errors as `f1`.

    MCC = (TP·TN − FP·FN) / √((TP+FP)(TP+FN)(TN+FP)(TN+FN)), on shares of the batch.
    """
    tp, fp, fn, tn = _counts(y_true, y_pred)
    n = tp + fp + fn + tn
    tp, fp, fn, tn = tp / n, fp / n, fn / n, tn / n
    square = (tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)
    defined = square > 0
    return K.where(defined, (tp * tn - fp * fn) / K.sqrt(K.where(defined, square, 1.0)), 0.0)


def profit(y_true: Any, y_pred: Any) -> Any:
    """Profit per customer: 10 for each positive who is called, 2 for each call.

    profit = (10·TP − 2·(TP + FP)) / n. Arguments and errors as `f1`.
    """
    tp, fp, fn, tn = _counts(y_true, y_pred)
    return (10.0 * tp - 2.0 * (tp + fp)) / (tp + fp + fn + tn)


BUILTIN = {f.__name__: f for f in (f1, accuracy, balanced_accuracy, gmean, mcc, profit)}


def _counts(y_true: Any, y_pred: Any) -> tuple[Any, Any, Any, Any]:
    """TP, FP, FN and TN of the decision at 0.5."""
    labels, scores = tuple(y_true.shape), tuple(y_pred.shape)
    if (
        len(labels) != 1
        or len(scores) != 1
        or (None not in (*labels, *scores) and labels != scores)
    ):
        raise BevelValueError(
            f"`y_true` and `y_pred` must both have shape (n,); got {labels} and {scores}.",
            help="the built-in metrics are binary; write a function of your own for more classes",
        )
    positive = K.cast(y_true, "float32")
    called = K.cast(y_pred > 0.5, "float32")
    tp = K.sum(positive * called)
    fp = K.sum((1.0 - positive) * called)
    fn = K.sum(positive * (1.0 - called))
    tn = K.sum((1.0 - positive) * (1.0 - called))
    return tp, fp, fn, tn


def _ratio(numerator: Any, denominator: Any) -> Any:
    """A ratio that is 0 where its denominator is 0, without a division by 0 in either branch."""
    defined = denominator > 0
    return K.where(defined, numerator / K.where(defined, denominator, 1.0), 0.0)
