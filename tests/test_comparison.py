"""Intervals, and the sentences that they justify."""

import json

import numpy as np
import pytest

from bevel.comparison import METHODS, Comparison, Estimate, bootstrap


def _comparison(tuned=(0.1, 0.05, 0.2), plain=(0.2, 0.1, 0.3), maximize=True, **changes):
    estimate = Estimate(0.5, 0.4, 0.6)
    values = {
        "metric": "f1",
        "data": "rows: 10",
        "arrangement": "",
        "maximize": maximize,
        "inferred": False,
        "verdict": "blocked",
        "seeds": 2,
        "epochs": 1,
        "perfect": 1.0,
        "values": {key: [0.4, 0.6] for key in METHODS},
        "estimates": dict.fromkeys(METHODS, estimate),
        "against": {"tuned": Estimate(*tuned), "ce": Estimate(*plain), "weighted": estimate},
        "curves": {"ce": [0.0, 0.5], "relaxed": [0.5, 0.6]},
        "seconds": 1.0,
    }
    return Comparison(**{**values, **changes})


@pytest.mark.parametrize(
    ("difference", "maximize", "outcome"),
    [
        ((0.1, 0.01, 0.2), True, "wins"),
        ((0.1, 0.01, 0.2), False, "loses"),
        ((-0.1, -0.2, -0.01), True, "loses"),
        ((-0.1, -0.2, -0.01), False, "wins"),
        ((0.1, -0.01, 0.2), True, "tie"),
        ((0.0, 0.0, 0.0), True, "tie"),
        ((0.1, float("nan"), float("nan")), True, "tie"),
    ],
)
def test_the_interval_decides(difference, maximize, outcome):
    comparison = _comparison(tuned=difference, maximize=maximize)
    assert comparison.outcome == outcome
    words = {"wins": "wins against", "loses": "loses to", "tie": "A tie"}[outcome]
    assert words in comparison.words()


@pytest.mark.parametrize("outcome", [(0.1, 0.05, 0.2), (-0.1, -0.2, -0.05), (0.0, -0.1, 0.1)])
def test_the_tuned_decision_is_always_named(outcome):
    words = _comparison(tuned=outcome).words()
    assert "cross-entropy with a tuned decision" in words
    assert f"{outcome[0]:+.3g}" in words


def test_a_gain_over_the_untuned_decision_is_no_win():
    words = _comparison(tuned=(0.0, -0.1, 0.1), plain=(0.2, 0.1, 0.3)).words()
    assert words.startswith("A tie")
    assert "better than cross-entropy decided at 0.5 (+0.2" in words


@pytest.mark.parametrize("between", [0.0, 0.3])
def test_the_interval_of_few_seeds_covers_what_it_says(between):
    """Whether rows or seeds differ most: five seeds hold the truth in 95 % of cases or more."""
    rng = np.random.default_rng(0)
    held, trials = 0, 150
    for trial in range(trials):
        rows = rng.standard_normal((5, 100)) + between * rng.standard_normal((5, 1))
        resampled = rows[np.arange(5)[:, None, None], rng.integers(100, size=(5, 60, 100))].mean(-1)
        interval = bootstrap(resampled, rows.mean(1), seed=trial)
        held += interval.low <= 0 <= interval.high
    assert held >= 0.93 * trials


def test_the_bootstrap_widens_with_seeds_that_disagree():
    same = bootstrap(np.full((5, 10), 0.5), np.full(5, 0.5))
    spread = np.array([0.1, 0.3, 0.5, 0.7, 0.9])
    apart = bootstrap(np.tile(spread[:, None], 10), spread)
    assert same.low == same.high == 0.5
    assert apart.low < 0.3
    assert apart.high > 0.7
    assert apart.mean == pytest.approx(0.5)


def test_undefined_resamples_are_left_out_but_not_hidden():
    rated = np.full((3, 10), 1.0)
    rated[0, 0] = np.nan
    assert bootstrap(rated, np.ones(3)).low == 1.0
    rated[:] = np.nan
    assert np.isnan(bootstrap(rated, np.ones(3)).low)


def test_the_json_is_versioned_and_strict():
    comparison = _comparison(perfect=float("inf"))
    content = json.loads(comparison.to_json(), parse_constant=pytest.fail)
    assert content["version"] == 1
    assert content["outcome"] == "wins"
    assert content["perfect"] is None
    assert set(content["values"]) == set(content["methods"]) == set(METHODS)
    assert content["words"] == comparison.words()
