"""Layers with hard steps train when they are relaxed, and are themselves when they are used."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers as L

import bevel
from bevel.callbacks import Anneal
from bevel.errors import BevelTypeError, BevelValueError, UnknownOperationError
from bevel.relaxed_layer import RelaxedLayer

RNG = np.random.default_rng(0)
X = RNG.normal(size=(256, 4)).astype("float32")


@keras.saving.register_keras_serializable(package="tests")
class BinaryDense(L.Layer):
    """Weights of 1 and -1 only, and a threshold for its outputs."""

    def __init__(self, units=8, **kwargs):
        super().__init__(**kwargs)
        self.units = units

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], self.units), name="kernel")
        self.bias = self.add_weight(shape=(self.units,), name="bias", initializer="zeros")

    def call(self, x):
        return tf.cast(x @ tf.sign(self.kernel) + self.bias > 0, x.dtype)

    def get_config(self):
        return super().get_config() | {"units": self.units}


@keras.saving.register_keras_serializable(package="tests")
class HardAttention(L.Layer):
    """Looks at the one of 16 positions that scores best."""

    def build(self, shape):
        self.query = self.add_weight(shape=(shape[-1],), name="query")

    def call(self, x):
        best = tf.argmax(tf.einsum("npd,d->np", x, self.query), axis=1)
        return tf.gather(x, best, batch_dims=1)


def accuracy(model, x, y):
    return float(np.mean((model.predict(x, verbose=0) > 0.5) == (y > 0.5)))


def fitted(layer, x, y, epochs, **settings):
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input(x.shape[1:]), layer, L.Dense(1, activation="sigmoid")])
    model.compile(keras.optimizers.Adam(0.02), "binary_crossentropy", **settings)
    model.fit(x, y, epochs=epochs, batch_size=64, verbose=0)
    return model


def test_it_is_hard_in_inference_and_soft_in_training():
    layer = bevel.relax(BinaryDense(3))
    assert isinstance(layer, RelaxedLayer)
    assert set(np.unique(layer(X))) == {0.0, 1.0}
    soft = layer(X, training=True).numpy()
    assert np.all((soft > 0) & (soft < 1))
    exact = bevel.relax(BinaryDense(3), forward="hard")
    assert np.array_equal(exact(X, training=True), exact(X))


def test_gradients_reach_binarised_weights_and_biases():
    layer = bevel.relax(BinaryDense(3))
    layer(X)
    with tf.GradientTape() as tape:
        value = tf.reduce_sum(layer(X, training=True)[:, 1])
    for slope in tape.gradient(value, [v.value for v in layer.layer.trainable_variables]):
        assert np.any(slope.numpy() != 0)


@pytest.mark.parametrize("jit_compile", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_a_network_with_binary_weights_and_activations_trains(jit_compile):
    y = (X[:, :1] - X[:, 1:2] > 0).astype("float32")
    with pytest.warns(UserWarning, match="Gradients do not exist"):
        hard = fitted(BinaryDense(16), X, y, 1)
    layer = bevel.relax(BinaryDense(16), temperature=0.03)
    relaxed = fitted(layer, X, y, 40, jit_compile=jit_compile)
    # the hard layer keeps its first weights, so only the last layer learns
    assert not np.any(hard.layers[0].bias.numpy())
    assert np.any(relaxed.layers[0].layer.bias.numpy())
    assert accuracy(relaxed, X, y) > 0.9


@pytest.mark.slow
def test_hard_attention_over_16_positions_trains():
    rng = np.random.default_rng(2)
    x = rng.normal(size=(512, 16, 4)).astype("float32")
    chosen = x[np.arange(512), np.argmax(x[:, :, 0] - x[:, :, 2], 1)]
    y = (chosen[:, 1:2] > 0).astype("float32")
    relaxed = fitted(bevel.relax(HardAttention()), x, y, 60)
    assert accuracy(relaxed, x, y) > 0.9


def test_a_decision_stump_finds_its_threshold():
    @keras.saving.register_keras_serializable(package="tests")
    class Stump(L.Layer):
        def build(self, shape):
            self.threshold = self.add_weight(shape=(), name="threshold", initializer="zeros")

        def call(self, x):
            return tf.cast(x[:, 2:3] > self.threshold, x.dtype)

    y = (X[:, 2:3] > 0.8).astype("float32")
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((4,)), bevel.relax(Stump())])
    model.compile(keras.optimizers.Adam(0.05), "mse")
    model.fit(X, y, epochs=40, verbose=0, callbacks=[Anneal(0.2, 0.05)])
    assert float(model.layers[0].layer.threshold.numpy()) == pytest.approx(0.8, abs=0.15)
    assert accuracy(model, X, y) > 0.97


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_it_is_saved_and_reloaded(tmp_path):
    y = (X[:, :1] > 0).astype("float32")
    model = fitted(bevel.relax(BinaryDense(4), temperature=0.2), X, y, 1)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert np.array_equal(again.predict(X, verbose=0), model.predict(X, verbose=0))
    assert again.layers[0].initial_temperature == pytest.approx(0.2)
    again.fit(X, y, epochs=1, verbose=0)


def test_the_audit_says_that_it_trains():
    y = (X[:, :1] > 0).astype("float32")
    hard = keras.Sequential([keras.Input((4,)), BinaryDense(4), L.Dense(1)])
    soft = keras.Sequential([keras.Input((4,)), bevel.relax(BinaryDense(4)), L.Dense(1)])
    assert bevel.audit(hard, X, y, "mse").verdict == "partial"
    assert bevel.audit(soft, X, y, "mse").verdict == "trains"


def test_what_cannot_be_relaxed_is_said():
    with pytest.raises(BevelTypeError, match="must be a Keras layer"):
        RelaxedLayer(3)
    with pytest.raises(BevelValueError, match="not for layers"):
        bevel.relax(L.Dense(1), wrt="x")


def test_at_temperature_0_it_is_the_layer_itself_whatever_is_in_it():
    counting = L.Lambda(lambda x: tf.cast(tf.size(tf.unique(tf.reshape(x, [-1])).y), "float32"))
    gate = bevel.relax(counting, temperature=0)
    assert float(gate(X, training=True)) == X.size


def test_gradients_reach_the_inputs_of_a_layer_with_weights():
    relaxed, x = bevel.relax(BinaryDense()), tf.constant(X)
    with tf.GradientTape() as tape:
        tape.watch(x)
        total = tf.reduce_sum(relaxed(x, training=True))
    assert np.all(tape.gradient(total, x) != 0)


def test_an_operation_without_a_rule_is_an_error_or_kept():
    def counted(x):
        return x * tf.cast(tf.size(tf.unique(tf.reshape(x, [-1])).y), "float32")

    with pytest.raises(UnknownOperationError, match="unique_values"):
        bevel.relax(L.Lambda(counted))(X, training=True)
    kept = bevel.relax(L.Lambda(counted), on_unknown="keep")
    np.testing.assert_allclose(kept(X, training=True), counted(X))


def test_what_is_done_with_the_unknown_is_saved():
    layer = bevel.relax(BinaryDense(), on_unknown="keep")
    assert RelaxedLayer.from_config(layer.get_config()).on_unknown == "keep"


def test_the_mode_reaches_a_layer_that_asks_for_it():
    class Louder(L.Layer):
        def call(self, x, training=None):
            return tf.sign(x) * (2.0 if training else 1.0)

    loud = bevel.relax(Louder(), temperature=1e-6)
    np.testing.assert_allclose(loud(X, training=True), 2 * np.sign(X), atol=1e-3)
    np.testing.assert_array_equal(loud(X), np.sign(X))
