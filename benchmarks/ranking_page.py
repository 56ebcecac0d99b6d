"""`docs/ranking.md` from the figures that `ranking_quality.py` kept.

On lists a difference is paired by query, and its interval comes from drawing the queries anew; on
rows it is paired by seed, as in `training_page.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from training_page import difference

PAGE = Path(__file__).parents[1] / "docs" / "ranking.md"
BASELINES = ("squared error", "ListwiseSoftmax")
LOSSES = {
    "ce": "cross-entropy",
    "weighted": "weighted cross-entropy",
    "AUC": "AUC",
    "AveragePrecision": "AveragePrecision",
}
DRAWS = 10_000
HEAD = """\
# Do ranking losses rank better?

Written by `KERAS_BACKEND=jax python benchmarks/ranking_quality.py`, wins and losses as they came
out. Every loss trains the same network, one hidden layer of 32 units, from the same weights on the
same batches by Adam, {epochs} epochs at each of the rates {rates}. Rate and epoch are the ones that
were best on validation data by the metric that is shown; what is shown is the metric on data that
took no part in training or choosing. All settings of the losses are their defaults unless the name
says otherwise.

## Lists of documents

{count} queries of the MSLR-WEB10K sample in rankeval's wheel, some {documents} documents each with
136 features and grades from 0 to 4. Features are logarithms in units of their spread over the
queries that are trained on. Queries are drawn into {folds} parts: one to report on, one to choose
by, the others to train on, in turns, so that each query is reported on once for each of {seeds}
seeds. NDCG@10 is that with the gain 2^grade − 1, usual in learning to rank (scikit-learn's
`ndcg_score` of these gains); of equal scores, the order is drawn.

- The value of a query is its mean over the seeds, that of a loss the mean over the queries. *seeds*
  is how far apart the means of the seeds are, as a standard deviation.
- A difference is paired by query; in brackets its 95 % interval, where queries are drawn anew
  {draws:,} times (bootstrap). **Bold** where 0 is outside. The interval leaves out that other
  training queries would give other models. Of twenty such intervals one is bold by chance.
- *squared error*: of the grades. *Pairwise (ndcg)*: LambdaRank. *MeanAveragePrecision* takes every
  grade above 0 for relevant, so it is not told what NDCG asks for. *rax*: its approximate NDCG.
  *LightGBM*: its `lambdarank`, trees instead of the network, 5 to 100 of them with 15 leaves,
  chosen likewise with its rate (ten times the ones above). *random order*: no model.
- *NDCG (logistic)* and *MeanAveragePrecision* count by kernels from 0 to 1, as *AveragePrecision*
  below; *NDCG* and *AUC* by squared hinges.
"""
ROWS = """\
## Rows with few positives

Tables as in [training.md](training.md), {seeds} splits and first weights, batches of 256 rows.
*weighted cross-entropy* gives both classes the same weight. The lower table: Bevel's loss minus
another, paired by seed, ± standard error; **bold** where it is further from 0 than chance explains
(two-sided, 5 %, Student's t). LibAUC's losses were not measured.
"""


def interval(pairs: np.ndarray) -> tuple[float, float, float]:
    """The mean of the differences, and its 95 % interval where the queries are drawn anew."""
    places = np.random.default_rng(0).integers(len(pairs), size=(DRAWS, len(pairs)))
    low, high = np.percentile(pairs[places].mean(axis=1), [2.5, 97.5])
    return float(pairs.mean()), float(low), float(high)


def page(stored: dict[str, Any]) -> str:
    """The text of `docs/ranking.md`."""
    rates = " and ".join(map(str, stored["rates"]))
    facts = ", ".join(f"{name} {value}" for name, value in stored["machine"].items())
    return "\n".join([
        HEAD.format(**{**stored, "rates": rates}, draws=DRAWS),
        *_lists(stored["lists"]),
        "",
        ROWS.format(**stored),
        *_rows(stored["rows"]),
        "",
        *_differences(stored["rows"]),
        "",
        f"Measured on: {facts}.",
        "",
    ])  # fmt: skip


def _lists(rows: list[dict[str, Any]]) -> list[str]:
    values = {row["name"]: row["queries"] for row in rows}
    heads = [f"− {name}" for name in BASELINES]
    lines = [f"| loss | NDCG@10 | seeds | {' | '.join(heads)} |", "|---|---:|---:|---:|---:|"]
    for row in rows:
        if row["queries"] is None:
            lines.append(f"| {row['name']} | not installed | | | |")
            continue
        cells = [f"{np.mean(row['queries']):.3f}", f"{np.std(row['seeds'], ddof=1):.3f}"]
        cells += [_against(row["queries"], values[name]) for name in BASELINES]
        lines.append(f"| {row['name']} | {' | '.join(cells)} |")
    return lines


def _against(values: list[float], others: list[float]) -> str:
    if values == others:
        return ""
    mean, low, high = interval(np.subtract(values, others))
    text = f"{mean:+.3f} [{low:+.3f}, {high:+.3f}]"
    return f"**{text}**" if low > 0 or high < 0 else text


def _rows(rows: list[dict[str, Any]]) -> list[str]:
    lines = [f"| metric | data | {' | '.join(LOSSES.values())} |", f"|---|---|{'---:|' * 4}"]
    for row in rows:
        means = [f"{np.mean(row['values'][key]):.3f}" for key in LOSSES]
        lines.append(f"| {row['metric']} | {row['data']} | {' | '.join(means)} |")
    return lines


def _differences(rows: list[dict[str, Any]]) -> list[str]:
    pairs = [(own, other) for own in ("AUC", "AveragePrecision") for other in ("ce", "weighted")]
    heads = [f"{own} − {LOSSES[other]}" for own, other in pairs]
    lines = [f"| metric | data | {' | '.join(heads)} |", f"|---|---|{'---:|' * 4}"]
    for row in rows:
        cells = [_paired(row, *pair) for pair in pairs]
        lines.append(f"| {row['metric']} | {row['data']} | {' | '.join(cells)} |")
    return lines


def _paired(row: dict[str, Any], own: str, other: str) -> str:
    mean, error, sign = difference(row, other, own)
    text = f"{mean:+.3f} ± {error:.3f}"
    return f"**{text}**" if sign else text
