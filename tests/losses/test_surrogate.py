"""The losses written by hand inside of Keras's own training, with what a user does to a model."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest

from bevel import losses

RNG = np.random.default_rng(3)
X = RNG.normal(size=(70, 5)).astype("float32")
Y = (X[:, :1] + 0.3 * RNG.normal(size=(70, 1)) > 0).astype("int64")

ONE_OF_EACH = (
    losses.AUC,
    losses.AveragePrecision,
    losses.Spearman,
    losses.MCC,
    losses.Dice,
    losses.Lovasz,
    losses.ConcordanceCorrelation,
)


def _model(loss: Any, activation: str | None = "sigmoid", **how: Any) -> Any:
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(1, activation=activation)])
    model.compile(optimizer=keras.optimizers.Adam(0.05), loss=loss, **how)
    return model


@pytest.mark.parametrize("make", ONE_OF_EACH)
@pytest.mark.parametrize("jit_compile", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_model_learns_with_a_ragged_last_batch(make: Any, jit_compile: bool) -> None:
    model = _model(make(), jit_compile=jit_compile)
    history = model.fit(X, Y, batch_size=32, epochs=6, verbose=0).history["loss"]
    assert np.isfinite(history).all()
    assert history[-1] < history[0]


def test_rows_of_weight_zero_do_not_count() -> None:
    model = _model(losses.AUC())
    there = np.arange(70) < 60
    spoilt, weights = np.where(there[:, None], X, np.nan), there.astype("float32")
    history = model.fit(X, Y, sample_weight=weights, batch_size=35, verbose=0).history["loss"]
    assert np.isfinite(history).all()
    value = model.evaluate(spoilt, Y, sample_weight=weights, batch_size=70, verbose=0)
    alone = model.evaluate(X[there], Y[there], batch_size=70, verbose=0)
    assert value == pytest.approx(alone, rel=1e-4)


def test_weights_of_classes_are_taken() -> None:
    weighted, plain = (
        _model(losses.AUC()).fit(X, Y, class_weight=w, batch_size=70, verbose=0).history["loss"]
        for w in ({0: 0.0, 1: 1.0}, None)
    )
    assert weighted[0] != pytest.approx(plain[0])


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(policy: str) -> None:
    keras.mixed_precision.set_global_policy(policy)
    try:
        history = _model(losses.AveragePrecision()).fit(X, Y, epochs=3, verbose=0).history["loss"]
    finally:
        keras.mixed_precision.set_global_policy("float32")
    assert np.isfinite(history).all()


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_it_is_saved_with_the_model(tmp_path: Any) -> None:
    model = _model(losses.Tversky(alpha=0.3, beta=0.7, gamma=2.0, class_weight=[2.0]))
    model.fit(X, Y, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras", safe_mode=True)
    assert again.loss.get_config() == model.loss.get_config()
    assert again.evaluate(X, Y, verbose=0) == pytest.approx(model.evaluate(X, Y, verbose=0))


def test_a_mask_leaves_out_padded_items() -> None:
    scores = keras.ops.convert_to_tensor(np.array([[0.1, 0.9, 5.0]], "float32"))
    labels = np.array([[1.0, 0.0, 3.0]], "float32")
    scores._keras_mask = keras.ops.convert_to_tensor(np.array([[True, True, False]]))
    alone = losses.NDCG()(labels[:, :2], np.array([[0.1, 0.9]], "float32"))
    assert float(losses.NDCG()(labels, scores)) == pytest.approx(float(alone))
