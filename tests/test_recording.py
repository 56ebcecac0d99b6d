"""A recording says what depends on the prediction, where a gradient gets, where it turns bad."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from bevel.frontends import from_tensorflow
from bevel.frontends.tensorflow import executor as tensorflow_executor
from bevel.recording import record

Y = tf.constant([0.0, 1.0, 1.0, 0.0])
P = tf.constant([0.2, 0.7, 0.4, 0.9])


def recorded(fn, *args, wrt=(-1,)):
    leaves = [tf.convert_to_tensor(a) for a in args]
    trace = from_tensorflow.trace(fn, leaves, {})
    trained = [i % len(leaves) for i in wrt]
    return record(trace.program, [*leaves, *trace.captured], trained, tensorflow_executor)


def names(events):
    return [e.node.name for e in events]


def cuts(recording, through_declared=True):
    return names(recording.cuts(recording.reaching(through_declared)))


# What depends, what flows, what cuts.


def accuracy(y, p):
    return tf.reduce_mean(tf.cast(tf.round(p) == y, tf.float32))


def smooth(y, p):
    return tf.reduce_mean(tf.square(y - p))


def two_terms(y, p):
    return smooth(y, p) + 0.1 * accuracy(y, p)


def labels_only(y, p):
    return tf.reduce_mean(tf.round(y))


def by_count(y, p):
    return tf.reduce_sum(y[: tf.reduce_sum(tf.cast(p > 0.5, tf.int32))])


def hidden(y, p):
    return tf.reduce_mean(tf.stop_gradient(tf.round(p)) * y)


def top_values(y, p):
    return tf.reduce_sum(tf.math.top_k(p, 2).values)


def top_positions(y, p):
    return tf.reduce_sum(tf.cast(tf.math.top_k(p, 2).indices, tf.float32))


def gathered_values(y, p):
    return tf.reduce_sum(tf.gather(p, tf.cast(y, tf.int32)))


def gathered_positions(y, p):
    return tf.reduce_sum(tf.gather(y, tf.cast(p * 3.0, tf.int32)))


def selected(y, p):
    return tf.reduce_sum(tf.where(y > 0.5, p, 0.0))


def selecting(y, p):
    return tf.reduce_sum(tf.where(p > 0.5, y, 0.0))


def by_shape(y, p):
    return tf.reduce_sum(y) / tf.cast(tf.size(p), tf.float32)


def through_python(y, p):
    return tf.reduce_sum(tf.numpy_function(np.square, [p], tf.float32))


@pytest.mark.parametrize(
    ("fn", "depends", "flows", "expected"),
    [
        (accuracy, True, False, ["round"]),
        (smooth, True, True, []),
        (two_terms, True, True, ["round"]),
        (labels_only, False, False, []),
        (by_count, True, False, ["greater"]),
        (hidden, True, False, ["round"]),
        (top_values, True, True, []),
        (top_positions, True, False, ["top_k"]),
        (gathered_values, True, True, []),
        (gathered_positions, True, False, ["astype"]),
        (selected, True, True, []),
        (selecting, True, False, ["greater"]),
        (by_shape, False, False, []),
        (through_python, True, False, ["py_call"]),
    ],
    ids=lambda v: getattr(v, "__name__", None),
)
def test_what_a_recording_says(fn, depends, flows, expected):
    recording = recorded(fn, Y, P)
    assert recording.depends is depends
    assert recording.flows is flows
    assert cuts(recording) == expected


def test_only_what_depends_on_the_prediction_is_written_down():
    def fn(y, p):
        return tf.reduce_sum(tf.round(y) * tf.floor(p))

    assert "round" not in names(recorded(fn, Y, P).events)
    assert "floor" not in names(recorded(fn, Y, P, wrt=(0,)).events)
    assert {"round", "floor"} <= set(names(recorded(fn, Y, P, wrt=(0, 1)).events))


def test_the_cut_nearest_the_prediction_is_the_only_one():
    def fn(y, p):
        return tf.reduce_sum(tf.sign(tf.floor(tf.round(p)) * 3.0))

    assert cuts(recorded(fn, Y, P)) == ["round"]


def test_a_cut_that_no_result_needs_is_none():
    def fn(y, p):
        both = tf.stack([tf.round(p), p])
        return tf.reduce_sum(both[1] * 2.0)

    recording = recorded(fn, Y, P)
    assert recording.flows
    # `both` is needed, and with it the rounded half.
    assert cuts(recording) == ["round"]


def test_behind_a_stop_gradient_nothing_is_looked_for_unless_asked():
    recording = recorded(hidden, Y, P)
    assert cuts(recording, through_declared=True) == ["round"]
    assert cuts(recording, through_declared=False) == []


def test_behind_a_declared_gradient_nothing_is_looked_for_unless_asked():
    @tf.custom_gradient
    def straight_through(p):
        return tf.round(p), lambda g: g

    recording = recorded(lambda y, p: tf.reduce_sum(straight_through(p) * y), Y, P)
    assert recording.flows
    assert cuts(recording, through_declared=False) == []
    assert cuts(recording, through_declared=True) == ["round"]


# Branches and loops, as they were taken.


def branching(y, p):
    return tf.cond(y[0] > 0.5, lambda: tf.reduce_sum(tf.round(p)), lambda: tf.reduce_sum(p))


def deciding(y, p):
    return tf.cond(tf.reduce_sum(p) > 1.0, lambda: tf.reduce_sum(y), lambda: tf.reduce_sum(-y))


def looping(y, p):
    total = tf.constant(0.0)
    for i in tf.range(3):
        if y[i] > 0.5:
            total += tf.floor(p[i])
        else:
            total += p[i]
    return total


def counting(y, p):
    """The number of rounds depends on the prediction, and only that."""
    n, rest = tf.constant(0.0), tf.reduce_sum(p)
    while rest > 0.5:
        rest -= 0.5
        n += 1.0
    return n


def test_only_the_branch_that_is_taken_counts():
    assert cuts(recorded(branching, Y + 1.0, P)) == ["round"]
    not_taken = recorded(branching, Y, P)
    assert (not_taken.flows, cuts(not_taken)) == (True, [])


def test_a_condition_on_the_prediction_cuts_though_both_branches_are_constant():
    recording = recorded(deciding, Y, P)
    assert (recording.depends, recording.flows) == (True, False)
    assert cuts(recording) == ["greater"]
    assert [e.is_joint for e in recording.events if e.node.op == "cond"] == [True]


def test_rounds_of_a_loop_are_written_one_after_the_other():
    recording = recorded(looping, Y, P)
    assert recording.flows
    floors = [e for e in recording.events if e.node.op == "floor"]
    assert [e.nth for e in floors] == [0, 1]
    np.testing.assert_array_equal([e.operands[0] for e in floors], P[1:3])
    assert cuts(recording) == ["floor", "floor"]


def test_a_loop_that_counts_is_cut_at_its_condition():
    recording = recorded(counting, Y, P)
    assert (recording.depends, recording.flows) == (True, False)
    assert set(cuts(recording)) == {"greater"}
    joint = next(e for e in recording.events if e.node.op == "while_loop")
    rounds = sum(e.node.op == "greater" for e in recording.events)
    assert joint.is_joint
    assert rounds == 5  # 2.2, 1.7, 1.2, 0.7, 0.2


def test_a_called_function_is_written_out():
    inner = tf.function(lambda v: tf.round(v) * 2.0)
    recording = recorded(lambda y, p: tf.reduce_sum(inner(p) + inner(y)), Y, P)
    assert names(recording.events).count("round") == 1
    assert "call" not in names(recording.events)


def test_a_loop_over_rows_is_written_out_too():
    recording = recorded(lambda y, p: tf.reduce_sum(tf.map_fn(lambda v: v * v, p)), Y, P)
    assert (recording.flows, cuts(recording)) == (True, [])
    assert names(recording.events).count("multiply") == 4
    assert cuts(recorded(lambda y, p: tf.reduce_sum(tf.map_fn(tf.round, p)), Y, P)) == ["round"] * 4


@pytest.mark.parametrize(
    "fn", [accuracy, smooth, two_terms, branching, deciding, looping, counting],
    ids=lambda fn: fn.__name__,
)  # fmt: skip
def test_a_recording_has_the_functions_value_and_flows_where_a_tape_does(fn):
    recording = recorded(fn, Y, P)
    compiled = tf.function(fn)
    (result,) = recording.results
    np.testing.assert_array_equal(recording.values[result], compiled(Y, P))
    with tf.GradientTape() as tape:
        tape.watch(P)
        value = compiled(Y, P)
    gradient = tape.gradient(value, P)
    assert recording.flows is (gradient is not None and bool(tf.reduce_any(gradient != 0.0)))


def test_the_branch_that_an_index_picks_is_written_out():
    def cost(y_true, y_pred):
        branches = [lambda: tf.round(y_pred), lambda: tf.sign(y_pred), lambda: y_pred]
        return tf.reduce_sum(tf.switch_case(tf.cast(y_true[0], tf.int32), branches))

    for index, cut in ((0.0, ["round"]), (1.0, ["sign"]), (2.0, []), (7.0, [])):
        run = recorded(cost, np.float32([index]), np.float32([0.3]))
        assert cuts(run) == cut
