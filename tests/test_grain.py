"""What is said of values before they are computed holds for the values."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import bevel
from bevel import frontends
from bevel.frontends.running import run_all
from bevel.grain import Moves, are_relative, grains
from tests.descent import Descender
from tests.wild import cases_tf

LABELS = np.array([0, 1, 0, 1, 1, 0], "float32")
CHANCES = np.array([0.2, 0.7, 0.6, 0.4, 0.9, 0.1], "float32")


def of_the_last_question(fn):
    """The grains of the operands of the last comparison."""
    trace = frontends.frontend().trace(fn, (LABELS, CHANCES), {})
    heads = (*trace.program.inputs, *trace.program.captures)
    found = grains(trace.program, [n == 1 for n in range(len(heads))])
    asked = [n for n in trace.program.walk() if n.op in ("equal", "greater")]
    return [found[id(asked[-1])][n] for n in asked[-1].operands]


HITS = lambda p: tf.cast(p > 0.5, tf.float32)  # noqa: E731
QUESTIONS = {
    "smooth": (lambda y, p: tf.reduce_sum(p) == 1.0, Moves.SMOOTHLY, False),
    "count": (lambda y, p: tf.reduce_sum(HITS(p)) == 1.0, Moves.STEPS, True),
    "share": (lambda y, p: tf.reduce_mean(HITS(p)) == 1.0, Moves.STEPS, False),
    "labels": (lambda y, p: tf.reduce_sum(HITS(p) * y) == 1.0, Moves.STEPS, False),
    "fraction": (lambda y, p: tf.reduce_sum(HITS(p)) + 0.5 == 1.0, Moves.STEPS, False),
    "smooth entry": (lambda y, p: tf.gather(p, tf.argmax(p)) == 1.0, Moves.SMOOTHLY, False),
    "label's entry": (lambda y, p: tf.gather(y, tf.argmax(p)) == 1.0, Moves.STEPS, False),
    "choice": (lambda y, p: tf.where(p > 0.5, 1.0, 0.0) == 1.0, Moves.STEPS, True),
    "chosen": (lambda y, p: tf.where(p > 0.5, p, 0.0) == 1.0, Moves.SMOOTHLY, False),
    "untouched": (lambda y, p: tf.cast(tf.reduce_sum(y) == 1.0, p.dtype) * p, Moves.NOT, False),
}


@pytest.mark.parametrize("name", QUESTIONS)
def test_how_a_value_moves(name):
    fn, moves, is_whole = QUESTIONS[name]
    first, second = of_the_last_question(fn)
    assert (first.moves, first.is_whole) == (moves, is_whole)
    assert (second.moves, second.is_whole) == (Moves.NOT, True)


RELATIVE = {
    "mean": (lambda y, p: p > tf.reduce_mean(p), True),
    "standard score": (
        lambda y, p: (p - tf.reduce_mean(p)) / tf.math.reduce_std(p) > 1.0, True
    ),
    "middle of the ends": (
        lambda y, p: tf.abs(p) > 0.5 * (tf.reduce_max(p) + tf.reduce_min(p)), True
    ),
    "mean of distances": (
        lambda y, p: (lambda d: d > 2 * tf.reduce_mean(d))(
            tf.norm(tf.reshape(p, (3, 2)), axis=1)
        ), True,
    ),
    "number": (lambda y, p: p > 0.5, False),
    "labels' mean": (lambda y, p: p > tf.reduce_mean(y), False),
    "summary alone": (lambda y, p: tf.reduce_mean(p) > 0.5, False),
    "rows' means": (lambda y, p: tf.reduce_mean(tf.reshape(p, (3, 2)), 1) > y[:3], False),
    "pairs": (lambda y, p: p[:, None] > p[None, :], False),
    "counts": (lambda y, p: HITS(p) > tf.reduce_mean(HITS(p)), False),
    "layer": (lambda y, p: tf.linalg.matvec(tf.eye(6), p - tf.reduce_mean(p)) > 0.1, False),
}  # fmt: skip


@pytest.mark.parametrize("name", RELATIVE)
def test_what_is_held_against_a_summary_of_numbers_like_it(name):
    fn, expected = RELATIVE[name]
    assert are_relative(of_the_last_question(fn)) is expected


@pytest.mark.parametrize("seed", range(3))
def test_a_threshold_that_moves_with_what_it_divides_is_descended(seed):
    def missed(y_true, y_pred):
        above = tf.cast(y_pred > tf.reduce_mean(y_pred, axis=1, keepdims=True), y_pred.dtype)
        return tf.reduce_mean(tf.abs(above - y_true))

    rng = np.random.default_rng(seed)
    y, p = (rng.random((2, 32)) < 0.4).astype("float32"), rng.random((2, 32)).astype("float32")
    descent = Descender(missed, bevel.relax(missed, wrt=1), y, p, maximize=False)(y, p)
    assert descent.share(0.0) >= 0.93


def test_a_loop_is_followed_until_nothing_new_comes_out():
    def rounds(y_true, y_pred):
        a = b = c = tf.constant(0.0)
        for n in tf.range(3):
            a, b, c = b, c, y_pred[n]
        return a == 1.0

    assert of_the_last_question(rounds)[0].moves is Moves.SMOOTHLY


SEEN = [case for case in cases_tf.CASES if case.name != "keras_weighted_f1_sklearn"]


@pytest.mark.parametrize("case", SEEN, ids=lambda case: case.name)
def test_what_is_called_whole_is_whole(case):
    y_true, y_pred = case.make(0)
    call = frontends.frontend().arguments(case.loss, (y_true, y_pred), {})
    trace = frontends.frontend().trace_call(case.loss, call)
    operands = [*call.leaves, *trace.captured]
    found = grains(trace.program, [n == 1 for n in range(len(operands))])
    executor = frontends.executor()
    run_all(trace.program, operands, lambda node, args: _checked(executor, node, args, found))


def _checked(executor, node, args, found):
    for value, grain in zip(args, found[id(node)], strict=True):
        if grain.is_whole and getattr(value, "dtype", None) in (tf.float32, tf.float64):
            array = np.asarray(value)
            assert np.all(array == np.round(array)), node
    return executor.run_node(node, args)
