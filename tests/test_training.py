"""One network, trained again and again: same start, same result; nothing leaks over."""

import numpy as np
import pytest
import tensorflow as tf

from bevel.data import load_default, split
from bevel.training import Objective, Trainer


def _entropy(numbers, logits):
    labels = tf.cast(numbers, tf.float32)
    return tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels, logits[:, 0]))


def _hits(numbers, logits):
    return tf.reduce_mean(tf.cast((logits[:, 0] > 0) == (numbers == 1), tf.float32))


ENTROPY = Objective("entropy", _entropy, lambda n, z: _entropy(n, z)[None])


@pytest.fixture(scope="module")
def rows():
    return split(load_default(), 0)


@pytest.fixture(scope="module")
def trainer():
    return Trainer(10, 1, _hits)


def _fit(trainer, rows, objective=ENTROPY, epochs=20, seed=0):
    return trainer.fit(objective, trainer.initial(seed), rows, epochs, lambda _: None)


def test_training_lowers_the_loss(trainer, rows):
    fitted = _fit(trainer, rows, epochs=40)
    before = _entropy(rows.test.labels, trainer.logits(trainer.initial(0), rows.test))
    after = _entropy(rows.test.labels, trainer.logits(fitted.weights, rows.test))
    assert float(after) < 0.7 * float(before)
    assert len(fitted.curve) == 41
    assert fitted.finite


def test_a_run_does_not_depend_on_those_before_it(trainer, rows):
    first = _fit(trainer, rows)
    _fit(trainer, rows, seed=5)
    again = _fit(trainer, rows)
    assert first.curve == again.curve
    for one, other in zip(first.weights, again.weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_nothing_is_traced_twice(rows):
    traced = []

    def counted(numbers, logits):
        traced.append(1)
        return _entropy(numbers, logits)

    fresh = Trainer(10, 1, _hits)
    objective = Objective("counted", counted, lambda n, z: _entropy(n, z)[None])
    for seed in range(3):
        _fit(fresh, split(load_default(), seed), objective, 3, seed)
    assert len(traced) <= 2  # Keras builds the optimizer's update once more.


def test_the_best_epoch_on_the_validation_rows_is_kept(trainer, rows):
    fitted = _fit(trainer, rows, epochs=150)
    part = rows.validation
    best = float(_entropy(part.labels, trainer.logits(fitted.weights, part)))
    shorter = _fit(trainer, rows, epochs=fitted.best_epoch)
    assert 0 < fitted.best_epoch < 150
    assert best == float(_entropy(part.labels, trainer.logits(shorter.weights, part)))


def test_the_start_competes_as_epoch_0(trainer, rows):
    worse = Objective("worse", lambda n, z: -_entropy(n, z), lambda n, z: _entropy(n, z)[None])
    fitted = _fit(trainer, rows, worse, epochs=5)
    assert fitted.best_epoch == 0
    for one, other in zip(fitted.weights, trainer.initial(0), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_loss_that_breaks_ends_the_run_with_finite_weights(trainer, rows):
    broken = Objective(
        "broken",
        lambda n, z: tf.reduce_mean(z) / tf.constant(0.0),
        lambda n, z: _entropy(n, z)[None],
    )
    fitted = _fit(trainer, rows, broken, epochs=5)
    assert not fitted.finite
    assert fitted.best_epoch == 0
    assert len(fitted.curve) == 1
    assert all(np.isfinite(w).all() for w in fitted.weights)


def test_an_undefined_rank_never_wins(trainer, rows):
    undefined = Objective("undefined", _entropy, lambda n, z: _entropy(n, z)[None] * float("nan"))
    assert _fit(trainer, rows, undefined, epochs=5).best_epoch == 0


def test_a_start_whose_rank_is_undefined_can_be_beaten(trainer, rows):
    def rank(numbers, logits):
        entropy = _entropy(numbers, logits)
        return tf.where(entropy < 0.6, entropy, np.float32("nan"))[None]

    fitted = _fit(trainer, rows, Objective("later", _entropy, rank), epochs=60)
    before = trainer.logits(trainer.initial(0), rows.validation)
    assert float(_entropy(rows.validation.labels, before)) > 0.6
    assert fitted.best_epoch > 0


def test_seeds_give_their_own_weights_and_leave_global_generators_alone(trainer):
    np.random.seed(0)  # noqa: NPY002 - the global generator is what is watched.
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    one, same, other = trainer.initial(1), trainer.initial(1), trainer.initial(2)
    np.testing.assert_array_equal(one[0], same[0])
    assert not np.array_equal(one[0], other[0])
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002
