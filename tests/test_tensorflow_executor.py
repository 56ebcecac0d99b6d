"""An unrelaxed program does what the function does: value and gradient, eager and compiled."""

from __future__ import annotations

import collections
import contextlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings

from bevel.errors import TraceError
from bevel.frontends import from_tensorflow
from bevel.frontends.tensorflow import executor as tensorflow_executor
from tests.programs import assert_same_bits, inputs, recipes
from tests.wild.cases_tf import CASES

Point = collections.namedtuple("Point", ["near", "far"])
X = tf.constant([-1.5, -0.5, 0.25, 2.0])
WEIGHTS = tf.Variable([1.0, -2.0, 3.0, 0.5])
TABLE = tf.Variable([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])


def traced(fn, *args):
    """The function of its leaves that runs the trace, and the trace."""
    trace = from_tensorflow.trace(fn, args, {})
    return lambda *leaves: tensorflow_executor.execute(trace, leaves), trace


@contextlib.contextmanager
def graphs_as_they_are():
    """Turns off the graph optimiser, which reassociates sums by what their nodes are called."""
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    try:
        yield
    finally:
        tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": False})


def gradients(fn, leaves, sources):
    with tf.GradientTape() as tape:
        for source in sources:
            if not isinstance(source, tf.Variable):
                tape.watch(source)
        value = tensorflow_executor.scalar(fn(*leaves))
    found = tape.gradient(value, sources)
    return [None if g is None else tf.convert_to_tensor(g).numpy() for g in found]


def assert_same_gradients(expected, found):
    for a, b in zip(expected, found, strict=True):
        if a is None and b is None:
            continue
        zero = np.zeros_like(b if a is None else a)
        np.testing.assert_allclose(zero if b is None else b, zero if a is None else a, rtol=1e-6)


# Random programs.


@given(recipes(), inputs())
def test_a_random_program_is_reproduced_bit_for_bit_when_run_eagerly(recipe, leaves):
    run, _ = traced(recipe, *leaves)
    assert_same_bits(recipe(*leaves), run(*leaves))


@given(recipes(), inputs())
@settings(max_examples=15)
def test_a_random_program_is_reproduced_bit_for_bit_when_compiled(recipe, leaves):
    run, _ = traced(recipe, *leaves)
    with graphs_as_they_are():
        assert_same_bits(tf.function(recipe)(*leaves), tf.function(run)(*leaves))


@given(recipes(longest=5), inputs(dtypes=("float32",)))
@settings(max_examples=8)
def test_a_random_program_is_reproduced_bit_for_bit_under_xla(recipe, leaves):
    run, _ = traced(recipe, *leaves)
    expected = tf.function(recipe, jit_compile=True)(*leaves)
    assert_same_bits(expected, tensorflow_executor.function(run, jit_compile=True)(*leaves))


@given(recipes(), inputs(special=False))
def test_a_random_program_has_the_gradient_of_the_function(recipe, leaves):
    run, _ = traced(recipe, *leaves)
    assert_same_gradients(gradients(recipe, leaves, leaves[:2]), gradients(run, leaves, leaves[:2]))


# Functions that people have written.


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_function_from_the_wild_is_reproduced(case):
    leaves = [tf.constant(a) for a in case.make(3)]
    try:
        run, _ = traced(case.loss, *leaves)
    except TraceError:
        assert "py:EagerTensor.numpy" in case.blockers
        return
    with graphs_as_they_are():
        assert_same_bits(tf.function(case.loss)(*leaves), tf.function(run)(*leaves))
    compiled = tf.function(case.loss)
    np.testing.assert_allclose(compiled(*leaves), tf.function(run)(*leaves), rtol=1e-6)
    if "py:if" not in case.blockers:
        assert_same_bits(case.loss(*leaves), run(*leaves))
    assert_same_gradients(gradients(compiled, leaves, leaves), gradients(run, leaves, leaves))


def test_only_the_case_that_leaves_the_graph_is_not_traced():
    untraced = []
    for case in CASES:
        try:
            traced(case.loss, *case.make(0))
        except TraceError:
            untraced.append(case.name)
    assert untraced == ["keras_weighted_f1_sklearn"]


# One function for each thing that the executor must get right.


def auto_branches(x):
    if tf.reduce_sum(x) > 10.0:
        y = x * 2.0
    elif tf.reduce_sum(x) > 0.0:
        y = x * x
    else:
        y = -x
    return y


def auto_loops(x):
    total = tf.constant(0.0)
    for i in tf.range(4):
        if x[i] > 1.0:
            break
        if x[i] < -1.0:
            continue
        total += x[i] * x[i]
    while total < 3.0:
        total = total * 2.0 + 0.5
    return total


def auto_lists(x):
    rows = tf.TensorArray(tf.float32, size=0, dynamic_size=True)
    for i in tf.range(3):
        rows = rows.write(i, x[i] * tf.cast(i, tf.float32))
    return rows.stack()


def early_return(x):
    if x[0] > 0.0:
        return x
    return -x


def conds(x):
    first = tf.cond(x[0] > 0.0, lambda: x * 2.0, lambda: x * 3.0)
    return tf.case([(x[1] > 0.0, lambda: first)], default=lambda: first + 1.0)


def nested_loops(x):
    def outer(i, total):
        inner = tf.while_loop(
            lambda j, s: j < i, lambda j, s: (j + 1, s + tf.tanh(x[j])), (0, total)
        )
        return i + 1, inner[1] * 0.5

    return tf.while_loop(lambda i, total: i < 4, outer, (0, tf.reduce_sum(x)))[1]


@tf.function
def helper(x, scale):
    return tf.round(x * scale) + x


def calls(x):
    return helper(x, 2.0) * helper(x + 0.3, tf.constant(3.0))


@tf.custom_gradient
def straight_through(x):
    return tf.round(x), lambda g: g * 2.0


@tf.custom_gradient
def scaled(x, y):
    return x * y, lambda g: (g * 10.0 * y, tf.zeros_like(y))


def declared(x):
    return straight_through(x) + scaled(x, x + 1.0)


def declared_in_a_loop(x):
    for _ in tf.range(2):
        x = straight_through(x * 1.3)
    return x


def with_variables(x):
    return tf.reduce_sum(x * WEIGHTS) + tf.reduce_sum(tf.gather(TABLE, [0, 2]))


def variable_in_a_branch(x):
    return tf.cond(x[0] < 0.0, lambda: x * WEIGHTS, lambda: x)


def variable_in_a_loop(x):
    for _ in tf.range(3):
        x = tf.tanh(x * WEIGHTS)
    return x


def structures(x):
    return Point(near=x * 1.0, far={"deep": (x + 1.0, [tf.sign(x)])})


def in_keras(x):
    return keras.ops.mean(keras.ops.where(keras.ops.argmax(x) > 1, x, keras.ops.sort(x)))


def python_inside(x):
    return tf.py_function(lambda v: v.numpy() * 2.0, [x], tf.float32) + tf.numpy_function(
        np.sign, [x], tf.float32
    )


def many_operations(x):
    values, positions = tf.math.top_k(x, 2)
    parts = tf.split(tf.reshape(x, [2, 2]), 2, axis=1)
    counts = tf.math.confusion_matrix(positions, [0, 1], num_classes=4, dtype=tf.float32)
    hits = tf.math.in_top_k([3], x[None], 2)
    return (
        tf.einsum("i,j->ij", values, x),
        tf.concat([*parts, x[:2, None]], axis=1),
        tf.math.unsorted_segment_sum(x, [0, 1, 0, 1], 2),
        tf.tensor_scatter_nd_update(x, [[1]], [9.0]),
        tf.one_hot(positions, 4) + counts[:2],
        tf.cumsum(x, reverse=True),
        tf.stack([tf.sort(x, direction="DESCENDING"), tf.gather(x, tf.argsort(x))]),
        tf.boolean_mask(x, x > 0.0),
        tf.cast(hits, tf.float32),
        tf.transpose(tf.tile(x[None], [2, 1]))[..., ::-1],
    )


def asserted(x):
    tf.debugging.assert_less(x, 100.0)
    return x * 2.0


FUNCTIONS = (
    auto_branches, auto_loops, auto_lists, early_return, conds, nested_loops, calls, declared,
    declared_in_a_loop, with_variables, variable_in_a_branch, variable_in_a_loop, structures,
    in_keras, python_inside, many_operations, asserted,
)  # fmt: skip


@pytest.mark.parametrize("shift", [-2.0, 0.0, 3.0])
@pytest.mark.parametrize("fn", FUNCTIONS, ids=lambda fn: fn.__name__)
def test_value_and_gradient_are_the_functions_own(fn, shift):
    """Three shifts, so that every branch is taken, and every loop runs for a while or not."""
    leaves = [X + shift]
    run, _ = traced(fn, *leaves)
    sources = [*leaves, WEIGHTS, TABLE]
    with graphs_as_they_are():
        original, compiled = tf.function(fn), tf.function(run)
        assert_same_bits(original(*leaves), compiled(*leaves))
        assert_same_bits(original(*leaves), run(*leaves))
        expected = gradients(original, leaves, sources)
        assert_same_gradients(expected, gradients(run, leaves, sources))
        assert_same_gradients(expected, gradients(compiled, leaves, sources))


def test_the_gradient_reaches_captured_variables():
    """The comparison above takes a missing gradient for zero; here it must be there."""
    run, _ = traced(variable_in_a_loop, X)
    found = gradients(run, [X], [WEIGHTS])[0]
    assert found is not None
    assert np.all(found != 0)


def test_a_declared_gradient_is_used_and_not_the_true_one():
    run, _ = traced(straight_through, X)
    np.testing.assert_array_equal(gradients(run, [X], [X])[0], np.full(4, 2.0 / 4))


def test_a_declared_gradient_of_none_stays_none():
    @tf.custom_gradient
    def half(x, y):
        return x * y, lambda g: (g * 5.0, None)

    run, _ = traced(half, X, X + 1.0)
    first, second = gradients(run, [X, X + 1.0], [X])[0], gradients(half, [X, X + 1.0], [X])[0]
    np.testing.assert_array_equal(first, second)


def test_captured_variables_are_read_anew():
    scale = tf.Variable(2.0)
    run, _ = traced(lambda x: x * scale, X)
    scale.assign(5.0)
    assert_same_bits(X * 5.0, run(X))


def test_an_unknown_batch_size_runs_at_any_size():
    run, trace = traced(
        lambda x: tf.reduce_mean(tf.round(x), axis=0), tf.TensorSpec([None, 2], tf.float32)
    )
    assert trace.program.inputs[0].shape == (None, 2)
    for size in (1, 3, 7):
        x = tf.random.stateless_normal([size, 2], seed=(1, size))
        assert_same_bits(tf.reduce_mean(tf.round(x), axis=0), run(x))


@pytest.mark.parametrize("index", [-1, 0, 1, 2, 7])
def test_switch_case_falls_back_to_its_last_branch(index):
    def switch(x, k):
        return tf.switch_case(k, [lambda: x, lambda: x * 2.0, lambda: tf.sign(x)])

    run, _ = traced(switch, X, tf.constant(0))
    assert_same_bits(switch(X, tf.constant(index)), run(X, tf.constant(index)))


def test_assertions_of_the_user_are_run():
    run, _ = traced(asserted, X)
    with pytest.raises(tf.errors.InvalidArgumentError):
        run(X + 200.0)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", "int32", "bool"])
def test_constants_keep_dtype_and_value(dtype):
    constant = tf.cast([[0, 1], [1, 1]], dtype)
    run, _ = traced(lambda x: (constant, tf.cast(x, dtype)), X)
    assert_same_bits((constant, tf.cast(X, dtype)), run(X))


def test_vjp_of_one_node_is_the_tape_of_it():
    _, trace = traced(lambda x, y: x * y, X, X + 1.0)
    node = next(n for n in trace.program.nodes if n.op == "multiply")
    results, pull_back = tensorflow_executor.vjp(node, [X, X + 1.0])
    assert_same_bits(X * (X + 1.0), results[0])
    assert_same_bits([X + 1.0, X], pull_back([tf.ones(4)]))


def test_vjp_gives_none_for_integers_and_what_is_not_connected():
    _, trace = traced(lambda x, i: tf.gather(x, i), X, tf.constant([0, 0]))
    node = next(n for n in trace.program.nodes if n.op == "take")
    operands = [X, tf.constant([0, 0]), tf.constant(0)]
    _, pull_back = tensorflow_executor.vjp(node, operands)
    dense, *others = pull_back([tf.ones(2)])
    np.testing.assert_array_equal(dense, [2.0, 0.0, 0.0, 0.0])
    assert others == [None, None]


@pytest.mark.parametrize(
    ("results", "expected"),
    [
        (tf.constant([1.0, 3.0]), 2.0),
        ({"a": tf.constant([1, 2]), "b": (tf.constant(4.0),)}, 5.5),
        (tf.constant([True, False]), 0.5),
        ((tf.constant("text"), tf.constant(1.0)), 1.0),
    ],
    ids=["vector", "nest", "bools", "strings-do-not-count"],
)
def test_scalar_is_the_sum_of_means(results, expected):
    value = tensorflow_executor.scalar(results)
    assert value.dtype == tf.float64
    assert float(value) == expected


@pytest.mark.parametrize("compiled", [False, True])
def test_value_and_gradient_as_numpy(compiled):
    call = tensorflow_executor.value_and_gradient(
        lambda x, y, z: tf.reduce_mean(x * x), [0, 2], compiled
    )
    value, found = call([X, X, tf.constant([1.0])])
    assert value == pytest.approx(float(tf.reduce_mean(X * X)))
    np.testing.assert_allclose(found[0], X / 2.0)
    assert found[1] is None
