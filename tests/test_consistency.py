"""Relaxed programs in the limit: the hard value as the temperature falls, and finite gradients.

Hypothesis draws the programs (`tests.soft_programs`) from everything that has a rule. A failure
shows the recipe and its inputs, which are all that is needed to run it again.
"""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import assume, given, settings

from bevel import frontends
from bevel.relaxation import relax
from bevel.rules import GUARDS, LOOK_UPS, RULES
from tests.programs import Step
from tests.soft_programs import SoftRecipe, numbers, one_of_each, soft_recipes

TEMPERATURES = (0.1, 1e-3, 1e-7)
TIE = 0.01

X = tf.constant([-1.3663, 2.2137, 0.4537, -3.0963, 0.8837], tf.float64)
Y = tf.constant([0.1237, -0.9463, 2.6037, -0.1963, 1.4337], tf.float64)
N = tf.constant([3, 0, -2, 7, 1])


def values_and_gradient(relaxed, x, y, n):
    """What a relaxed recipe returns, and the gradient of the sum of it all."""
    with tf.GradientTape() as tape:
        tape.watch(x)
        values = relaxed(x, y, n)
        total = sum(tf.reduce_sum(tf.cast(v, x.dtype)) for v in values)
    gradient = tape.gradient(total, x, unconnected_gradients="zero")
    return values, tf.convert_to_tensor(gradient)


def is_moderate(recipe, x, y, n):
    """Whether the hard values are finite and not huge; else the run is no example."""
    floats = [v for v in recipe(x, y, n) if v.dtype.is_floating]
    return all(np.all(np.abs(v) < 1e4) for v in floats)


def assert_consistent(recipe, x, y, n):
    """Finite at every temperature, and away from ties the hard value in the limit."""
    temperature = tf.Variable(1.0, dtype=x.dtype)
    relaxed = relax(recipe, temperature=temperature, wrt="x")
    for now in TEMPERATURES:
        temperature.assign(now)
        soft, gradient = values_and_gradient(relaxed, x, y, n)
        assert np.all(np.isfinite(gradient)), (now, gradient)
        assert all(np.all(np.isfinite(v)) for v in soft), (now, soft)
    if recipe.gap(x, y, n) > TIE:
        for hard, found in zip(recipe(x, y, n), soft, strict=True):
            size = max(1.0, np.max(np.abs(hard), initial=0.0))
            np.testing.assert_allclose(np.asarray(found, float), hard, rtol=0, atol=1e-3 * size)


@contextlib.contextmanager
def eagerly():
    tf.config.run_functions_eagerly(True)
    try:
        yield
    finally:
        tf.config.run_functions_eagerly(False)


def assert_alike(expected, found):
    for a, b in zip([*expected[0], expected[1]], [*found[0], found[1]], strict=True):
        a, b = np.asarray(a, float), np.asarray(b, float)
        np.testing.assert_allclose(
            b, a, rtol=1e-4, atol=1e-5 * max(1, np.max(np.abs(a), initial=0))
        )


def under_xla(program, *leaves):
    compiled = tf.function(lambda *given: values_and_gradient(program, *given), jit_compile=True)
    return compiled(*leaves)


def is_compiled_rightly(recipe, *leaves):
    """Whether XLA compiles the hard program, and to what it is: not so with all picked rows.

    Their running sums are computed wrongly, and the gradient of two joined lists has no elements.
    """
    try:
        assert_alike(values_and_gradient(recipe, *leaves), under_xla(recipe, *leaves))
    except (AssertionError, tf.errors.InvalidArgumentError, tf.errors.UnimplementedError):
        return False
    return True


def test_every_rule_is_among_the_steps():
    def all_of_them(x, y, n):
        return [recipe(x, y, n) for recipe in one_of_each()]

    call = frontends.frontend().arguments(all_of_them, (X, Y, N), {})
    trace = frontends.frontend().trace_call(all_of_them, call)
    met = {node.op for node in trace.program.walk()}
    # TensorFlow has no operation of its own for these
    written_with_others = {"cumulative_sum", "logical_xor", "logsumexp", "sort", "wrap_index"}
    assert (set(RULES) | LOOK_UPS | GUARDS) - written_with_others <= met


def test_a_recipe_can_be_written_down():
    recipe = one_of_each()[0]
    assert eval(repr(recipe), {"SoftRecipe": SoftRecipe, "Step": Step}) == recipe  # noqa: S307


@pytest.mark.parametrize("recipe", one_of_each(), ids=str)
def test_a_single_step_is_consistent(recipe):
    assert recipe.gap(X, Y, N) > TIE
    assert_consistent(recipe, X, Y, N)


@given(soft_recipes(), numbers())
@settings(max_examples=20)
def test_a_random_program_is_consistent(recipe, leaves):
    assume(is_moderate(recipe, *leaves))
    assert_consistent(recipe, *leaves)


@pytest.mark.slow
@given(soft_recipes(), numbers())
@settings(max_examples=150)
def test_many_random_programs_are_consistent(recipe, leaves):
    assume(is_moderate(recipe, *leaves))
    assert_consistent(recipe, *leaves)


@given(soft_recipes(longest=6), numbers("float32"))
@settings(max_examples=10)
def test_a_random_program_is_relaxed_alike_when_run_eagerly(recipe, leaves):
    assume(is_moderate(recipe, *leaves) and recipe.gap(*leaves) > TIE)
    relaxed = relax(recipe, wrt="x")
    with eagerly():
        found = values_and_gradient(relaxed, *leaves)
    assert_alike(values_and_gradient(relaxed, *leaves), found)


@pytest.mark.slow
@given(soft_recipes(longest=6), numbers("float32"))
@settings(max_examples=60)
def test_a_random_program_is_relaxed_alike_under_xla(recipe, leaves):
    assume(is_moderate(recipe, *leaves) and recipe.gap(*leaves) > TIE)
    assume(is_compiled_rightly(recipe, *leaves))
    relaxed = relax(recipe, wrt="x")
    assert_alike(values_and_gradient(relaxed, *leaves), under_xla(relaxed, *leaves))
