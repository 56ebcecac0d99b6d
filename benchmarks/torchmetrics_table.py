"""torchmetrics' functional metrics as losses: what stopped each, and how far it descends.

`python benchmarks/torchmetrics_table.py` calls every function of `torchmetrics.functional` for
classification, retrieval, segmentation and regression with ordinary inputs and its own default
arguments (with `top_k=5` where all rows together are always the same), keeps the figures in
`benchmarks/results/torchmetrics_table.json` and writes `docs/torchmetrics.md`; `--docs` only writes
the page again. It needs `pip install torchmetrics`.
For each: does the function send a gradient as it is, does the relaxed one, and which share of the
attainable improvement free predictions reach by Adam in 300 steps at default settings.
"""

from __future__ import annotations

import functools
import inspect
import json
import math
import os
import re
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

os.environ["KERAS_BACKEND"] = "torch"

import torch
import typer
from measure import machine
from rich.progress import track
from torchmetrics.functional import (
    classification,
    regression,
    retrieval,
    segmentation,
)

import bevel

HERE = Path(__file__).parent
STORE = HERE / "results" / "torchmetrics_table.json"
PAGE = HERE.parent / "docs" / "torchmetrics.md"
ROWS, CLASSES, STEPS, BAR = 64, 3, 300, 0.99

# A descent that has come this far is not gone on with.
ENOUGH = 0.9999

# So is one that has taken longer than this, in seconds.
LONGEST = 400

REQUIRED = {
    "num_classes": CLASSES,
    "num_labels": CLASSES,
    "num_groups": 2,
    "beta": 1.0,
    "min_recall": 0.8,
    "min_precision": 0.8,
    "min_sensitivity": 0.8,
    "min_specificity": 0.8,
    "p": 2.0,
}
SIZES = ("num_classes", "num_labels")
CUT = ("retrieval_fall_out", "retrieval_hit_rate", "retrieval_precision", "retrieval_recall")
HEAD = """\
# torchmetrics as losses

Every function of `torchmetrics.functional` for classification, retrieval, segmentation and
regression, called as it is, with `validate_args` as it comes. Written by
`python benchmarks/torchmetrics_table.py`.

- *before*: the gradient of the function itself: `flows`, or `none`.
- *relaxed*: whether the gradient of `bevel.relax(fn)` is finite and not zero.
- *descent*: free predictions through a sigmoid or softmax where the metric wants probabilities,
  Adam, at most 300 steps, default settings; the share of the improvement of the hard metric from
  the start to right predictions, worst of {seeds} random starts. A descent that has come to 0.9999
  ends there, and a slow one after {longest} seconds, as far as it is.

The inputs are small: {rows} rows, {classes} classes, two images of 8 x 8. Of several results the
first or the mean is descended on, of a curve the area under it. Of functions that take a `task`,
the multiclass one is called.

"""

STOPPED, UNMEASURED = "stopped by the clock", "not measured"

# Why a function is below the bar, by a part of its name.
REASONS = {
    "calibration": "torchmetrics takes the mean confidence and accuracy of each bin under "
    "`torch.no_grad`; a declared stop of smooth values is respected, so what is left is the "
    "gradient of which bin a row falls into",
    "hausdorff": "the positions of the pixels of an edge, of which there are as many as the "
    "prediction says, meet those of another in pairs (`i.view(-1, 1) - j.view(1, -1)`): rows that "
    "different masks pick do not meet in `relax`",
    "logauc": "the curve is cut at positions that depend on the prediction (`x[low : high + 1]`), "
    "which PyTorch takes as plain numbers: where it is cut has no gradient; and it is slow",
    "recall_at_fixed_precision": "the best threshold is searched for in lexicographic order among "
    "rows that a soft mask picks, again and again; a few rows are left over after so many steps",
}


@dataclass(frozen=True)
class Case:
    """One function with ordinary inputs.

    Attributes:
        name: Its name.
        fn: A function (target, raw prediction) of which a number is returned.
        target: The labels.
        draw: Raw predictions for a seed, before the link.
        ideal: A raw prediction that is right everywhere.
        link: From raw predictions to what the metric wants.
    """

    name: str
    fn: Callable[..., Any]
    target: torch.Tensor
    draw: Callable[[int], torch.Tensor]
    ideal: torch.Tensor
    link: Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Row:
    """One function's line; `itself` is the descent on a function that has a gradient of its own."""

    name: str
    before: str
    relaxed: str
    descent: float | None
    said: str = ""
    itself: float | None = None


def cases() -> Iterator[Case]:
    """Every function, once for each task that it takes."""
    for name in dict.fromkeys(classification.__all__):
        fn = getattr(classification, name)
        parameters = inspect.signature(fn).parameters
        tasks = str(parameters["task"].annotation) if "task" in parameters else ""
        if "binary" in tasks or "multiclass" in tasks:
            task = "multiclass" if "multiclass" in tasks else "binary"
            fn = functools.partial(fn, task=task)
        else:
            task = name.partition("_")[0]
        yield _classified(name, fn, task if task in ("multiclass", "multilabel") else "binary")
    for name in retrieval.__all__:
        yield _classified(name, getattr(retrieval, name), "binary")
    for name in segmentation.__all__:
        yield _segmented(name, getattr(segmentation, name))
    for name in dict.fromkeys(regression.__all__):
        yield _regressed(name, getattr(regression, name))


def _random(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _bound(fn: Callable[..., Any], **own: Any) -> Callable[..., Any]:
    """The function with its required arguments, and the number of classes wherever it takes one."""
    needed = {
        n: REQUIRED[n]
        for n, p in list(inspect.signature(fn).parameters.items())[2:]
        if n in REQUIRED and n not in own and (p.default is p.empty or n in SIZES)
    }
    return functools.partial(fn, **needed, **own)


def _number(fn: Callable[..., Any], name: str) -> Callable[..., Any]:
    """One number of what a metric returns.

    Of counts and rates the first, of a curve (of the first class) the area under it, of others the
    mean.
    """

    def number(target: torch.Tensor, preds: torch.Tensor) -> torch.Tensor:
        found = fn(preds, target)
        if name.endswith(("roc", "_curve")) and not name.endswith("auroc"):
            x, y = (part if isinstance(part, torch.Tensor) else part[0] for part in found[:2])
            x, y = (y, x) if name.endswith("_curve") else (x, y)
            return torch.trapezoid(y, x).abs()
        is_rates = isinstance(found, dict) or name.endswith("stat_scores")
        while not isinstance(found, torch.Tensor):
            found = next(iter(found.values())) if isinstance(found, dict) else found[0]
        if is_rates or not found.is_floating_point():
            return found.flatten()[0].float()
        return found.mean()

    number.__name__ = name
    return number


def _classified(name: str, fn: Callable[..., Any], task: str) -> Case:
    g = _random(0)
    if task == "multiclass":
        target = torch.randint(CLASSES, (ROWS,), generator=g)
        shape, link = (ROWS, CLASSES), functools.partial(torch.softmax, dim=-1)
        ideal = 8.0 * torch.nn.functional.one_hot(target, CLASSES)
    else:
        shape = (ROWS, CLASSES) if task == "multilabel" else (ROWS,)
        target, link = torch.randint(2, shape, generator=g), torch.sigmoid
        if name.startswith("retrieval"):
            target = (torch.rand(shape, generator=g) < 1 / 8).long()
        ideal = 8.0 * (2.0 * target - 1.0)
    own: dict[str, Any] = {"top_k": 5} if name in CUT else {}
    if "groups" in inspect.signature(fn).parameters:
        own["groups"] = torch.randint(2, (ROWS,), generator=g)
    bound = _bound(fn, **own)
    if name == "demographic_parity":
        bound = lambda preds, target: fn(preds, own["groups"])  # noqa: E731
    draw = lambda seed: torch.randn(shape, generator=_random(seed + 1))  # noqa: E731
    return Case(name, _number(bound, name), target, draw, ideal.float(), link)


def _segmented(name: str, fn: Callable[..., Any]) -> Case:
    g, shape = _random(0), (2, CLASSES, 8, 8)
    indices = torch.randint(CLASSES, (2, 8, 8), generator=g)
    target = torch.nn.functional.one_hot(indices, CLASSES).movedim(-1, 1)
    bound = _bound(fn)

    def decided(preds: torch.Tensor, target: torch.Tensor) -> Any:
        hard = torch.nn.functional.one_hot(preds.argmax(1), CLASSES).movedim(-1, 1)
        return bound(hard, target)

    draw = lambda seed: torch.randn(shape, generator=_random(seed + 1))  # noqa: E731
    link = functools.partial(torch.softmax, dim=1)
    return Case(name, _number(decided, name), target, draw, 8.0 * target, link)


def _regressed(name: str, fn: Callable[..., Any]) -> Case:
    g = _random(0)
    shape, link = (ROWS,), torch.nn.functional.softplus
    if "divergence" in name:
        shape, link = (ROWS, CLASSES), functools.partial(torch.softmax, dim=-1)
    if name == "cosine_similarity":
        shape = (ROWS, CLASSES)
    raw = torch.randn(shape, generator=g)
    if name == "critical_success_index":
        raw, link = 4.0 * raw, torch.sigmoid
    target, ideal = link(raw), raw
    own = {"threshold": 0.5} if name == "critical_success_index" else {}
    if name == "continuous_ranked_probability_score":
        draw = lambda seed: torch.randn((ROWS, 5), generator=_random(seed + 1))  # noqa: E731
        ideal = raw[:, None].expand(ROWS, 5)
    else:
        draw = lambda seed: torch.randn(shape, generator=_random(seed + 1))  # noqa: E731
    return Case(name, _number(_bound(fn, **own), name), target, draw, ideal, link)


def gradient(
    fn: Callable[..., Any], target: torch.Tensor, preds: torch.Tensor
) -> torch.Tensor | None:
    """The gradient of a function to the predictions, or None where it has none."""
    preds = preds.detach().requires_grad_(True)
    value = fn(target, preds)
    if not value.requires_grad:
        return None
    return torch.autograd.grad(value, preds, allow_unused=True)[0]


def _sends(found: torch.Tensor | None) -> str:
    if found is None or not found.any():
        return "none"
    return "flows" if bool(torch.isfinite(found).all()) else "not finite"


def descent(case: Case, relaxed: Callable[..., Any], seed: int) -> float:
    """The share of the attainable improvement of the hard metric."""
    z = case.draw(seed).requires_grad_(True)
    hard = lambda: float(case.fn(case.target, case.link(z.detach())))  # noqa: E731
    start = hard()
    gap = float(case.fn(case.target, case.link(case.ideal))) - start
    if abs(gap) < 1e-9:
        return 1.0
    optimizer = torch.optim.Adam([z], lr=0.05)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    reached, end = 0.0, time.monotonic() + LONGEST
    for step in range(1, STEPS + 1):
        optimizer.zero_grad()
        (-math.copysign(1.0, gap) * relaxed(case.target, case.link(z))).backward()
        optimizer.step()
        schedule.step()
        is_late = time.monotonic() > end
        if step % 10 == 0 or is_late:
            reached = (hard() - start) / gap
            if reached >= ENOUGH or is_late:
                break
    return min(1.0, reached)


def row(case: Case, seeds: int) -> Row:
    """Measures one function."""
    preds = case.link(case.draw(0))
    try:
        before = _sends(gradient(case.fn, case.target, preds))
    except RuntimeError as error:
        return Row(case.name, "fails", "fails", None, str(error).splitlines()[0][:90])
    relaxed = bevel.relax(case.fn, wrt="preds")
    try:
        after = _sends(gradient(relaxed, case.target, preds))
        reached = min(descent(case, relaxed, seed) for seed in range(seeds))
    except bevel.errors.BevelError as error:
        return Row(case.name, before, "refused", None, str(error).splitlines()[0][:120])
    itself = None
    if before == "flows":
        itself = round(min(descent(case, case.fn, seed) for seed in range(seeds)), 4)
    return Row(case.name, before, after, round(reached, 4), itself=itself)


def page(stored: dict[str, Any]) -> str:
    """The text of `docs/torchmetrics.md`."""
    rows = stored["rows"]
    lines = [HEAD.format(seeds=stored["seeds"], rows=ROWS, classes=CLASSES, longest=LONGEST)]
    lines += ["| function | before | relaxed | descent |", "|---|---|---|---:|"]
    for r in rows:
        shown = r["said"] if r["descent"] is None else f"{r['descent']:.3f}"
        if r["said"] == STOPPED:
            shown = f"{shown}, {STOPPED}"
        lines.append(f"| {r['name']} | {r['before']} | {r['relaxed']} | {shown} |")
    flows = sum(r["relaxed"] == "flows" for r in rows)
    before = sum(r["before"] == "flows" for r in rows)
    low = [r for r in rows if not _is_down(r)]
    count = len(rows) - len(low)
    same = [r for r in rows if _is_down(r) and r["descent"] < BAR]
    lines += [
        "",
        (
            f"Of {len(rows)} functions {before} send a gradient as they are, {flows} when relaxed; "
            f"{count} ({count / len(rows):.1%}) come to {BAR} of the improvement, or as far as the "
            "function itself does."
        ),
        "",
        *(_reason(r) for r in (*low, *same)),
        "",
        "Measured on: " + ", ".join(f"{k} {v}" for k, v in stored["machine"].items()) + ".",
        "",
    ]
    return "\n".join(lines)


def _is_down(r: dict[str, Any]) -> bool:
    """Whether a descent came as far as can be asked: to the bar, or as the function itself."""
    if r["descent"] is None or r["relaxed"] != "flows":
        return False
    return r["descent"] >= BAR or (r.get("itself") or 2.0) <= r["descent"] + 1e-3


def _reason(r: dict[str, Any]) -> str:
    """Why a function does not come to the bar."""
    if r.get("itself") and _is_down(r):
        why = (
            f"it has a gradient of its own, on which the same descent comes to {r['itself']:.3f}: "
            "what is left is how far the sigmoid or softmax saturates in so many steps"
        )
    elif r["said"] == STOPPED:
        why = "its descent was not at its end"
    elif r["said"] == UNMEASURED:
        why = "not measured"
    else:
        why = next((why for part, why in REASONS.items() if part in r["name"]), "not known yet")
    return f"- `{r['name']}`: {why}."


def main(
    docs: Annotated[bool, typer.Option("--docs", help="Only write the page again.")] = False,
    seeds: Annotated[int, typer.Option(min=1, help="Random starts.")] = 3,
    only: Annotated[str, typer.Option(help="Only names that match; other figures are kept.")] = "",
) -> None:
    """Measures functions, keeps the figures after each of them, and writes the page."""
    warnings.simplefilter("ignore")
    every = list(cases())
    if not docs:
        rows = {r["name"]: r for r in json.loads(STORE.read_text())["rows"]} if only else {}
        facts = machine() | {"torchmetrics": version("torchmetrics")}
        for case in track([c for c in every if re.search(only, c.name)], "functions"):
            rows[case.name] = asdict(row(case, seeds))
            kept = [rows[c.name] for c in every if c.name in rows]
            stored = {"seeds": seeds, "machine": facts, "rows": kept}
            STORE.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(page(json.loads(STORE.read_text(encoding="utf-8"))), encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
