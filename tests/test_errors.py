"""The exceptions, and the text that points at a source line."""

import os
import pickle
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bevel import errors
from bevel.errors import BevelError, MissingFrameworkError, TraceError, excerpt, printable, render
from bevel.program import Loc

LINE = "    hard = tf.cast(y_pred > 0.5, tf.float32)"
LOC = Loc(
    file=os.path.join(os.getcwd(), "my_metrics.py"),
    line=12,
    function="f1",
    text=LINE,
    column=19,
    end_column=31,
)


def test_a_finding_reads_like_a_compiler_message():
    text = render(
        "B101",
        "error",
        "no gradient reaches `y_pred` through `y_pred > 0.5`",
        LOC,
        "a step: its derivative is 0 wherever it exists",
        "bevel.relax(f1) trains on it as it is; or bevel.ops.greater(y_pred, 0.5) by hand",
    )
    assert (
        text
        == """\
error[B101]: no gradient reaches `y_pred` through `y_pred > 0.5`
  --> my_metrics.py:12 in f1
   12 |     hard = tf.cast(y_pred > 0.5, tf.float32)
      |                    ^^^^^^^^^^^^ a step: its derivative is 0 wherever it exists
  help: bevel.relax(f1) trains on it as it is; or bevel.ops.greater(y_pred, 0.5) by hand"""
    )


@pytest.mark.parametrize(
    ("column", "end_column", "underlined"),
    [
        pytest.param(19, 31, "y_pred > 0.5", id="a-span"),
        pytest.param(None, None, LINE.strip(), id="no-column"),
        pytest.param(19, None, LINE[19:], id="no-end"),
        pytest.param(19, 4, LINE[19:], id="ends-on-a-later-line"),
        pytest.param(19, 900, LINE[19:], id="ends-beyond-the-line"),
        pytest.param(900, 910, LINE.strip(), id="starts-beyond-the-line"),
        pytest.param(-3, 5, LINE.strip(), id="negative-column"),
    ],
)
def test_what_is_underlined(column, end_column, underlined):
    lines = excerpt(replace(LOC, column=column, end_column=end_column)).split("\n")
    carets = lines[2]
    assert carets.rstrip("^").count("^") == 0
    start = carets.index("^")
    assert lines[1][start : len(carets)] == underlined


def test_tabs_and_wide_characters_keep_the_carets_under_the_span():
    text = "\tverlust = größe(预测 > 0.5)"
    start = text.index("预")
    lines = excerpt(replace(LOC, text=text, column=start, end_column=start + 2)).split("\n")
    assert lines[1] == "   12 |     verlust = größe(预测 > 0.5)"
    assert lines[2] == "      |                     ^^^^"


def test_without_source_text_the_place_alone_is_shown():
    assert excerpt(replace(LOC, text="")) == "  --> my_metrics.py:12 in f1"
    assert excerpt(replace(LOC, text="  \n"), "a step").endswith("in f1\n      | a step")


def test_without_a_place_the_label_becomes_a_note():
    assert render("B601", "error", "no path", label="a label") == (
        "error[B601]: no path\n  note: a label"
    )


def test_every_line_of_a_long_help_is_indented():
    text = render("B101", "error", "message", help="one\ntwo")
    assert text == "error[B101]: message\n  help: one\n        two"


def test_paths_below_the_working_directory_are_relative(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    inside = tmp_path / "pkg" / "m.py"
    assert excerpt(replace(LOC, file=str(inside), text="")).startswith(
        f"  --> {os.path.join('pkg', 'm.py')}:12"
    )
    # a sibling whose name merely starts like the working directory's is not below it
    outside = str(tmp_path) + "-other" + os.sep + "m.py"
    assert excerpt(replace(LOC, file=outside, text="")).startswith(f"  --> {outside}:12")
    assert excerpt(replace(LOC, file="<stdin>", text="")).startswith("  --> <stdin>:12")


@pytest.mark.parametrize("hostile", ["\x1b[2J", "\x07", "\x9b31m", "\u202e", "\u2028", "\r", "\0"])
def test_control_characters_never_get_through(hostile):
    loc = replace(LOC, file=f"a{hostile}.py", function=f"f{hostile}", text=f"x = '{hostile}'")
    text = render("B101", "error", f"m{hostile}", loc, f"l{hostile}", f"h{hostile}")
    assert hostile not in text


@given(st.text(), st.integers(-2, 20), st.integers(-2, 20))
def test_any_source_line_can_be_shown(text, column, end_column):
    shown = excerpt(replace(LOC, text=text, column=column, end_column=end_column), "label")
    assert len(shown.split("\n")) <= 3
    assert all(printable(line) == line for line in shown.split("\n"))


@pytest.mark.parametrize(
    ("error", "builtin"),
    [
        ("BevelValueError", ValueError),
        ("BevelTypeError", TypeError),
        ("TraceError", Exception),
        ("UnknownOperationError", NotImplementedError),
        ("MissingFrameworkError", ImportError),
        ("TargetError", Exception),
    ],
)
def test_errors_can_be_caught_as_bevel_s_own_and_as_built_in_ones(error, builtin):
    cls = getattr(errors, error)
    assert issubclass(cls, BevelError)
    assert issubclass(cls, builtin)
    assert cls.__doc__


def test_an_error_shows_its_place_and_its_help():
    error = TraceError("`.numpy()` leaves the graph", loc=LOC, label="here", help="use tf")
    assert str(error).split("\n") == [
        "`.numpy()` leaves the graph",
        "  --> my_metrics.py:12 in f1",
        f"   12 | {LINE}",
        "      |                    ^^^^^^^^^^^^ here",
        "  help: use tf",
    ]
    assert error.loc == LOC


def test_an_error_s_message_is_made_printable_too():
    assert str(BevelError("no \x1b[2J\nhere")) == "no \\x1b[2J\nhere"


def test_an_error_survives_pickling_with_its_message_and_place():
    error = pickle.loads(pickle.dumps(MissingFrameworkError("no jax", loc=LOC, help="install")))  # noqa: S301 - made here
    assert str(error).endswith("help: install")
    assert str(error).count("help:") == 1
    assert error.loc == LOC
