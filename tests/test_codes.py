"""The pages behind the codes: complete, printable, and each example shows its code."""

import re
import runpy
from pathlib import Path

import pytest

import bevel
from bevel.codes import PAGES, explain
from bevel.errors import BevelValueError

ROOT = Path(__file__).parents[1]
SOURCE = Path(bevel.__file__).parent


@pytest.fixture
def example(request, tmp_path):
    """The names of an example, run from a file as a user would have it."""
    file = tmp_path / "example.py"
    file.write_text(PAGES[request.param].example.strip() + "\n", encoding="utf-8")
    return request.param, runpy.run_path(str(file))


@pytest.mark.parametrize("example", PAGES, indirect=True)
def test_auditing_an_example_reports_its_code(example):
    code, names = example
    report = bevel.audit(names["loss"], names["y_true"], names["y_pred"])
    assert code in [finding.code for finding in report.findings], str(report)


ADVISED = [code for code, page in PAGES.items() if "`bevel.relax(loss)`" in page.instead]


@pytest.mark.parametrize("example", ADVISED, indirect=True)
def test_where_a_page_advises_to_relax_that_helps(example):
    import numpy as np
    import tensorflow as tf

    names = example[1]
    with tf.GradientTape() as tape:
        tape.watch(names["y_pred"])
        value = bevel.relax(names["loss"])(names["y_true"], names["y_pred"])
    gradient = tape.gradient(value, names["y_pred"]).numpy()
    assert np.all(np.isfinite(gradient))
    assert np.any(gradient != 0.0)


def test_codes_are_in_order_and_titles_differ():
    assert list(PAGES) == sorted(PAGES)
    assert all(re.fullmatch(r"B\d{3}", code) for code in PAGES)
    assert len({page.title for page in PAGES.values()}) == len(PAGES)


def test_every_code_in_the_source_has_a_page():
    used = {
        code
        for file in SOURCE.rglob("*.py")
        for code in re.findall(r"\bB[1-9]\d\d\b", file.read_text(encoding="utf-8"))
    }
    assert used <= set(PAGES)


@pytest.mark.parametrize("code", PAGES)
def test_a_page_is_complete_and_fits_a_terminal(code):
    text = explain(code)
    assert text.startswith(f"{code}: {PAGES[code].title}\n\n")
    for heading in ("What it means", "Why", "Example", "What to do"):
        assert f"\n\n{heading}\n\n  " in text
    assert max(map(len, text.splitlines())) <= 96
    assert not re.search(r"[ \t]$", text, re.MULTILINE)
    # a piece of code is never broken over two lines
    prose = [line for line in text.splitlines() if not line.startswith("    ")]
    assert all(line.count("`") % 2 == 0 for line in prose)


def test_a_code_may_be_written_in_lower_case():
    assert explain(" b101 ") == explain("B101")


def test_an_unknown_code_lists_the_known_ones():
    with pytest.raises(BevelValueError, match=r"got 'B999'\.\n  help: one of B101, B102, "):
        explain("B999")


def test_the_pages_in_the_docs_are_the_ones_in_the_table():
    codes = (ROOT / "docs" / "codes.md").read_text(encoding="utf-8")
    assert re.findall(r"^## (B\d{3})", codes, re.MULTILINE) == list(PAGES)
