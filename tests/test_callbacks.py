"""Callbacks: temperatures fall as asked without a new trace, and a lost gradient is told."""

from __future__ import annotations

import itertools
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

from bevel import layers
from bevel.callbacks import Anneal, GradientHealth, GradientWarning, tempered
from bevel.errors import BevelValueError
from bevel.losses import MetricLoss

X = np.random.default_rng(0).normal(size=(40, 3)).astype("float32")
Y = (X[:, :1] > 0).astype("float32")


def model_with(loss, *inner):
    model = keras.Sequential(
        [keras.Input((3,)), *inner, keras.layers.Dense(1, activation="sigmoid")]
    )
    model.compile(optimizer="sgd", loss=loss)
    return model


@pytest.mark.parametrize("schedule", ["linear", "cosine", "exponential"])
def test_the_temperature_goes_from_start_to_end(schedule):
    loss = MetricLoss("BinaryAccuracy")
    model = model_with(loss, layers.Step(temperature=0.3))
    history = model.fit(X, Y, epochs=5, verbose=0, callbacks=[Anneal(0.4, 0.05, schedule)]).history[
        "temperature"
    ]
    assert history[0] == pytest.approx(0.4)
    assert history[-1] == pytest.approx(0.05)
    assert all(a > b for a, b in itertools.pairwise(history))
    for part in tempered(model):
        assert float(keras.ops.copy(part.temperature)) == pytest.approx(0.05)
    assert len(list(tempered(model))) == 2


def test_on_a_plateau_it_is_lowered():
    model = model_with(MetricLoss("BinaryAccuracy"))
    model.optimizer.learning_rate = 0.0  # nothing improves but what rounding does
    anneal = Anneal(0.4, 0.1, "plateau", patience=1, factor=0.5, monitor="steady")

    class Steady(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            logs["steady"] = 1.0

    history = model.fit(X, Y, epochs=5, verbose=0, callbacks=[Steady(), anneal]).history
    assert history["temperature"] == pytest.approx([0.4, 0.4, 0.2, 0.1, 0.1])


def test_nothing_is_traced_again():
    traced = []

    def accuracy(y_true, y_pred):
        traced.append(1)
        return tf.reduce_mean(tf.cast((y_pred > 0.5) == (y_true > 0.5), "float32"))

    model = model_with(MetricLoss(accuracy, maximize=True))
    model.fit(X, Y, epochs=1, verbose=0)
    count = len(traced)
    model.fit(X, Y, epochs=3, verbose=0, callbacks=[Anneal()])
    assert len(traced) == count


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: Anneal(schedule="square"), "schedule"),
        (lambda: Anneal(start=-1.0), "temperature"),
        (lambda: Anneal(end=0.0), "hard function"),
        (lambda: Anneal(factor=2.0), "factor"),
        (lambda: model_with("mse").fit(X, Y, verbose=0, callbacks=[Anneal()]), "nothing whose"),
        (
            lambda: model_with(MetricLoss("AUC")).fit(
                X, Y, verbose=0, callbacks=[Anneal(schedule="plateau", monitor="what")]
            ),
            "the logs hold",
        ),
    ],
)
def test_what_cannot_be_annealed_is_said(call, words):
    with pytest.raises(BevelValueError, match=words):
        call()


def test_a_healthy_gradient_is_logged():
    model = model_with(MetricLoss("F1Score"))
    with warnings.catch_warnings():
        warnings.simplefilter("error", GradientWarning)
        history = model.fit(X, Y, epochs=2, verbose=0, callbacks=[GradientHealth(X, Y)]).history
    assert all(norm > 0 for norm in history["gradient_norm"])
    assert history["dead_share"] == [0.0, 0.0]


def test_a_loss_without_a_gradient_is_told():
    model = model_with(MetricLoss("F1Score", temperature=1e-30, kernel="linear"))
    with pytest.warns(GradientWarning, match="epoch 1: the loss sends no gradient"):
        model.fit(X, Y, epochs=1, verbose=0, callbacks=[GradientHealth(X, Y)])


def test_one_loss_is_watched():
    model = model_with(["mse"])
    with pytest.raises(BevelValueError, match="one loss"):
        model.fit(X, Y, verbose=0, callbacks=[GradientHealth(X, Y)])


@pytest.mark.parametrize(
    ("later", "words"),
    [(1e-9, "epoch 2: the loss sends no gradient any more"), (np.nan, "epoch 2: .* not finite")],
)
def test_a_gradient_that_fades_or_breaks_is_told(monkeypatch, later, words):
    health = GradientHealth(X, Y)
    health.set_model(model_with(MetricLoss("F1Score")))
    health.on_train_begin()
    found = iter([np.ones(3), np.full(3, later)])
    monkeypatch.setattr(health, "gradient", lambda: next(found))
    health.on_epoch_end(0)
    with pytest.warns(GradientWarning, match=words):
        health.on_epoch_end(1)
