"""`MetricLoss`: one contract for Keras's 42 metrics, and what a loss owes to a training loop."""

from __future__ import annotations

from functools import partial

import keras
import numpy as np
import pytest
import tensorflow as tf

from bevel import frontends
from bevel.errors import BevelTypeError, BevelValueError
from bevel.losses import MetricLoss
from bevel.losses.conventions import CONVENTIONS
from tests.descent import LINKS
from tests.keras_metrics import NAMES, Largest, draw, make

LABELS = np.array([[1.0], [0.0], [1.0], [0.0], [0.0]], "float32")
CHANCES = np.array([[0.9], [0.2], [0.4], [0.6], [0.1]], "float32")


def inputs(name, seed=0):
    drawn = draw(name, seed)
    return tf.constant(drawn.y_true), LINKS[drawn.link](tf.constant(drawn.z))


def value_and_gradient(loss, y_true, y_pred, **kwargs):
    y_pred = tf.convert_to_tensor(y_pred)
    with tf.GradientTape() as tape:
        tape.watch(y_pred)
        value = loss(y_true, y_pred, **kwargs)
    return value, tape.gradient(value, y_pred)


def hard(name, y_true, y_pred):
    metric = make(name)
    metric.update_state(y_true, y_pred)
    return float(np.mean(metric.result()))


# What each of the 42 owes.


def test_all_of_keras_metrics_are_here():
    assert len(NAMES) == 42
    assert set(CONVENTIONS) == set(NAMES)


# The same sums as those of `MeanIoU` and `RecallAtPrecision`, which are looked at each time.
ALIKE = {
    "BinaryIoU", "IoU", "OneHotIoU", "OneHotMeanIoU", "PrecisionAtRecall",
    "SensitivityAtSpecificity",
}  # fmt: skip


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] * (n in ALIKE)) for n in NAMES]
)
def test_a_finite_gradient_arrives_and_the_hard_limit_is_the_metric(name):
    y, p = inputs(name)
    sign = -1 if CONVENTIONS[name].maximize else 1
    value, slope = value_and_gradient(MetricLoss(make(name)), y, p)
    assert value.shape == ()
    assert np.all(np.isfinite(slope))
    assert np.any(slope != 0)
    at_zero = MetricLoss(make(name), temperature=0.0)(y, p)
    assert float(at_zero) == pytest.approx(sign * hard(name, y, p), rel=1e-5, abs=1e-6)
    exact, _ = value_and_gradient(MetricLoss(make(name), forward="hard"), y, p)
    assert float(exact) == pytest.approx(float(at_zero), rel=1e-5, abs=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_it_survives_its_configuration(name):
    y, p = inputs(name)
    loss = MetricLoss(make(name), temperature=0.05, memory=0.5)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert again.get_config() == loss.get_config()
    assert float(again(y, p)) == pytest.approx(float(loss(y, p)), rel=1e-5, abs=1e-7)


# Weights and masks.


@pytest.mark.parametrize("name", ["F1Score", "AUC", "BinaryAccuracy", "MeanSquaredError"])
def test_a_row_of_weight_zero_is_as_if_it_were_not_there(name):
    weights = np.array([1.0, 1.0, 1.0, 1.0, 0.0], "float32")
    bad = CHANCES.copy()
    bad[4] = np.nan
    loss = MetricLoss(make(name), temperature=1e-4)
    value, slope = value_and_gradient(loss, LABELS, bad, sample_weight=weights)
    alone = MetricLoss(make(name), temperature=1e-4)(LABELS[:4], CHANCES[:4])
    assert float(value) == pytest.approx(float(alone), abs=2e-3)
    assert np.all(np.isfinite(slope))
    assert not np.any(slope[4])


def test_a_mask_is_a_weight():
    masked = tf.constant(CHANCES)
    keras.src.backend.set_keras_mask(masked, tf.constant([True, True, True, True, False]))
    loss = MetricLoss(make("BinaryAccuracy"))
    weights = np.array([1.0, 1.0, 1.0, 1.0, 0.0], "float32")
    weighted = loss(LABELS, CHANCES, sample_weight=weights)
    assert float(loss(LABELS, masked)) == pytest.approx(float(weighted))


def test_no_weight_at_all_is_a_finite_zero():
    value, slope = value_and_gradient(
        MetricLoss(make("F1Score")), LABELS, CHANCES, sample_weight=np.zeros(5, "float32")
    )
    assert float(value) == 0
    assert np.all(slope == 0)


# Degenerate batches.


@pytest.mark.parametrize("name", ["AUC", "F1Score", "Precision", "BinaryAccuracy", "MeanIoU"])
@pytest.mark.parametrize("rows", [0, 1])
def test_tiny_batches_are_finite(name, rows):
    y, p = inputs(name)
    value, slope = value_and_gradient(MetricLoss(make(name)), y[:rows], p[:rows])
    assert np.isfinite(value)
    assert np.all(np.isfinite(slope))


@pytest.mark.parametrize("name", ["AUC", "F1Score", "PrecisionAtRecall", "Recall"])
@pytest.mark.parametrize("label", [0.0, 1.0])
def test_one_class_only_is_finite(name, label):
    labels = np.full((5, 1), label, "float32")
    value, slope = value_and_gradient(MetricLoss(make(name)), labels, CHANCES)
    assert np.isfinite(value)
    assert np.all(np.isfinite(slope))


@pytest.mark.parametrize("name", ["AUC", "F1Score", "BinaryAccuracy", "BinaryCrossentropy"])
def test_chances_of_0_and_1_are_finite(name):
    value, slope = value_and_gradient(
        MetricLoss(make(name)), LABELS, np.array([[1.0], [0.0], [0.0], [1.0], [0.5]], "float32")
    )
    assert np.isfinite(value)
    assert np.all(np.isfinite(slope))


def test_nan_in_is_nan_out():
    bad = CHANCES.copy()
    bad[1] = np.nan
    loss = MetricLoss(lambda y_true, y_pred: tf.reduce_mean(y_pred * y_true), maximize=True)
    assert np.isnan(loss(LABELS, bad))


# What is wrong is said.

BAD = {
    "direction": (lambda: MetricLoss(lambda y_true, y_pred: y_pred), "higher or lower better"),
    "name": (lambda: MetricLoss("no_such_metric"), "knows no metric called"),
    "type": (lambda: MetricLoss(3), "must be a keras.metrics.Metric"),
    "memory": (lambda: MetricLoss("AUC", memory=1.0), "below 1"),
    "memory of a function": (
        lambda: MetricLoss(lambda y_true, y_pred: y_pred, maximize=True, memory=0.5),
        "a function has none",
    ),
    "temperature": (lambda: MetricLoss("AUC", temperature=-1.0), "temperature"),
    "link": (lambda: MetricLoss("AUC", from_logits="tanh"), "'sigmoid' or 'softmax'"),
    "columns": (lambda: MetricLoss("AUC")(LABELS, np.ones((5, 3), "float32")), r"\(5, 3\)"),
    "rows": (lambda: MetricLoss("AUC")(LABELS[:4], CHANCES), "same shape"),
    "integers": (lambda: MetricLoss("AUC")(LABELS, np.ones((5, 1), "int32")), "floats"),
    "number": (lambda: MetricLoss("AUC")(1.0, 0.5), "single number"),
    "signed labels": (lambda: MetricLoss("AUC")(2 * LABELS - 1, CHANCES), r"\[-1.0, 1.0\]"),
    "soft labels": (lambda: MetricLoss("F1Score")(LABELS * 0.3, CHANCES), "expected only"),
    "logits": (lambda: MetricLoss("AUC")(LABELS, CHANCES * 9), "from_logits=True"),
    "class": (
        lambda: MetricLoss("SparseCategoricalAccuracy")(
            np.array([0, 5]), np.full((2, 3), 1 / 3, "float32")
        ),
        r"holds 5 at index \(1,\); it must be a class in \[0, 3\)",
    ),
    "negative weight": (
        lambda: MetricLoss("AUC")(LABELS, CHANCES, sample_weight=-np.ones(5, "float32")),
        "finite and >= 0",
    ),
    "weights": (
        lambda: MetricLoss("AUC")(LABELS, CHANCES, sample_weight=np.ones(4, "float32")),
        "one weight for each row",
    ),
    "weights of a function": (
        lambda: MetricLoss(lambda y_true, y_pred: y_pred, maximize=True)(
            LABELS, CHANCES, sample_weight=np.ones(5, "float32")
        ),
        "takes no `sample_weight`",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_named(name):
    call, words = BAD[name]
    with pytest.raises((BevelValueError, BevelTypeError), match=words):
        call()


def test_a_class_that_does_not_exist_is_nan_in_compiled_code():
    loss = MetricLoss("SparseCategoricalAccuracy")
    compiled = tf.function(lambda y, p: loss(y, p), autograph=False)
    rows = tf.fill((2, 3), 1 / 3)
    assert np.isnan(compiled(tf.constant([0, 5]), rows))
    assert np.isfinite(compiled(tf.constant([0, 2]), rows))


def test_a_column_and_a_vector_are_the_same_batch():
    loss = MetricLoss("AUC")
    assert float(loss(LABELS[:, 0], CHANCES)) == pytest.approx(float(loss(LABELS, CHANCES)))


@pytest.mark.parametrize(("name", "link"), [("AUC", "sigmoid"), ("CategoricalAccuracy", "softmax")])
def test_logits_are_turned_into_what_the_metric_takes(name, link):
    drawn = draw(name, 0)
    from_chances = MetricLoss(make(name))(drawn.y_true, LINKS[link](drawn.z))
    for asked in (True, link):
        found = MetricLoss(make(name), from_logits=asked)(drawn.y_true, drawn.z)
        assert float(found) == pytest.approx(float(from_chances), rel=1e-5)


# Results of several numbers.


def test_several_results_are_reduced_as_asked():
    drawn = draw("F1Score", 0)
    p = LINKS["softmax"](drawn.z)
    each = MetricLoss(make("F1Score"), reduction=None)(drawn.y_true, p)
    assert each.shape == (3,)
    mean = MetricLoss(make("F1Score"))(drawn.y_true, p)
    total = MetricLoss(make("F1Score"), reduction="sum")(drawn.y_true, p)
    assert float(mean) == pytest.approx(float(tf.reduce_mean(each)))
    assert float(total) == pytest.approx(float(tf.reduce_sum(each)))


# Beyond the batch.


def test_a_function_is_saved_by_its_name():
    loss = MetricLoss(hits, maximize=True)
    assert MetricLoss.from_config(loss.get_config()).metric is hits
    with pytest.raises(BevelValueError, match="cannot be saved"):
        MetricLoss(lambda y, p: y * p, maximize=True).get_config()
    unknown = loss.get_config()
    unknown["metric"] |= {"module": "not_imported"}
    with pytest.raises(BevelValueError, match="import that module"):
        MetricLoss.from_config(unknown)


def hits(y_true, y_pred):
    return tf.reduce_mean(tf.cast((y_pred > 0.5) == (y_true > 0.5), "float32"))


def trained_on(loss, y, p):
    """The loss of a batch whose gradient is taken."""
    p = tf.constant(p)
    with tf.GradientTape() as tape:
        tape.watch(p)
        value = loss(y, p)
    assert np.any(tape.gradient(value, p))
    return float(value)


@pytest.mark.parametrize("compiled", [False, True, "xla", "inside"])
def test_memory_adds_what_earlier_batches_left(compiled):
    y, p = inputs("Precision")
    loss = MetricLoss(make("Precision"), memory=0.5)

    if compiled == "inside":  # the tape is outside of the compiled function
        inner = tf.function(lambda y, p: loss(y, p), autograph=False)
        step = partial(trained_on, inner)
    elif compiled:

        @tf.function(autograph=False, jit_compile=compiled == "xla")
        def compiled_step(y, p):
            with tf.GradientTape() as tape:
                tape.watch(p)
                value = loss(y, p)
            return value, tape.gradient(value, p)

        def step(y, p):
            return float(compiled_step(tf.constant(y), tf.constant(p))[0])
    else:
        step = partial(trained_on, loss)
    loss(y[:1], p[:1])  # what is not trained on is not remembered
    first = step(y[:32], p[:32])
    assert first == pytest.approx(float(MetricLoss(make("Precision"))(y[:32], p[:32])))
    loss(y[:5], p[:5])
    second = step(y[32:], p[32:])
    loss.reset()
    assert float(loss(y[:32], p[:32])) == pytest.approx(first)
    # by hand: the state of the second batch and half of that of the first
    parts = [MetricLoss(make("Precision")) for _ in range(2)]
    states = []
    for part, rows in zip(parts, (slice(32), slice(32, None)), strict=True):
        part(y[rows], p[rows])
        states.append([float(s[0]) for s in part._update(y[rows], p[rows])])
    hits, alarms = (0.5 * a + b for a, b in zip(*states, strict=True))
    assert second == pytest.approx(-hits / (hits + alarms), rel=1e-5)


def test_memory_without_a_state_that_adds_up_is_refused():
    assert float(MetricLoss(Largest(), maximize=True)(LABELS, CHANCES)) == pytest.approx(-0.9)
    with pytest.raises(BevelValueError, match="does not add up"):
        MetricLoss(Largest(), maximize=True, memory=0.5)(LABELS, CHANCES)


def test_replicas_cannot_make_the_memory_in_a_compiled_step(monkeypatch):
    loss = MetricLoss(make("Precision"), memory=0.5)
    monkeypatch.setattr(frontends.executor(), "replicas", lambda: 2)
    with pytest.raises(BevelValueError, match=r"call the loss once .* strategy\.scope"):
        tf.function(lambda y, p: loss(y, p), autograph=False)(LABELS, CHANCES)


# In a training loop.


def small_model(**settings):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, activation="sigmoid")])
    model.compile(optimizer=keras.optimizers.Adam(0.05), **settings)
    return model


def rows(count=100):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(count, 4)).astype("float32")
    return x, (x[:, :1] + x[:, 1:2] > 0.5).astype("float32")


@pytest.mark.parametrize(
    "settings",
    [{}, {"jit_compile": True}, {"run_eagerly": True}],
    ids=["graph", "xla", "eager"],
)
def test_a_model_is_fitted_with_a_ragged_last_batch(settings):
    keras.utils.set_random_seed(0)
    x, y = rows()
    loss = MetricLoss(make("BinaryAccuracy"), memory=0.5)
    model = small_model(loss=loss, metrics=["binary_accuracy"], **settings)
    epochs = 3 if "run_eagerly" in settings else 15
    history = model.fit(x, y, batch_size=32, epochs=epochs, verbose=0).history
    remembered = [v.numpy() for v in loss._earlier]
    assert sum(remembered).any()
    model.evaluate(x[:50], y[:50], batch_size=25, verbose=0)
    np.testing.assert_array_equal(remembered, [v.numpy() for v in loss._earlier])
    assert history["binary_accuracy"][-1] > history["binary_accuracy"][0]
    assert np.isfinite(history["loss"]).all()


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(policy):
    keras.utils.set_random_seed(0)
    x, y = rows()
    keras.mixed_precision.set_dtype_policy(policy)
    try:
        model = small_model(loss=MetricLoss(make("F1Score")))
        history = model.fit(x, y, batch_size=50, epochs=5, verbose=0).history
    finally:
        keras.mixed_precision.set_dtype_policy("float32")
    assert np.isfinite(history["loss"]).all()
    assert history["loss"][-1] < history["loss"][0]


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_it_is_saved_with_the_model(tmp_path):
    x, y = rows()
    model = small_model(loss=MetricLoss("AUC", temperature=0.2, memory=0.9))
    model.fit(x, y, epochs=1, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert isinstance(again.loss, MetricLoss)
    assert again.loss.get_config() == model.loss.get_config()
    again.fit(x, y, epochs=1, verbose=0)


def test_another_temperature_needs_no_new_trace():
    traced = []

    def accuracy(y_true, y_pred):
        traced.append(1)
        return tf.reduce_mean(tf.cast((y_pred > 0.5) == (y_true > 0.5), "float32"))

    loss = MetricLoss(accuracy, maximize=True)
    compiled = tf.function(lambda y, p: loss(y, p), autograph=False)
    before = compiled(LABELS, CHANCES)
    count = len(traced)
    loss.temperature.assign(1e-4)
    assert float(compiled(LABELS, CHANCES)) == pytest.approx(-0.6, abs=1e-2)
    assert float(before) != pytest.approx(-0.6, abs=1e-2)
    assert len(traced) == count


def test_float16_predictions_sum_up_without_overflow():
    many = np.full((70_000, 1), 0.9, "float16")
    value, slope = value_and_gradient(MetricLoss("TruePositives"), np.ones_like(many), many)
    assert -float(value) == pytest.approx(70_000, rel=0.05)
    assert np.all(np.isfinite(slope))
