"""The probe tells a jump from a kink, from curvature, and from a gradient that is not true."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bevel.probing import (
    is_piecewise_constant,
    kind_of,
    probe,
    smoothed_derivative,
    spread_of,
    targets,
)
from bevel.searching import far_off

REAL = np.array([-1.2, 0.4, 0.1, 2.0, -0.3])
UNIT = np.array([0.2, 0.7, 0.45, 0.9])
SIMPLEX = np.array([[0.2, 0.3, 0.5], [0.8, 0.1, 0.1]])


def probed(value, slope, prediction=REAL, seed=0):
    """A probe of a function of one array with a gradient (None for one that is not connected)."""

    def evaluate(point):
        (x,) = point
        return float(value(x)), [None if slope is None else np.asarray(slope(x))]

    return probe(evaluate, [prediction], np.random.default_rng(seed))


def zero(x):
    return np.zeros_like(x)


# Jumps, and what is none.


@pytest.mark.parametrize("slope", [zero, None], ids=["zero", "disconnected"])
def test_a_jump_is_found_and_closed_in_upon(slope):
    found = probed(lambda x: np.sum(x > 0.3), slope)
    assert found.jumps
    for jump in found.jumps:
        (before,), (after,) = jump.before, jump.after
        crossed = (before > 0.3) != (after > 0.3)
        assert jump.size == pytest.approx(crossed.sum())
        assert np.sum(before > 0.3) != np.sum(after > 0.3)
        assert np.abs(after - before).max() < 0.01
    assert found.responds


def test_a_jump_is_found_in_a_function_with_a_slope():
    found = probed(lambda x: np.sum(x * x) + 2.0 * (x[0] > 0), lambda x: 2 * x)
    assert found.jumps
    assert all(jump.size == pytest.approx(2.0, abs=0.05) for jump in found.jumps)
    assert found.inconsistent < 0.1


def test_a_small_jump_is_found_beside_a_large_slope():
    found = probed(lambda x: 10.0 * np.sum(x * x) + 0.05 * (x[0] > 0), lambda x: 20 * x)
    assert found.jumps


@pytest.mark.parametrize(
    ("value", "slope"),
    [
        (lambda x: np.sum(np.abs(x)), np.sign),
        (lambda x: np.sum(np.maximum(x, 0)), lambda x: (x > 0) * 1.0),
        (np.max, lambda x: (x == x.max()) * 1.0),
        (lambda x: np.sum(x**3), lambda x: 3 * x * x),
        (lambda x: np.sum(np.sin(5 * x)), lambda x: 5 * np.cos(5 * x)),
        (lambda x: np.sum(np.tanh(20 * x)), lambda x: 20 / np.cosh(20 * x) ** 2),
        (lambda x: np.sum(np.exp(x)), np.exp),
        (lambda x: 1e6 + np.sum(x), np.ones_like),
        (lambda x: 3.0, zero),
    ],
    ids=["abs", "relu", "max", "cube", "sine", "steep", "exp", "offset", "constant"],
)
@pytest.mark.parametrize("seed", range(3))
def test_kinks_and_curvature_are_no_jumps(value, slope, seed):
    found = probed(value, slope, seed=seed)
    assert found.jumps == []
    assert found.inconsistent < 0.5


def test_kinks_and_curvature_agree_with_their_gradient():
    for value, slope in (
        (lambda x: np.sum(np.abs(x)), np.sign),
        (lambda x: np.sum(x**3), lambda x: 3 * x * x),
    ):
        found = probed(value, slope)
        assert found.inconsistent < 0.05
        cosine, ratio = found.agreement
        assert cosine > 0.99
        assert ratio == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize(
    ("factor", "cosine", "ratio"), [(2.0, 1.0, 0.5), (-1.0, -1.0, -1.0), (0.1, 1.0, 10.0)],
    ids=["doubled", "turned round", "shrunk"],
)  # fmt: skip
def test_a_gradient_that_is_not_the_true_one_disagrees_everywhere(factor, cosine, ratio):
    found = probed(lambda x: np.sum(x * x), lambda x: factor * 2 * x)
    assert found.jumps == []
    assert found.inconsistent > 0.5
    assert found.agreement == pytest.approx((cosine, ratio), abs=0.02)


@pytest.mark.parametrize("slope", [zero, None], ids=["zero", "disconnected"])
def test_a_stopped_gradient_shows_as_inconsistent(slope):
    found = probed(lambda x: np.sum(x * x), slope)
    assert found.jumps == []
    assert found.inconsistent > 0.5
    assert found.agreement == (0.0, 0.0)


def test_half_a_stopped_gradient_shows_as_inconsistent():
    found = probed(lambda x: np.sum(x * x) + np.sum(np.exp(x)), lambda x: 2 * x)
    assert found.jumps == []
    assert found.inconsistent > 0.5


def test_a_function_that_does_not_respond():
    found = probed(lambda x: 3.0, zero)
    assert (found.responds, found.responds_nearby, found.inconsistent) == (False, False, 0.0)


def test_a_response_far_away_is_not_one_nearby():
    found = probed(lambda x: np.sum(np.abs(x - REAL) > 0.5), zero)
    assert (found.rises, found.falls, found.responds_nearby) == (True, False, False)
    assert probed(lambda x: np.sum(x), np.ones_like).responds_nearby


def test_an_optimum_only_rises():
    found = probed(lambda x: np.sum((x - REAL) ** 2), lambda x: 2 * (x - REAL))
    assert (found.rises, found.falls) == (True, False)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_are_passed_over(bad):
    found = probed(lambda x: np.sum(x) if x[0] < 0 else bad, np.ones_like)
    assert found.jumps == []
    assert found.inconsistent < 0.1


@pytest.mark.parametrize("seed", range(5))
def test_a_cusp_is_no_jump(seed):
    found = probed(
        lambda x: np.sum(np.sqrt(np.abs(x))),
        lambda x: np.sign(x) / (2 * np.sqrt(np.maximum(np.abs(x), 1e-300))),
        seed=seed,
    )
    assert found.jumps == []


def test_single_precision_noise_is_no_jump():
    found = probed(
        lambda x: np.float32(1e4) + np.sum(np.float32(x)), np.ones_like, REAL.astype("float32")
    )
    assert found.jumps == []
    assert found.inconsistent == 0.0


# Where the lines go.


def points_of(prediction, seed):
    seen = []

    def evaluate(point):
        seen.append([np.array(p) for p in point])
        return 0.0, [np.zeros_like(p) for p in point]

    probe(evaluate, prediction, np.random.default_rng(seed))
    return seen


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("seed", range(3))
def test_lines_stay_among_predictions_of_their_kind(dtype, seed):
    given = [p.astype(dtype) for p in (UNIT, SIMPLEX, REAL)]
    for unit, simplex, real in points_of(given, seed):
        assert unit.dtype == simplex.dtype == real.dtype == dtype
        assert unit.min() >= 0
        assert unit.max() <= 1
        assert simplex.min() >= 0
        np.testing.assert_allclose(simplex.sum(-1), 1, atol=1e-5)


def test_a_probe_starts_at_the_prediction_and_leaves_it_alone():
    given = UNIT.copy()
    seen = points_of([given], 0)
    np.testing.assert_array_equal(seen[0][0], UNIT)
    np.testing.assert_array_equal(given, UNIT)
    assert any(np.abs(p - UNIT).max() > 0.2 for (p,) in seen)


@pytest.mark.parametrize(
    ("prediction", "kind"),
    [
        (UNIT, "unit"),
        (SIMPLEX, "simplex"),
        (REAL, "real"),
        (np.array([0.0, 1.0]), "unit"),
        (np.array([[0.5], [1.0]]), "unit"),
        (np.array([[0.5, 0.5], [0.5, 0.6]]), "unit"),
        (np.array([0.5, 1.01]), "real"),
        (np.zeros((0, 3)), "real"),
    ],
    ids=["unit", "simplex", "real", "bounds", "column", "not-quite", "above", "empty"],
)
def test_kinds_of_predictions(prediction, kind):
    assert kind_of(prediction) == kind


@given(
    st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=6),
    st.sampled_from(["float32", "float64"]),
)
def test_targets_have_the_shape_dtype_and_kind_of_the_prediction(values, dtype):
    prediction = np.array(values, dtype)
    far, near = targets([prediction], np.random.default_rng(0))
    for (end,) in (*far, *near, *far_off([prediction], np.random.default_rng(0))):
        assert (end.shape, end.dtype) == (prediction.shape, prediction.dtype)
        assert np.all(np.isfinite(end))
        if kind_of(prediction) == "unit":
            assert kind_of(end) == "unit"


@pytest.mark.parametrize(
    ("values", "spread"),
    [([1.0, 3.0], 1.0), ([4.0, 4.0], 4.0), ([-2.0], 2.0), ([0.0, 0.0], 1.0), ([], 1.0)],
    ids=["deviation", "size", "one", "zeros", "empty"],
)
def test_the_spread_of_a_prediction(values, spread):
    assert spread_of(np.array(values, "float32")) == spread


def test_the_same_seed_gives_the_same_probe():
    def value(x):
        return np.sum(x > 0.3) + np.sum(x * x)

    first, second, other = (probed(value, lambda x: 2 * x, seed=s) for s in (1, 1, 2))
    assert first.changes == second.changes
    assert [j.size for j in first.jumps] == [j.size for j in second.jumps]
    assert first.changes != other.changes


# The smoothed derivative.

WIDTH = 0.25
SCALE = WIDTH * REAL.std()


def smoothed(value, seed=0, prediction=REAL, **more):
    rng = np.random.default_rng(seed)
    return smoothed_derivative(lambda p: float(value(p[0])), [prediction], rng, width=WIDTH, **more)


def density(z):
    return np.exp(-z * z / 2) / np.sqrt(2 * np.pi)


SLOPES = np.array([1.0, -2.0, 0.5, 3.0, 0.0])
CLOSED_FORMS = {
    "linear": (lambda x: SLOPES @ x, SLOPES),
    "square": (lambda x: x @ x, 2 * REAL),
    "step": (lambda x: np.sum(x > 0), density(REAL / SCALE) / SCALE),
    "sign": (lambda x: np.sum(np.sign(x - 0.3)), 2 * density((REAL - 0.3) / SCALE) / SCALE),
    "sine": (lambda x: np.sum(np.sin(x)), np.cos(REAL) * np.exp(-(SCALE**2) / 2)),
}


@pytest.mark.parametrize("name", CLOSED_FORMS)
@pytest.mark.parametrize("seed", range(3))
def test_the_smoothed_derivative_is_the_closed_form_within_four_errors(name, seed):
    value, exact = CLOSED_FORMS[name]
    norm, error = smoothed(value, seed)
    truth = np.linalg.norm(exact)
    assert 0 < error < 0.5 * truth
    assert abs(norm - truth) < 4 * error


@pytest.mark.parametrize("name", ["linear", "step"])
def test_the_standard_error_is_honest(name):
    """Over many seeds, the error that is made is as large as the error that is claimed."""
    value, exact = CLOSED_FORMS[name]
    drawn = np.array([smoothed(value, seed) for seed in range(60)])
    scores = (drawn[:, 0] - np.linalg.norm(exact)) / drawn[:, 1]
    assert 0.7 < np.sqrt(np.mean(scores**2)) < 1.4
    assert np.mean(np.abs(scores) < 2) > 0.85


def test_more_samples_make_a_smaller_error():
    value, _ = CLOSED_FORMS["linear"]
    few, many = (np.mean([smoothed(value, s, samples=n)[1] for s in range(5)]) for n in (32, 512))
    assert many == pytest.approx(few / 4, rel=0.4)


def test_a_function_that_does_not_respond_has_no_smoothed_derivative():
    assert smoothed(lambda x: 3.0) == (0.0, 0.0)


def test_noise_alone_is_not_taken_for_a_derivative():
    """What the sampling adds to the norm is taken out: at a derivative of 0 it is 0 half the time.

    x³ - 3 s² x has no derivative at 0 once it is smoothed with the width s, though it is not flat.
    """

    def cubic(x):
        z = x - REAL
        return np.sum(z**3 - 3 * SCALE**2 * z)

    norms = [smoothed(cubic, seed)[0] for seed in range(30)]
    assert np.mean(np.equal(norms, 0.0)) > 0.25


def test_the_smoothed_derivative_is_the_same_for_the_same_seed():
    value, _ = CLOSED_FORMS["step"]
    assert smoothed(value, 3) == smoothed(value, 3)
    assert smoothed(value, 3) != smoothed(value, 4)


def test_it_is_over_all_arrays_together():
    rng = np.random.default_rng(0)
    norm, error = smoothed_derivative(
        lambda p: float(3 * p[0].sum() + 4 * p[1].sum()),
        [np.array([2.0]), np.array([-5.0])],
        rng,
        samples=512,
    )
    assert abs(norm - 5.0) < 4 * error


def test_samples_that_are_not_finite_are_left_out():
    norm, error = smoothed(lambda x: SLOPES @ x if x[0] < -1.0 else np.nan)
    assert np.isfinite(norm)
    assert np.isfinite(error)
    assert np.isnan(smoothed(lambda x: np.nan)).all()


def test_noise_does_not_leave_the_unit_interval():
    def value(x):
        assert x.min() >= 0
        assert x.max() <= 1
        return x.sum()

    smoothed(value, prediction=np.array([0.01, 0.5, 0.99]))


def test_a_term_without_a_gradient_leaves_its_share_on_the_shortest_lines():
    """A tenth of the slope is not promised: too little for the longer lines to tell."""
    found = probed(lambda x: np.sum(x**2), lambda x: 1.8 * x)
    assert found.unexplained == pytest.approx(0.1 / 1.9, rel=0.05)
    assert found.inconsistent < 0.5
    assert probed(lambda x: np.sum(x**3), lambda x: 3 * x * x).unexplained < 0.01


@pytest.mark.parametrize(
    ("fn", "expected"),
    [(np.sign, True), (np.round, True), (np.tanh, False), (lambda x: np.maximum(x, 0), False)],
)
def test_a_step_is_told_from_what_responds_to_a_small_move(fn, expected):
    for operand in (REAL, (REAL + 1e4).astype("float32")):
        run = lambda given, o=operand: [fn(p - o + REAL) for p in given]  # noqa: E731
        assert is_piecewise_constant(run, [operand]) is expected
    assert not is_piecewise_constant(lambda given: given, [np.arange(3)])
