"""The layers: what they compute, what they train, and that a file brings them back unchanged."""

import json

import keras
import numpy as np
import pytest

from bevel import layers, ops
from bevel.errors import BevelValueError

from .contract.gradients import array

# Keras 3.15 reads a TensorFlow variable in a way that NumPy 2.4 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

X = np.linspace(-2, 3, 21).astype("float32")
LAYERS = (
    layers.Step(threshold=0.5, temperature=0.3, kernel="arctan", train_threshold=True),
    layers.Sign(temperature=0.2, forward="hard", train_temperature=True),
    layers.Round(unit=0.5, temperature=0.2, kernel="gaussian"),
    layers.Staircase([-1.0, 0.5, 2.0], [0.0, 1.0, 4.0, 3.0], train_thresholds=True),
    layers.Staircase([0.0], temperature=0.0),
)
every = pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: type(layer).__name__)


def test_layers_are_the_functions() -> None:
    for layer, function in (
        (layers.Step(0.5, 0.3), lambda x: ops.step(x - 0.5, temperature=0.3)),
        (layers.Sign(0.3), lambda x: ops.sign(x, temperature=0.3)),
        (layers.Round(2.0, 0.3), lambda x: 2 * ops.round(x / 2, temperature=0.3)),
        (
            layers.Staircase([0.0, 1.0], temperature=0.3),
            lambda x: ops.staircase(x, [0.0, 1.0], [0, 1, 2], 0.3),
        ),
        (layers.Step(0.5, 0), lambda x: ops.step(x - 0.5, temperature=0)),
        (layers.Sign(forward="hard"), np.sign),
    ):
        np.testing.assert_allclose(
            array(layer(X)), np.asarray(keras.ops.convert_to_numpy(function(X))), atol=1e-6
        )


@every
def test_a_configuration_is_json_and_makes_the_same_layer(layer: keras.layers.Layer) -> None:
    config = json.loads(json.dumps(layer.get_config()))
    again = type(layer).from_config(config)
    assert again.get_config() == layer.get_config()
    np.testing.assert_array_equal(array(again(X)), array(layer(X)))


def test_saved_and_reloaded_with_what_was_learned(tmp_path) -> None:
    inputs = keras.Input((3,))
    x = keras.layers.Dense(4)(inputs)
    for layer in LAYERS:
        x = type(layer).from_config(layer.get_config() | {"name": None})(x)
    model = keras.Model(inputs, x)
    for layer in model.layers[2:]:
        if layer.temperature != 0.0:
            layer.temperature = 0.17
        for weight in layer.trainable_weights:
            weight.assign(weight + 0.25)
    path = tmp_path / "model.keras"
    model.save(path)
    again = keras.saving.load_model(path, safe_mode=True)
    data = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")
    np.testing.assert_array_equal(array(again(data)), array(model(data)))
    assert float(array(again.layers[2].temperature)) == pytest.approx(0.17)


def test_what_is_trained_is_what_was_asked_for() -> None:
    def names(layer: keras.layers.Layer) -> set[str]:
        return {weight.name for weight in layer.trainable_weights}

    assert names(layers.Step()) == set()
    assert names(layers.Step(train_threshold=True)) == {"threshold"}
    assert names(layers.Sign(train_temperature=True)) == {"log_temperature"}
    stairs = layers.Staircase([0.0, 1.0], train_thresholds=True)
    assert names(stairs) == {"first_threshold", "log_gaps"}
    assert names(layers.Staircase([0.0, 1.0])) == set()


def test_trained_thresholds_stay_in_order() -> None:
    layer = layers.Staircase([-1.0, 0.5, 2.0], train_thresholds=True)
    np.testing.assert_allclose(array(layer.thresholds), [-1.0, 0.5, 2.0], rtol=1e-6)
    model = keras.Sequential([keras.Input((1,)), layer])
    model.compile(keras.optimizers.Adam(0.3), "mse")
    # The best single step for this target would put all thresholds in one place.
    x = np.linspace(-3, 3, 64, dtype="float32")[:, None]
    _fit(model, x, 3.0 * (x > 1.0), 80)
    found = array(layer.thresholds)
    assert (np.diff(found) > 0).all()
    assert np.abs(found - 1).max() < 0.5


def test_the_temperature_can_be_lowered_and_trained() -> None:
    layer = layers.Step(temperature=0.5)
    before = array(layer(X))
    layer.temperature = 0.05
    assert float(array(layer.temperature)) == pytest.approx(0.05)
    assert np.abs(array(layer(X)) - (X > 0)).mean() < np.abs(before - (X > 0)).mean() / 4
    learner = layers.Step(temperature=0.5, train_temperature=True)
    model = keras.Sequential([keras.Input((1,)), learner])
    model.compile(keras.optimizers.Adam(0.1), "mse")
    x = np.linspace(-1, 1, 64, dtype="float32")[:, None]
    _fit(model, x, x > 0, 60)
    assert 0 < float(array(learner.temperature)) < 0.1


def _fit(model: keras.Model, x: np.ndarray, y: np.ndarray, steps: int) -> None:
    """Full-batch steps, as one epoch: an epoch costs more than a step."""
    x, y = (np.tile(a, (steps, 1)).astype("float32") for a in (x, y))
    model.fit(x, y, batch_size=len(x) // steps, shuffle=False, verbose=0)


def _separable() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(200, 2)).astype("float32")
    distance = x @ np.array([1.5, -2.0]) + 0.3
    keep = np.abs(distance) > 0.2
    return x[keep], (distance[keep] > 0).astype("float32")[:, None]


def _perceptron(**keywords) -> keras.Model:
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1), layers.Step(**keywords)])
    model.compile(keras.optimizers.Adam(0.05), "mse")
    return model


@pytest.mark.parametrize(
    "keywords",
    [{"temperature": 0.5}, {"temperature": 0.5, "forward": "hard"}],
    ids=["soft", "straight-through"],
)
def test_a_perceptron_learns_a_separable_set(keywords: dict) -> None:
    x, y = _separable()
    model = _perceptron(**keywords)
    assert ((array(model(x)) > 0.5) == y).mean() < 0.9
    _fit(model, x, y, 300)
    assert ((array(model(x)) > 0.5) == y).all()


# Keras says so too: it warns that there are no gradients.
@pytest.mark.filterwarnings("ignore:.*[Gg]radients.*:UserWarning")
def test_a_perceptron_with_a_hard_step_does_not_move() -> None:
    x, y = _separable()
    model = _perceptron(temperature=0.0)
    before = [array(weight.value) for weight in model.weights]
    errors = ((array(model(x)) > 0.5) != y).sum()
    assert errors > 0
    _fit(model, x, y, 20)
    for weight, value in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(array(weight.value), value)


def test_low_precision() -> None:
    for dtype in ("float16", "bfloat16", "mixed_float16"):
        for layer in LAYERS:
            config = layer.get_config() | {"dtype": dtype}
            value = type(layer).from_config(config)(X)
            expected = dtype.removeprefix("mixed_")
            assert keras.backend.standardize_dtype(value.dtype) == expected
            assert np.isfinite(array(value)).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: layers.Step(temperature=-1), r"`temperature` must be a finite number >= 0"),
        (lambda: layers.Sign(kernel="cubic"), r"`kernel` must be one of"),
        (lambda: layers.Sign(forward="both"), r"`forward` must be one of"),
        (lambda: layers.Round(unit=0), r"`unit` must be a finite number > 0; got 0"),
        (lambda: layers.Staircase([1.0, 0.0]), r"`thresholds` must rise strictly"),
        (lambda: layers.Staircase([1.0], [0.0]), r"`levels` must hold one number more"),
        (
            lambda: layers.Sign(temperature=0, train_temperature=True),
            r"`temperature` must be > 0 to be trained",
        ),
        (lambda: setattr(layers.Sign(), "temperature", 0), r"make a new layer.* Got 0\.0"),
        (lambda: setattr(layers.Sign(0), "temperature", 1), r"for a layer of temperature 0\.0"),
    ],
)
def test_bad_arguments_are_refused(make, message: str) -> None:
    with pytest.raises(BevelValueError, match=message):
        make()
