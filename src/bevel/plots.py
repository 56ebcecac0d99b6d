"""Figures: what a function and its relaxations look like, and how a comparison went.

Plain numbers in (`bevel.curves`, `bevel.comparison`), a matplotlib figure out. No display is needed
and no global state of matplotlib is touched. Colours are told apart by colour-blind readers, and
curves also by their lightness.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bevel.comparison import METHODS, Comparison
from bevel.curves import Curve, Curves
from bevel.errors import MissingFrameworkError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".svg")
_INK = "#20262e"
_FAINT = "#8a939e"
_GRID = "#e4e8ec"
_SERIES = ("#08306b", "#2b7bba", "#e08214", "#b2abd2")
_METHOD_COLOURS = {
    "ce": "#2b7bba",
    "weighted": "#8a939e",
    "tuned": "#08306b",
    "relaxed": "#d95f02",
}


def draw_curves(curves: Curves) -> Figure:
    """Draw value and slope side by side.

    Returns:
        A matplotlib figure; see `save`.

    Raises:
        MissingFrameworkError: If matplotlib is not installed.
    """
    figure = _figure(11.0, 4.6)
    left, right = figure.subplots(1, 2)
    low, high, cut = _slope_limits(curves)
    drawn = [(curves.hard, _INK, 2.4)]
    drawn += [(c, colour, 1.7) for c, colour in zip(curves.soft, _SERIES, strict=False)]
    for curve, colour, thickness in drawn:
        line = {"color": colour, "lw": thickness, "label": curve.name}
        left.plot(curves.x, _with_gaps(curves.x, curve), **line)
        right.plot(curves.x, curve.slope, **line)
    _style(left, "value", curves.label, "")
    _style(right, f"slope{cut}", curves.label, f"d value / d {curves.label}")
    right.set_ylim(low, high)
    left.legend(loc="best", fontsize=9, frameon=False, labelcolor=_INK)
    _headline(figure, curves.title, curves.subtitle)
    return figure


def draw_comparison(comparison: Comparison) -> Figure:
    """Draw the course of training, and the held-out result of each method with its interval."""
    figure = _figure(11.0, 4.6)
    course, result = figure.subplots(1, 2, width_ratios=(1.25, 1.0))
    first, second = comparison.curves["ce"], comparison.curves["relaxed"]
    turn = len(first) - 1
    course.plot(range(len(first)), first, color=_METHOD_COLOURS["ce"], lw=2, label="cross-entropy")
    # The relaxed run starts from the best epoch of the first one, not from its last.
    course.plot(
        range(turn, turn + len(second)),
        second,
        color=_METHOD_COLOURS["relaxed"],
        lw=2,
        label="relaxed metric, from its best epoch",
    )
    course.axvline(turn, color=_FAINT, lw=1, ls=(0, (4, 3)))
    _style(course, "validation, mean over seeds", "epoch", f"hard {comparison.metric}")
    course.legend(loc="lower right", fontsize=9, frameon=False, labelcolor=_INK)
    for place, key in enumerate(reversed(METHODS)):
        estimate, colour = comparison.estimates[key], _METHOD_COLOURS[key]
        jitter = place + np.linspace(-0.16, 0.16, comparison.seeds)
        result.plot(comparison.values[key], jitter, "o", ms=3.5, color=colour, alpha=0.35, mew=0)
        result.plot([estimate.low, estimate.high], [place, place], color=colour, lw=2.4)
        result.plot([estimate.mean], [place], "o", ms=8, color=colour, mec="white", mew=1.2)
    result.set_yticks(range(len(METHODS)), [_two_lines(METHODS[k]) for k in reversed(METHODS)])
    result.set_ylim(-0.6, len(METHODS) - 0.4)
    better = "higher" if comparison.maximize else "lower"
    _style(
        result,
        "held out: mean, 95 % interval, seeds",
        f"hard {comparison.metric} ({better} is better)",
        "",
    )
    verdict = {
        "wins": "the relaxed metric wins",
        "loses": "the relaxed metric loses",
        "tie": "a tie",
    }
    _headline(
        figure,
        f"{comparison.metric}: {verdict[comparison.outcome]}",
        comparison.data.partition(":")[0] + f", {comparison.seeds} seeds",
    )
    return figure


def save(figure: Figure, path: str | Path) -> None:
    """Write a figure as PNG or SVG, by the suffix; the same figure gives the same bytes."""
    import matplotlib

    metadata = {"Date": None} if Path(path).suffix.lower() == ".svg" else None
    with matplotlib.rc_context({"svg.hashsalt": "bevel"}):
        figure.savefig(path, dpi=150, facecolor="white", metadata=metadata)


def _with_gaps(x: np.ndarray, curve: Curve) -> np.ndarray:
    """Break a line where it jumps, so that a jump is not drawn as a slope.

    A jump is a difference that neither neighbour's slope explains.
    """
    steep = np.maximum(np.abs(curve.slope[1:]), np.abs(curve.slope[:-1])) * np.diff(x)
    jumps = np.abs(np.diff(curve.value)) > 3.0 * steep + 0.01 * np.ptp(curve.value)
    broken = curve.value.astype("float64").copy()
    broken[1:][jumps] = np.nan
    return broken


def _slope_limits(curves: Curves) -> tuple[float, float, str]:
    """Bounds that keep the sharpest slope from squeezing the others, and words for a cut."""
    lows = [float(np.nanmin(c.slope)) for c in curves.soft]
    highs = [float(np.nanmax(c.slope)) for c in curves.soft]
    tops = sorted(max(abs(low), abs(high)) for low, high in zip(lows, highs, strict=True))
    bound, cut = tops[-1], ""
    if len(tops) > 1 and tops[-1] > 4.0 * tops[-2] > 0:
        bound, cut = 1.6 * tops[-2], f", cut: the sharpest reaches {tops[-1]:.3g}"
    low, high = max(min(0.0, *lows), -bound), min(max(0.0, *highs), bound)
    room = 0.06 * (high - low) or 0.06
    return low - room, high + room, cut


def _figure(width: float, height: float) -> Figure:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingFrameworkError(
            "plots need matplotlib, which is not installed", help='pip install "bevel[plot]"'
        ) from None
    return Figure(figsize=(width, height), layout="constrained")


def _style(axes: Axes, title: str, across: str, up: str) -> None:
    axes.set_title(title, loc="left", fontsize=10.5, color=_INK)
    axes.set_xlabel(across, color=_INK)
    axes.set_ylabel(up, color=_INK)
    axes.grid(color=_GRID, lw=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=_INK, length=0, labelsize=9)
    axes.margins(x=0.02, y=0.08)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(_FAINT)


def _headline(figure: Figure, title: str, subtitle: str) -> None:
    figure.suptitle(f"{title}\n", x=0.012, ha="left", fontsize=13.5, color=_INK, weight="bold")
    figure.text(0.0128, 0.905, subtitle, ha="left", fontsize=9.5, color=_FAINT)


def _two_lines(method: str) -> str:
    return method.replace(", ", ",\n")
