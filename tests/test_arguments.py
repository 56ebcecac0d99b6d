"""A call is taken apart into arrays and a key, put together again, and `wrt` picks from it."""

from __future__ import annotations

import collections

import numpy as np
import pytest
import tensorflow as tf

import bevel
from bevel.errors import BevelTypeError, BevelValueError
from bevel.frontends import from_tensorflow
from bevel.frontends.arguments import flatten, parameter_names, select

Y, P = np.array([0.0, 1.0], "float32"), np.array([0.2, 0.7], "float32")
Point = collections.namedtuple("Point", ["near", "far"])


def call(fn, *args, **kwargs):
    return flatten(fn, args, kwargs, from_tensorflow.is_array)


def metric(y_true, y_pred, weight=None, *, mode="mean"):
    return y_pred


def plain(a, b, c=1.0):
    return b


# Apart and together.


@pytest.mark.parametrize(
    ("args", "kwargs", "count"),
    [
        ((Y, P), {}, 2),
        ((Y, P, [Y]), {"mode": "sum"}, 3),
        (({"a": Y, "b": [Y, (P, 3)]}, P), {"weight": None}, 4),
        ((Point(Y, P), 2.0), {}, 2),
        (([], ()), {}, 0),
    ],
    ids=["arrays", "keywords", "nest", "namedtuple", "empty"],
)
def test_a_call_is_rebuilt_as_it_was(args, kwargs, count):
    taken = call(metric, *args, **kwargs)
    assert len(taken.leaves) == len(taken.names) == count
    assert repr(taken.rebuild(taken.leaves)) == repr((args, kwargs))


def test_a_named_tuple_stays_one():
    (point,), _ = (taken := call(lambda p: p.near, Point(Y, P))).rebuild(taken.leaves)
    assert type(point) is Point
    program = bevel.trace(lambda p: tf.round(p.far) * p.near, Point(Y, P))
    assert len(program.inputs) == 2


def test_other_leaves_can_be_put_in():
    taken = call(metric, {"t": Y}, P)
    assert taken.rebuild(["one", "two"]) == (({"t": "one"}, "two"), {})


@pytest.mark.parametrize(
    ("numbers", "dtype", "shape"),
    [
        ([0.5, 1.0], "float32", (2,)),
        ([0, 1], "int64", (2,)),
        ([True, False], "bool", (2,)),
        ([[0.5, 1], [2, 3]], "float32", (2, 2)),
        ([1, 2.5], "float32", (2,)),
    ],
    ids=["floats", "ints", "bools", "rows", "mixed"],
)
def test_a_list_of_numbers_is_an_array(numbers, dtype, shape):
    (leaf,) = call(lambda y_pred: y_pred, numbers).leaves
    assert (leaf.dtype, leaf.shape) == (dtype, shape)


def test_a_ragged_list_is_an_error():
    with pytest.raises(BevelValueError, match=r"`y_pred` is a list whose rows have different len"):
        call(lambda y_pred: y_pred, [[1.0], [2.0, 3.0]])


@pytest.mark.parametrize("value", [1.0, 3, True, "text", None, (1.0, 2.0), [1.0, "a"], range(3)])
def test_python_values_are_no_leaves(value):
    assert call(metric, value, P).names == ("y_pred",)


@pytest.mark.parametrize(
    "value",
    [Y, tf.constant(Y), tf.Variable(Y), tf.TensorSpec([None]), np.float32(2.0), tf.constant("a")],
    ids=["numpy", "tensor", "variable", "spec", "scalar", "string"],
)
def test_arrays_are_leaves(value):
    assert call(metric, value, 1.0).names == ("y_true",)


# Names.


def test_leaves_have_the_names_of_their_parameters():
    taken = call(metric, [Y, Y], P, mode="sum", weight=(Y,))
    assert taken.names == ("y_true", "y_true", "y_pred", "weight")
    assert taken.positional == ("y_true", "y_pred")


class Metric:
    def __call__(self, y_true, y_pred):
        return y_pred

    def method(self, y_true, y_pred):
        return y_pred


@pytest.mark.parametrize(
    ("fn", "names"),
    [
        (lambda *rest: rest, ("rest[0]", "rest[1]")),
        (lambda first, *rest: rest, ("first", "rest[0]")),
        (lambda a, /, b: b, ("a", "b")),
        (Metric(), ("y_true", "y_pred")),
        (Metric().method, ("y_true", "y_pred")),
        (tf.function(metric), ("y_true", "y_pred")),
        (max, ("argument 0", "argument 1")),
    ],
    ids=[
        "varargs",
        "first-and-rest",
        "positional-only",
        "object",
        "method",
        "tf.function",
        "builtin",
    ],
)
def test_names_of_parameters(fn, names):
    assert parameter_names(fn, (Y, P), {}) == names


@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        ((Y,), {}, r"cannot be called with 1 positional arguments: missing a required argument"),
        ((Y, P, 1.0, 2.0), {}, r"cannot be called with 4 positional arguments: too many"),
        ((Y, P), {"wieght": 1.0}, r"arguments and wieght: got an unexpected keyword"),
        ((Y, P), {"y_pred": P}, r"and y_pred: multiple values for argument 'y_pred'"),
    ],
    ids=["too few", "too many", "unknown", "twice"],
)
def test_arguments_that_do_not_fit_are_an_error(args, kwargs, message):
    with pytest.raises(
        BevelTypeError, match=r"^`metric\(y_true, y_pred, weight=None, .*" + message
    ):
        call(metric, *args, **kwargs)


# Which of them a gradient must reach.


@pytest.mark.parametrize(
    ("fn", "args", "kwargs", "wrt", "expected"),
    [
        (metric, (Y, P), {}, None, (1,)),
        (metric, (Y, P), {"weight": Y}, None, (1,)),
        (metric, (), {"y_true": Y, "y_pred": P}, None, (0,)),
        (plain, (Y, P), {}, None, (1,)),
        (plain, (Y, P), {"c": Y}, None, (1,)),
        (plain, (Y, P, 2.0), {}, None, (1,)),
        (plain, (Y, 2.0), {"c": P}, None, (0,)),
        (metric, (Y, P), {}, "y_true", (0,)),
        (metric, (Y, P), {"weight": Y}, "weight", (2,)),
        (metric, (Y, P), {}, 0, (0,)),
        (metric, (Y, P), {}, -1, (1,)),
        (plain, ("mode", 1.0, P), {}, 2, (0,)),
        (metric, (Y, P), {}, ("y_true", "y_pred"), (0, 1)),
        (metric, (Y, P), {}, ["y_pred", 0], (0, 1)),
        (metric, ([Y, Y], {"a": P, "b": P}), {}, None, (2, 3)),
        (lambda *rest: rest, (Y, P), {}, "rest[0]", (0,)),
    ],
    ids=["y_pred", "y_pred-before-a-keyword", "y_pred-by-keyword", "last", "last-positional",
         "last-with-an-array", "not-the-keyword", "name", "keyword", "position", "from-the-end",
         "position-counts-all", "names", "mixed", "nest", "varargs"],
)  # fmt: skip
def test_select(fn, args, kwargs, wrt, expected):
    assert select(call(fn, *args, **kwargs), wrt) == expected


@pytest.mark.parametrize(
    ("args", "wrt", "message"),
    [
        ((Y, P), "prediction", "`wrt` names 'prediction', but .* are y_true, y_pred"),
        ((Y, P), 2, "`wrt` names 2, but"),
        ((Y, P), -3, "`wrt` names -3, but"),
        ((Y, P, "text"), 2, "`wrt` names 2, but .* are y_true, y_pred"),
        ((Y, P), ("y_pred", "weight"), "`wrt` names 'weight', but"),
        ((Y, P), 1.5, "`wrt` names 1.5, but"),
        ((Y, P), (), "`wrt` names nothing; choose from y_true, y_pred"),
        ((1.0, 2.0), None, "no array argument for a gradient to reach; pass tensors or numpy"),
    ],
    ids=[
        "name",
        "position",
        "negative",
        "no-array-there",
        "one-of-two",
        "float",
        "empty",
        "no-array",
    ],
)
def test_select_errors(args, wrt, message):
    with pytest.raises(BevelValueError, match=message):
        select(call(metric, *args), wrt)


# Keys.


@pytest.mark.parametrize(
    ("first", "second", "equal"),
    [
        ((Y, P), (P, Y), True),
        ((Y, P, 2.0), (P, Y, 2.0), True),
        ((Y, P, 2.0), (Y, P, 3.0), False),
        ((Y, P, 1), (Y, P, 1.0), False),
        ((Y, P, 1), (Y, P, True), False),
        ((Y, P, None), (Y, P), False),
        ((Y, [P, P]), (Y, (P, P)), False),
        ((Y, {"a": P}), (Y, {"b": P}), False),
        ((Y, Point(P, P)), (Y, (P, P)), False),
        ((Y, P, "a"), (Y, P, "a"), True),
        ((Y, P, Point), (Y, P, Point), True),
        ((Y, P, {1}), (Y, P, {1}), False),
    ],
    ids=["arrays", "number", "other-number", "int-float", "int-bool", "missing", "list-tuple",
         "dict-keys", "namedtuple", "text", "object", "unhashable"],
)  # fmt: skip
def test_keys(first, second, equal):
    a, b = call(metric, *first).key, call(metric, *second).key
    assert (a == b) is equal
    if equal:
        assert hash(a) == hash(b)


def test_keywords_may_come_in_any_order():
    first = call(metric, Y, y_pred=P, weight=Y)
    second = call(metric, Y, weight=Y, y_pred=P)
    assert first.key == second.key
    assert first.names == second.names


def test_a_second_use_does_not_trace_again():
    traces = []

    def counted(y_true, y_pred, factor=1.0):
        traces.append(factor)
        return tf.reduce_mean(tf.cast(y_pred > 0.5, tf.float32) * y_true) * factor

    relaxed = bevel.relax(counted)
    for labels, scores in ((Y, P), (tf.constant(P), tf.constant(Y)), ([0.0, 1.0], [0.5, 0.25])):
        relaxed(labels, scores)
    assert len(traces) == 1
    relaxed(Y, P, 2.0)
    relaxed(Y, P, factor=2.0)
    relaxed(np.append(Y, Y), np.append(P, P))
    assert traces == [1.0, 2.0, 2.0, 1.0]
