"""The place of every operation is the line that the user wrote, and the piece of it."""

from __future__ import annotations

import functools
import importlib
import json
import linecache
import os
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops as K

import bevel
from bevel.source import Locator, choose_frame, is_users

X = np.linspace(-1.0, 1.0, 4).astype("float32")


def places(fn, word, *args):
    """Where the operations called `word` are: pairs of a function and the underlined text."""
    found = [n.loc for n in bevel.trace(fn, *(args or (X,))).walk() if n.name == word]
    for loc in found:
        assert loc is not None
        assert linecache.getline(loc.file, loc.line).rstrip() == loc.text
    return [(loc.function, marked(loc)) for loc in found]


def marked(loc):
    return None if loc.column is None else loc.text[loc.column : loc.end_column]


# What users write.


def plain(x):
    return tf.reduce_mean(tf.cast(tf.round(x) == 1.0, tf.float32))


def twice_on_a_line(x):
    return tf.cast((x > 0.25) & (x + 1.0 > 0.75), tf.float32)


def opposite_on_a_line(x):
    return tf.cast((0.25 < x) & (x < 0.75), tf.float32)


# fmt: off
def over_lines(x):
    return tf.reduce_mean(
        tf.cast(
            tf.logical_or(
                x > 0.5,
                x
                < -0.5,
            ),
            tf.float32,
        )
    )
# fmt: on


def doubled(fn):
    @functools.wraps(fn)
    def inner(*args):
        return fn(*args) * 2.0

    return inner


@doubled
@doubled
def decorated(x):
    return tf.floor(x)


arrow = lambda x: tf.sign(x) + tf.math.ceil(x)  # noqa: E731
table = {
    "with a product": lambda x: 2.0 * x,
    "with one inside of a function": lambda x: tf.nn.l2_normalize(x),
}


def nested(x):
    def inside(v):
        return tf.sign(v)

    return sum(inside(x * k) for k in (1.0, 2.0))


class Metric:
    def __call__(self, x):
        return self.hard(x)

    def hard(self, x):
        return tf.round(x)


def in_keras_ops(x):
    low = K.where(K.less(x, 0.3), 0.0, K.where(K.greater(x, 0.6), 1.0, 0.5))
    return K.mean(low) + K.cast(K.argmax(x), "float32")


def chosen(x):
    if tf.reduce_sum(x) > 0.5:
        y = tf.round(x)
    elif tf.reduce_min(x) > -0.5:
        y = tf.floor(x)
    else:
        y = tf.sign(x)
    return y


def looped(x):
    while tf.reduce_sum(x) > 0.5:
        x = x - tf.round(x)
    for i in tf.range(2):
        if x[i] < 0.0:
            break
        x = tf.floor(x)
    return x


def on_one_line(x):
    return x if x[0] > 0.0 else -x


def not_ascii(größe):
    return tf.cast(größe * 1.0, tf.float32) + tf.cast(größe > 0.5, tf.float32)  # über, größer


@tf.function
def compiled_helper(x):
    return tf.round(x)


def calls(x):
    return compiled_helper(x) + 1.0


@tf.custom_gradient
def declared(x):
    def backward(g):
        return tf.where(g > 0.0, g, tf.zeros_like(g))

    return tf.round(x), backward


ROUND_X = [("hard", "tf.round(x)")]
CASES = [
    (plain, "round", [("plain", "tf.round(x)")]),
    (plain, "equal", [("plain", "tf.round(x) == 1.0")]),
    (plain, "astype", [("plain", "tf.cast(tf.round(x) == 1.0, tf.float32)")]),
    (plain, "mean", [("plain", "tf.reduce_mean(tf.cast(tf.round(x) == 1.0, tf.float32))")]),
    (twice_on_a_line, "greater", [
        ("twice_on_a_line", "x > 0.25"), ("twice_on_a_line", "x + 1.0 > 0.75"),
    ]),
    (twice_on_a_line, "logical_and", [("twice_on_a_line", "(x > 0.25) & (x + 1.0 > 0.75)")]),
    (opposite_on_a_line, "greater", [("opposite_on_a_line", "0.25 < x")]),
    (opposite_on_a_line, "less", [("opposite_on_a_line", "x < 0.75")]),
    (over_lines, "greater", [("over_lines", "x > 0.5")]),
    (over_lines, "less", [("over_lines", "x")]),
    (over_lines, "astype", [("over_lines", "tf.cast(")]),
    (decorated, "floor", [("decorated", "tf.floor(x)")]),
    (arrow, "sign", [("<lambda>", "tf.sign(x)")]),
    (arrow, "ceil", [("<lambda>", "tf.math.ceil(x)")]),
    (table["with a product"], "multiply", [("<lambda>", "2.0 * x")]),
    (table["with one inside of a function"], "multiply", [("<lambda>", None)]),
    (nested, "sign", [("inside", "tf.sign(v)")] * 2),
    (Metric(), "round", ROUND_X),
    (Metric().hard, "round", ROUND_X),
    (functools.partial(Metric.hard, None), "round", ROUND_X),
    (in_keras_ops, "less", [("in_keras_ops", "K.less(x, 0.3)"), ("in_keras_ops", None)]),
    (in_keras_ops, "greater", [("in_keras_ops", "K.greater(x, 0.6)")]),
    (in_keras_ops, "argmax", [("in_keras_ops", "K.argmax(x)")]),
    (chosen, "round", [("chosen", "tf.round(x)")]),
    (chosen, "floor", [("chosen", "tf.floor(x)")]),
    (chosen, "sign", [("chosen", "tf.sign(x)")]),
    (chosen, "cond", [
        ("chosen", "tf.reduce_sum(x) > 0.5"), ("chosen", "tf.reduce_min(x) > -0.5"),
    ]),
    (chosen, "greater", [
        ("chosen", "tf.reduce_sum(x) > 0.5"), ("chosen", "tf.reduce_min(x) > -0.5"),
    ]),
    (looped, "round", [("looped", "tf.round(x)")]),
    (looped, "floor", [("looped", "tf.floor(x)")]),
    (looped, "greater", [("looped", "tf.reduce_sum(x) > 0.5")]),
    (on_one_line, "cond", [("on_one_line", "x[0] > 0.0")]),
    (not_ascii, "greater", [("not_ascii", "größe > 0.5")]),
    (calls, "round", [("compiled_helper", "tf.round(x)")]),
    (declared, "round", [("declared", "tf.round(x)")]),
    (declared, "greater", [("backward", "g > 0.0")]),
]  # fmt: skip


@pytest.mark.parametrize(
    ("fn", "word", "expected"),
    CASES,
    ids=[f"{getattr(fn, '__name__', type(fn).__name__)}-{word}" for fn, word, _ in CASES],
)
def test_an_operation_is_found_at_its_line_and_columns(fn, word, expected):
    assert places(fn, word) == expected


def test_a_number_on_the_left_of_a_comparison_is_found_too():
    (loc,) = [n.loc for n in bevel.trace(lambda x: 0.25 < x, X).nodes if n.op == "greater"]
    assert marked(loc) == "0.25 < x"


def test_an_expression_over_lines_is_found_on_the_line_it_starts_at():
    (loc,) = [n.loc for n in bevel.trace(over_lines, X).nodes if n.op == "greater"]
    assert loc.text == "                x > 0.5,"
    (loc,) = [n.loc for n in bevel.trace(over_lines, X).nodes if n.op == "less"]
    assert (loc.text, loc.end_column) == ("                x", None)


def test_every_operation_of_a_function_has_a_place():
    """But for the identity that TensorFlow puts behind what is returned."""
    for fn in (plain, chosen, looped, in_keras_ops, nested, declared, calls):
        missing = {n.op for n in bevel.trace(fn, X).walk() if n.loc is None}
        assert missing <= {"identity"}, fn.__name__


@pytest.mark.parametrize(
    ("fn", "file"),
    [
        (keras.losses.mean_squared_error, "losses.py"),
        (keras.metrics.binary_accuracy, "accuracy_metrics.py"),
    ],
    ids=["loss", "metric"],
)
def test_a_function_of_keras_itself_points_into_keras(fn, file):
    locs = [n.loc for n in bevel.trace(fn, X, X).nodes if n.loc]
    assert locs
    assert {os.path.basename(loc.file) for loc in locs} == {file}
    assert all(fn.__name__ == loc.function for loc in locs)


def test_a_function_of_keras_called_by_the_user_points_at_the_user():
    locs = [n.loc for n in bevel.trace(lambda x: keras.losses.hinge(x, x), X).nodes if n.loc]
    assert {loc.file for loc in locs} == {__file__}


# Files outside of this one.


@pytest.fixture
def importable(tmp_path, monkeypatch):
    """Writes modules that can be imported, some of them as if they were installed."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path / "site-packages"))
    written = []

    def write(name, text, installed=False):
        path = tmp_path / ("site-packages" if installed else ".") / f"{name}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        importlib.invalidate_caches()
        written.append(name)
        return importlib.import_module(name)

    yield write
    for name in written:
        sys.modules.pop(name, None)


LIBRARY = "import tensorflow as tf\n\ndef hard(x):\n    return tf.round(x)\n"


def test_an_installed_library_behind_the_users_line_is_skipped(importable):
    importable("planted_library", LIBRARY, installed=True)
    mine = importable(
        "planted_mine",
        "import planted_library\n\ndef loss(x):\n    return planted_library.hard(x)\n",
    )
    (loc,) = [n.loc for n in bevel.trace(mine.loss, X).nodes if n.op == "round"]
    assert (os.path.basename(loc.file), loc.line, loc.function) == ("planted_mine.py", 4, "loss")


def test_a_function_of_an_installed_library_points_into_it(importable):
    library = importable("planted_alone", LIBRARY.replace("x", "v"), installed=True)
    (loc,) = [n.loc for n in bevel.trace(library.hard, X).nodes if n.op == "round"]
    assert (os.path.basename(loc.file), loc.line, marked(loc)) == (
        "planted_alone.py", 4, "tf.round(v)",
    )  # fmt: skip


def test_an_edited_file_is_read_again(importable):
    module = importable(
        "planted_edit", "import tensorflow as tf\ndef f(x):\n    return tf.round(x)\n"
    )
    bevel.trace(module.f, X)
    path = module.__file__
    edited = "import tensorflow as tf\ndef f(x):\n    return 1.0 - 2.0 * tf.round(x - 3.0)\n"
    Path(path).write_text(edited)
    os.utime(path, (1, 1))
    namespace = {}
    exec(compile(edited, path, "exec"), namespace)  # noqa: S102
    (loc,) = [n.loc for n in bevel.trace(namespace["f"], X).nodes if n.op == "round"]
    assert marked(loc) == "tf.round(x - 3.0)"


def test_a_locator_does_not_trust_what_python_remembers_of_a_file(tmp_path):
    path = tmp_path / "edited.py"
    columns = []
    for text in ("x > 1\n", "1000 + (x > 1)\n"):
        path.write_text(text)
        columns.append(Locator("entry")([(str(path), 1, "f")], "greater", "Greater").column)
    assert columns == [0, 8]


def test_source_that_cannot_be_read_gives_the_line_alone():
    namespace = {"tf": tf}
    exec("def f(x):\n    y = x + 1.0\n    return tf.round(y)", namespace)  # noqa: S102
    (loc,) = [n.loc for n in bevel.trace(namespace["f"], X).nodes if n.op == "round"]
    assert (loc.file, loc.line, loc.function, loc.text) == ("<string>", 3, "f", "")
    assert loc.column is None
    assert "<string>:3 in f" in str(loc)


def test_a_notebooks_cell_is_the_users(tmp_path):
    """As IPython does it: the cell's text is put where Python looks for source."""
    name = str(tmp_path / "ipykernel_1" / "123.py")
    text = "def f(x):\n    return tf.round(x)\n"
    linecache.cache[name] = (len(text), None, text.splitlines(keepends=True), name)
    namespace = {"tf": tf}
    exec(compile(text, name, "exec"), namespace)  # noqa: S102
    (loc,) = [n.loc for n in bevel.trace(namespace["f"], X).nodes if n.op == "round"]
    assert (loc.line, marked(loc)) == (2, "tf.round(x)")


def test_broken_source_gives_the_line_alone(tmp_path):
    path = tmp_path / "broken.py"
    path.write_text("def f(:\n  x > 1\n")
    loc = Locator("entry")([(str(path), 2, "f")], "greater", "Greater")
    assert (loc.line, loc.text, loc.column) == (2, "  x > 1", None)


# Which frame.

MINE = (__file__, 1, "mine")
TENSORFLOW = (tf.__file__, 2, "tf")
KERAS = (keras.__file__, 3, "keras")
BEVEL = (bevel.__file__, 4, "bevel")
STANDARD = (json.__file__, 5, "json")
ENTRY = ("/entry.py", 6, "trace")
INSTALLED = ("/home/me/site-packages/lib/losses.py", 7, "lib")
OTHER = ("/home/me/metrics.py", 8, "other")

FRAMES = {
    "the innermost of the user's": ([MINE, OTHER, TENSORFLOW], OTHER),
    "frameworks are skipped": ([MINE, KERAS, TENSORFLOW], MINE),
    "bevel is skipped": ([MINE, BEVEL, TENSORFLOW], MINE),
    "the standard library is skipped": ([MINE, STANDARD, TENSORFLOW], MINE),
    "what called bevel is not meant": ([MINE, ENTRY, OTHER, TENSORFLOW], OTHER),
    "nor is it without another": ([MINE, ENTRY, TENSORFLOW], None),
    "the user's before a library's": ([ENTRY, OTHER, INSTALLED, TENSORFLOW], OTHER),
    "a library's before a framework's": ([ENTRY, INSTALLED, KERAS], INSTALLED),
    "a framework's own function": ([ENTRY, KERAS, TENSORFLOW], KERAS),
    "nothing": ([], None),
}


@pytest.mark.parametrize("what", FRAMES)
def test_choose_frame(what):
    frames, expected = FRAMES[what]
    assert choose_frame(frames, "/entry.py") == expected


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        (__file__, True),
        ("/home/me/metrics.py", True),
        ("/home/me/tensorflow_metrics/keras.py", True),
        ("<stdin>", True),
        ("<ipython-input-3-abc>", True),
        ("<frozen importlib>", False),
        (tf.__file__, False),
        (keras.__file__, False),
        (np.__file__, False),
        (bevel.__file__, False),
        (json.__file__, False),
    ],
)
def test_is_users(file, expected):
    assert is_users(file) is expected
