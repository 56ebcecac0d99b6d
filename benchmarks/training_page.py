"""`docs/training.md` from the figures that `training.py` kept: means, paired differences, outcomes.

A difference is paired by seed: same split, same first weights, same batches. Its standard error is
the deviation of the differences over the root of their number, and it counts as a win or a loss
where it is further from 0 than Student's 97.5 % quantile of standard errors.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

PAGE = Path(__file__).parents[1] / "docs" / "training.md"
METHODS = {"ce": "CE", "weighted": "weighted CE", "tuned": "tuned CE", "rival": "Dice, Tversky"}
OUTCOMES = {1: "win", 0: "tie", -1: "loss"}
HEAD = """\
# Does training on the metric pay?

Written by `python benchmarks/training.py`: small Keras models on real data, {seeds} splits and
first weights each, {epochs} epochs for every method, of Adam with a slow start and a cosine decay.
What is shown is the hard metric on rows that took no part in training or choosing, mean over the
seeds.

- *CE*: cross-entropy, decided at 0.5 (or by the largest). *weighted CE*: the same, every class with
  the same weight. *tuned CE*: cross-entropy, its decision tuned for the metric on validation rows;
  empty where the metric makes no decision. *Dice, Tversky*: Keras's smooth loss for the metric.
- *relaxed*: `MetricLoss` of the metric, default settings, memory 0.9 where it has a state (none
  for images, whose batches have pixels enough).
- Every method picks its epoch on the validation rows by the hard metric (*tuned CE* by
  cross-entropy, before it tunes). Dice, Tversky and relaxed go on from what cross-entropy reached
  in half of the epochs.
- The lower table: relaxed minus the other, paired by seed, ± standard error. **Bold** where it is
  further from 0 than chance explains (two-sided, 5 %, Student's t). Of so many differences, one in
  twenty would be bold by chance alone.
"""


def difference(row: dict[str, Any], method: str, own: str = "relaxed") -> tuple[float, float, int]:
    """One method minus another: mean, standard error, and its sign where chance does not do."""
    from scipy import stats

    pairs = np.subtract(row["values"][own], row["values"][method])
    mean, error = float(pairs.mean()), float(pairs.std(ddof=1) / np.sqrt(len(pairs)))
    beyond = abs(mean) > stats.t.ppf(0.975, len(pairs) - 1) * error
    return mean, error, int(np.sign(mean)) * int(beyond)


def page(stored: dict[str, Any]) -> str:
    """The text of `docs/training.md`."""
    rows = stored["rows"]
    facts = ", ".join(f"{name} {value}" for name, value in stored["machine"].items())
    return "\n".join([
        HEAD.format(**stored),
        *_table(rows, {**METHODS, "relaxed": "relaxed"}, _mean),
        "",
        *_table(rows, {key: f"− {name}" for key, name in METHODS.items()}, _paired),
        "",
        *(f"- {line}" for line in _summary(rows)),
        "",
        f"Measured on: {facts}.",
        "",
    ])  # fmt: skip


def _table(rows: list[dict[str, Any]], methods: dict[str, str], cell: Any) -> list[str]:
    lines = [
        f"| metric | data | {' | '.join(methods.values())} |",
        f"|---|---|{'---:|' * len(methods)}",
    ]
    for row in rows:
        cells = [cell(row, key) if key in row["values"] else "" for key in methods]
        lines.append(f"| {row['metric']} | {row['data']} | {' | '.join(cells)} |")
    return lines


def _mean(row: dict[str, Any], method: str) -> str:
    return f"{np.mean(row['values'][method]):.3f}"


def _paired(row: dict[str, Any], method: str) -> str:
    mean, error, sign = difference(row, method)
    text = f"{mean:+.3f} ± {error:.3f}"
    return f"**{text}**" if sign else text


def _summary(rows: list[dict[str, Any]]) -> list[str]:
    lines = []
    for key, name in METHODS.items():
        signs = Counter(difference(row, key)[2] for row in rows if key in row["values"])
        counted = (f"{signs[s]} {word}{_plural(signs[s], word)}" for s, word in OUTCOMES.items())
        lines.append(f"relaxed against {name}: {', '.join(counted)}")
    return lines


def _plural(count: int, word: str) -> str:
    return "" if count == 1 else ("es" if word == "loss" else "s")
