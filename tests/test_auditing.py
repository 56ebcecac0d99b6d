"""The audit's verdicts and findings: what it must see, and what it must not flag."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops as K

from bevel.auditing import audit
from bevel.errors import BevelTypeError, BevelValueError, TraceError

RNG = np.random.default_rng(0)
LABELS = (RNG.random(24) < 0.4).astype("float32")
CHANCES = RNG.uniform(0.05, 0.95, 24).astype("float32")
SCORES = RNG.normal(size=24).astype("float32")
SIGNS = np.sign(SCORES[::-1]).astype("float32")
ROWS = np.eye(4, dtype="float32")[RNG.integers(0, 4, 12)]
SHARES = RNG.dirichlet(np.ones(4), 12).astype("float32")


def codes(report, *severities):
    return [f.code for f in report.findings if not severities or f.severity in severities]


def hard_f1(y_true, y_pred):
    hard = tf.cast(y_pred > 0.5, tf.float32)
    hits = tf.reduce_sum(y_true * hard)
    return 2 * hits / (tf.reduce_sum(y_true) + tf.reduce_sum(hard))


def mse(y_true, y_pred):
    return tf.reduce_mean(tf.square(y_true - y_pred))


# What must be seen.


def test_a_dead_term_is_named_although_the_whole_trains():
    def loss(y_true, y_pred):
        return mse(y_true, y_pred) + 0.1 * hard_f1(y_true, y_pred)

    report = audit(loss, LABELS, CHANCES)
    assert report.verdict == "partial"
    (finding,) = [f for f in report.findings if f.severity == "error"]
    assert (finding.code, finding.op, finding.native_op) == ("B101", "greater", "Greater")
    assert finding.loc.function == "hard_f1"
    assert finding.loc.text[finding.loc.column : finding.loc.end_column] == "y_pred > 0.5"
    assert 0 < report.gradient.norm < 1


@pytest.mark.parametrize("weight", [1.0, 0.1])
def test_a_stopped_term_is_named_however_small(weight):
    def loss(y_true, y_pred):
        return mse(y_true, y_pred) + weight * mse(y_true, tf.stop_gradient(y_pred))

    report = audit(loss, LABELS, CHANCES)
    assert report.verdict == "partial"
    assert codes(report, "error") == ["B105"]


@pytest.mark.parametrize("seed", range(4))
def test_a_rare_hit_is_blocked_and_not_flat(seed):
    """One positive of twenty: hardly any prediction has it among its first three."""
    rng = np.random.default_rng(seed)
    wanted = np.eye(20, dtype="float32")[rng.integers(0, 20, 1)]

    def recall_at_3(y_true, y_pred):
        best = tf.math.top_k(y_pred, 3).indices
        return tf.reduce_mean(tf.reduce_sum(tf.gather(y_true, best, batch_dims=1), -1))

    report = audit(recall_at_3, wanted, rng.normal(size=(1, 20)).astype("float32"))
    assert report.verdict == "blocked"
    assert codes(report, "error") == ["B102"]


@pytest.mark.parametrize(
    ("loss", "op"),
    [
        (lambda y, p: tf.reduce_mean(tf.clip_by_value(p + 9.0, 0.0, 1.0) * y), "minimum"),
        (lambda y, p: tf.reduce_mean(tf.nn.relu(p - 99.0) + y), "relu"),
    ],
    ids=["clip", "relu"],
)
def test_what_is_flat_here_names_the_operation(loss, op):
    report = audit(loss, LABELS, SCORES)
    assert report.verdict == "flat"
    finding = report.findings[0]
    assert (finding.code, finding.op) == ("B201", op)
    assert finding.loc.function == "<lambda>"


def test_a_stopped_maximum_that_cancels_out_is_only_noted():
    def loss(y_true, y_pred):
        top = tf.stop_gradient(tf.reduce_max(y_pred))
        total = tf.math.log(tf.reduce_sum(tf.exp(y_pred - top))) + top
        return total - tf.reduce_mean(y_true * y_pred)

    report = audit(loss, LABELS, SCORES)
    assert (report.verdict, codes(report)) == ("trains", ["B402"])


def test_only_the_cut_nearest_to_the_prediction_is_named():
    def loss(y_true, y_pred):
        grade = tf.round(y_pred * 4)
        return tf.reduce_mean(
            tf.cast(tf.cast(grade, tf.int32) == tf.cast(y_true, tf.int32), tf.float32)
        )

    report = audit(loss, LABELS, CHANCES)
    assert report.verdict == "blocked"
    assert [f.op for f in report.findings if f.severity == "error"] == ["round"]


def test_a_branch_on_the_prediction_is_named_at_its_condition():
    def loss(y_true, y_pred):
        if tf.reduce_mean(y_pred) > 0.5:
            cost = tf.constant(3.0)
        else:
            cost = tf.constant(1.0)
        return cost

    report = audit(loss, LABELS, CHANCES)
    assert report.verdict == "blocked"
    assert codes(report, "error") == ["B107"]
    assert report.findings[0].loc.text.strip().startswith("if ")


def test_a_loop_over_rows_with_an_if_is_seen_through():
    def profit(y_true, y_pred):
        total = 0.0
        for i in tf.range(tf.shape(y_pred)[0]):
            if y_pred[i] > 0.5:
                total += y_true[i]
            else:
                total -= 0.1
        return total

    report = audit(profit, LABELS, CHANCES)
    assert report.verdict == "blocked"
    assert [f.op for f in report.findings if f.severity == "error"] == ["greater"]


@pytest.mark.parametrize(
    ("term", "code"),
    [
        (lambda p: tf.stop_gradient(tf.square(p)), "B105"),
        (lambda p: tf.cast(tf.cast(5 * p, tf.int32), tf.float32), "B103"),
        (lambda p: tf.numpy_function(lambda a: 3 * a, [p], tf.float32), "B104"),
        (lambda p: tf.cast(tf.argmax(tf.stack([p, 1 - p])), tf.float32), "B102"),
        (lambda p: tf.strings.to_number(tf.strings.as_string(p)), "B106"),
    ],
    ids=["stop_gradient", "cast", "numpy_function", "argmax", "strings"],
)
@pytest.mark.parametrize("alone", [True, False], ids=["alone", "beside-mse"])
def test_what_cuts_is_named_for_what_it_is(term, code, alone):
    def loss(y_true, y_pred):
        extra = tf.reduce_mean(tf.reshape(term(y_pred), [-1]))
        return extra if alone else 0.1 * mse(y_true, y_pred) + extra

    report = audit(loss, LABELS, CHANCES)
    assert report.verdict == ("blocked" if alone else "partial"), str(report)
    assert code in codes(report, "error"), str(report)


def test_a_py_function_with_a_step_inside_is_named():
    def loss(y_true, y_pred):
        return tf.reduce_mean(tf.abs(y_true - tf.py_function(tf.round, [y_pred], tf.float32)))

    report = audit(loss, LABELS, CHANCES)
    assert report.verdict == "blocked"
    assert codes(report, "error") == ["B104"]


@pytest.mark.parametrize(
    ("fn", "op", "code"),
    [
        (lambda y, p: tf.reduce_mean(tf.sqrt(tf.square(p - y))), "sqrt", "B301"),
        (lambda y, p: tf.norm(p - y), "sqrt", "B301"),
        (lambda y, p: tf.reduce_mean((p - y) ** 0.5 * 0 + p), "pow", "B301"),
        (lambda y, p: tf.reduce_mean(tf.where(p > y, tf.math.log(p - y), 0.0)), "log", "B302"),
        (lambda y, p: tf.reduce_mean(tf.where(p == y, 0.0, 1.0 / (p - y))), "divide", "B302"),
    ],
    ids=["sqrt", "norm", "pow", "where-log", "where-divide"],
)
def test_a_nonfinite_gradient_is_named_where_it_is_born(fn, op, code):
    y_true = np.zeros(3, "float32")
    y_pred = np.zeros(3, "float32") if op == "sqrt" else np.array([0.0, 1.0, 2.0], "float32")
    report = audit(lambda y, p: fn(y, p) * 2.0, y_true, y_pred)
    assert report.verdict == "nonfinite"
    assert report.gradient.nonfinite_share > 0
    assert (report.findings[0].op, report.findings[0].code) == (op, code), str(report)


def test_a_value_that_is_not_finite_is_named_where_it_is_made():
    report = audit(
        lambda y, p: tf.reduce_mean(tf.exp(p) - y), LABELS, np.full(24, 100.0, "float32")
    )
    assert (report.verdict, report.findings[0].code, report.findings[0].native_op) == (
        "nonfinite", "B303", "Exp",
    )  # fmt: skip


def test_disjoint_boxes_are_flat():
    def loss(y_true, y_pred):
        overlap = tf.nn.relu(
            tf.minimum(y_true[:, 1], y_pred[:, 1]) - tf.maximum(y_true[:, 0], y_pred[:, 0])
        )
        return 1 - tf.reduce_mean(overlap)

    starts = np.arange(5.0, dtype="float32")
    near, far = np.stack([starts, starts + 1], 1), np.stack([starts + 40, starts + 41], 1)
    assert audit(loss, near, far).verdict == "flat"


def test_a_loss_of_the_labels_alone_is_independent():
    report = audit(lambda y_true, y_pred: tf.reduce_sum(y_true), LABELS, CHANCES)
    assert report.verdict == "independent"
    assert codes(report) == ["B601"]


def test_a_wrong_declared_gradient_is_a_finding_of_its_own():
    @tf.custom_gradient
    def cube(x):
        return x**3, lambda upstream: -3 * upstream * x**2

    report = audit(lambda y_true, y_pred: tf.reduce_mean(cube(y_pred)), LABELS, CHANCES)
    assert "B401" in codes(report, "warning")


def test_a_declared_gradient_that_leaves_out_a_branch_is_told_by_what_is_missing():
    @tf.custom_gradient
    def leaky(x):
        return tf.nn.leaky_relu(x, 0.1), lambda upstream: upstream * tf.cast(x > 0, x.dtype)

    report = audit(lambda y_true, y_pred: mse(y_true, leaky(y_pred)), LABELS, SCORES)
    (finding,) = [f for f in report.findings if f.code == "B401"]
    assert "% of what the value does is not declared" in finding.message


STRAIGHT_THROUGH = {
    "one stop": lambda p: p + tf.stop_gradient(tf.round(p) - p),
    "two stops": lambda p: (p - tf.stop_gradient(p)) + tf.stop_gradient(tf.round(p)),
    "of the soft one only": lambda p: tf.round(p) - tf.stop_gradient(p) + p,
    "of a sum": lambda p: (lambda q: tf.round(q) - tf.stop_gradient(q) + q)(p + 0.1),
}


@pytest.mark.parametrize("way", STRAIGHT_THROUGH)
def test_a_straight_through_estimator_trains_and_is_noted(way):
    def loss(y_true, y_pred):
        return tf.reduce_mean(tf.square(y_true - STRAIGHT_THROUGH[way](y_pred)))

    report = audit(loss, LABELS, CHANCES)
    assert report.verdict == "trains", str(report)
    assert "B403" in codes(report, "note")


MEANT = {
    "a target": lambda y, v: mse(y[1:] + 0.9 * tf.stop_gradient(v[1:]), v[:-1]),
    "a weight": lambda y, p: tf.reduce_mean(
        tf.stop_gradient(tf.square(y - p)) * tf.abs(tf.math.log(p / (1 - p)) - y)
    ),
    "a normaliser": lambda y, p: mse(y, p / tf.stop_gradient(tf.reduce_max(p))),
}


@pytest.mark.parametrize("which", MEANT)
def test_a_stop_within_a_term_that_has_a_gradient_is_meant(which):
    report = audit(MEANT[which], LABELS, CHANCES)
    assert report.verdict == "trains", str(report)
    (finding,) = [f for f in report.findings if f.code == "B402"]
    assert "taken as meant" in finding.message


def test_a_loss_at_its_worst_is_no_optimum():
    def ring(y_true, y_pred):
        return tf.reduce_mean(tf.square(tf.abs(y_pred) - 1.0))

    start = np.zeros(8, "float32")
    assert audit(lambda y, p: ring(y, p) + 0.0 * y[0], LABELS[:8], start).verdict == "flat"
    assert audit(lambda y, p: mse(y * 0.0, p), LABELS[:8], start).verdict == "trains"


def test_a_step_beside_an_estimator_is_still_named():
    def loss(y_true, y_pred):
        hard = y_pred + tf.stop_gradient(tf.round(y_pred) - y_pred)
        return mse(y_true, hard) + tf.reduce_mean(tf.cast(y_pred > 0.3, tf.float32))

    report = audit(loss, LABELS, CHANCES)
    assert report.verdict == "partial"
    assert [f.op for f in report.findings if f.severity == "error"] == ["greater"]


def test_a_step_among_large_numbers_is_named():
    def loss(y_true, y_pred):
        over = tf.cast(y_pred > 2e5, tf.float32)
        return mse(y_true, y_pred / 1e5) + tf.reduce_mean(over)

    report = audit(loss, LABELS, 2e5 + 1e5 * SCORES)
    assert report.verdict == "partial"
    assert codes(report, "error") == ["B101"]


def test_labels_that_leave_the_graph_are_not_what_stops_a_gradient():
    def loss(y_true, y_pred):
        count = y_true.numpy().sum()
        return tf.reduce_sum(tf.abs(tf.round(y_pred) - y_true)) / count

    report = audit(loss, LABELS, CHANCES)
    assert report.verdict == "blocked"
    assert [(f.code, f.op) for f in report.findings if f.severity == "error"] == [("B101", "round")]
    assert "y_true.numpy()" in report.findings[-1].loc.text


def test_a_number_of_python_stops_a_gradient():
    def loss(y_true, y_pred):
        largest = float(tf.reduce_max(y_pred))
        return tf.square(largest - tf.reduce_mean(y_true))

    report = audit(loss, LABELS, CHANCES)
    assert report.verdict == "blocked"
    (finding,) = (f for f in report.findings if f.severity == "error")
    assert (finding.code, finding.native_op) == ("B104", "py:float")
    assert "float(" in finding.loc.text
    partial = audit(lambda t, p: mse(t, p) + 0.1 * loss(t, p), LABELS, CHANCES)
    assert partial.verdict == "partial"


def test_a_loop_over_rows_is_followed():
    def loss(y_true, y_pred):
        return tf.add_n([tf.abs(tf.round(p) - t) for t, p in zip(y_true, y_pred, strict=True)])

    report = audit(loss, LABELS[:4], CHANCES[:4])
    assert report.verdict == "blocked"
    assert [f.op for f in report.findings if f.severity == "error"] == ["round"]


def test_a_function_that_was_differentiated_before_is_audited_as_ever():
    @tf.function
    def loss(y_true, y_pred):
        return tf.reduce_mean(tf.square(tf.exp(y_pred) - y_true))

    with tf.GradientTape() as tape:
        y_pred = tf.constant(CHANCES)
        tape.watch(y_pred)
        value = loss(LABELS, y_pred)
    assert tape.gradient(value, y_pred) is not None
    assert audit(loss, LABELS, CHANCES).verdict == "trains"


def test_a_function_that_leaves_the_graph_is_watched_from_outside():
    def loss(y_true, y_pred):
        return tf.constant(float(np.mean((y_pred.numpy() > 0.5) != (y_true.numpy() > 0.5))))

    report = audit(loss, LABELS, CHANCES)
    assert report.verdict == "blocked"
    assert codes(report) == ["B104"]
    assert "numpy()" in report.findings[0].loc.text


# What must not be flagged.


@tf.custom_gradient
def _stable_softplus(x):
    return tf.math.log1p(tf.exp(x)), lambda upstream: upstream * tf.sigmoid(x)


def _focal(y_true, y_pred):
    share = tf.where(y_true > 0.5, y_pred, 1 - y_pred)
    return tf.reduce_mean(-((1 - share) ** 2) * tf.math.log(share))


def _huber(y_true, y_pred):
    error = tf.abs(y_true - y_pred)
    return tf.reduce_mean(tf.where(error <= 0.3, 0.5 * error**2, 0.3 * (error - 0.15)))


def _masked(y_true, y_pred):
    mask = tf.cast(y_true > 0.5, tf.float32)
    return tf.reduce_sum(mask * tf.square(y_pred - 1)) / tf.reduce_sum(mask)


def _piecewise(y_true, y_pred):
    error = y_pred - y_true
    return tf.reduce_mean(tf.where(error > 0, 2 * error, -error))


CONTROLS = {
    "mse": (mse, LABELS, CHANCES),
    "mae": (lambda y, p: tf.reduce_mean(tf.abs(y - p)), LABELS, CHANCES),
    "hinge": (lambda y, p: tf.reduce_mean(tf.nn.relu(1 - y * p)), SIGNS, SCORES),
    "squared-hinge": (lambda y, p: tf.reduce_mean(tf.nn.relu(1 - y * p) ** 2), SIGNS, SCORES),
    "huber": (_huber, LABELS, CHANCES),
    "keras-huber": (keras.losses.Huber(delta=0.3), LABELS, CHANCES),
    "pinball": (lambda y, p: K.mean(K.maximum(0.9 * (y - p), 0.1 * (p - y))), SCORES, CHANCES),
    "focal": (_focal, LABELS, CHANCES),
    "masked": (_masked, LABELS, CHANCES),
    "piecewise": (_piecewise, LABELS, CHANCES),
    "max-margin": (
        lambda y, p: tf.nn.relu(1 + tf.reduce_max(p - 9 * y) - tf.reduce_max(p - 9 * (1 - y))),
        LABELS,
        CHANCES,
    ),
    "top-k-values": (
        lambda y, p: tf.reduce_mean(tf.math.top_k((y - p) ** 2, 5).values),
        LABELS,
        CHANCES,
    ),
    "sorted": (lambda y, p: tf.reduce_mean((tf.sort(y) - tf.sort(p)) ** 2), LABELS, CHANCES),
    "clip-inside": (lambda y, p: mse(y, tf.clip_by_value(p, 0.0, 1.0)), LABELS, CHANCES),
    "cross-entropy": (keras.losses.BinaryCrossentropy(), LABELS, CHANCES),
    "softmax-cross-entropy": (
        lambda y, p: tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits(y, 5 * p)),
        ROWS,
        SHARES,
    ),
    "logsumexp": (lambda y, p: tf.reduce_logsumexp(p) - tf.reduce_sum(y * p), ROWS, SHARES),
    "soft-dice": (keras.losses.Dice(), ROWS, SHARES),
    "cosine": (keras.losses.CosineSimilarity(), ROWS, SHARES),
    "kl": (keras.losses.KLDivergence(), SHARES[::-1].copy(), SHARES),
    "wrapped-angle": (
        lambda y, p: tf.reduce_mean((tf.math.floormod(p - y + np.pi, 2 * np.pi) - np.pi) ** 2),
        SCORES[::-1].copy(),
        SCORES,
    ),
    "declared-and-right": (
        lambda y, p: tf.reduce_mean(_stable_softplus(p) - y * p),
        LABELS,
        SCORES,
    ),
    "mse-at-optimum": (mse, CHANCES, CHANCES),
    "mae-at-optimum": (lambda y, p: tf.reduce_mean(tf.abs(y - p)), CHANCES, CHANCES),
    "satisfied-hinge": (lambda y, p: tf.reduce_mean(tf.nn.relu(1 - y * p)), SIGNS, 3 * SIGNS),
}


@pytest.mark.parametrize("name", CONTROLS)
def test_no_false_alarm(name):
    report = audit(*CONTROLS[name])
    assert report.verdict == "trains", str(report)
    assert not codes(report, "error", "warning"), str(report)


def test_a_kink_is_explained_in_a_note():
    report = audit(*CONTROLS["hinge"])
    assert "B501" in codes(report, "note")


# Arguments.


def test_wrt_chooses_what_must_be_reached():
    def loss(scores, labels):
        return tf.reduce_mean(tf.abs(tf.round(scores) - labels))

    assert audit(loss, CHANCES, LABELS).wrt == ("scores",)  # by the names, by default
    assert audit(loss, CHANCES, LABELS, wrt="labels").verdict == "trains"
    for wrt in ("scores", 0, -2, ["scores"]):
        assert audit(loss, CHANCES, LABELS, wrt=wrt).verdict == "blocked"
    both = audit(loss, CHANCES, LABELS, wrt=("scores", "labels"))
    assert both.verdict == "partial"
    assert both.wrt == ("scores", "labels")


def test_the_same_seed_gives_the_same_report():
    reports = [audit(hard_f1, LABELS, CHANCES, seed=3) for _ in range(2)]
    assert reports[0] == reports[1]
    assert reports[0].gradient != audit(hard_f1, LABELS, CHANCES, seed=4).gradient


def test_the_smoothed_derivative_sees_what_the_gradient_does_not():
    gradient = audit(hard_f1, LABELS, CHANCES).gradient
    assert gradient.norm == 0
    assert gradient.zero_share == 1
    assert gradient.smoothed_norm > 3 * gradient.smoothed_error > 0


@pytest.mark.parametrize(
    ("y_pred", "error", "message"),
    [
        (
            np.array([0.1, np.nan], "float32"),
            BevelValueError,
            r"`y_pred` holds nan at index \(1,\)",
        ),
        (np.array([[0.1], [np.inf]], "float32"), BevelValueError, r"holds inf at index \(1, 0\)"),
        (np.array([0, 1]), BevelTypeError, r"`y_pred` has dtype int64.*Pass float32"),
        (np.zeros((0,), "float32"), BevelValueError, r"`y_pred` is empty \(shape \(0,\)\)"),
        (tf.TensorSpec((2,)), BevelValueError, "has no value, only a shape"),
    ],
    ids=["nan", "inf", "integers", "empty", "specification"],
)
def test_predictions_that_cannot_be_audited(y_pred, error, message):
    with pytest.raises(error, match=message):
        audit(
            lambda y_true, y_pred: tf.reduce_mean(y_true - y_pred), np.zeros(2, "float32"), y_pred
        )


def test_a_function_that_raises_is_blamed_at_its_own_line():
    def loss(y_true, y_pred):
        return tf.reduce_mean(tf.matmul(y_true, y_pred))

    with pytest.raises(TraceError) as caught:
        audit(loss, LABELS, CHANCES)
    assert "tf.matmul" in caught.value.loc.text


def test_a_loop_that_ends_only_here_does_not_hang_the_audit():
    def growth(y_true, y_pred):
        rounds, x = tf.constant(0.0), y_pred[0]
        while x < 10.0:  # never ends from a number below 0
            x = x * 1.5
            rounds += 1.0
        return tf.square(y_true[0] - rounds)

    report = audit(growth, np.float32([4.0]), np.float32([1.3]))
    assert report.verdict == "blocked", str(report)


def test_an_audit_does_not_print_what_the_function_prints(capfd):
    def talking(y_true, y_pred):
        total = tf.reduce_sum(y_true * tf.round(y_pred))
        tf.print("told:", total)
        for i in tf.range(3):
            tf.print("told:", y_pred[i])
            total += y_pred[i]
        if total > 1.0:
            tf.print("told:", total)
        return total

    assert audit(talking, LABELS, CHANCES).verdict == "partial"
    out, err = capfd.readouterr()
    assert (out + err).count("told:") == 0
