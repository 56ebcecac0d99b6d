"""The form a metric wants its arguments in, and its direction, are found by calling it."""

import numpy as np
import pytest
import tensorflow as tf

from bevel.arrangements import arrange, ordered
from bevel.errors import TargetError
from bevel.metrics import BUILTIN

TWO = np.array([0, 1, 1, 0, 1, 0, 0, 0])
THREE = np.array([0, 1, 2, 0, 1, 2, 0, 0])


def _column_error(y_true, y_pred):
    tf.debugging.assert_rank(y_pred, 2)
    return tf.reduce_mean(tf.abs(y_true[:, 0] - y_pred[:, 0]))


def _onehot_hits(y_true, y_pred):
    return tf.reduce_mean(tf.cast(tf.argmax(y_true, 1) == tf.argmax(y_pred, 1), tf.float32))


def _number_hits(y_true, y_pred):
    tf.debugging.assert_rank(y_true, 1)
    best = tf.argmax(y_pred, 1, output_type=y_true.dtype)
    return tf.reduce_mean(tf.cast(tf.equal(best, y_true), tf.float32))


def _squared_errors(y_true, y_pred):
    return (y_true - y_pred) ** 2


@pytest.mark.parametrize(
    ("metric", "numbers", "words", "maximize"),
    [
        (BUILTIN["f1"], TWO, "shape (n,)", True),
        (_column_error, TWO, "shape (n, 1)", False),
        (_onehot_hits, TWO, "shape (n, classes)", True),
        (_onehot_hits, THREE, "shape (n, classes)", True),
        (_number_hits, TWO, "class numbers", True),
        (_number_hits, THREE, "class numbers", True),
        (_squared_errors, TWO, "shape (n,)", False),
    ],
)
def test_the_form_and_the_direction_are_found(metric, numbers, words, maximize):
    found = arrange(metric, numbers, int(numbers.max()) + 1, None)
    assert words in found.form.words
    assert (found.maximize, found.inferred) == (maximize, True)
    assert found.perfect == pytest.approx(1.0 if maximize else 0.0, abs=1e-4)


def test_a_direction_that_is_asked_for_is_kept():
    found = arrange(BUILTIN["f1"], TWO, 2, False)
    assert (found.maximize, found.inferred) == (False, False)


def test_arguments_in_the_other_order_are_called_by_name():
    seen = ordered(lambda y_pred, y_true: y_pred - 2 * y_true)
    assert seen(1, 5) == 3


def test_a_metric_of_other_arguments_is_refused():
    with pytest.raises(TargetError, match=r"the metric takes \(y_true, y_pred, weights\)"):
        ordered(lambda y_true, y_pred, weights: 0)


def test_a_metric_that_rates_nothing_needs_a_direction():
    def calls(y_true, y_pred):
        return tf.reduce_sum(y_pred * 0.0)

    with pytest.raises(TargetError, match=r"rate the same.*\n.*--maximize or --minimize"):
        arrange(calls, TWO, 2, None)
    assert arrange(calls, TWO, 2, True).maximize


def test_a_metric_that_never_gives_a_number_is_explained():
    message = r"gives no number for 3 classes; tried:\n  one-hot.*not finite\n  class numbers"
    with pytest.raises(TargetError, match=message):
        arrange(lambda y_true, y_pred: tf.reduce_sum(y_pred) * float("nan"), THREE, 3, None)


def test_probabilities_are_those_of_the_logits():
    metric = arrange(_onehot_hits, TWO, 2, None)
    probabilities = metric.form.predictions(tf.constant([[0.0], [2.0]]), 2)
    np.testing.assert_allclose(probabilities[:, 1], 1 / (1 + np.exp([0.0, -2.0])), rtol=1e-6)
