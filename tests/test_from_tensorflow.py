"""From functions to programs: nodes, nested programs, places in the source, and errors."""

from __future__ import annotations

import collections
import traceback

import numpy as np
import pytest
import tensorflow as tf
from keras import ops as K

import bevel
from bevel.errors import BevelTypeError, TraceError
from bevel.frontends import from_tensorflow

X = np.linspace(-1.0, 1.0, 4).astype("float32")
OFFSET = tf.constant([1.0, 2.0, 3.0, 4.0])
WEIGHTS = tf.Variable([1.0, 2.0, 3.0, 4.0], name="weights")


def words(program):
    """The operations but for constants and identities, in order, nested ones included."""
    return [n.name for n in program.walk() if n.op not in ("constant", "identity")]


def the(program, name):
    (node,) = [n for n in program.walk() if n.name == name]
    return node


# Words, operands and parameters.


@pytest.mark.parametrize(
    ("fn", "word", "params", "operands"),
    [
        (lambda x: tf.reduce_sum(x[None], axis=[0, -1]), "sum", {"axis": (0, -1)}, 1),
        (lambda x: K.max(x, axis=0, keepdims=True), "max", {"axis": (0,), "keepdims": True}, 1),
        (lambda x: tf.reduce_mean(x), "mean", {"axis": (0,), "keepdims": False}, 1),
        (lambda x: tf.argmax(x, axis=0), "argmax", {"axis": 0}, 1),
        (lambda x: tf.cast(x, tf.int64), "astype", {"dtype": "int64"}, 1),
        (lambda x: tf.gather(x, [0, 2]), "take", {"axis": 0, "batch_dims": 0}, 2),
        (lambda x: tf.math.top_k(x, 3).values, "top_k", {"k": 3}, 1),
        (lambda x: tf.math.in_top_k([1], x[None], 2), "in_top_k", {"k": 2}, 2),
        (lambda x: tf.one_hot(tf.argmax(x), 5), "one_hot", {"num_classes": 5, "axis": -1}, 3),
        (lambda x: tf.stack([x, x, x], axis=1), "stack", {"axis": 1}, 3),
        (lambda x: tf.concat([x, x], 0), "concat", {"axis": 0}, 2),
        (lambda x: tf.where(x > 0, x, -x), "where", {}, 3),
        (lambda x: tf.raw_ops.Select(condition=x[:2] > 0, x=[x, x], y=[-x, x]),
         "where", {"rows": True}, 3),
    ],
    ids=["sum", "max", "mean", "argmax", "cast", "gather", "top_k", "in_top_k", "one_hot", "stack",
         "concat", "where", "where-by-rows"],
)  # fmt: skip
def test_an_operation_carries_its_parameters(fn, word, params, operands):
    node = the(bevel.trace(fn, X), word)
    assert {k: v for k, v in node.params if k in params} == params
    assert len(node.args) == operands


@pytest.mark.parametrize(
    ("fn", "native", "nature"),
    [
        (lambda x: tf.tanh(x), "Tanh", "elementwise"),
        (lambda x: tf.reshape(x, [2, 2]), "Reshape", "structural"),
        (lambda x: tf.shape(x), "Shape", "shape"),
        (lambda x: x + tf.random.uniform([4]), "RandomUniform", "random"),
        (lambda x: tf.math.cumprod(x), "Cumprod", "smooth"),
        (lambda x: tf.raw_ops.ListDiff(x=x, y=x)[0], "ListDiff", "opaque"),
    ],
    ids=["elementwise", "structural", "shape", "random", "smooth", "opaque"],
)
def test_a_native_operation_keeps_its_name_and_has_a_nature(fn, native, nature):
    node = the(bevel.trace(fn, tf.TensorSpec([None], tf.float32)), native)
    assert (node.op, node.nature) == ("native", nature)


def test_keras_and_tensorflow_give_the_same_words():
    def in_keras(y_true, y_pred):
        return K.mean(K.cast(K.equal(K.round(y_pred), y_true), "float32"))

    def in_tensorflow(y_true, y_pred):
        return tf.reduce_mean(tf.cast(tf.equal(tf.round(y_pred), y_true), "float32"))

    expected = ["round", "equal", "astype", "mean"]
    for fn in (in_keras, in_tensorflow, tf.function(in_tensorflow)):
        assert [w for w in words(bevel.trace(fn, X, X)) if w != "call"] == expected


def test_what_no_result_needs_is_left_out():
    def wasteful(x):
        tf.round(x)
        _ = tf.sign(x) * 3.0
        return tf.floor(x)

    assert words(bevel.trace(wasteful, X)) == ["floor"]


def test_an_assertion_is_kept_as_an_effect():
    def careful(x):
        tf.debugging.assert_greater(x, -5.0)
        return tf.floor(x)

    effects = [n for n in bevel.trace(careful, X).nodes if n.nature == "effect"]
    assert effects
    assert any(n.op in ("assert", "cond") for n in effects)


# Branches, loops, calls.


def test_if_elif_else_are_nested_branches():
    def fn(x):
        if tf.reduce_sum(x) > 1.0:
            y = tf.round(x)
        elif tf.reduce_sum(x) > 0.0:
            y = tf.floor(x)
        else:
            y = tf.sign(x)
        return y

    program = bevel.trace(fn, X)
    outer = next(n for n in program.nodes if n.op == "cond")
    inner = the(outer.programs[1], "cond")
    assert [p.name for p in outer.programs] == ["then", "else"]
    assert words(outer.programs[0]) == ["round"]
    assert [words(p) for p in inner.programs] == [["floor"], ["sign"]]


def test_for_while_and_break_are_loops():
    def fn(x):
        total = tf.constant(0.0)
        for i in tf.range(4):
            if x[i] < 0.0:
                break
            total += tf.round(x[i])
        while total > 1.0:
            total = tf.floor(total / 2.0)
        return total

    loops = [n for n in bevel.trace(fn, X).nodes if n.op == "while_loop"]
    assert [[p.name for p in n.programs] for n in loops] == [["condition", "body"]] * 2
    first, second = (words(n.programs[1]) for n in loops)
    assert ("round" in first, "cond" in first) == (True, True)
    assert "floor" in second
    assert "greater" in words(loops[1].programs[0])


def test_python_control_flow_is_unrolled():
    def fn(x):
        for k in range(3):
            if k != 1:
                x = tf.round(x * k)
        return x

    assert words(bevel.trace(fn, X)).count("round") == 2


@pytest.mark.parametrize(
    ("fn", "op", "names"),
    [
        (lambda x: tf.cond(x[0] > 0, lambda: x, lambda: -x), "cond", ["then", "else"]),
        (lambda x: tf.case([(x[0] > 0, lambda: x)], lambda: -x), "cond", ["then", "else"]),
        (lambda x: tf.switch_case(tf.cast(x[0], tf.int32), [lambda: x, lambda: -x, lambda: x * x]),
         "switch", ["branch 0", "branch 1", "branch 2"]),
        (lambda x: tf.while_loop(lambda v: v[0] < 3, lambda v: [v + 1.0], [x]), "while_loop",
         ["condition", "body"]),
        (lambda x: K.cond(x[0] > 0, lambda: x, lambda: -x), "cond", ["then", "else"]),
        (lambda x: K.while_loop(lambda v: v[0] < 3, lambda v: v + 1.0, x), "while_loop",
         ["condition", "body"]),
        (lambda x: tf.map_fn(tf.round, x), "while_loop", ["condition", "body"]),
        (tf.function(lambda x: tf.round(x)), "call", ["called"]),
    ],
    ids=["cond", "case", "switch_case", "while_loop", "keras-cond", "keras-while", "map_fn",
         "tf.function"],
)  # fmt: skip
def test_control_flow_holds_nested_programs(fn, op, names):
    node = the(bevel.trace(fn, X).verify(), op)
    assert [p.name for p in node.programs] == names
    assert node.nature == "control"


def test_stateful_control_flow_is_the_same_word():
    """A random number inside makes TensorFlow use If and While in place of their stateless kin."""

    def fn(x):
        noise = tf.cond(x[0] > 0, lambda: tf.random.uniform([4]), lambda: x)
        return tf.while_loop(lambda v: v[0] < 0, lambda v: [v + tf.random.uniform([4])], [noise])[0]

    found = [(n.op, n.native) for n in bevel.trace(fn, X).nodes if n.nature == "control"]
    assert found == [("cond", "If"), ("while_loop", "While")]


def test_a_called_function_inside_another():
    @tf.function
    def inner(x):
        return tf.round(x)

    @tf.function
    def middle(x):
        return inner(x) + 1.0

    call = the(bevel.trace(lambda x: middle(x * 2.0), X), "add")
    assert call.native == "AddV2"
    calls = [n for n in bevel.trace(lambda x: middle(x * 2.0), X).walk() if n.op == "call"]
    assert [words(c.programs[0]) for c in calls] == [["call", "round", "add"], ["round"]]


# What a function takes and gives.


def test_captured_tensors_and_variables_are_captures():
    trace = from_tensorflow.trace(lambda x: x * WEIGHTS + OFFSET, (X,), {})
    program = trace.program
    assert len(program.inputs) == 1
    assert [v.dtype for v in program.captures] == ["resource", "float32"]
    assert trace.captured[0] is WEIGHTS
    assert trace.captured[1] is OFFSET
    assert "; captures %1: resource[], %2: float32[4]" in str(program)


def test_captures_inside_a_branch_are_captures_of_the_whole():
    program = bevel.trace(lambda x: tf.cond(x[0] > 0, lambda: x * WEIGHTS, lambda: x + OFFSET), X)
    assert len(program.captures) == 2
    assert all(p.captures == () for n in program.nodes for p in n.programs)


Pair = collections.namedtuple("Pair", ["a", "b"])


def test_results_are_packed_as_the_function_returns_them():
    def fn(x):
        return {"pair": Pair(tf.round(x), [x + 1.0]), "one": (x,)}

    trace = from_tensorflow.trace(fn, (X,), {})
    assert len(trace.program.outputs) == 3
    packed = trace.pack(range(3))
    # `tf.nest` goes through a dictionary by sorted key.
    assert packed == {"one": (0,), "pair": Pair(1, [2])}


def test_structured_arguments_become_inputs_in_order():
    def fn(batch, *, weight):
        return batch["y"] * weight[0] + batch["p"]

    program = bevel.trace(fn, {"y": X, "p": X.astype("float32")}, weight=[tf.constant(2.0)])
    assert [v.shape for v in program.inputs] == [(4,), (4,), ()]


def test_python_arguments_are_fixed():
    def fn(x, mode, factor):
        return tf.round(x) * factor if mode == "round" else tf.floor(x) * factor

    assert "round" in words(bevel.trace(fn, X, "round", 2.0))
    program = bevel.trace(fn, X, "floor", factor=3.0)
    assert "floor" in words(program)
    assert len(program.inputs) == 1


def test_unknown_dimensions_stay_unknown():
    program = bevel.trace(lambda x: tf.round(x) * 2.0, tf.TensorSpec([None, 3], tf.float32))
    assert program.inputs[0].shape == (None, 3)
    assert the(program, "round").outputs[0].shape == (None, 3)
    assert "float32[?,3]" in str(program)
    unranked = bevel.trace(tf.round, tf.TensorSpec(None, tf.float32))
    assert unranked.inputs[0].shape is None


def test_a_result_that_is_an_argument_or_a_constant():
    program = bevel.trace(lambda x: (x, tf.constant(3.0)), X).verify()
    assert len(program.outputs) == 2


# Declared gradients and Python.


def test_a_declared_gradient_is_a_nested_program():
    factor = tf.Variable(3.0)

    @tf.custom_gradient
    def straight_through(x):
        def backward(g, variables=None):
            return g * tf.cast(x > 0.0, tf.float32), [tf.reduce_sum(g)]

        return tf.round(x) * factor, backward

    node = the(bevel.trace(straight_through, X).verify(), "custom_gradient")
    (gradient,) = node.programs
    assert node.nature == "custom"
    assert {"greater", "astype", "multiply"} <= set(words(gradient))
    assert gradient.inputs[0].shape == (4,)
    assert any(node.param("gradients"))


def test_a_declared_gradient_says_which_operands_get_one():
    @tf.custom_gradient
    def half(x, y):
        return x * y, lambda g: (g * 5.0, None)

    node = the(bevel.trace(half, X, X), "custom_gradient")
    # The values themselves come first, then what was passed in.
    assert node.param("gradients") == (False, True, False)


@pytest.mark.parametrize(
    ("leave", "nature"),
    [
        # TensorFlow differentiates what runs inside the first, and nothing of the second.
        (lambda x: tf.py_function(lambda v: v * 2, [x], tf.float32), "wrap"),
        (lambda x: tf.numpy_function(np.round, [x], tf.float32), "python"),
    ],
    ids=["py_function", "numpy_function"],
)
def test_a_python_function_is_a_call_of_python(leave, nature):
    node = the(bevel.trace(leave, X), "py_call")
    assert (node.nature, node.outputs[0].shape) == (nature, None)


def test_stop_gradient_is_named():
    assert the(bevel.trace(lambda x: tf.stop_gradient(x) + x, X), "stop_gradient").nature == "stop"


# Errors.


def calls_numpy(x):
    value = x.numpy()
    return tf.constant(value)


def calls_item(x):
    return x[0].item() * x


def calls_float(x):
    return tf.constant(float(x[0]))


def calls_np(x):
    return np.mean(x)


def asks_truth(x):
    return x if bool(x[0] > 0) else -x


def comprehends(x):
    return sum([v for v in x])


def counts_rows(x):
    total = 0.0
    for i in range(x.shape[0]):
        total += x[i]
    return total


def raises(x, words=""):
    raise KeyError("no such numpy, bool or NoneType here")


def calls_what_raises(x):
    return raises(x, "'NoneType' in a line on the way says nothing of the error")


def mismatched(x):
    return tf.matmul(x, x)


def differs_in_dtype(x):
    if x[0] > 0:
        y = x
    else:
        y = tf.cast(x, tf.int32)
    return y


UNKNOWN = tf.TensorSpec([None], tf.float32)
LEAVES = "leaves the graph: it needs the values as numpy or Python numbers"
ERRORS = [
    (calls_numpy, X, LEAVES, "value = x.numpy()", "'numpy'"),
    (calls_item, X, LEAVES, "return x[0].item() * x", "'item'"),
    (calls_float, X, LEAVES, "return tf.constant(float(x[0]))", "TypeError"),
    (calls_np, X, LEAVES, "return np.mean(x)", "NotImplementedError"),
    (asks_truth, X, "asks for the truth of a tensor", "return x if bool(x[0] > 0)", "NotAllowed"),
    (comprehends, UNKNOWN, "raised an error", "return sum([v for v in x])", "unknown first"),
    (counts_rows, UNKNOWN, "needs a size that is not known", "in range(x.shape[0])", "NoneType"),
    (raises, X, "raised an error", "raise KeyError(", "no such numpy, bool or NoneType here"),
    (calls_what_raises, X, "raised an error", "raise KeyError(", "KeyError"),
    (mismatched, X, "raised an error", "return tf.matmul(x, x)", "rank 2"),
    (differs_in_dtype, X, "raised an error", "if x[0] > 0:", "dtype float32 in the main branch"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("fn", "argument", "advice", "text", "reason"), ERRORS, ids=[e[0].__name__ for e in ERRORS]
)
def test_an_error_of_tracing_names_the_users_line(fn, argument, advice, text, reason):
    with pytest.raises(TraceError, match=rf"^`{fn.__name__}` cannot be traced: ") as caught:
        bevel.trace(fn, argument)
    error = caught.value
    advised = str(error).splitlines()[0].split("cannot be traced: ")[1]
    assert advice in advised
    assert error.loc.file == __file__
    assert text in error.loc.text
    assert text in str(error)
    assert reason in str(error)


@pytest.mark.parametrize("fn", [e[0] for e in ERRORS], ids=[e[0].__name__ for e in ERRORS])
def test_an_error_of_tracing_is_short(fn):
    """No raw dump: neither frames of TensorFlow nor what AutoGraph makes of the code."""
    argument = dict((e[0], e[1]) for e in ERRORS)[fn]
    with pytest.raises(TraceError) as caught:
        bevel.trace(fn, argument)
    text = str(caught.value)
    assert len(text.splitlines()) <= 5
    assert "Traceback" not in text
    assert "site-packages" not in text
    assert "in user code" not in text
    assert caught.value.__cause__ is not None
    assert text in "".join(traceback.format_exception_only(caught.value))


def test_a_python_if_where_autograph_cannot_see_the_source():
    namespace = {}
    exec("def hidden(x):\n    if x[0] > 0:\n        return x\n    return -x", namespace)  # noqa: S102
    with pytest.raises(TraceError, match="truth of a tensor") as caught:
        bevel.trace(namespace["hidden"], X)
    assert (caught.value.loc.file, caught.value.loc.line) == ("<string>", 2)


def test_a_python_if_in_a_lambda_is_a_branch_where_the_source_is_seen():
    fn = lambda x: x if x[0] > 0 else -x  # noqa: E731
    assert "cond" in words(bevel.trace(fn, X))


def forgets_to_return(x):
    tf.reduce_mean(x)


@pytest.mark.parametrize(
    "fn",
    [forgets_to_return, lambda x: None, lambda x: (None, [])],
    ids=["no return", "None", "empty"],
)
def test_a_function_that_returns_nothing_is_told_so(fn):
    with pytest.raises(TraceError, match=r"returns nothing that is a tensor.*`return` missing"):
        bevel.trace(fn, X)


def test_what_is_no_array_is_told_so():
    with pytest.raises(BevelTypeError, match=r"dtype object is no tensor.*Pass numbers or bools"):
        bevel.trace(lambda x: x, np.array([object()]))


def test_interrupting_is_not_swallowed():
    def stops(x):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        bevel.trace(stops, X)
