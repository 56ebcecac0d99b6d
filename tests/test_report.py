"""A report prints like a compiler, goes to JSON and back, and takes no other JSON for one."""

from __future__ import annotations

import dataclasses
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bevel.codes import PAGES
from bevel.errors import BevelValueError
from bevel.program import Loc
from bevel.report import SEVERITIES, VERDICTS, Finding, Gradient, Report

LOC = Loc("my/metrics.py", 12, "f1", "    hard = tf.cast(y_pred > 0.5, tf.float32)", 19, 31)
FINDING = Finding(
    "B101",
    "error",
    "greater",
    "Greater",
    LOC,
    "no gradient reaches `y_pred` through `y_pred > 0.5`",
    "bevel.relax(f1) trains on it as it is",
    "a step: its derivative is 0 wherever it exists",
)
REPORT = Report(
    name="f1",
    wrt=("y_pred",),
    verdict="blocked",
    value=0.25,
    gradient=Gradient(0.0, 1.0, 0.0, 0.5, 0.0123),
    findings=(FINDING, Finding("B202", "note", "", "", None, "an optimum")),
)


def test_a_report_reads_like_a_compilers_message():
    assert str(REPORT) == (
        "f1: blocked (the value responds to the prediction, the gradient does not)\n"
        "  value 0.25; gradient to y_pred: norm 0, 100% zero, 0% not finite; "
        "smoothed derivative 0.5 +- 0.01\n"
        "\n"
        "error[B101]: no gradient reaches `y_pred` through `y_pred > 0.5`\n"
        "  --> my/metrics.py:12 in f1\n"
        "   12 |     hard = tf.cast(y_pred > 0.5, tf.float32)\n"
        "      |                    ^^^^^^^^^^^^ a step: its derivative is 0 wherever it exists\n"
        "  help: bevel.relax(f1) trains on it as it is\n"
        "\n"
        "note[B202]: an optimum"
    )


@pytest.mark.parametrize("verdict", VERDICTS)
def test_only_trains_is_ok(verdict):
    assert dataclasses.replace(REPORT, verdict=verdict).ok is (verdict == "trains")


# To JSON and back.


def test_a_report_is_rebuilt_from_its_json():
    assert Report.from_json(REPORT.to_json()) == REPORT


def test_the_json_is_versioned_and_flat():
    data = json.loads(REPORT.to_json())
    assert (data["format"], data["version"]) == ("bevel.report", 1)
    assert data["findings"][0]["loc"]["line"] == 12
    assert data["gradient"]["smoothed_norm"] == 0.5


texts = st.text(max_size=12)
numbers = st.floats(allow_nan=False)
locs = st.builds(
    Loc, texts, st.integers(1, 10**6), texts, texts, st.none() | st.integers(0, 99), st.none()
)
findings = st.builds(
    Finding,
    st.sampled_from(sorted(PAGES)),
    st.sampled_from(SEVERITIES),
    texts,
    texts,
    st.none() | locs,
    texts,
    texts,
    texts,
)
reports = st.builds(
    Report,
    texts,
    st.lists(texts, max_size=3).map(tuple),
    st.sampled_from(sorted(VERDICTS)),
    numbers,
    st.builds(Gradient, numbers, numbers, numbers, numbers, numbers),
    st.lists(findings, max_size=3).map(tuple),
)


@given(reports)
def test_any_report_survives_json(report):
    text = report.to_json()
    assert Report.from_json(text) == report
    assert str(Report.from_json(text)) == str(report)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_numbers_that_json_has_not_survive_in_strict_json(value):
    gradient = Gradient(value, value, value, value, value)
    text = dataclasses.replace(REPORT, value=value, gradient=gradient).to_json()
    json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))
    back = Report.from_json(text)
    assert str(back.value) == str(value)
    assert {str(v) for v in dataclasses.astuple(back.gradient)} == {str(value)}


# What is no report.


def changed(*path, to):
    """The report's JSON with one value replaced, or with one key taken out."""
    data = json.loads(REPORT.to_json())
    *way, last = path
    inner = data
    for key in way:
        inner = inner[key]
    if to is KeyError:
        del inner[last]
    else:
        inner[last] = to
    return json.dumps(data)


HOSTILE = {
    "not JSON": ("{", "is not JSON"),
    "empty": ("", "is not JSON"),
    "too deep": ("[" * 200_000, "is not JSON"),
    "a number too long": ("1" * 10_000, "is not JSON"),
    "a list": ("[]", 'lacks "format"'),
    "null": ("null", 'lacks "format"'),
    "another format": (changed("format", to="bevel.program"), 'lacks "format"'),
    "no format": (changed("format", to=KeyError), 'lacks "format"'),
    "a newer version": (changed("version", to=2), "has version 2; expected 1"),
    "no version": (changed("version", to=KeyError), "has version None; expected 1"),
    "a version as text": (changed("version", to="1"), "has version '1'"),
    "an unknown key": (changed("__class__", to="os.system"), "report must have the keys"),
    "a missing key": (changed("wrt", to=KeyError), "report must have the keys"),
    "an unknown key of a finding": (changed("findings", 0, "run", to=1), "finding must have the"),
    "a missing key of a finding": (changed("findings", 0, "op", to=KeyError), "finding must have"),
    "an unknown key of a place": (changed("findings", 0, "loc", "x", to=1), "loc must have the"),
    "an unknown key of the gradient": (changed("gradient", "x", to=1), "gradient must have the"),
    "an unknown verdict": (changed("verdict", to="fine"), "verdict is 'fine'; expected one of"),
    "a verdict that is a list": (changed("verdict", to=["trains"]), "has verdict"),
    "an unknown code": (changed("findings", 0, "code", to="B999"), "unknown code or severity"),
    "an unknown severity": (changed("findings", 0, "severity", to="fatal"), "unknown code or sev"),
    "a code that is a list": (changed("findings", 0, "code", to=[]), "finding has code"),
    "findings that are a number": (changed("findings", to=5), "`findings` must be a list"),
    "a finding that is text": (changed("findings", 0, to="B101"), "finding must have the keys"),
    "names that are text": (changed("wrt", to="y_pred"), "`wrt` must be a list"),
    "names that are numbers": (changed("wrt", to=[1]), "`wrt` must hold names"),
    "a value that is text": (changed("value", to="high"), "has value 'high'; expected float"),
    "a value that is null": (changed("value", to=None), "has value None; expected float"),
    "a gradient that is a list": (changed("gradient", to=[0.0] * 5), "gradient must have the keys"),
    "a norm that is a list": (changed("gradient", "norm", to=[]), "gradient has norm"),
    "a line that is text": (changed("findings", 0, "loc", "line", to="12"), "loc has line '12'"),
    "a line that is true": (changed("findings", 0, "loc", "line", to=True), "loc has line True"),
    "a place that is text": (changed("findings", 0, "loc", to="a.py:3"), "loc must have the keys"),
}  # fmt: skip


@pytest.mark.parametrize("what", HOSTILE)
def test_other_json_is_refused(what):
    text, message = HOSTILE[what]
    with pytest.raises(BevelValueError, match=message):
        Report.from_json(text)


def test_what_a_hostile_report_says_reaches_no_terminal_as_a_command():
    loc = dataclasses.replace(LOC, text="x > 0.5 \x1b[2J", function="f\x1b[0m", column=0)
    finding = dataclasses.replace(FINDING, loc=loc, message="\x1b[31mred", help="\x07", label="\r")
    report = dataclasses.replace(REPORT, findings=(finding,), name="\x1b[2J", wrt=("\r",))
    text = str(report)
    assert not {"\x1b", "\x07", "\r"} & set(text)
