"""The tuned decision is the best one there is, for two classes and for more."""

import numpy as np
import pytest
import tensorflow as tf

from bevel.thresholds import MOST_CANDIDATES, DecisionTuner, candidates


def _f1(numbers, logits):
    y, d = tf.cast(numbers, tf.float32), tf.cast(logits[:, 0] > 0, tf.float32)
    return 2.0 * tf.reduce_sum(y * d) / (tf.reduce_sum(y) + tf.reduce_sum(d))


def _brute_force(y, z):
    return max(
        2 * (y * (z + s > 0)).sum() / (y.sum() + (z + s > 0).sum())
        for s in np.concatenate([-z - 1e-4, -z + 1e-4])
        if (z + s > 0).any()
    )


@pytest.mark.parametrize("seed", range(5))
def test_no_other_offset_is_better(seed):
    rng = np.random.default_rng(seed)
    y = (rng.random(80) < 0.2).astype("int64")
    z = (y * 1.2 + rng.standard_normal(80) - 3).astype("float32")
    offset = DecisionTuner(_f1, maximize=True).tune(y, z[:, None])
    assert float(_f1(y, z[:, None] + offset)) == pytest.approx(_brute_force(y, z), abs=1e-6)


def test_a_cost_is_minimised():
    y = np.array([0, 0, 1, 1])
    z = np.array([[-4.0], [-3.0], [-2.0], [-1.0]], "float32")
    offset = DecisionTuner(lambda n, v: 1.0 - _f1(n, v), maximize=False).tune(y, z)
    assert offset.tolist() == [2.5]


def test_of_equals_the_smallest_offset_is_taken():
    y = np.array([0, 1, 0, 1])
    z = np.array([[-3.0], [-1.0], [1.0], [2.0]], "float32")
    hits = lambda n, v: tf.reduce_mean(tf.cast((v[:, 0] > 0) == (n == 1), tf.float32))  # noqa: E731
    assert float(hits(y, z + 2.0)) == float(hits(y, z - 1.5)) == 0.75
    assert DecisionTuner(hits, maximize=True).tune(y, z).tolist() == [-1.5]


def test_an_undefined_value_is_never_chosen():
    y = np.array([0, 0, 1])
    z = np.array([[-1.0], [1.0], [2.0]], "float32")

    def picky(numbers, logits):
        nobody = tf.reduce_all(logits < 0)
        return tf.where(nobody, np.float32("nan"), _f1(numbers, logits))

    assert np.isfinite(float(picky(y, z + DecisionTuner(picky, maximize=True).tune(y, z))))
    cost = DecisionTuner(lambda n, v: -picky(n, v), maximize=False)
    assert np.isfinite(float(picky(y, z + cost.tune(y, z))))


def test_every_class_gets_an_offset():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 120)
    z = (np.eye(3)[y] * 2 + rng.standard_normal((120, 3)) + [3.0, 0.0, -3.0]).astype("float32")

    def accuracy(numbers, logits):
        return tf.reduce_mean(tf.cast(tf.argmax(logits, 1) == numbers, tf.float32))

    offset = DecisionTuner(accuracy, maximize=True).tune(y, z)
    assert float(accuracy(y, z)) < 0.6
    assert float(accuracy(y, z + offset)) > 0.78


def test_there_are_as_many_candidates_for_any_number_of_rows():
    for n in (1, 2, 5000):
        found = candidates(np.linspace(-1, 1, n))
        assert found.shape == (MOST_CANDIDATES,)
        assert 0.0 in found
        assert found.min() < -1 < 1 < found.max() or n == 1
