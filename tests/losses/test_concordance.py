"""Kendall's correlation and the concordance index: ties, censoring, weights, and how they grow."""

from __future__ import annotations

import time

import keras
import numpy as np
import pytest
from scipy.stats import kendalltau

from bevel import losses
from bevel.errors import BevelValueError
from bevel.losses.dominance import keys, sum_before, weight_before
from bevel.ops import pairwise_sum
from tests.contract.gradients import MODES, array, compiled, tensor, value_and_gradient

RNG = np.random.default_rng(6)
SHARP = {"kernel": "linear", "temperature": 1e-4}


def value(loss, *arrays):
    return float(array(loss(*(tensor(a, "float32") for a in arrays))))


@pytest.mark.parametrize("kernel", ["linear", "quadratic", "cubic", "hinge", "squared_hinge"])
def test_a_sum_over_two_orders_is_that_of_all_pairs(kernel):
    for n in (1, 2, 5, 33):
        x, y, w = RNG.normal(size=n), np.round(RNG.normal(size=n)), RNG.random(n)
        both = (tensor(t[:, None], "float64") for t in (np.repeat(x, n), np.tile(x, n)))
        one = pairwise_sum(*both, kernel=kernel, temperature=0.3)
        all_pairs = array(one).reshape(n, n)
        expected = (all_pairs * w * (y[None] < y[:, None])).sum(1)
        key = keys(tensor(y[None], "float32"))
        weights = tensor(w[None], "float64")
        found = sum_before(tensor(x[None], "float64"), key, weights, kernel, 0.3)
        np.testing.assert_allclose(array(found)[0], expected, rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(
            array(weight_before(key, weights))[0], (w * (y[None] < y[:, None])).sum(1), atol=1e-12
        )


def test_kendall_is_that_of_scipy_with_equal_labels_and_predictions():
    for n in (2, 7, 60):
        y, s = np.round(RNG.normal(size=n), 1), RNG.normal(size=n)
        y[:2] = 0, 1
        for given in (s, np.round(s * 2), np.r_[s[:-1], s[0]]):
            if len(set(given)) > 1:
                expected = kendalltau(y, given)[0]
                assert 1 - value(losses.Kendall(**SHARP), y, given) == pytest.approx(
                    expected, abs=2e-3
                )


def test_equal_predictions_still_get_a_gradient():
    y = tensor([1.0, 2.0, 3.0], "float32")
    found, (g,) = value_and_gradient(
        lambda s: losses.Kendall(kernel="linear")(y, s), tensor([5.0, 5.0, 5.0], "float32")
    )
    assert found == pytest.approx(1)
    assert g[0] > 0 > g[2]


def test_dates_keep_their_digits():
    dates = tensor(1_700_000_000 + np.arange(10), "int32")
    s = tensor(-np.arange(10.0), "float32")
    assert float(array(losses.Kendall(**SHARP)(dates, s))) == pytest.approx(2, abs=1e-3)


# the earlier of each pair, and what is known of it
@pytest.mark.parametrize(
    ("rows", "known"),
    [
        ([(1, 1), (2, 1)], True),
        ([(1, 1), (2, 0)], True),
        ([(1, 0), (2, 1)], False),
        ([(1, 0), (2, 0)], False),
        ([(1, 1), (1, 0)], True),
        ([(1, 1), (1, 1)], False),
        ([(1, 0), (1, 0)], False),
    ],
)
@pytest.mark.parametrize("risk", [True, False])
def test_which_pairs_of_a_survival_study_are_known(rows, known, risk):
    y, s = np.array(rows, "float64"), np.array([2.0, 1.0]) if risk else np.array([1.0, 2.0])
    loss = losses.ConcordanceIndex(risk=risk, **SHARP)
    assert value(loss, y, s) == 0
    assert value(loss, y, s[::-1]) == pytest.approx(1.0 if known else 0.0)
    assert value(loss, y, 0 * s) == pytest.approx(0.5 if known else 0.0)
    assert value(loss, y[::-1], s) == pytest.approx(1.0 if known else 0.0)


def test_what_is_no_survival_study_is_named():
    s, loss = np.array([0.1, 0.2]), losses.ConcordanceIndex()
    for y, words in (
        (np.array([1.0, 2.0]), r"\(n, 2\)"),
        (np.array([[1.0, 0.5], [2.0, 1.0]]), "0 or 1"),
        (np.array([[1.0, 1.0], [np.inf, 1.0]]), "finite"),
        (np.ones((3, 2)), r"\(n, 2\)"),
    ):
        with pytest.raises(BevelValueError, match=words):
            value(loss, y, s)
    with pytest.raises(BevelValueError, match="kernel"):
        losses.ConcordanceIndex(kernel="logistic")


@pytest.mark.skipif(not MODES, reason="nothing is compiled here")
def test_an_event_that_is_none_is_nan_in_compiled_code():
    s = tensor([0.1, 0.2, 0.3], "float32")
    run = compiled(lambda y: losses.ConcordanceIndex()(y, s), MODES[0])
    y = np.array([[1.0, 1], [2, 1], [3, 0]])
    assert np.isfinite(float(array(run(tensor(y, "float32")))))
    y[1, 1] = 2
    assert np.isnan(float(array(run(tensor(y, "float32")))))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_model_is_fitted_to_survival_data():
    keras.utils.set_random_seed(0)
    x = RNG.normal(size=(96, 2))
    y = np.c_[np.exp(-x[:, 0]), np.arange(96) % 3 > 0]
    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile(keras.optimizers.Adam(0.1), losses.ConcordanceIndex())
    model.fit(x, y, batch_size=40, epochs=20, verbose=0)  # the last batch is smaller
    risks = model.predict(x, verbose=0)
    assert value(losses.ConcordanceIndex(**SHARP), y, risks) < 0.05


@pytest.mark.slow
def test_it_grows_little_faster_than_its_rows():
    def seconds(n):
        y, s = (tensor(RNG.normal(size=n), "float32") for _ in range(2))
        value_and_gradient(lambda s: losses.Kendall()(y, s), s)
        start = time.perf_counter()
        value_and_gradient(lambda s: losses.Kendall()(y, s), s)
        return time.perf_counter() - start

    assert seconds(128_000) < 40 * seconds(8_000)
