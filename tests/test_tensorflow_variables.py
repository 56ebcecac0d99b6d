"""Functions that put values into variables and read them back."""

from __future__ import annotations

import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

import bevel
from bevel.errors import StateWarning, TraceError

LABELS = np.asarray([1, 0, 1, 1, 0, 0], "float32")
CHANCES = np.asarray([0.8, 0.3, 0.4, 0.6, 0.7, 0.2], "float32")
STATE = tf.Variable(0.25)
OUTER = keras.metrics.BinaryIoU(target_class_ids=[1])


def kept(y_true, y_pred):
    STATE.assign(tf.reduce_mean(y_true * y_pred))
    return STATE.read_value()


def counted(y_true, y_pred):
    STATE.assign_add(tf.reduce_mean(y_true * y_pred))
    STATE.assign_sub(1.0)
    return 2.0 * STATE


def made_inside(y_true, y_pred):
    metric = keras.metrics.BinaryIoU(target_class_ids=[1])
    metric.update_state(y_true, y_pred)
    return metric.result()


def made_outside(y_true, y_pred):
    OUTER.reset_state()
    OUTER.update_state(y_true, y_pred)
    return OUTER.result()


def called(y_true, y_pred):
    return keras.metrics.AUC(num_thresholds=20)(y_true, y_pred)


def own_variable(y_true, y_pred):
    total = tf.Variable(0.0)
    total.assign_add(tf.reduce_sum(tf.cast(y_pred > 0.5, "float32") * y_true))
    return total / tf.reduce_sum(y_true)


def in_a_branch(y_true, y_pred):
    if tf.reduce_mean(y_pred) > 0.1:
        STATE.assign(1.0)
    return STATE * tf.reduce_mean(y_true * y_pred)


def gradient_of(fn):
    y_pred = tf.constant(CHANCES)
    with tf.GradientTape() as tape:
        tape.watch(y_pred)
        value = fn(LABELS, y_pred)
    return value, tape.gradient(value, y_pred)


@pytest.mark.parametrize("fn", [kept, counted])
def test_what_is_read_back_has_no_gradient_for_tensorflow(fn):
    _, truth = gradient_of(fn)
    report = bevel.audit(fn, LABELS, CHANCES)
    assert truth is None
    assert report.verdict == "blocked"
    (finding,) = report.findings
    assert (finding.code, finding.op, finding.loc.function) == ("B104", "assign", fn.__name__)
    assert "STATE.assign" in str(report)
    assert "bevel.relax" in finding.help


@pytest.mark.parametrize(("fn", "value", "slope"), [(kept, 0.3, 1 / 6), (counted, -0.9, 1 / 3)])
def test_a_relaxed_function_follows_the_value_and_leaves_the_variable(fn, value, slope):
    STATE.assign(0.25)
    with pytest.warns(StateWarning, match="does not change the variable"):
        found, gradient = gradient_of(bevel.relax(fn))
    np.testing.assert_allclose(found, value, rtol=1e-6)
    np.testing.assert_allclose(gradient, slope * LABELS, rtol=1e-6)
    assert float(STATE) == 0.25


@pytest.mark.parametrize("fn", [made_inside, called, own_variable])
def test_a_metric_inside_of_a_loss_is_relaxed_without_a_word(fn):
    with warnings.catch_warnings():
        warnings.simplefilter("error", StateWarning)
        relaxed = bevel.relax(fn)
        _, gradient = gradient_of(relaxed)
    assert np.all(np.isfinite(gradient))
    assert np.any(gradient)
    hard = bevel.relax(fn, temperature=0)
    np.testing.assert_allclose(hard(LABELS, CHANCES), fn(LABELS, CHANCES), rtol=1e-6)
    np.testing.assert_allclose(relaxed(LABELS, CHANCES), fn(LABELS, CHANCES), atol=0.2)


def test_a_metric_that_lives_outside_keeps_its_state():
    OUTER.reset_state()
    OUTER.update_state([1.0, 1.0, 0.0], [0.9, 0.2, 0.1])
    before = [np.asarray(v) for v in OUTER.variables]
    with pytest.warns(StateWarning):
        value, gradient = gradient_of(bevel.relax(made_outside))
    inside, same = gradient_of(bevel.relax(made_inside))
    np.testing.assert_allclose(value, inside, rtol=1e-6)
    np.testing.assert_allclose(gradient, same, rtol=1e-5)
    for held, variable in zip(before, OUTER.variables, strict=True):
        np.testing.assert_array_equal(held, variable)


def test_the_step_behind_a_metric_is_named_not_only_its_variable():
    report = bevel.audit(made_outside, LABELS, CHANCES)
    assert report.verdict == "blocked"
    assert {f.op for f in report.findings} >= {"greater_equal"}


def test_an_assignment_in_a_branch_is_refused_at_its_line():
    with pytest.raises(TraceError, match="assigns a variable") as caught:
        bevel.relax(in_a_branch)(LABELS, CHANCES)
    assert caught.value.loc.function == "in_a_branch"
    assert bevel.audit(in_a_branch, LABELS, CHANCES).findings[0].loc.function == "in_a_branch"


def test_a_loss_with_a_metric_inside_is_compiled_and_traced_twice():
    relaxed = bevel.relax(made_inside)
    compiled = tf.function(lambda p: relaxed(LABELS, p), jit_compile=True)
    np.testing.assert_allclose(compiled(CHANCES), relaxed(LABELS, CHANCES), rtol=1e-5)
    longer = np.tile(CHANCES, 2)
    assert np.isfinite(relaxed(np.tile(LABELS, 2), longer))
