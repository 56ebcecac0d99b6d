"""Programs are plain data: they print well, compare by content, and `verify` finds every fault."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

import bevel
from bevel.program import Constant, Loc, Node, Program, ProgramError, Value

X = np.zeros(4, "float32")


def value(number, shape=(4,), dtype="float32"):
    return Value(number, shape, dtype)


def node(inputs, outputs, **more):
    return Node("native", "Exp", tuple(inputs), tuple(map(value, outputs)), **more)


def program(*nodes, outputs=(1,), captures=()):
    return Program("f", (value(0),), captures, nodes, outputs)


# Printing.


def one_branch(y_pred):
    if y_pred[0] > 0.5:
        return tf.round(y_pred)
    return y_pred


def test_a_program_prints_line_by_line_with_places():
    loc = Loc("metrics.py", 3, "f", "    return tf.exp(x)", 11, 20)
    inner = Program("then", (value(0, (None, 2)),), (), (), (0,))
    shown = Program(
        "f",
        (value(0), value(1, None, "int32")),
        (value(2, ()),),
        (
            Node(
                "constant", "Const", (), (value(3),), params=(("value", Constant(np.array([2]))),)
            ),
            Node("astype", "Cast", (1,), (value(4),), params=(("dtype", "float32"),), loc=loc),
            Node("native", "Split", (0, 2), (value(5), value(6))),
            Node("cond", "If", (3, 0), (value(7),), programs=(inner,)),
            Node("assert", "Assert", (3,), ()),
        ),
        (7, 4),
    )
    assert str(shown) == (
        "program f(%0: float32[4], %1: int32[...]; captures %2: float32[]):\n"
        "  %3: float32[4] = constant(value=[2])\n"
        "  %4: float32[4] = astype(%1, dtype='float32')  # metrics.py:3 in f\n"
        "  %5: float32[4], %6: float32[4] = Split(%0, %2)\n"
        "  %7: float32[4] = cond(%3, %0)\n"
        "    program then(%0: float32[?,2]):\n"
        "      return %0\n"
        "  assert(%3)\n"
        "  return %7, %4"
    )


def test_a_traced_branch_prints_both_sides_indented():
    text = str(bevel.trace(one_branch, X))
    assert "\n    program then(" in text
    assert "\n    program else(" in text
    (rounding,) = (line for line in text.splitlines() if "round(" in line)
    assert rounding.startswith("      %")
    assert rounding.endswith("test_program.py:34 in one_branch")


# Walking.


def test_walk_goes_into_nested_programs_in_order():
    deepest = Program("deepest", (value(0),), (), (node([0], [1], loc=None),), (1,))
    middle = Program("middle", (value(0),), (), (node([0], [1], programs=(deepest,)),), (1,))
    outer = program(node([0], [1], programs=(middle, deepest)), node([1], [2]), outputs=(2,))
    seen = list(outer.walk())
    assert [n.programs for n in seen] == [(middle, deepest), (deepest,), (), (), ()]
    assert seen[-1] is outer.nodes[1]


def test_walk_survives_deep_nesting():
    inner = program(node([0], [1]))
    for _ in range(3000):
        inner = program(node([0], [1], programs=(inner,)))
    assert sum(1 for _ in inner.walk()) == 3001
    inner.verify()


# Verifying.


def test_verify_returns_a_sound_program():
    sound = program(node([0], [1]), node([0, 1], [2, 3], operands=(1,)), outputs=(3, 0))
    assert sound.verify() is sound


FAULTS = {
    "read before it is made": (
        program(node([1], [2]), node([0], [1])),
        "reads %1 before it is made",
    ),
    "read and never made": (program(node([7], [1])), "reads %7 before it is made"),
    "made twice": (program(node([0], [1]), node([0], [1])), "makes %1 twice"),
    "made over an input": (program(node([0], [0])), "makes %0 twice"),
    "capture over an input": (program(node([0], [1]), captures=(value(0),)), "makes %0 twice"),
    "twice by one node": (program(node([0], [1, 1])), "makes %1 twice"),
    "output never made": (program(outputs=(5,)), "returns %5, never made"),
    "operand too far": (program(node([0], [1], operands=(1,))), "names an operand it lacks"),
    "operand negative": (program(node([0], [1], operands=(-1,))), "names an operand it lacks"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_verify_finds_a_fault(fault):
    broken, message = FAULTS[fault]
    with pytest.raises(ProgramError, match=message):
        broken.verify()


@pytest.mark.parametrize("fault", FAULTS)
def test_verify_finds_a_fault_in_a_nested_program(fault):
    broken, message = FAULTS[fault]
    with pytest.raises(ProgramError, match=message):
        program(node([0], [1], programs=(program(node([0], [1])), broken))).verify()


def test_a_nested_program_does_not_see_the_values_around_it():
    inner = Program("then", (), (), (node([0], [1]),), (1,))
    with pytest.raises(ProgramError, match="`then`"):
        program(node([0], [1], programs=(inner,))).verify()


# Comparing.


def metric(y_true, y_pred):
    hits = tf.cast(y_pred > 0.5, "float32") * y_true
    return tf.reduce_mean(hits)


def looping(x):
    total = tf.constant(0.0)
    for i in tf.range(3):
        if x[i] > float("-inf"):
            total += x[i]
    return total


def declared(x):
    @tf.custom_gradient
    def twice(v):
        return v, lambda g: g * 2.0

    return twice(x)


@pytest.mark.parametrize(
    ("fn", "arity"), [(metric, 2), (one_branch, 1), (looping, 1), (declared, 1)],
    ids=lambda v: getattr(v, "__name__", None),
)  # fmt: skip
def test_equal_traces_compare_equal(fn, arity):
    first, second = (bevel.trace(fn, *[X] * arity) for _ in range(2))
    assert first == second
    assert hash(first) == hash(second)
    assert str(first) == str(second)


def test_the_values_traced_with_do_not_matter_but_shapes_and_dtypes_do():
    program = bevel.trace(metric, X, X)
    assert program == bevel.trace(metric, X + 3.0, X - 1.0)
    assert program != bevel.trace(metric, np.zeros(5, "float32"), np.zeros(5, "float32"))
    assert bevel.trace(one_branch, X) != bevel.trace(one_branch, X.astype("float64"))


def scale(x, factor):
    return tf.cond(x[0] > 0, lambda: x * factor, lambda: x)


def test_a_constant_deep_in_a_branch_tells_programs_apart():
    assert bevel.trace(scale, X, 2.0) == bevel.trace(scale, X, 2.0)
    assert bevel.trace(scale, X, 2.0) != bevel.trace(scale, X, 3.0)


@pytest.mark.parametrize(
    "change",
    [
        {"op": "exp"},
        {"native": "Log"},
        {"inputs": (1,)},
        {"outputs": (value(1, (5,)),)},
        {"operands": ()},
        {"nature": "step"},
        {"params": (("axis", 1),)},
        {"attrs": (("T", "float64"),)},
        {"programs": (program(),)},
        {"loc": Loc("a.py", 1, "f", "")},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_field_of_a_node_counts_when_comparing(change):
    original = node([0], [1], operands=(0,))
    assert dataclasses.replace(original) == original
    assert dataclasses.replace(original, **change) != original


# Constants.


def test_a_constant_with_nan_equals_itself():
    assert Constant(np.array([np.nan, 1.0])) == Constant(np.array([np.nan, 1.0]))


@pytest.mark.parametrize(
    "other",
    [
        np.array([1.0, 3.0]),
        np.array([1, 2]),
        np.array([[1.0, 2.0]]),
        np.array([1.0, 2.0], "float32"),
    ],
    ids=["value", "dtype", "shape", "width"],
)
def test_constants_differ_by_value_dtype_and_shape(other):
    assert Constant(np.array([1.0, 2.0])) != Constant(other)


def test_zeros_of_both_signs_are_different_constants():
    assert Constant(np.array(0.0)) != Constant(np.array(-0.0))


def test_constants_of_text_compare():
    words = np.array([b"a", b"b"], dtype=object)
    assert Constant(words) == Constant(words.copy())
    assert Constant(words) != Constant(np.array([b"a", b"c"], dtype=object))


def test_a_constant_is_a_frozen_copy():
    array = np.array([1.0, 2.0])
    constant = Constant(array)
    array[0] = 9.0
    assert constant.array[0] == 1.0
    with pytest.raises(ValueError, match="read-only"):
        constant.array[0] = 5.0
    with pytest.raises(AttributeError, match="cannot be changed"):
        constant.array = array


def test_a_large_constant_prints_short():
    assert repr(Constant(np.zeros((3, 2), "float32"))) == "<float32 array of shape (3, 2)>"


def test_programs_are_frozen():
    traced = bevel.trace(metric, X, X)
    for thing, name in ((traced, "nodes"), (traced.nodes[0], "op"), (traced.inputs[0], "dtype")):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(thing, name, None)


def test_args_follow_the_vocabulary_and_name_falls_back_to_the_framework():
    made = node([5, 6, 7], [1], operands=(2, 0), params=(("axis", 1),))
    assert made.args == (7, 5)
    assert made.name == "Exp"
    assert dataclasses.replace(made, op="exp").name == "exp"
    assert (made.param("axis"), made.param("missing", 3)) == (1, 3)
