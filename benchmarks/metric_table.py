"""Keras's 42 task metrics as losses: what stopped each, what was relaxed, and how far it descends.

`python benchmarks/metric_table.py` measures all of them (about 20 minutes on 2 cores), keeps the
figures in `benchmarks/results/metric_table.json` and writes `docs/metrics.md`; `--docs` only writes
the page again. For each metric: free predictions descend on the relaxed metric by Adam, 500 steps,
default settings, and what counts is the share of the attainable improvement of the hard metric.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

from measure import cell, interleave, machine, use_cpu

use_cpu()

import tensorflow as tf  # noqa: E402
import typer  # noqa: E402
from relaxed_f1 import value_and_gradient  # noqa: E402
from rich.progress import track  # noqa: E402

import bevel  # noqa: E402
from bevel.losses import MetricLoss  # noqa: E402
from bevel.stateless import pure  # noqa: E402

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from tests.descent import LINKS  # noqa: E402
from tests.keras_metrics import KIND, NAMES, descents, draw, make  # noqa: E402

STORE = HERE / "results" / "metric_table.json"
PAGE = HERE.parent / "docs" / "metrics.md"
BAR = 0.99
FIXED = ("AUC", "PrecisionAtRecall", "RecallAtPrecision", "SensitivityAtSpecificity",
         "SpecificityAtSensitivity")  # fmt: skip
_DROPPED = "predictions outside [0, 3) are not counted by the metric, so wrong ones may leave"
IMPOSSIBLE = {
    "IoU": _DROPPED,
    "MeanIoU": _DROPPED,
    "Accuracy": "it asks floats to be equal, which a sigmoid's values never are to 0 or 1",
    "BinaryCrossentropy": "smooth as it is; its optimum lies at infinite logits, 500 steps go not "
    "further",
    "ConcordanceCorrelation": "smooth as it is, and not convex: of three values in a row some have "
    "to pass each other",
}
HEAD = """\
# Keras's metrics as losses

`bevel.losses.MetricLoss` makes a loss of each of the 42 task metrics in `keras.metrics`, without
code for any one of them. Written by `python benchmarks/metric_table.py`.

- *before*: what `bevel.audit` says of the metric as it is.
- *relaxed*: the operations that were replaced.
- *descent*: free predictions from {seeds} random starts, Adam, 500 steps, default settings; the
  share of the attainable improvement of the hard metric, worst start. 64 rows; then 512 rows with
  5 % positives; then 512 with 1 %.
- *gap*: the largest distance of the soft from the hard value at a start, temperature 0.1.
- *cost*: value and gradient over the metric's own update and result, compiled, 10,000 rows.

"""


@dataclass(frozen=True)
class Row:
    """One metric's line."""

    name: str
    verdict: str
    relaxed: list[str]
    descent: float
    rare: float | None
    rarest: float | None
    gap: float
    cost: float


def descend(name: str, seeds: int, **kind: Any) -> tuple[float, float]:
    """The worst share over the seeds, and the largest gap between soft and hard at a start."""
    shares, gaps = zip(*descents(name, range(seeds), **kind), strict=True)
    return min(shares), max(gaps)


def cost(name: str) -> float:
    """Time of value and gradient over that of the metric itself."""
    drawn = draw(name, 0, rows=10_000)
    y, p = tf.constant(drawn.y_true), LINKS[drawn.link](tf.constant(drawn.z))
    loss, metric = MetricLoss(make(name)), pure(make(name))
    metric(y, p)

    trained = value_and_gradient(loss, jit_compile=None)
    own = tf.function(metric, autograph=False)
    calls: dict[str, Callable[[], Any]] = {"own": lambda: own(y, p), "loss": lambda: trained(y, p)}
    spreads = interleave(calls, rounds=20, calls=2)
    return spreads["loss"].median / spreads["own"].median


def row(name: str, seeds: int) -> Row:
    """Measures one metric."""
    drawn = draw(name, 0)
    p = LINKS[drawn.link](tf.constant(drawn.z))
    report = bevel.audit(make(name), drawn.y_true, p)
    entries = bevel.relax(make(name)).explain(drawn.y_true, p).entries
    share, gap = descend(name, seeds)
    rare = rarest = None
    if KIND.get(name, "binary") == "binary":
        rare, _ = descend(name, seeds, rows=512, positives=0.05)
    if name in FIXED:
        rarest, _ = descend(name, seeds, rows=512, positives=0.01)
    relaxed = sorted({e.op for e in entries})
    return Row(name, report.verdict, relaxed, share, rare, rarest, gap, cost(name))


def page(stored: dict[str, Any]) -> str:
    """The text of `docs/metrics.md`."""
    lines = [
        HEAD.format(seeds=stored["seeds"]),
        "| metric | before | relaxed | descent | 5 % | 1 % | gap | cost |",
        "|---|---|---|---:|---:|---:|---:|---:|",
    ]
    for r in stored["rows"]:
        shares = ("" if r[k] is None else f"{r[k]:.3f}" for k in ("descent", "rare", "rarest"))
        names = ", ".join(f"`{op}`" for op in r["relaxed"]) or "nothing"
        lines.append(
            f"| {r['name']} | {r['verdict']} | {names} | {' | '.join(shares)} | {r['gap']:.2g} | "
            f"{cell(r['cost'])}× |"
        )
    below = [
        r["name"] for r in stored["rows"]
        if min(r[k] for k in ("descent", "rare", "rarest") if r[k] is not None) < BAR
    ]  # fmt: skip
    said = "; ".join(
        f"{n} ({IMPOSSIBLE[n]})" if n in IMPOSSIBLE else f"{n} (not reached)" for n in below
    )
    facts = ", ".join(f"{name} {value}" for name, value in stored["machine"].items())
    lines += ["", f"Below {BAR}: {said or 'none'}.", "", f"Measured on: {facts}.", ""]
    return "\n".join(lines)


def main(
    docs: Annotated[bool, typer.Option("--docs", help="Only write the page again.")] = False,
    seeds: Annotated[int, typer.Option(min=1, help="Random starts.")] = 10,
) -> None:
    """Measures all metrics, keeps the figures and writes the page."""
    if not docs:
        rows = [asdict(row(name, seeds)) for name in track(NAMES, "metrics")]
        stored = {"seeds": seeds, "machine": machine(), "rows": rows}
        STORE.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(page(json.loads(STORE.read_text(encoding="utf-8"))), encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
