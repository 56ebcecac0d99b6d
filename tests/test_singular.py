"""Gradients beside what is not finite: an alternative that is not taken takes nothing with it."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from bevel.relaxation import relax
from tests.contract.gradients import value_and_gradient

ROWS = np.array([1.3, 2.1, 1.7, 0.7, -0.9, 1.3], "float32")

USES = {
    "divided": lambda p, d: p / d,
    "divisor": lambda p, d: d / p,
    "power": lambda p, d: (tf.abs(d) + 1) ** p,
    "angle": lambda p, d: tf.atan2(p, d),
    "size of a sum": lambda p, d: tf.norm(p + d),
    "logsumexp of a difference": lambda p, d: tf.reduce_logsumexp(p - d),
    "branch": lambda p, d: tf.cond(p[0] > -8.0, lambda: p[0], lambda: np.nan) / d[0] + d[1],
    "sum in a branch": lambda p, d: tf.norm(
        tf.cond(p[0] > -8.0, lambda: p, lambda: p * np.nan) + d
    ),
}


@pytest.mark.parametrize("use", USES)
def test_an_alternative_that_is_missing_leaves_the_gradients_of_others(use):
    def fn(x):
        p, d = x[:3], x[3:]
        p = tf.where(p > 0.01, p, np.nan)
        return tf.reduce_sum(USES[use](p, d))

    expected_value, (expected,) = value_and_gradient(fn, tf.constant(ROWS))
    value, (found,) = value_and_gradient(relax(fn, temperature=1e-4), tf.constant(ROWS))
    assert value == pytest.approx(expected_value, rel=1e-4)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)


def test_a_quotient_that_is_not_taken_may_overflow():
    def fn(x):
        return tf.reduce_sum(tf.where(x > 0.5, x, x[1] / x))

    x = np.array([0.9, 0.7, 1e-25], "float32")
    _, (found,) = value_and_gradient(relax(lambda x: fn(x)), tf.constant(x))
    assert np.all(np.isfinite(found))
    assert found[0] > 0.5
