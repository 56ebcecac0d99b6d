"""An element compared with itself: the hard answer, not a half, on each framework."""

from __future__ import annotations

import numpy as np
import pytest
from keras import ops as K

from bevel.relaxation import relax
from tests.contract.gradients import array, value_and_gradient

SCORES = np.array([0.11, 0.83, 0.42, 0.67, 0.29, 0.94, 0.55], "float32")
GAINS = K.arange(1.0, 8.0)
TABLE = np.random.default_rng(0).permutation(12).reshape(3, 4).astype("float32") / 12
WORTH = K.reshape(K.arange(1.0, 13.0), (3, 4))


def truth(x):
    return K.cast(x, "float32")


def rank(x):
    return K.sum(truth(x[None, :] >= x[:, None]), axis=1)


# Of a row of scores.
ROWS = {
    "at least the k-th": lambda x: truth(x >= K.top_k(x, 3)[0][-1]) * GAINS,
    "above the k-th": lambda x: truth(x > K.top_k(x, 3)[0][-1]) * GAINS,
    "at least a place of the order": lambda x: truth(x >= K.sort(x)[-3]) * GAINS,
    "at least a look-up by the order": lambda x: truth(x >= K.take(x, K.argsort(x))[4]) * GAINS,
    "at least the largest": lambda x: truth(x >= K.max(x)) * GAINS,
    "below the largest": lambda x: truth(x < K.max(x)) * GAINS,
    "at most the largest": lambda x: truth(x <= K.max(x)) * GAINS,
    "at most the smallest": lambda x: truth(x <= K.min(x)) * GAINS,
    "at least the median": lambda x: truth(x >= K.quantile(x, 0.5)) * GAINS,
    "at least one of its own": lambda x: truth(x >= x[2]) * GAINS,
    "above one of its own": lambda x: truth(x > x[2]) * GAINS,
    "ranks": lambda x: GAINS * rank(x),
    "discounts": lambda x: GAINS / K.log2(1 + rank(x)),
    "differences": lambda x: GAINS * K.sum(truth(x[:, None] - x[None, :] > 0), axis=1),
    "not masked": lambda x: truth(x >= K.max(K.where(GAINS > 3, x, -1e9))) * GAINS,
    "negative": lambda x: truth(-x <= K.min(-x)) * GAINS,
}

# Of a table.
TABLES = {
    "majorities": lambda x: truth(K.mean(truth(x > 0.45), axis=1) >= 0.5) * WORTH[:, 0],
    "shares": lambda x: truth(K.sum(truth(x > 0.45), axis=1) / 4.0 > 0.5) * WORTH[:, 0],
    "products": lambda x: truth(K.matmul(truth(x > 0.45), K.ones((4, 2))) >= 2.0) * WORTH[:, :2],
    "at least the largest of each": lambda x: truth(x >= K.max(x, axis=1, keepdims=True)) * WORTH,
    "the same, its axis put back": lambda x: truth(x >= K.max(x, axis=1)[:, None]) * WORTH,
    "below the k-th of each": lambda x: truth(x < K.top_k(x, 2)[0][:, -1:]) * WORTH,
    "columns": lambda x: truth(x >= K.max(x, axis=0)) * WORTH,
    "all": lambda x: truth(x >= K.max(x, axis=(0, 1))) * WORTH,
    "ranks of each": lambda x: K.sum(truth(x[:, None] >= x[:, :, None]), axis=-1) * WORTH,
}

# Nothing is larger than the largest.
NEVER_CHANGING = {"at most the largest"}

CASES = {**dict.fromkeys(ROWS, SCORES), **dict.fromkeys(TABLES, TABLE)}


@pytest.mark.parametrize("name", CASES)
def test_the_limit_is_the_hard_value(name):
    fn, x = {**ROWS, **TABLES}[name], K.convert_to_tensor(CASES[name])
    found = relax(fn, temperature=1e-6)(x)
    np.testing.assert_allclose(array(found), array(fn(x)), rtol=1e-4, atol=1e-4)
    _, (slope,) = value_and_gradient(lambda x: K.sum(relax(fn)(x)), x)
    assert np.all(np.isfinite(slope))
    assert np.count_nonzero(slope) > len(slope) / 2 or name in NEVER_CHANGING


def test_the_first_places_of_an_order_descend():
    gains = K.convert_to_tensor([1.0, 0.0, 1.0, 0.0, 1.0, 0.0, 0.0])
    recall = relax(lambda x: K.sum(gains * truth(x >= K.sort(x)[-3])))
    x = np.array(SCORES)
    for _ in range(60):
        _, (slope,) = value_and_gradient(recall, K.convert_to_tensor(x))
        assert np.all(slope != 0)
        x = (x + 0.02 * np.sign(slope)).astype("float32")
    assert set(np.argsort(x)[-3:]) == {0, 2, 4}


def test_a_choice_between_constants_by_an_equality_has_a_gradient():
    def peaks(x):
        around = K.max(K.stack([x[:-2], x[1:-1], x[2:]]), axis=0)
        return K.sum(K.where(around == x[1:-1], GAINS[1:-1], 0.0))

    x = K.convert_to_tensor(SCORES)
    _, (slope,) = value_and_gradient(relax(peaks), x)
    assert np.count_nonzero(slope) >= 4
    assert float(array(relax(peaks, temperature=1e-6)(x))) == pytest.approx(array(peaks(x)))


def test_others_that_happen_to_be_equal_stay_a_tie():
    x = K.convert_to_tensor(np.array([0.3, 0.7, 0.3], "float32"))
    found = relax(lambda x: truth(x[:, None] >= x[None, :]))(x)
    np.testing.assert_allclose(array(found)[[0, 2], [2, 0]], 0.5)
    np.testing.assert_allclose(np.diag(array(found)), 1.0)
    hit = relax(lambda x: truth(x >= K.convert_to_tensor([0.3, 0.5, 0.3])))(x)
    np.testing.assert_allclose(array(hit)[[0, 2]], 0.5)


def test_not_a_number_is_not_equal_to_itself():
    x = K.convert_to_tensor(np.array([0.3, np.nan, 0.1], "float32"))
    found = array(relax(lambda x: truth(x[:, None] >= x[None, :]))(x))
    assert np.isnan(found[1]).all()
    assert found[0, 0] == 1
