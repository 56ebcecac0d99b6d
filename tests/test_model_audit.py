"""The audit of a model: each weight's fate, and the line or the reason behind it."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers as L
from typer.testing import CliRunner

import bevel
from bevel.cli import app
from bevel.errors import BevelTypeError, BevelValueError
from bevel.model_audit import model_sample

X = np.random.default_rng(0).normal(size=(16, 3)).astype("float32")
Y = (X[:, :1] > 0).astype("float32")


class Gate(L.Layer):
    """A hard mask between the weights and the loss, and a layer that is never called."""

    def __init__(self):
        super().__init__(name="gate")
        self.inner = L.Dense(4, name="inner")
        self.unused = L.Dense(2, name="unused")

    def build(self, shape):
        self.inner.build(shape)
        self.unused.build(shape)

    def call(self, x):
        return tf.cast(self.inner(x) > 0, tf.float32)


def sequential(*inner, **settings):
    return keras.Sequential([keras.Input((3,)), *inner], **settings)


def rows(report):
    return {row.path.split("/", 1)[1]: row for row in report.rows}


def test_a_model_that_trains():
    model = sequential(L.Dense(4), L.BatchNormalization(), L.Dropout(0.2), L.Dense(1))
    model.compile(loss="mse")
    report = bevel.audit(model, X, Y)
    assert report.ok
    assert report.verdict == "trains"
    assert len(report.rows) == 6
    assert all(row.norm > 0 for row in report.rows if "dense_" in row.path)


class Subclassed(keras.Model):
    """A call without a mode, as most people write one."""

    def __init__(self):
        super().__init__()
        self.dense = L.Dense(1)

    def call(self, x):
        return self.dense(x)


def test_a_model_whose_call_knows_no_mode():
    report = bevel.audit(Subclassed(), X, Y, "mse")
    assert report.ok
    assert len(report.rows) == 2


def test_a_hard_gate_is_named_at_its_line():
    model = sequential(Gate(), L.Dense(1, activation="sigmoid", name="head"))
    found = rows(bevel.audit(model, X, Y, "binary_crossentropy"))
    gated, unused, head = (found[n] for n in ("gate/inner/kernel", "gate/unused/bias", "head/bias"))
    assert (gated.state, gated.op, gated.loc.function) == ("dead", "greater", "call")
    assert gated.loc.text.strip().startswith("return tf.cast(self.inner(x) > 0")
    assert "never connected" in unused.cause
    assert head.state == "arrives"


def test_stop_gradient_is_named_and_not_what_keras_stops_itself():
    model = sequential(
        L.Dense(4, name="first"), L.BatchNormalization(), L.Lambda(tf.stop_gradient), L.Dense(1)
    )
    report = bevel.audit(model, X, Y, "mse")
    assert report.verdict == "partial"
    row = rows(report)["first/kernel"]
    assert (row.state, row.op) == ("dead", "stop_gradient")


@pytest.mark.parametrize(
    ("layers", "cause"),
    [
        ((L.Dense(4, "relu", bias_initializer=lambda s, dtype: -100 * tf.ones(s)),), "ReLUs"),
        (
            (L.Dense(4, "sigmoid", bias_initializer=lambda s, dtype: -1000 * tf.ones(s)),),
            "saturated",
        ),
    ],
    ids=["relu", "sigmoid"],
)
def test_what_is_dead_on_this_batch(layers, cause):
    first = rows(bevel.audit(sequential(*layers, L.Dense(1, name="head")), X, Y, "mse"))
    kernel = next(row for path, row in first.items() if path.endswith("kernel"))
    assert kernel.state == "dead"
    assert cause in kernel.cause
    assert "all 0 on this batch" in first["head/kernel"].cause or cause == "saturated"


def test_frozen_weights_are_said_to_be():
    model = sequential(L.Dense(4, name="first", trainable=False), L.Dense(1))
    found = rows(bevel.audit(model, X, Y, "mse"))
    assert found["first/kernel"].state == "frozen"
    assert found["first/bias"].state == "frozen"


def test_a_gradient_that_is_not_finite():
    report = bevel.audit(
        sequential(L.Dense(1)), X, Y, lambda y, p: tf.reduce_mean(tf.sqrt(p - p) + p)
    )
    assert report.verdict == "nonfinite"
    assert report.rows[0].op == "sqrt"
    assert report.rows[0].loc.function == "<lambda>"


def test_rows_that_are_not_looked_up_are_partial():
    model = keras.Sequential([L.Embedding(10, 2, name="table"), L.Flatten(), L.Dense(1)])
    report = bevel.audit(model, np.array([[1, 2], [2, 3]]), Y[:2], "mse")
    row = rows(report)["table/embeddings"]
    assert (row.state, row.zero_share) == ("partial", pytest.approx(0.7))
    assert report.ok


def test_a_hard_loss_blocks_all_weights():
    def accuracy(y_true, y_pred):
        return tf.reduce_mean(tf.cast(tf.round(y_pred) == y_true, "float32"))

    report = bevel.audit(sequential(L.Dense(1)), X, Y, accuracy)
    assert report.verdict == "blocked"
    assert {row.op for row in report.rows} == {"round"}
    said = str(report)
    assert "tf.round(y_pred)" in said
    assert "dead" in said
    stored = json.loads(report.to_json())
    assert (stored["version"], stored["verdict"], len(stored["rows"])) == (1, "blocked", 2)


def test_what_cannot_be_audited_is_said():
    with pytest.raises(BevelValueError, match="not compiled"):
        bevel.audit(sequential(L.Dense(1)), X, Y)
    with pytest.raises(BevelTypeError, match="`loss` must be"):
        bevel.audit(sequential(L.Dense(1)), X, Y, 3)
    with pytest.raises(BevelTypeError, match=r"audit\(model, x, y\)"):
        bevel.audit(sequential(L.Dense(1)), X)
    with pytest.raises(BevelValueError, match="no weights"):
        bevel.audit(sequential(L.Flatten()), X, X, "mse")


def test_a_layer_without_weights_is_a_function():
    assert bevel.audit(L.ReLU(), X).verdict == "trains"
    assert bevel.audit(L.Lambda(tf.round), X * 5).verdict == "blocked"


MODEL = """
import keras
import tensorflow as tf

def build():
    model = keras.Sequential([
        keras.Input((3,)),
        keras.layers.Dense(4),
        keras.layers.Lambda(lambda x: tf.round(x)),
        keras.layers.Dense(1),
    ])
    model.compile(loss="mse")
    return model

def smooth():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    return model, tf.ones((4, 3)), tf.zeros((4, 1)), "mse"

def nothing():
    return 3
"""


@pytest.mark.parametrize(
    ("name", "code", "words"),
    [("build", 1, "tf.round(x)"), ("smooth", 0, "trains"), ("nothing", 2, "returned int")],
)
def test_on_the_command_line(tmp_path, monkeypatch, name, code, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models.py").write_text(MODEL)
    result = CliRunner().invoke(app, ["audit", f"models.py:{name}"])
    assert result.exit_code == code, result.output
    assert words in result.output


def test_a_loss_that_is_not_finite_is_said_even_where_the_gradient_is():
    model = sequential(L.Dense(1))
    report = bevel.audit(model, X, Y, lambda y, p: tf.reduce_mean(p) + np.float32("nan"))
    assert report.verdict == "nonfinite"
    assert {row.state for row in report.rows} == {"arrives"}


def test_a_model_that_is_frozen_as_a_whole_does_not_train():
    model = sequential(L.Dense(1))
    model.trainable = False
    assert bevel.audit(model, X, Y, "mse").verdict == "blocked"


def test_no_line_of_keras_itself_is_shown():
    layer = L.Dense(4, activation="relu", bias_initializer=keras.initializers.Constant(-99.0))
    row, *_ = bevel.audit(sequential(layer, L.Dense(1)), X, Y, "mse").rows
    assert (row.state, row.loc) == ("dead", None)
    assert row.cause


def test_a_cut_in_the_users_code_comes_before_one_of_keras():
    def step(x):
        return tf.round(x)

    x = keras.Input((3,))
    hidden = L.Dense(4, name="first")(x)
    own, keras_own = L.Lambda(step)(hidden), L.Discretization([0.0, 1.0])(hidden)
    model = keras.Model(
        x, L.Dense(1)(L.Rescaling(1.0)(keras_own) + L.Rescaling(1.0)(L.ReLU()(own)))
    )
    found = next(r for r in bevel.audit(model, X, Y, "mse").rows if r.path == "first/kernel")
    assert found.state == "dead"
    assert found.loc.function == "step"


def test_it_is_audited_in_training_mode():
    class Trained(L.Layer):
        def call(self, x, training=None):
            return x if training else tf.stop_gradient(x)

    assert bevel.audit(sequential(L.Dense(1), Trained()), X, Y, "mse").ok


def test_class_numbers_are_drawn_for_a_sparse_loss():
    model = sequential(L.Dense(5, activation="softmax"))
    model.compile(loss="sparse_categorical_crossentropy")
    _, _, labels = model_sample(model)
    assert np.issubdtype(labels.dtype, np.integer)
    assert set(labels) <= set(range(5))
