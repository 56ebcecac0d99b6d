"""Soft values: expectations that a bad unlikely value cannot spoil, and what is built from them."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given
from hypothesis import strategies as st

from bevel.soft import (
    MAX_ATOMS,
    Index,
    Mixture,
    Prob,
    Real,
    Rounded,
    Stacked,
    as_float,
    atoms_of,
    chance,
    combine,
    expectation,
    value_of,
)

P = tf.constant([0.1, 0.5, 0.9])


def two(p, low, high, dtype="float32"):
    """One of two values, the second with the chance p."""
    return Mixture(lambda: [(1 - p, tf.constant(low)), (p, tf.constant(high))], 2, dtype)


# Expectations.


def test_the_expectation_of_two_values():
    value = expectation([(1 - P, tf.constant(2.0)), (P, tf.constant(12.0))])
    np.testing.assert_allclose(value, [3.0, 7.0, 11.0], rtol=1e-6)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("chance_of_bad", [0.0, 0.2, 0.5])
@pytest.mark.parametrize("first", [True, False], ids=["bad-first", "bad-last"])
def test_a_bad_value_that_is_no_likelier_reaches_neither_value_nor_gradient(
    bad, chance_of_bad, first
):
    """At a chance of one half the value that can be used is taken."""
    weight, good = tf.constant(chance_of_bad), tf.constant(3.0)
    with tf.GradientTape() as tape:
        tape.watch([weight, good])
        atoms = [(weight, tf.constant(bad)), (1 - weight, good)]
        value = expectation(atoms if first else atoms[::-1])
    assert float(value) == pytest.approx(3.0)
    by_weight, by_good = tape.gradient(value, [weight, good])
    assert float(by_weight) == pytest.approx(0.0)
    assert float(by_good) == pytest.approx(1.0)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_bad_value_that_is_likeliest_is_the_value(bad):
    value = expectation(
        [(tf.constant(0.8), tf.constant(bad)), (tf.constant(0.2), tf.constant(3.0))]
    )
    assert not np.isfinite(float(value))


def test_an_operation_that_is_bad_where_it_is_unlikely_leaves_the_gradient_finite():
    """log of x where x > 0: the gradient goes through what is likely, and through nothing else."""
    x, weight = tf.constant([2.0, -1.0]), tf.constant([0.9, 0.1])
    with tf.GradientTape() as tape:
        tape.watch(weight)
        value = expectation([(weight, tf.math.log(x)), (1 - weight, tf.constant([0.0, 5.0]))])
    np.testing.assert_allclose(value, [0.9 * np.log(2.0), 5.0], rtol=1e-6)
    assert np.all(np.isfinite(tape.gradient(value, weight)))


def test_three_values_of_which_two_are_bad():
    atoms = [
        (tf.constant(w), tf.constant(v)) for w, v in ((0.3, np.nan), (0.4, 2.0), (0.3, np.inf))
    ]
    assert float(expectation(atoms)) == pytest.approx(2.0)


def test_elements_are_judged_one_by_one():
    values = [tf.constant([np.nan, 1.0]), tf.constant([5.0, np.nan])]
    weights = [tf.constant([0.2, 0.7]), tf.constant([0.8, 0.3])]
    np.testing.assert_allclose(expectation(list(zip(weights, values, strict=True))), [5.0, 1.0])


@given(
    st.lists(
        st.tuples(st.floats(0.01, 1.0), st.floats(-1e3, 1e3, width=32)), min_size=1, max_size=6
    )
)
def test_the_expectation_of_good_values_is_their_weighted_sum(pairs):
    weights = np.array([w for w, _ in pairs])
    weights = weights / weights.sum()
    values = np.array([v for _, v in pairs])
    atoms = [(tf.constant(w), tf.constant(v)) for w, v in zip(weights, values, strict=True)]
    assert float(expectation(atoms)) == pytest.approx(float(weights @ values), abs=1e-9)


def test_integer_values_take_the_dtype_of_the_chances():
    weight = tf.constant(0.25, tf.float64)
    value = expectation([(weight, tf.constant(4)), (1 - weight, tf.constant(8))])
    assert value.dtype == tf.float64
    assert float(value) == 7.0


# Means.


def test_the_mean_of_a_chance_is_the_chance():
    assert value_of(Prob(P)) is P


def test_a_chance_is_hard_above_one_half_unless_it_knows_the_truth():
    np.testing.assert_array_equal(Prob(P).hard(), [False, False, True])
    np.testing.assert_array_equal(Prob(P, exact=lambda: tf.constant(True)).hard(), True)


@pytest.mark.parametrize(
    ("dtype", "values"), [("bool", [False, True]), ("float32", [0.0, 1.0]), ("int64", [0, 1])]
)
def test_the_atoms_of_a_chance_are_no_and_yes_in_the_users_dtype(dtype, values):
    atoms = Prob(P, dtype).atoms
    np.testing.assert_allclose([w for w, _ in atoms], [1 - P, P])
    assert [v.dtype.name for _, v in atoms] == [dtype] * 2
    assert [v.numpy().item() for _, v in atoms] == values


def test_the_mean_of_a_mixture():
    np.testing.assert_allclose(two(P, -1.0, 1.0).mean, 2 * P - 1, rtol=1e-6)


def test_a_mixture_computes_only_what_is_asked_for():
    def forbidden():
        raise AssertionError("not asked for")

    assert float(Mixture(forbidden, 2, "float32", mean=lambda: tf.constant(4.0)).mean) == 4.0
    assert Mixture(lambda: [(1.0, tf.constant(2.0))], 1, "float32", mean=forbidden).atoms
    asked = []
    mixture = Mixture(lambda: asked.append(1) or [(tf.constant(1.0), P)], 1, "float32")
    assert mixture.atoms is mixture.atoms
    assert asked == [1]


def test_a_mixture_of_values_that_vary_themselves():
    inner = Real(tf.constant(10.0), "float32")
    mixture = Mixture(lambda: [(1 - P, tf.constant(0.0)), (P, inner)], 2, "float32")
    np.testing.assert_allclose(mixture.mean, 10.0 * P, rtol=1e-6)


@pytest.mark.parametrize(
    "support",
    [
        tf.constant([0, 10, 20]),
        tf.constant([[0, 10, 20], [0, 10, 20]]),
        Real(tf.constant([0.0, 10.0, 20.0]), "float32"),
    ],
    ids=["shared", "own", "soft"],
)
def test_the_mean_of_an_index_is_over_its_support(support):
    weights = tf.constant([[0.5, 0.5, 0.0], [0.0, 0.25, 0.75]])
    np.testing.assert_allclose(Index(weights, support, "int32").mean, [5.0, 17.5])


def test_a_better_mean_of_an_index_is_used():
    index = Index(P, tf.range(3), "int32", mean=lambda: tf.constant(1.25))
    assert float(index.mean) == 1.25


def nearest(u):
    """The integer above the nearest border, and the chance of having passed it."""
    k = tf.round(u)
    return k, tf.sigmoid((u - k) * 8.0)


def test_a_rounded_number_is_one_of_two_integers():
    u = tf.constant([1.2, 1.9, -0.4])
    value = Rounded(u, "int32", nearest)
    k, p = nearest(u)
    np.testing.assert_allclose(value.mean, k - 1 + p, rtol=1e-6)
    (_, low), (_, high) = atoms_of(value)
    assert low.dtype == high.dtype == tf.int32
    np.testing.assert_array_equal(high - low, [1, 1, 1])
    np.testing.assert_allclose(value.mixture.mean, value.mean)
    weights = [w for w, _ in atoms_of(value)]
    np.testing.assert_allclose(expectation(atoms_of(value)), value.mean, rtol=1e-5)
    np.testing.assert_allclose(sum(weights), [1.0] * 3)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_values_side_by_side(axis):
    parts = [Prob(P, "float32"), tf.constant([1, 2, 3]), Real(P * 2, "float32")]
    expected = np.stack([P, [1.0, 2.0, 3.0], P * 2], axis)
    np.testing.assert_allclose(Stacked(parts, axis, "float32").mean, expected)


def test_a_real_is_itself_and_a_count_if_an_integer():
    assert Real(P, "float32").mean is P
    assert [Real(P, d).is_count for d in ("float32", "int32", "uint8", "bool")] == [
        False, True, True, False,
    ]  # fmt: skip


# Combining.


def test_results_of_truth_are_a_chance():
    yes_or_no = combine([(1 - P, tf.constant(False)), (P, Prob(P))], "bool")
    assert isinstance(yes_or_no, Prob)
    np.testing.assert_allclose(yes_or_no.p, P * P, rtol=1e-6)


def test_results_that_are_mixtures_are_laid_flat():
    flat = combine([(1 - P, two(P, 1.0, 2.0)), (P, tf.constant(5.0))], "float32")
    assert isinstance(flat, Mixture)
    assert flat.count == len(flat.atoms) == 3
    expected = (1 - P) * ((1 - P) * 1.0 + P * 2.0) + P * 5.0
    np.testing.assert_allclose(flat.mean, expected, rtol=1e-6)
    np.testing.assert_allclose(expectation(flat.atoms), expected, rtol=1e-6)
    np.testing.assert_allclose(sum(w for w, _ in flat.atoms), [1.0] * 3, rtol=1e-6)


@pytest.mark.parametrize(
    "result",
    [
        Prob(P, "float32"),
        Rounded(P * 3, "float32", nearest),
        Index(tf.constant([[0.5, 0.5]] * 3), tf.constant([1, 3]), "float32"),
        Stacked([Real(P, "float32")] * 3, 0, "float32"),
        Real(P, "float32"),
        tf.constant(3.0),
    ],
    ids=["chance", "rounded", "index", "stacked", "real", "tensor"],
)
def test_any_kind_of_result_is_laid_flat_with_its_mean(result):
    combined = combine([(1 - P[0], result), (P[0], tf.constant(0.0))], "float32")
    assert combined.count == len(combined.atoms)
    expected = (1 - P[0]) * value_of(result)
    np.testing.assert_allclose(combined.mean, expected, rtol=1e-5)
    atoms = [(w, value_of(v)) for w, v in combined.atoms]
    np.testing.assert_allclose(expectation(atoms), expected, rtol=1e-5)


def test_too_many_values_become_their_expectation():
    many = [(tf.constant(1.0 / 9), tf.constant(float(v))) for v in range(MAX_ATOMS + 1)]
    assert isinstance(combine(many[:-1], "float32"), Mixture)
    combined = combine(many, "float32")
    assert isinstance(combined, Real)
    assert float(combined.mean) == pytest.approx(4.0)


def test_a_better_mean_is_used_when_combining():
    combined = combine(
        [(P, tf.constant(1.0)), (1 - P, tf.constant(2.0))], "float32", lambda: tf.constant(9.0)
    )
    assert float(combined.mean) == 9.0


def test_chances_of_truths_of_every_kind():
    np.testing.assert_allclose(chance(Prob(P), P), P)
    np.testing.assert_array_equal(chance(tf.constant([True, False]), P), [1.0, 0.0])
    assert chance(tf.constant(True), tf.constant(0.5, tf.float64)).dtype == tf.float64


def test_floats_follow_what_they_meet():
    assert as_float(tf.constant(3), tf.constant(1.0, tf.float64)).dtype == tf.float64
    assert as_float(tf.constant(3), tf.constant(1)).dtype == tf.float32
