"""Counters of rounded numbers: they keep the total, reach every element and harden as asked."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from bevel.relaxation import relax

RNG = np.random.default_rng(3)
SCORES = RNG.uniform(0.01, 0.99, 40).astype("float32")
LABELS = (RNG.random(40) < 0.4).astype("float32")
CELLS = 50


def counted(y_true, y_pred):
    cell = tf.cast(tf.nn.relu(tf.math.ceil(CELLS * y_pred) - 1), "int32")
    return tf.math.unsorted_segment_sum(y_true, cell, CELLS)


def test_the_total_is_kept():
    assert float(tf.reduce_sum(relax(counted)(LABELS, SCORES))) == pytest.approx(LABELS.sum())


def test_they_tend_to_the_hard_counters():
    hard = counted(LABELS, tf.constant(SCORES)).numpy()
    gaps = [
        np.abs(relax(counted, temperature=t)(LABELS, SCORES).numpy() - hard).max()
        for t in (1e-1, 1e-3, 1e-6)
    ]
    assert gaps[0] > gaps[1] >= gaps[2]
    assert gaps[2] < 1e-3


def test_every_element_feels_a_single_cell():
    """Two neighbouring cells alone would leave nearly all elements without a gradient."""
    p = tf.constant(SCORES)
    relaxed = relax(counted)
    with tf.GradientTape() as tape:
        tape.watch(p)
        value = relaxed(np.ones_like(LABELS), p)[20]
    assert np.all(tape.gradient(value, p).numpy() != 0)


def test_what_is_outside_is_not_counted():
    """As in TensorFlow, a negative cell drops its element; rows of data are added as rows."""

    def rows(y_true, y_pred):
        cell = tf.cast(tf.floor(4 * y_pred), "int32") - 1
        return tf.math.unsorted_segment_sum(tf.stack([y_true, 2 * y_true], 1), cell, 3)

    hard = rows(LABELS, tf.constant(SCORES)).numpy()
    soft = relax(rows, temperature=1e-6)(LABELS, SCORES).numpy()
    assert soft == pytest.approx(hard, abs=1e-3)
    assert hard.sum() < 3 * LABELS.sum()


def test_cells_that_differ_by_element_are_counted_one_by_one():
    def shifted(y_true, y_pred):
        cell = tf.cast(tf.floor(4 * y_pred), "int32") + tf.cast(y_true, "int32")
        return tf.math.unsorted_segment_sum(tf.ones_like(y_true), cell, 5)

    soft = relax(shifted, temperature=1e-6)(LABELS, SCORES).numpy()
    assert soft == pytest.approx(shifted(LABELS, tf.constant(SCORES)).numpy(), abs=1e-3)
