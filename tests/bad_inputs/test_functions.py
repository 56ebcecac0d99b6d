"""Bad input to `audit` and `relax`: what each row of the reliability table gets."""

from __future__ import annotations

import re

import keras
import numpy as np
import pytest
import tensorflow as tf

import bevel
from bevel.errors import BevelTypeError, BevelValueError, TraceError, UnknownOperationError

LABELS = np.array([0.0, 1.0, 1.0, 0.0], "float32")
CHANCES = np.array([0.2, 0.7, 0.4, 0.6], "float32")
SHARES = np.full((3, 3), 1 / 3, "float32")


def hits(y_true, y_pred):
    return tf.reduce_mean(y_true * tf.cast(y_pred > 0.5, "float32"))


def squared(y_true, y_pred):
    return tf.reduce_mean((tf.cast(y_true, "float32") - y_pred) ** 2)


def entropy(y_true, y_pred):
    return tf.reduce_mean(keras.losses.sparse_categorical_crossentropy(y_true, y_pred))


def guarded(y_true, y_pred):
    tf.debugging.assert_less(y_true, 1.0)
    return hits(y_true, y_pred)


def order(y_true, y_pred):
    return tf.reduce_mean(tf.cast(tf.argsort(y_pred), "float32") * y_true)


class Foreign:
    """What a tensor of another framework looks like from here."""

    shape = (4,)


Foreign.__module__ = "torch"

# A call, what it raises and what the message says.
BOTH = {
    "column": (squared, (LABELS, CHANCES[:, None]), BevelValueError, r"\(4,\).*\(4, 1\).*\(4, 4\)"),
    "row": (hits, (LABELS[:, None], CHANCES), BevelValueError, r"pass y_pred\[:, None\]"),
    "lengths": (squared, (LABELS[:3], CHANCES), TraceError, r"y_true float32 \(3,\), y_pred"),
    "dtypes": (hits, (LABELS.astype("float64"), CHANCES), TraceError, r"y_true float64 \(4,\)"),
    "label": (entropy, (np.array([0, 5, 1]), SHARES), BevelValueError, "label value of 5"),
    "assertion": (guarded, (LABELS, CHANCES), BevelValueError, "in guarded"),
    "integers": (hits, (LABELS, np.array([0, 1, 1, 0])), BevelTypeError, "dtype int64"),
    "foreign": (hits, (LABELS, Foreign()), BevelTypeError, "KERAS_BACKEND=torch"),
    "number": (squared, (LABELS, 0.3), BevelTypeError, "`y_pred` holds no array"),
    "class": (keras.metrics.AUC, (LABELS, CHANCES), BevelTypeError, "pass an instance"),
    "no function": (3, (LABELS, CHANCES), BevelTypeError, "must be a function"),
}


@pytest.mark.parametrize("name", BOTH)
def test_audit_and_relax_say_the_same(name):
    fn, args, error, words = BOTH[name]
    with pytest.raises(error, match=re.compile(words, re.DOTALL)):
        bevel.audit(fn, *args)
    with pytest.raises(error, match=re.compile(words, re.DOTALL)):
        bevel.relax(fn)(*args)


def test_a_column_that_is_meant_to_meet_a_row_is_no_accident():
    def pairs(y_true, y_pred):
        gaps = y_pred - y_pred[:, None]
        return tf.reduce_mean(tf.nn.relu(gaps) * tf.cast(y_true[:, None] > y_true, "float32"))

    assert bevel.audit(pairs, LABELS, CHANCES).verdict == "trains"


@pytest.mark.parametrize(
    ("temperature", "words"),
    [
        (tf.constant(-1.0), ">= 0"),
        (tf.Variable(float("nan")), "finite"),
        (tf.constant([0.1, 0.2]), r"scalar float; got shape \(2,\)"),
        (tf.constant(1), "dtype"),
    ],
    ids=["negative", "nan", "vector", "integer"],
)
def test_a_temperature_that_is_a_tensor_is_looked_at(temperature, words):
    with pytest.raises((BevelTypeError, BevelValueError), match=words):
        bevel.relax(hits, temperature=temperature)


@pytest.mark.parametrize("result", [float, np.asarray], ids=["float", "numpy"])
def test_a_black_box_may_return_a_number(result):
    def accuracy(y_true, y_pred):
        return result(np.mean((y_pred.numpy() > 0.5) == y_true.numpy()))

    report = bevel.audit(accuracy, LABELS, CHANCES)
    assert (report.verdict, report.findings[0].code) == ("blocked", "B104")


def test_python_code_on_the_way_is_named_even_where_it_trains():
    def doubled(y_true, y_pred):
        return tf.reduce_mean(tf.py_function(lambda p: 2 * p, [y_pred], tf.float32) - y_true)

    report = bevel.audit(doubled, LABELS, CHANCES)
    assert report.verdict == "trains"
    assert [(f.code, f.severity) for f in report.findings] == [("B104", "note")]


def test_an_order_too_large_for_the_memory_is_told_its_size():
    many = np.zeros(200_000, "float32")
    with pytest.raises(UnknownOperationError, match=r"149\.0 GiB"):
        bevel.relax(order)(many, many)


@pytest.mark.parametrize("seed", [-1, "x", True])
def test_a_seed_is_a_number(seed):
    with pytest.raises(BevelValueError, match="`seed` must be an integer"):
        bevel.audit(hits, LABELS, CHANCES, seed=seed)
