"""`relax` as a whole: values, gradients, branches, loops, declared gradients, errors."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops as K

import bevel
from bevel.errors import BevelTypeError, BevelValueError, TraceError, UnknownOperationError
from bevel.relaxation import relax

RNG = np.random.default_rng(1)
LABELS = (RNG.random(32) < 0.4).astype("float32")
CHANCES = RNG.uniform(0.05, 0.95, 32).astype("float32")
ROWS = np.eye(4, dtype="float32")[RNG.integers(0, 4, 16)]
SHARES = RNG.dirichlet(np.ones(4), 16).astype("float32")
SCORES = RNG.normal(size=16).astype("float32")


def f1(y_true, y_pred):
    hard = tf.cast(y_pred > 0.5, tf.float32)
    hits = tf.reduce_sum(y_true * hard)
    return 2 * hits / (tf.reduce_sum(y_true) + tf.reduce_sum(hard))


def accuracy(y_true, y_pred):
    return K.mean(K.equal(K.argmax(y_true, -1), K.argmax(y_pred, -1)))


def confusion(y_true, y_pred):
    table = tf.math.confusion_matrix(tf.argmax(y_true, 1), tf.argmax(y_pred, 1), 4)
    return tf.linalg.trace(tf.cast(table, tf.float32)) / 16


def profit(y_true, y_pred):
    total = 0.0
    for i in tf.range(tf.shape(y_pred)[0]):
        if y_pred[i] > 0.5:
            total += 3.0 * y_true[i] - 1.0
        elif y_pred[i] > 0.25:
            total += 0.2
    return total


def segment_rate(y_true, y_pred):
    bins = tf.cast(y_pred * 5, tf.int32)
    counts = tf.math.unsorted_segment_sum(1 + y_true, bins, 6)
    return tf.reduce_sum(counts * tf.constant([0.0, 1.0, 2.0, 3.0, 4.0, 5.0]))


def quantised(y_true, y_pred):
    return tf.reduce_mean(tf.abs(y_true - tf.round(y_pred * 4) / 4))


def coded(y_true, y_pred):
    codes = tf.constant([-1.0, 0.0, 2.0])
    nearest = tf.argmin(tf.abs(y_pred[:, None] - codes), axis=1)
    return tf.reduce_mean(tf.square(y_true - tf.gather(codes, nearest)))


def recalled(y_true, y_pred):
    hits = tf.math.in_top_k(tf.argmax(y_true, 1, tf.int32), y_pred, 2)
    return tf.reduce_mean(tf.cast(hits, tf.float32))


def binned(y_true, y_pred):
    counts = tf.math.bincount(tf.cast(tf.floor(y_pred * 4), tf.int32), minlength=4, maxlength=4)
    return tf.reduce_sum(tf.cast(counts, tf.float32) * [0.0, 1.0, 4.0, 9.0])


def any_positive(y_true, y_pred):
    rows = tf.reshape(y_pred > 0.6, (8, 4))
    wanted = tf.reshape(y_true > 0.5, (8, 4))
    return tf.reduce_mean(tf.cast(tf.reduce_any(rows, 1) == tf.reduce_any(wanted, 1), tf.float32))


METRICS = {
    "f1": (f1, LABELS, CHANCES),
    "accuracy": (accuracy, ROWS, SHARES),
    "confusion": (confusion, ROWS, SHARES),
    "profit": (profit, LABELS, CHANCES),
    "segments": (segment_rate, LABELS, CHANCES),
    "quantised": (quantised, LABELS, CHANCES),
    "coded": (coded, SCORES[::-1].copy(), SCORES),
    "in-top-k": (recalled, ROWS, SHARES),
    "bincount": (binned, LABELS, CHANCES),
    "any": (any_positive, LABELS, CHANCES),
}


def gradient(fn, y_true, y_pred):
    p = tf.constant(y_pred)
    with tf.GradientTape() as tape:
        tape.watch(p)
        value = fn(tf.constant(y_true), p)
    return value, tape.gradient(value, p)


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize(
    "mode",
    ["eager", "graph", pytest.param("xla", marks=pytest.mark.slow)],
)
def test_a_finite_gradient_arrives(name, mode):
    if (name, mode) == ("profit", "xla"):
        pytest.skip("XLA differentiates loops only with a known number of rounds")
    fn, y_true, y_pred = METRICS[name]
    relaxed = relax(fn)
    call = relaxed
    if mode != "eager":
        call = tf.function(relaxed, jit_compile=mode == "xla", autograph=False)
    value, found = gradient(call, y_true, y_pred)
    assert np.isfinite(value)
    assert np.all(np.isfinite(found))
    assert np.mean(found.numpy() != 0) > 0.7


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("kernel", ["logistic", "arctan", "algebraic", "linear", "gaussian"])
def test_the_soft_value_tends_to_the_hard_one(name, kernel):
    fn, y_true, y_pred = METRICS[name]
    hard = float(fn(tf.constant(y_true), tf.constant(y_pred)))
    gaps = [
        abs(float(relax(fn, temperature=t, kernel=kernel)(y_true, y_pred)) - hard)
        for t in (1e-3, 1e-6)
    ]
    assert gaps[1] <= gaps[0] + 1e-5
    assert gaps[1] < 1e-3 * max(1, abs(hard))


@pytest.mark.parametrize("name", METRICS)
def test_temperature_zero_is_the_function_itself(name):
    fn, y_true, y_pred = METRICS[name]
    hard = tf.function(fn)(tf.constant(y_true), tf.constant(y_pred))
    assert relax(fn, temperature=0)(y_true, y_pred) == hard


@pytest.mark.parametrize("name", METRICS)
def test_forward_hard_is_exact_with_the_gradient_of_the_soft_value(name):
    fn, y_true, y_pred = METRICS[name]
    hard = tf.function(fn)(tf.constant(y_true), tf.constant(y_pred))
    value, found = gradient(relax(fn, forward="hard"), y_true, y_pred)
    _, soft = gradient(relax(fn), y_true, y_pred)
    assert value == hard
    np.testing.assert_allclose(found, soft, rtol=1e-5, atol=1e-7)


def test_the_soft_value_of_a_simple_metric_is_the_formula():
    p = tf.constant([0.2, 0.6, 0.9])
    relaxed = relax(lambda y_true, y_pred: tf.cast(y_pred > 0.5, tf.float32), kernel="logistic")
    spread = np.mean(np.abs(p.numpy() - 0.5))
    expected = 1 / (1 + np.exp(-(p.numpy() - 0.5) / (0.1 * spread)))
    np.testing.assert_allclose(relaxed(p, p), expected, rtol=1e-6)


def test_a_metric_linear_in_truths_stays_linear_in_their_chances():
    def errors(y_true, y_pred):
        return tf.reduce_mean(tf.square(y_true - tf.cast(y_pred > 0.5, tf.float32)))

    chances = relax(lambda y_true, y_pred: tf.cast(y_pred > 0.5, tf.float32))(LABELS, CHANCES)
    expected = np.mean(np.where(LABELS == 1, 1 - chances, chances))
    np.testing.assert_allclose(relax(errors)(LABELS, CHANCES), expected, rtol=1e-5)


def test_the_spread_makes_a_temperature_mean_the_same_in_every_unit():
    def share(y_true, y_pred):
        return tf.reduce_mean(tf.cast(y_pred > y_true, tf.float32))

    values = [float(relax(share)(k * LABELS, k * CHANCES)) for k in (1e-6, 1.0, 1e9)]
    np.testing.assert_allclose(values, values[0], rtol=1e-4)


def test_the_structure_of_results_is_kept():
    def both(y_true, y_pred):
        return {"f1": f1(y_true, y_pred), "parts": (tf.reduce_sum(y_pred), tf.shape(y_pred)[0])}

    result = relax(both)(LABELS, CHANCES)
    assert set(result) == {"f1", "parts"}
    assert isinstance(result["parts"], tuple)
    assert int(result["parts"][1]) == 32


def test_it_traces_once_for_each_signature():
    traces = []

    def counted(y_true, y_pred):
        traces.append(y_pred.shape)
        return f1(y_true, y_pred)

    relaxed = relax(counted)
    for _ in range(3):
        relaxed(LABELS, CHANCES)
    assert len(traces) == 1
    relaxed(LABELS[:8], CHANCES[:8])
    assert len(traces) == 2


def test_the_temperature_may_be_a_variable():
    temperature = tf.Variable(0.5)
    relaxed = relax(f1, temperature=temperature)
    soft = float(relaxed(LABELS, CHANCES))
    temperature.assign(1e-6)
    hard = float(f1(tf.constant(LABELS), tf.constant(CHANCES)))
    assert abs(float(relaxed(LABELS, CHANCES)) - hard) < 1e-3 < abs(soft - hard)


def test_a_loop_used_eagerly_compiles_with_xla_later():
    def hits(y_true, y_pred):
        total = 0.0
        for i in tf.range(tf.shape(y_pred)[0]):
            if y_pred[i] > 0.5:
                total += y_true[i]
        return total

    y, p = np.array([0.0, 1.0, 1.0], "float32"), np.array([0.2, 0.6, 0.4], "float32")
    relaxed = relax(hits)
    value, slope = gradient(relaxed, y, p)

    @tf.function(jit_compile=True)
    def compiled(y, p):
        with tf.GradientTape() as tape:
            tape.watch(p)
            value = relaxed(y, p)
        return value, tape.gradient(value, p)

    again, compiled_slope = compiled(tf.constant(y), tf.constant(p))
    assert float(again) == pytest.approx(float(value))
    assert compiled_slope.numpy() == pytest.approx(slope.numpy(), rel=1e-4)


@pytest.mark.parametrize("jit_compile", [False, True])
def test_it_serves_as_a_loss_of_a_keras_model(jit_compile):
    keras.utils.set_random_seed(0)
    x = RNG.normal(size=(100, 3)).astype("float32")
    y = (x @ [1.0, -2.0, 0.5] > 0).astype("float32")[:, None]

    def errors(y_true, y_pred):
        return K.mean(K.cast(K.not_equal(y_pred > 0.5, y_true > 0.5), "float32"))

    model = keras.Sequential([keras.layers.Dense(1, activation="sigmoid")])
    model.compile(
        optimizer=keras.optimizers.Adam(0.05), loss=relax(errors), jit_compile=jit_compile
    )
    model.fit(x, y, epochs=30, batch_size=30, verbose=0)  # 100 = 3 * 30 + 10: a ragged last batch
    assert float(errors(y, model.predict(x, verbose=0))) < 0.05


def test_gradients_reach_variables_that_the_function_closes_over():
    weight = tf.Variable(2.0)

    def loss(y_true, y_pred):
        return weight * tf.reduce_mean(tf.cast(y_pred > 0.5, tf.float32))

    relaxed = relax(loss)
    with tf.GradientTape() as tape:
        value = relaxed(LABELS, CHANCES)
    np.testing.assert_allclose(tape.gradient(value, weight), value / 2.0, rtol=1e-6)


# Branches and what they must not leak.


def test_a_branch_is_blended():
    def fee(y_true, y_pred):
        if tf.reduce_mean(y_pred) > 0.4:
            cost = 10.0 * tf.reduce_sum(y_pred)
        else:
            cost = tf.constant(1.0)
        return cost

    for kernel in ("logistic", "algebraic"):
        value, found = gradient(relax(fee, kernel=kernel), LABELS, CHANCES)
        assert np.isfinite(value)
        assert np.all(found != 0)


def test_nan_in_the_branch_not_taken_does_not_leak():
    def loss(y_true, y_pred):
        return tf.reduce_sum(tf.where(y_pred > 0.0, tf.sqrt(y_pred), tf.math.log(1.0 - y_pred)))

    value, found = gradient(relax(loss), LABELS[:4], np.array([-1.0, 0.0, 0.5, 2.0], "float32"))
    assert np.isfinite(value)
    assert np.all(np.isfinite(found))


def test_nan_that_goes_in_comes_out():
    p = CHANCES.copy()
    p[3] = np.nan
    assert np.isnan(relax(f1)(LABELS, p))


@pytest.mark.parametrize(
    "fn",
    [
        lambda y, p: tf.norm(p - p),
        lambda y, p: tf.reduce_sum(tf.sqrt(tf.nn.relu(p - 2.0))),
        lambda y, p: tf.reduce_sum(tf.where(p > 2.0, 1.0 / (p - CHANCES), p)),
        lambda y, p: tf.reduce_sum(tf.where(p > 2.0, tf.math.log(p - CHANCES), p)),
    ],
    ids=["norm", "sqrt", "divide", "log"],
)
def test_singular_points_let_no_nan_through(fn):
    _, found = gradient(relax(fn), LABELS, CHANCES)
    assert np.all(np.isfinite(found))


# Declared gradients are respected.


def test_stop_gradient_is_respected():
    def loss(y_true, y_pred):
        return tf.reduce_sum(y_pred * tf.stop_gradient(tf.round(y_pred)))

    value, found = gradient(relax(loss), LABELS, CHANCES)
    np.testing.assert_allclose(value, np.sum(CHANCES * np.round(CHANCES)), rtol=1e-6)
    np.testing.assert_allclose(found, np.round(CHANCES))


def test_a_custom_gradient_is_respected():
    @tf.custom_gradient
    def clipped_sign(x):
        return tf.sign(x), lambda upstream: upstream * tf.cast(tf.abs(x) < 1, x.dtype) * 7.0

    value, found = gradient(relax(lambda y, p: tf.reduce_sum(clipped_sign(p))), SCORES, SCORES)
    assert value == np.sum(np.sign(SCORES))
    np.testing.assert_allclose(found, 7.0 * (np.abs(SCORES) < 1))


def test_a_declared_gradient_may_use_what_the_value_does_not():
    @tf.custom_gradient
    def spike(x):
        slope = tf.sigmoid(4.0 * x)  # used on the way back only
        return tf.cast(x > 0.0, tf.float32), lambda upstream: upstream * slope * (1.0 - slope)

    value, found = gradient(relax(lambda y, p: tf.reduce_sum(spike(p))), SCORES, SCORES)
    slope = 1 / (1 + np.exp(-4.0 * SCORES))
    assert value == np.sum(SCORES > 0)
    np.testing.assert_allclose(found, slope * (1 - slope), rtol=1e-5, atol=1e-6)


def test_what_has_no_declared_gradient_is_cut_off():
    labels = RNG.integers(1, 4, (3, 4)).astype("int32")
    logits = RNG.normal(size=(3, 12, 5)).astype("float32")

    def ctc(y_true, y_pred):
        return tf.reduce_mean(
            tf.nn.ctc_loss(
                y_true, y_pred, tf.fill([3], 4), tf.fill([3], 12),
                logits_time_major=False, blank_index=0,
            )
        )  # fmt: skip

    value, found = gradient(relax(ctc, wrt=1), labels, logits)
    expected, reference = gradient(ctc, labels, logits)
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    np.testing.assert_allclose(found, reference, rtol=1e-5, atol=1e-7)
    assert bevel.audit(ctc, labels, logits, wrt=1).ok


def test_how_large_a_confusion_matrix_is_stays_hard():
    def trace(y_true, y_pred):
        table = tf.math.confusion_matrix(tf.argmax(y_true, 1), tf.argmax(y_pred, 1))
        return tf.linalg.trace(tf.cast(table, tf.float32)) / 16

    np.testing.assert_allclose(relax(trace)(ROWS, SHARES), relax(confusion)(ROWS, SHARES))


# Dtypes and edges.


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_other_floats(dtype):
    y, p = tf.cast(LABELS, dtype), tf.cast(CHANCES, dtype)
    relaxed = relax(lambda y, p: tf.reduce_mean(tf.cast(p > 0.5, dtype) * y))
    with tf.GradientTape() as tape:
        tape.watch(p)
        value = relaxed(y, p)
    found = tape.gradient(value, p)
    assert value.dtype == found.dtype == dtype
    assert np.all(np.isfinite(tf.cast(found, "float32")))
    assert np.any(found != 0)


@pytest.mark.parametrize("temperature", [1e-38, 1e-12, 1e12])
def test_extreme_temperatures_stay_finite(temperature):
    value, found = gradient(relax(f1, temperature=temperature), LABELS, CHANCES)
    assert np.isfinite(value)
    assert np.all(np.isfinite(found))


def test_ties_and_equal_predictions_have_a_finite_gradient():
    value, found = gradient(relax(f1), LABELS, np.full(32, 0.5, "float32"))
    assert np.isfinite(value)
    assert np.all(np.isfinite(found))
    assert len({float(g) for g in found.numpy()[LABELS == 1]}) == 1


# Errors.


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"temperature": -1.0}, BevelValueError, r"finite number >= 0; got -1\.0"),
        ({"temperature": float("nan")}, BevelValueError, "finite number >= 0; got nan"),
        ({"temperature": float("inf")}, BevelValueError, "finite number >= 0; got inf"),
        ({"temperature": "hot"}, BevelTypeError, "a number or a scalar tensor; got str"),
        ({"kernel": "cubic"}, BevelValueError, "`kernel` must be one of logistic, .*; got 'cubic'"),
        ({"forward": "firm"}, BevelValueError, "`forward` must be one of soft, hard; got 'firm'"),
        ({"on_unknown": "skip"}, BevelValueError, "`on_unknown` must be one of error, keep"),
    ],
)
def test_settings_that_cannot_be_used(arguments, error, message):
    with pytest.raises(error, match=message):
        relax(f1, **arguments)


def test_what_is_no_function_is_refused():
    with pytest.raises(BevelTypeError, match="`fn` must be a function; got str"):
        relax("f1")


def test_an_unknown_wrt_is_refused():
    with pytest.raises(BevelValueError, match=r"`wrt` names 'scores', but .* y_true, y_pred"):
        relax(f1, wrt="scores")(LABELS, CHANCES)


def distinct(y_true, y_pred):
    return tf.cast(tf.size(tf.unique(tf.round(y_pred)).y), tf.float32)


def text(y_true, y_pred):
    return tf.reduce_sum(tf.strings.to_number(tf.strings.as_string(y_pred)))


def black_box(y_true, y_pred):
    return tf.reduce_sum(tf.numpy_function(np.round, [y_pred], tf.float32))


def steps(y_true, y_pred):
    taken = tf.boolean_mask(y_true, y_pred > 0.5)
    return tf.reduce_sum(tf.abs(taken[2:] - taken[:-2]))


def turned(y_true, y_pred):
    return tf.reduce_sum(tf.boolean_mask(y_true, y_pred > 0.5)[::-1] * tf.constant(2.0))


UNKNOWN = {
    "reversed": turned,
    "unique": distinct,
    "strings": text,
    "numpy": black_box,
    "neighbours": steps,
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_has_no_rule_is_an_error_at_the_users_line(name):
    fn = UNKNOWN[name]
    with pytest.raises(UnknownOperationError, match="relax has no rule for") as caught:
        relax(fn)(LABELS, CHANCES)
    assert caught.value.loc.function == fn.__name__
    assert 'on_unknown="keep"' in str(caught.value)


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_has_no_rule_can_be_kept_as_a_constant(name):
    fn = UNKNOWN[name]

    def loss(y_true, y_pred):
        return fn(y_true, y_pred) + tf.reduce_sum(y_pred)

    value, found = gradient(relax(loss, on_unknown="keep"), LABELS, CHANCES)
    np.testing.assert_allclose(value, loss(LABELS, tf.constant(CHANCES)), rtol=1e-6)
    np.testing.assert_array_equal(found, np.ones(32))
    assert "kept as it is" in str(relax(loss, on_unknown="keep").explain(LABELS, CHANCES))


def test_a_function_that_leaves_the_graph_is_a_trace_error():
    with pytest.raises(TraceError, match="leaves the graph"):
        relax(lambda y_true, y_pred: float(np.mean(y_pred.numpy())))(LABELS, CHANCES)


# Explanations.


def test_explain_says_line_by_line_what_was_replaced():
    explanation = relax(f1).explain(LABELS, CHANCES)
    assert [e.op for e in explanation.entries] == ["greater"]
    printed = str(explanation)
    assert "y_pred > 0.5" in printed
    assert "^^^^^^^^^^^^" in printed
    assert "greater becomes K((x - y) / (temperature * spread))" in printed


def test_explain_says_when_there_is_nothing_to_do():
    printed = str(
        relax(lambda y_true, y_pred: tf.reduce_mean(y_true * y_pred)).explain(LABELS, CHANCES)
    )
    assert "needs no relaxing" in printed


def test_the_public_name_is_the_same():
    assert bevel.relax is relax


def test_positions_are_moved_without_a_vectorised_map():
    """XLA compiles what TensorFlow makes of one anew for each batch, at seconds a step."""
    relaxed = relax(
        lambda y, p: tf.reduce_mean(tf.gather(y, tf.argsort(p, direction="DESCENDING")[:4])), wrt=1
    )
    row = tf.TensorSpec([24], tf.float32)
    graph = tf.function(relaxed).get_concrete_function(row, row).graph
    called = [graph, *(f.graph for f in graph._functions.values() if hasattr(f, "graph"))]
    # the loop variable of a vectorised map
    assert not {op.name for g in called for op in g.get_operations() if "Default" in op.type}
