"""What of a traced program depends on what, and where a gradient is meant to go."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import bevel
from bevel.activity import feeding, varying
from bevel.rules.singular import chooses

X = np.linspace(-1.0, 1.0, 4).astype("float32")


def results_that_vary(fn, *which):
    """For each result of `fn(x, y)`, whether it varies with the arguments called `which`."""
    program = bevel.trace(fn, X, X)
    moving = [name in which for name in "xy"] + [False] * len(program.captures)
    return varying(program, moving)


def straight(x, y):
    return tf.round(x) + 1.0, y * 2.0, x * y, tf.constant(3.0)


def branch(x, y):
    return tf.cond(tf.constant(True) & (y[0] > 0), lambda: (x, x), lambda: (x, y))


def carried(x, y):
    """`b` gets the value of `a` only in the second round."""
    _, a, b = tf.while_loop(
        lambda i, a, b: i < 3, lambda i, a, b: (i + 1, a, a * 2.0), (0, x, tf.zeros(4))
    )
    return a, b, y


def called(x, y):
    swap = tf.function(lambda a, b: (b, a))
    return swap(x, y)


@pytest.mark.parametrize(
    ("fn", "which", "expected"),
    [
        (straight, "x", [True, False, True, False]),
        (straight, "y", [False, True, True, False]),
        (straight, "", [False] * 4),
        (branch, "x", [True, True]),
        (branch, "y", [True, True]),
        (lambda x, y: tf.cond(x[0] > 0, lambda: (y, x), lambda: (y * 2.0, y)), "y", [True, True]),
        (lambda x, y: tf.cond(x[0] > 0, lambda: (y, x), lambda: (y, y)), "y", [True, True]),
        (lambda x, y: tf.cond(x[0] > 0, lambda: (y, y), lambda: (y, -y)), "x", [True, True]),
        (carried, "x", [True, True, False]),
        (carried, "y", [False, False, True]),
        (called, "x", [False, True]),
        (lambda x, y: (tf.shape(x), tf.size(y), tf.zeros_like(x)), "xy", [False] * 3),
        (lambda x, y: (tf.stop_gradient(x), tf.round(tf.stop_gradient(x)) + y), "x", [False] * 2),
    ],
    ids=["straight-x", "straight-y", "nothing", "branch-x", "branch-condition", "one-branch-only",
         "untouched-result", "condition-alone", "loop", "around-loop", "call", "shapes", "stop"],
)  # fmt: skip
def test_varying(fn, which, expected):
    assert results_that_vary(fn, *which) == expected


def test_a_branch_that_does_not_use_what_varies():
    """With a condition that stands still, a result varies where one of the branches makes it."""

    def fn(x, y):
        return tf.cond(x[0] > 0, lambda: (x, y), lambda: (x * 2.0, x))

    assert results_that_vary(fn, "y") == [False, True]


def test_feeding_stops_behind_a_stop_gradient():
    def fn(x, y):
        return tf.stop_gradient(tf.round(x)) + tf.floor(y)

    program = bevel.trace(fn, X, X)
    found = feeding(program)
    makers = {n.op: n.outputs[0].id for n in program.nodes}
    assert makers["stop_gradient"] in found
    assert makers["floor"] in found
    assert makers["round"] not in found
    assert program.inputs[0].id not in found


def test_feeding_goes_on_with_the_operands_that_a_declaration_serves():
    @tf.custom_gradient
    def straight_through(v):
        return tf.round(v), lambda g: g

    program = bevel.trace(lambda x, y: straight_through(tf.floor(x)) + y, X, X)
    makers = {n.op: n.outputs[0].id for n in program.nodes}
    found = feeding(program)
    assert makers["floor"] in found
    assert makers["round"] not in found


def test_feeding_leaves_out_what_no_result_needs():
    program = bevel.trace(lambda x, y: x * 2.0, X, X)
    assert program.inputs[0].id in feeding(program)
    assert program.inputs[1].id not in feeding(program)


@pytest.mark.parametrize(
    ("fn", "expected"),
    [
        (lambda x, y: tf.where(x > 0, 1.0, 0.0), False),
        (lambda x, y: tf.where(x > 0, tf.sqrt(y), 0.0), False),
        (lambda x, y: tf.where(x > 0, tf.sqrt(x), 0.0), True),
        (lambda x, y: tf.cond(y[0] > 0, lambda: x, lambda: 2.0 * x), True),
        (lambda x, y: tf.function(lambda a: tf.maximum(a, 0.5))(x), True),
    ],
)
def test_a_choice_between_values_without_a_gradient_is_none(fn, expected):
    program = bevel.trace(fn, X, X)
    trained = [n == 0 for n in range(2 + len(program.captures))]
    assert chooses(program, trained) is expected
