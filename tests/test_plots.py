"""Figures: the lines in them, and the files they become."""

import numpy as np
import pytest

from bevel import plots
from bevel.comparison import METHODS, Comparison, Estimate
from bevel.curves import OPERATIONS, operation_curves


def _comparison():
    estimate = Estimate(0.5, 0.4, 0.6)
    return Comparison(
        metric="f1", data="rows: 10", arrangement="", maximize=True, inferred=True,
        verdict="blocked", seeds=2, epochs=1, perfect=1.0,
        values={key: [0.4, 0.6] for key in METHODS}, estimates=dict.fromkeys(METHODS, estimate),
        against=dict.fromkeys(METHODS, estimate), curves={"ce": [0.0, 0.5], "relaxed": [0.5, 0.6]},
        seconds=1.0,
    )  # fmt: skip


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_has_a_line_for_each_curve_in_both_panels(name):
    figure = plots.draw_curves(operation_curves(name))
    assert [len(axes.lines) for axes in figure.axes] == [4, 4]


def test_a_jump_is_not_drawn_as_a_slope():
    curves = operation_curves("sign")
    hard = plots.draw_curves(curves).axes[0].lines[0].get_ydata()
    assert np.isnan(hard).any()
    soft = plots.draw_curves(curves).axes[0].lines[1].get_ydata()
    assert np.isfinite(soft).all()


def test_a_cut_slope_is_announced():
    assert "cut: the sharpest reaches 25" in plots.draw_curves(operation_curves("qpwc")).axes[
        1
    ].get_title(loc="left")


@pytest.mark.parametrize("suffix", plots.SUFFIXES)
def test_the_same_figure_gives_the_same_bytes(tmp_path, suffix):
    written = []
    for name in ("a", "b"):
        path = tmp_path / f"{name}{suffix}"
        plots.save(plots.draw_comparison(_comparison()), path)
        written.append(path.read_bytes())
    assert written[0] == written[1]
    assert written[0].startswith({".png": b"\x89PNG", ".svg": b"<?xml"}[suffix])


def test_a_comparison_shows_every_method_and_the_outcome():
    figure = plots.draw_comparison(_comparison())
    labels = [label.get_text() for label in figure.axes[1].get_yticklabels()]
    assert labels == [words.replace(", ", ",\n") for words in reversed(METHODS.values())]
    assert "wins" in figure.get_suptitle()
