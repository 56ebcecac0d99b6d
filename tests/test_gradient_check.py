"""`check_gradient` passes true gradients, corners included, and finds each planted fault."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

import bevel
from bevel.errors import BevelTypeError, BevelValueError
from bevel.gradient_check import check_gradient

X = np.random.default_rng(0).normal(size=12).astype("float32")


def declared(value, slope):
    @tf.custom_gradient
    def fn(x):
        return value(x), lambda upstream: upstream * slope(x)

    return fn


TRUE = {
    "cube": declared(lambda x: x**3, lambda x: 3 * x**2),
    "relu": tf.nn.relu,
    "abs": tf.abs,
    "sorted": lambda x: tf.sort(x) * tf.range(12.0),
    "softplus": declared(tf.math.softplus, tf.sigmoid),
    "piecewise": declared(
        lambda x: tf.where(x > 0, x, 0.1 * x), lambda x: tf.where(x > 0, 1.0, 0.1)
    ),
}
FAULTS = {
    "sign": declared(lambda x: x**3, lambda x: -3 * x**2),
    "factor": declared(tf.sin, lambda x: 2 * tf.cos(x)),
    "branch": declared(lambda x: tf.where(x > 0, x, 0.5 * x), lambda x: tf.where(x > 0, 1.0, 0.0)),
    "shifted": declared(tf.square, lambda x: 2 * x + 0.5),
}


@pytest.mark.parametrize("name", TRUE)
@pytest.mark.parametrize("seed", [0, *(pytest.param(s, marks=pytest.mark.slow) for s in (1, 2))])
def test_true_gradients_agree(name, seed):
    found = check_gradient(TRUE[name], X, seed=seed)
    assert found.ok, str(found)
    assert "is the derivative" in str(found)


@pytest.mark.parametrize("name", FAULTS)
def test_planted_faults_are_found(name):
    found = check_gradient(FAULTS[name], X)
    assert found.verdict == "disagrees"
    assert f"index {found.worst.index}" in str(found)
    if name == "sign":
        assert found.slope == pytest.approx(-1, abs=0.1)
    if name == "factor":
        assert found.slope == pytest.approx(0.5, abs=0.1)


def test_a_straight_through_estimator_is_told_as_one():
    found = check_gradient(lambda x: x + tf.stop_gradient(tf.round(x) - x), X)
    assert found.verdict == "straight-through"
    assert "by design" in str(found)
    assert found.cosine > 0.8


def test_a_missing_gradient():
    found = check_gradient(lambda x: tf.cast(x > 0, "float32"), np.float32([0.01, -0.02, 0.03]))
    assert found.verdict == "missing"


def test_the_audit_finds_a_dropped_branch():
    def loss(y_true, y_pred):
        return tf.reduce_mean(tf.square(FAULTS["branch"](y_pred) - y_true))

    report = bevel.audit(loss, np.zeros_like(X), X)
    assert [f.code for f in report.findings if f.severity == "warning"] == ["B401"]


def test_bad_arguments_are_named():
    with pytest.raises(BevelValueError, match="`widths`"):
        check_gradient(tf.abs, X, widths=[0.0])
    with pytest.raises(BevelTypeError, match="expected floats"):
        check_gradient(tf.abs, np.arange(3))
    with pytest.raises(BevelValueError, match="one array"):
        check_gradient(lambda a, b: a + b, X, X, wrt=["a", "b"])
