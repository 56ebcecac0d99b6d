"""The backward pass event by event: where a gradient turns bad, and where it dies."""

from __future__ import annotations

import pytest
import tensorflow as tf

from bevel.backward import births_of_nonfinite, deaths, flows
from bevel.frontends.tensorflow import executor as tensorflow_executor
from tests.test_recording import P, Y, recorded

# Where a gradient turns NaN or infinite.


def births(fn, *args):
    recording = recorded(fn, *args)
    found = births_of_nonfinite(flows(recording, tensorflow_executor))
    return [(b.event.node.name, b.from_zero) for b in found]


ZEROS = tf.zeros(4)


def where_trap(y, p):
    return tf.reduce_sum(tf.where(p > 0.0, tf.math.log(p), 0.0))


def branch_with_root(y, p):
    return tf.cond(y[0] < 0.5, lambda: tf.reduce_sum(tf.sqrt(p)) * 2.0, lambda: tf.reduce_sum(p))


def loop_with_root(y, p):
    for _ in tf.range(2):
        p = tf.sqrt(p)
    return tf.reduce_sum(p)


@pytest.mark.parametrize(
    ("fn", "prediction", "expected"),
    [
        (lambda y, p: tf.reduce_mean(tf.sqrt(p)) * 3.0, ZEROS, [("sqrt", False)]),
        (lambda y, p: tf.norm(p - p) + tf.reduce_sum(p), P, [("sqrt", False)]),
        (lambda y, p: tf.reduce_sum(tf.math.log(p)), ZEROS, [("log", False)]),
        (lambda y, p: tf.reduce_sum(1.0 / p), ZEROS, [("divide", False)]),
        (lambda y, p: tf.reduce_sum(tf.pow(p, 0.5)), ZEROS, [("pow", False)]),
        (where_trap, ZEROS, [("log", True)]),
        (branch_with_root, ZEROS, [("sqrt", False)]),
        (loop_with_root, ZEROS, [("sqrt", False)]),
        (lambda y, p: tf.reduce_sum(tf.sqrt(p)), P, []),
        (lambda y, p: tf.reduce_sum(tf.sqrt(y) + p), P, []),
    ],
    ids=["sqrt", "norm", "log", "divide", "pow", "where", "branch", "loop", "fine", "of-labels"],
)  # fmt: skip
def test_a_bad_gradient_is_found_where_it_is_born(fn, prediction, expected):
    assert births(fn, Y, prediction) == expected


def test_what_only_passes_a_bad_gradient_on_is_not_blamed():
    def fn(y, p):
        before = tf.exp(p * 2.0) - 1.0
        return tf.reduce_sum(tf.sqrt(before) * 5.0 + 1.0)

    assert births(fn, Y, ZEROS) == [("sqrt", False)]


def test_two_births_are_both_found():
    def fn(y, p):
        return tf.reduce_sum(tf.sqrt(p)) + tf.reduce_sum(tf.math.log(p))

    assert sorted(births(fn, Y, ZEROS)) == [("log", False), ("sqrt", False)]


# Where it dies.


@pytest.mark.parametrize(
    ("fn", "expected"),
    [
        (lambda y, p: tf.reduce_sum(tf.nn.relu(p - 9.0) * 2.0), ["relu"]),
        (lambda y, p: tf.reduce_sum(tf.clip_by_value(p + 5.0, 0.0, 1.0)), ["minimum"]),
        (lambda y, p: tf.reduce_sum(tf.sigmoid(p * 1e4 - 1e5)), ["Sigmoid"]),
    ],
    ids=["relu", "clip", "sigmoid"],
)
def test_where_a_gradient_dies(fn, expected):
    recording = recorded(fn, Y, P)
    found = deaths(recording, flows(recording, tensorflow_executor))
    assert [event.node.name for event in found][:1] == expected
