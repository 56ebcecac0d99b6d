"""Values that stand for nothing: what is left of a maximum, a softmax or a mean without them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import tensorflow as tf

from bevel.relaxation import relax
from tests.contract.gradients import value_and_gradient

CHANCES = np.array([0.11, 0.83, 0.42, 0.67, 0.29, 0.94, 0.55, 0.38], "float32")
WEIGHTS = np.array([3.0, 1.0, 5.0, 7.0, 2.0, 4.0, 6.0, 8.0], "float32")
HALVES = tf.reshape(WEIGHTS, (2, 4))


def picked(p, x, nothing):
    return tf.where(p > 0.5, x, nothing)


def known(x):
    return tf.where(tf.math.is_nan(x), tf.zeros_like(x), x)


MASKED = {
    "max": lambda p: tf.reduce_max(picked(p, WEIGHTS, -np.inf)),
    "min": lambda p: tf.reduce_min(picked(p, WEIGHTS, np.inf)),
    "max of what moves": lambda p: tf.reduce_max(picked(p, WEIGHTS * p, -np.inf)),
    "large number": lambda p: tf.reduce_max(picked(p, WEIGHTS, -1e9)),
    "added": lambda p: tf.reduce_max(WEIGHTS - (1 - tf.cast(p > 0.5, tf.float32)) * 1e9),
    "two rows": lambda p: tf.reduce_sum(
        tf.reduce_max(picked(tf.reshape(p, (2, 4)), HALVES, -np.inf), axis=1, keepdims=True)
    ),
    "both axes": lambda p: tf.reduce_max(picked(tf.reshape(p, (2, 4)), HALVES, -np.inf)),
    "argmax": lambda p: (
        tf.gather(p, tf.argmax(picked(p, WEIGHTS, -np.inf))) * 0.0
        + tf.gather(WEIGHTS, tf.argmax(picked(p, WEIGHTS, -np.inf)))
    ),
    "argmin of what moves": lambda p: tf.gather(WEIGHTS, tf.argmin(picked(p, p, np.inf))),
    "first of whole numbers": lambda p: tf.gather(
        WEIGHTS, tf.argmax(tf.cast(p > 0.5, tf.int32) * tf.range(8, 0, -1))
    ),
    "top k": lambda p: tf.reduce_sum(tf.math.top_k(picked(p, WEIGHTS, -1e9), 2).values),
    "sort": lambda p: tf.sort(picked(p, WEIGHTS, np.inf))[1],
    "softmax": lambda p: tf.reduce_sum(tf.nn.softmax(picked(p, WEIGHTS / 4, -np.inf)) * WEIGHTS),
    "log_softmax": lambda p: tf.reduce_max(tf.nn.log_softmax(picked(p, WEIGHTS / 4, -1e9))),
    "logsumexp": lambda p: tf.reduce_logsumexp(picked(p, WEIGHTS / 4, -np.inf)),
    "sum of known": lambda p: tf.reduce_sum(known(picked(p, WEIGHTS, np.nan))),
    "how many are known": lambda p: tf.math.count_nonzero(
        tf.math.is_finite(picked(p, WEIGHTS, np.nan)), dtype=tf.float32
    ),
    "mean of rows that are known": lambda p: tf.reduce_mean(
        tf.boolean_mask(picked(p, WEIGHTS, np.nan), ~tf.math.is_nan(picked(p, WEIGHTS, np.nan)))
    ),
}


@pytest.mark.parametrize("name", MASKED)
def test_what_is_not_there_has_no_part_in_it(name):
    hard = float(MASKED[name](tf.constant(CHANCES)))
    value, (slope,) = value_and_gradient(relax(MASKED[name]), tf.constant(CHANCES))
    assert value == pytest.approx(hard, rel=0.2)
    assert np.all(np.isfinite(slope))
    assert np.any(slope != 0)
    cold, _ = value_and_gradient(relax(MASKED[name], temperature=1e-6), tf.constant(CHANCES))
    assert cold == pytest.approx(hard, rel=1e-4)


@pytest.mark.parametrize("sign", [1, -1])
def test_the_largest_of_hard_values_is_its_expectation(sign):
    """Against all outcomes of the masks, each by its chance."""
    values, other = sign * np.array([2.0, 5.0, 3.0]), sign * np.array([4.0, 1.0, -1.0])

    def fn(p):
        largest = tf.reduce_max if sign > 0 else tf.reduce_min
        return largest(tf.where(p > 0.5, values, other))

    relaxed = relax(fn, temperature=0.3)
    p = tf.constant([0.3, 0.6, 0.8], tf.float64)
    chances = relax(lambda p: tf.cast(p > 0.5, tf.float64), temperature=0.3)(p).numpy()
    expected = 0.0
    for outcome in itertools.product([True, False], repeat=3):
        weight = np.prod(np.where(outcome, chances, 1 - chances))
        best = np.where(outcome, values, other)
        expected += weight * (best.max() if sign > 0 else best.min())
    assert float(relaxed(p)) == pytest.approx(expected, rel=1e-6)


def test_where_nothing_is_there_it_is_what_the_program_says():
    relaxed = relax(lambda p: tf.reduce_max(picked(p, WEIGHTS, -np.inf)), temperature=1e-6)
    value, (slope,) = value_and_gradient(relaxed, tf.constant(CHANCES / 10))
    assert value == -np.inf
    assert np.all(np.isfinite(slope))


def test_a_missing_number_that_is_taken_is_missing():
    relaxed = relax(lambda p: tf.reduce_max(picked(p, WEIGHTS, -np.inf)))
    assert np.isnan(float(relaxed(tf.constant([np.nan, *CHANCES[1:]]))))
