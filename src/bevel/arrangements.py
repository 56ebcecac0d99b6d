"""The forms in which a classification metric may want labels and predictions.

A network gives logits of shape (n, 1) for two classes and (n, c) for more; data gives class
numbers. An *arrangement* turns them into the pair (y_true, y_pred) that a given metric is written
for. `arrange` finds the one that fits by calling the metric, and which direction is better, by
rating perfect and opposite predictions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import tensorflow as tf

from bevel.errors import TargetError, printable
from bevel.roles import roles
from bevel.sampling import parameters

Metric = Callable[[Any, Any], Any]
_Form = Callable[[Any, int], Any]


def _probabilities(logits: Any, classes: int) -> Any:
    """Probabilities of shape (n, classes); of two classes the second has the logit."""
    if classes == 2:
        logits = tf.concat([tf.zeros_like(logits), logits], axis=1)
    return tf.nn.softmax(logits, axis=1)


@dataclass(frozen=True)
class Arrangement:
    """How class numbers and logits become y_true and y_pred.

    Attributes:
        words: The shapes, for a reader.
        binary_only: Whether it needs two classes.
        labels: (numbers (n,), classes) → y_true.
        predictions: (logits, classes) → y_pred.
    """

    words: str
    binary_only: bool
    labels: _Form
    predictions: _Form


ARRANGEMENTS = (
    Arrangement(
        "0/1 labels and probabilities of shape (n,)",
        True,
        lambda numbers, _: tf.cast(numbers, tf.float32),
        lambda logits, _: tf.sigmoid(logits)[:, 0],
    ),
    Arrangement(
        "0/1 labels and probabilities of shape (n, 1)",
        True,
        lambda numbers, _: tf.cast(numbers, tf.float32)[:, None],
        lambda logits, _: tf.sigmoid(logits),
    ),
    Arrangement(
        "one-hot labels and probabilities of shape (n, classes)",
        False,
        lambda numbers, classes: tf.one_hot(numbers, classes),
        _probabilities,
    ),
    Arrangement(
        "class numbers (n,) and probabilities (n, classes)",
        False,
        lambda numbers, _: tf.cast(numbers, tf.int32),
        _probabilities,
    ),
)


@dataclass(frozen=True)
class Arranged:
    """A metric with the arrangement that fits it, called with class numbers and logits.

    Attributes:
        metric: The user's function, called as (y_true, y_pred).
        form: The arrangement.
        classes: The number of classes.
        maximize: Whether higher is better.
        inferred: Whether `maximize` was found by rating perfect against opposite predictions.
        perfect: The metric's value for perfect predictions.
    """

    metric: Metric
    form: Arrangement
    classes: int
    maximize: bool
    inferred: bool
    perfect: float

    @cached_property
    def graph(self) -> Metric:
        """The metric as a graph function, so that its `if` on a tensor works inside any other."""
        return tf.function(self.metric)

    def __call__(self, numbers: Any, logits: Any) -> Any:
        return self.through(self.graph, numbers, logits)

    def through(self, metric: Metric, numbers: Any, logits: Any) -> Any:
        """The value of `metric` (this one or its relaxation), a float32 scalar."""
        y_true = self.form.labels(numbers, self.classes)
        y_pred = self.form.predictions(logits, self.classes)
        return tf.reduce_mean(tf.cast(metric(y_true, y_pred), tf.float32))


def ordered(fn: Callable[..., Any]) -> Metric:
    """Return `fn` as a function of (y_true, y_pred), whichever way round it takes them.

    Raises:
        TargetError: If it does not take two arguments.
    """
    names = parameters(fn)
    if len(names) != 2:
        raise TargetError(
            f"the metric takes ({printable(', '.join(names))}); expected (y_true, y_pred)",
            help="wrap it in a function of the labels and the prediction",
        )
    label, _ = roles(names)
    if label == names[0]:
        return fn
    return lambda y_true, y_pred: fn(y_pred, y_true)


def arrange(
    fn: Callable[..., Any], numbers: np.ndarray, classes: int, maximize: bool | None
) -> Arranged:
    """Find how `fn` wants its arguments and which direction is better.

    Args:
        fn: The metric.
        numbers: Class numbers of real rows, shape (n,).
        classes: The number of classes.
        maximize: Whether higher is better; None to infer it.

    Raises:
        TargetError: If no arrangement gives a finite number, or if perfect and opposite predictions
            rate the same and `maximize` is None.
    """
    metric = ordered(fn)
    sure = 12.0 * (2.0 * np.eye(classes)[numbers] - 1.0)
    logits = tf.constant(sure[:, 1:] if classes == 2 else sure, tf.float32)
    fallback: Arranged | None = None
    failures = []
    for form in ARRANGEMENTS:
        if form.binary_only and classes > 2:
            continue
        trial = Arranged(metric, form, classes, True, maximize is None, 0.0)
        try:
            perfect = float(trial.through(metric, tf.constant(numbers), logits))
            opposite = float(trial.through(metric, tf.constant(numbers), -logits))
        except Exception as error:
            said = printable(str(error).strip().split("\n")[0])[:160]
            failures.append(f"  {form.words}: {type(error).__name__}: {said}")
            continue
        if not np.isfinite([perfect, opposite]).all():
            failures.append(f"  {form.words}: the value is not finite")
            continue
        better = perfect > opposite if maximize is None else maximize
        found = Arranged(metric, form, classes, better, maximize is None, perfect)
        if perfect != opposite:
            return found
        fallback = fallback or found
    if fallback is None:
        raise TargetError(
            f"the metric gives no number for {classes} classes; tried:\n" + "\n".join(failures),
            help="it must take (y_true, y_pred) in one of these forms and return a number",
        )
    if maximize is None:
        raise TargetError(
            "perfect and opposite predictions rate the same, so the direction cannot be inferred",
            help="pass --maximize or --minimize",
        )
    return fallback
