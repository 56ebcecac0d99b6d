"""Broadcast accidents are told from shapes that are meant to meet."""

from __future__ import annotations

import pytest
import tensorflow as tf

from bevel import trace
from bevel.broadcasting import check_broadcasts
from bevel.errors import BevelValueError


def check(fn, *shapes):
    program = trace(fn, *(tf.TensorSpec(s, tf.float32) for s in shapes))
    check_broadcasts(program, ("y_true", "y_pred"))


@tf.function
def nested(y_true, y_pred):
    return y_true - y_pred


ACCIDENTS = {
    "difference": (lambda y, p: y - p, (5,), (5, 1)),
    "turned": (lambda y, p: y - p, (5, 1), (5,)),
    "comparison": (lambda y, p: tf.cast(tf.round(p), "int32") == tf.cast(y, "int32"), (5,), (5, 1)),
    "threshold": (lambda y, p: y * tf.cast(p > 0.5, "float32"), (5,), (5, 1)),
    "open": (lambda y, p: y - p, (None,), (None, 1)),
    "nested": (lambda y, p: nested(y, p), (5,), (5, 1)),
}
FINE = {
    "same": (lambda y, p: y - p, (5, 1), (5, 1)),
    "one": (lambda y, p: y - p, (1,), (1, 1)),
    "squeezed": (lambda y, p: y - tf.squeeze(p, -1), (5,), (5, 1)),
    "pairs": (lambda y, p: y - p[:, None], (5,), (5,)),
    "columns": (lambda y, p: y - p, (3,), (5, 3)),
    "itself": (lambda y, p: p - tf.transpose(p), (5,), (5, 1)),
}


@pytest.mark.parametrize("name", ACCIDENTS)
def test_an_accident_is_found(name):
    fn, *shapes = ACCIDENTS[name]
    with pytest.raises(BevelValueError, match="they broadcast to"):
        check(fn, *shapes)


@pytest.mark.parametrize("name", FINE)
def test_what_is_meant_is_left_alone(name):
    fn, *shapes = FINE[name]
    check(fn, *shapes)
