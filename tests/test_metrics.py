"""The built-in metrics agree with scikit-learn, undefined cases included."""

import numpy as np
import pytest
import sklearn.metrics as reference

from bevel.errors import BevelValueError
from bevel.metrics import BUILTIN

RNG = np.random.default_rng(0)
CASES = {
    "mixed": (RNG.random(200) < 0.3, RNG.random(200)),
    "perfect": (np.array([0, 1, 1, 0]), np.array([0.1, 0.9, 0.6, 0.5])),
    "nobody called": (np.array([0, 1, 1, 0]), np.full(4, 0.2)),
    "everybody called": (np.array([0, 1, 1, 0]), np.full(4, 0.8)),
    "none positive": (np.zeros(4), np.array([0.1, 0.9, 0.6, 0.2])),
    "all positive": (np.ones(4), np.array([0.1, 0.9, 0.6, 0.2])),
}


def _profit(y, d):
    return np.mean(d * (10 * y - 2))


def _gmean(y, d):
    return np.sqrt(np.mean(d[y == 1]) * np.mean(1 - d[y == 0])) if 0 < y.mean() < 1 else 0.0


def _balanced(y, d):
    parts = [np.mean(d[y == 1]) if y.any() else 0.0, np.mean(1 - d[y == 0]) if 1 - y.min() else 0.0]
    return np.mean(parts)


REFERENCES = {
    "f1": lambda y, d: reference.f1_score(y, d, zero_division=0),
    "accuracy": reference.accuracy_score,
    "balanced_accuracy": _balanced,
    "gmean": _gmean,
    "mcc": lambda y, d: reference.matthews_corrcoef(y, d) if 0 < d.mean() < 1 else 0.0,
    "profit": _profit,
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", BUILTIN)
def test_the_value_is_the_references(name, case):
    y, p = (np.asarray(a, "float32") for a in CASES[case])
    expected = REFERENCES[name](y, (p > 0.5).astype("float32"))
    value = np.asarray(BUILTIN[name](y, p))
    assert value.shape == ()
    assert float(value) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("shapes", [((4, 1), (4,)), ((4,), (4, 1)), ((4, 1), (4, 1)), ((3,), (4,))])
def test_a_broadcast_accident_is_refused(shapes):
    message = r"must both have shape \(n,\); got \(.*\) and \(.*\)"
    with pytest.raises(BevelValueError, match=message):
        BUILTIN["f1"](*(np.zeros(s, "float32") for s in shapes))
