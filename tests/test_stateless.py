"""A metric taken apart: the user's object stays as it is, and the parts give what it gives."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

import bevel
from bevel.errors import BevelTypeError
from bevel.stateless import Stateless, pure
from tests.keras_metrics import Largest

LABELS = np.array([[1.0], [0.0], [1.0], [0.0]], "float32")
CHANCES = np.array([[0.9], [0.2], [0.4], [0.6]], "float32")


def test_the_users_metric_is_not_touched():
    metric = keras.metrics.F1Score(threshold=0.5)
    bevel.relax(metric)(LABELS, CHANCES)
    assert metric.variables == []
    counted = keras.metrics.BinaryAccuracy()
    counted.update_state(LABELS, CHANCES)
    before = [v.numpy() for v in counted.variables]
    bevel.audit(counted, LABELS, CHANCES)
    assert all(np.array_equal(a, b.numpy()) for a, b in zip(before, counted.variables, strict=True))
    own = Largest()
    own.update_state(LABELS, CHANCES)
    assert float(bevel.relax(own)(LABELS, CHANCES / 2)) == pytest.approx(0.45)
    assert float(own.result()) == pytest.approx(0.9)


def test_the_parts_give_what_the_metric_gives():
    metric = keras.metrics.AUC(num_thresholds=20)
    stateless = Stateless(metric)
    y, p = tf.constant(LABELS), tf.constant(CHANCES)
    stateless.build(y, p)
    value = stateless.result(stateless.update(y, p))
    metric.update_state(y, p)
    assert float(value) == pytest.approx(float(metric.result()))
    assert float(pure(keras.metrics.AUC(num_thresholds=20))(y, p)) == pytest.approx(float(value))


def test_whether_states_add_up():
    y, p = tf.constant(LABELS), tf.constant(CHANCES)
    for metric, adds_up in ((keras.metrics.Precision(), True), (Largest(), False)):
        stateless = Stateless(metric)
        stateless.build(y, p)
        assert stateless.is_additive(y, p) is adds_up


def test_shapes_that_a_metric_refuses_are_named():
    with pytest.raises(BevelTypeError, match=r"F1Score does not take y_true of shape \(4,\)"):
        Stateless(keras.metrics.F1Score()).build(tf.zeros(4), tf.zeros(4))
