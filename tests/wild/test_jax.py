"""Losses that failed for real people, and metrics as they are written, on JAX."""

from __future__ import annotations

import keras
import numpy as np
import pytest

if keras.backend.backend() != "jax":
    pytest.skip("Keras runs on another framework", allow_module_level=True)

import jax
import jax.numpy as jnp

import bevel
from bevel.errors import UnknownOperationError
from tests.links import link_of
from tests.wild import cases_jax, cases_jax_rare, cases_jax_written
from tests.wild.descent_jax import Descender

FOUND = {case.name: case for case in cases_jax.CASES}
WRITTEN = {case.name: case for case in (*cases_jax_written.CASES, *cases_jax_rare.CASES)}
CASES = FOUND | WRITTEN
CONTROLS = [name for name, case in CASES.items() if case.kind == "control"]
FAILING = [name for name in CASES if name not in CONTROLS]

VERDICTS = {"none": "blocked", "zero": "blocked", "nan": "nonfinite", "fine": "trains"}

# No row matches, nor does one nearby; one branch may be far from the next.
SPECIAL_VERDICTS = {"matching_rows": "flat"}
DEPENDS_ON_INPUTS = ("matching_rows", "chosen_branch")

# What fails, and is known to.
KNOWN = {
    ("gradient", "ks_statistic"): "with XLA's optimization off, as in these tests, the gradient of "
    "JAX's max finds no element that equals the largest",
    ("cold", "jax_register_integer_image"): "a shift by one pixel is a step of many rounded pixels",
}

UNRELAXED = {"jax_external_metric": "py_call"}
RELAXED = [name for name in FAILING if name not in UNRELAXED]

# Where smoothing moves the optimum: counts of few wide bins lie between the hard ones, and rounded
# pixels of an interpolated image change before the shift is right.
SMOOTHED_AWAY = {"jax_binned_yield": 0.5, "jax_register_integer_image": 0.85}

OPTIMA = {
    "trading_profit": lambda t: float(np.abs(np.diff(t)).sum()) - 0.2,
    "profit_by_fori_loop": lambda t: float(np.abs(np.diff(t)).sum()),
    "reward_per_row": lambda t: float(t.max(1).mean()),
    "taken_along": lambda t: float(t.max(0).mean()),
    "jax_sampled_category": lambda t: -float(t.max(1).mean()),
    "jax_spring_norm": lambda t: 0.0,
    "jax_binned_yield": lambda t: 0.0,
    "tariff_by_select": lambda t: 0.0,
    "chosen_branch": lambda t: float(np.abs(t - 0.5).sum()),
}

# Those whose best value is that of the labels, or is known, and which are descended by default.
QUICK = ("accuracy_by_argmax", "jax_argmax_loss", "jax_where_sqrt", "trading_profit")
SLOW = (
    "cost_of_one_hot", "exact_match", "f1_by_comparison", "integer_cast", "rounded_error",
    "tariff_by_select", "accuracy_where", "auc_by_pairs", "average_precision",
    "balanced_accuracy_jitted", "chosen_branch", "directional_accuracy", "floor_division",
    "histogram_distance",
    "jaccard_of_labels", "jax_binned_yield", "jax_register_integer_image", "jax_sampled_category",
    "jax_spring_norm", "kappa", "macro_f1", "mask_iou", "matching_rows", "matthews", "ndcg",
    "profit_by_fori_loop", "quantised_prices", "rank_correlation", "reward_per_row", "sorted_gain",
    "taken_along", "top2_recall",
)  # fmt: skip

# Audited and relaxed by default: all that people met, and one of each kind of the others.
SHOWN = {*FOUND, "ndcg", "reward_per_row", "chosen_branch", "straight_through", "cross_entropy"}


def slow_unless(quick, names, what=""):
    marks = {
        n: [pytest.mark.slow] * (n not in quick)
        + [pytest.mark.xfail(reason=r) for key, r in KNOWN.items() if key == (what, n)]
        for n in names
    }
    return [pytest.param(n, marks=m) for n, m in marks.items()]


@pytest.mark.parametrize("name", slow_unless(SHOWN, CASES))
def test_verdict_operation_and_line(name):
    case = CASES[name]
    report = bevel.audit(case.loss, *case.make(0), wrt=1)
    expected = SPECIAL_VERDICTS.get(name, VERDICTS[case.symptom])
    assert report.verdict == expected, str(report)
    if name in CONTROLS:
        assert report.ok, str(report)
        assert all(f.severity == "note" for f in report.findings), str(report)
        return
    errors = [f for f in report.findings if f.severity == "error"]
    listed = {b.removeprefix("py:") for b in case.blockers}
    assert {f.native_op for f in errors} & listed, str(report)
    first = case.loss.__code__.co_firstlineno
    for finding in errors:
        assert finding.loc.file == case.loss.__code__.co_filename
        assert first < finding.loc.line < first + 14


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("seed", [1, 2])
def test_verdict_at_other_seeds(name, seed):
    case = CASES[name]
    if name in DEPENDS_ON_INPUTS:
        pytest.skip("depends on the inputs")
    report = bevel.audit(case.loss, *case.make(seed), wrt=1)
    assert report.verdict == VERDICTS[case.symptom], str(report)


@pytest.mark.parametrize("name", slow_unless(SHOWN - set(QUICK), RELAXED, "gradient"))
def test_relaxed_gradient_is_finite_and_not_zero(name):
    case = CASES[name]
    y_true, y_pred = map(jnp.asarray, case.make(0))
    relaxed = bevel.relax(case.loss, wrt=1)
    value, found = jax.jit(jax.value_and_grad(lambda p: relaxed(y_true, p)))(y_pred)
    assert np.isfinite(value)
    assert np.all(np.isfinite(found))
    assert np.any(found != 0)


@pytest.mark.parametrize(
    "name", slow_unless({"kappa", "jax_binned_yield", "ndcg"}, RELAXED, "cold")
)
def test_a_cold_relaxation_is_the_hard_function(name):
    case = CASES[name]
    y_true, y_pred = map(jnp.asarray, case.make(0))
    cold = bevel.relax(case.loss, wrt=1, temperature=1e-4)(y_true, y_pred)
    np.testing.assert_allclose(cold, case.loss(y_true, y_pred), rtol=0.02, atol=2e-2)


@pytest.mark.parametrize("name", UNRELAXED)
def test_what_has_no_rule_ends_in_an_error_that_names_it(name):
    with pytest.raises(UnknownOperationError, match=UNRELAXED[name]) as caught:
        bevel.relax(CASES[name].loss, wrt=1)(*CASES[name].make(0))
    assert caught.value.loc.function == name


def best(name, y_true):
    loss = CASES[name].loss
    known = OPTIMA.get(name, lambda t: float(loss(jnp.asarray(t), jnp.asarray(t))))
    return known(y_true)


@pytest.mark.parametrize("name", slow_unless(QUICK, (*QUICK, *SLOW)))
def test_descent_from_one_seed(name):
    case = CASES[name]
    y_true, y_pred = case.make(0)
    relaxed = bevel.relax(case.loss, wrt=1)
    descender = Descender(case.loss, relaxed, link_of(y_pred), maximize=not case.lower_is_better)
    found = descender(y_true, y_pred)
    least = SMOOTHED_AWAY.get(name, 0.99)
    assert found.share(best(name, y_true)) >= least, found
