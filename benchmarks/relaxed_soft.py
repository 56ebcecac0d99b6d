"""Is relaxed code as fast as the same metric rewritten by hand with soft functions?

A cell is one metric at one size in one framework: the hard code relaxed by Bevel, and a rewriting
with SoftJAX or SoftTorch, or a soft F1 by hand, take turns in one process, value and gradient. It
has a process of its own, whose end by the clock or for want of memory is a result. Beside each time
stands what it buys: how far the value is from the hard one, and how many elements get a gradient.
None of the libraries is needed by Bevel; SoftJAX wants Python 3.12:

    pip install softjax softtorch

`python benchmarks/relaxed_soft.py --save` keeps the figures and writes `docs/relaxed_soft.md`;
`--docs` only writes the page again.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from measure import Bar, Result, interleave, load, machine, report
from peers import confine, elsewhere, live, version
from soft_functions import BY_HAND, DEFAULT, LIBRARIES, METRICS, Function

PAGE = Path(__file__).parents[1] / "docs" / "relaxed_soft.md"
HEAD = """\
# Relaxed, and rewritten by hand

`python benchmarks/relaxed_soft.py --save` measures all of this again. Only ratios within one run
mean something on another machine.
"""
SIZES = (1_000, 100_000)
MODES = {"JAX, jitted": "jax", "PyTorch, eager": "torch", "PyTorch, compiled": "torch"}
COMPILED = "PyTorch, compiled"
# Theirs over n = 1,000; the rest of a sort's O(n^2) methods at 100,000; soft F1 by hand.
LIMIT, FAR_BELOW, FIRST_CALL = 1.0, 0.1, 2.0
LIMITS_BY_HAND = {"JAX, jitted": 1.15, "PyTorch, eager": 3.0, COMPILED: 1.3}
QUADRATIC = ("neuralsort", "softsort")
TOP_10 = "recall in the top 10"


def run_cell(metric: str, mode: str, rival: str, n: int) -> None:
    """Prints what the two cost and give in this process: Bevel's as soon as it is known."""
    confine()
    import bevel

    case, framework = METRICS[metric], MODES[mode]
    inputs = case.inputs(n)
    hard = case.written(framework)
    value = _framework(mode, hard, *inputs)[1]()
    runs, found = {}, {}
    for name in ("bevel", "rival"):
        fn = bevel.relax(hard) if name == "bevel" else case.rewritten(framework, rival)
        run, _ = _framework(mode, fn, *inputs)
        begun = time.process_time()
        run()
        found[f"{name} first"] = time.process_time() - begun
        begun = time.process_time()
        soft, gradient = run()
        took = time.process_time() - begun
        found[f"{name} ms"] = took * 1e3
        found[f"{name} error"] = abs(float(soft) - float(value))
        found[f"{name} live"] = live(gradient)
        runs[name] = run
        print(json.dumps(found), flush=True)
    is_slow = max(found["bevel ms"], found["rival ms"]) > 300
    how = {"rounds": 3, "calls": 1} if is_slow else {"rounds": 15, "calls": 3}
    times = interleave(runs, **how, clock=time.process_time)
    found |= {f"{name} ms": times[name].median * 1e3 for name in times}
    found["ratio"] = found["bevel ms"] / found["rival ms"]
    print(json.dumps(found))


def _framework(
    mode: str, fn: Function, y_true: np.ndarray, y_pred: np.ndarray
) -> tuple[Callable[[], tuple[Any, np.ndarray]], Callable[[], Any]]:
    """The calls for value and gradient, and for the value as it is."""
    if MODES[mode] == "jax":
        import jax
        import jax.numpy as jnp

        labels, scores = jnp.asarray(y_true), jnp.asarray(y_pred)
        both = jax.jit(jax.value_and_grad(fn, argnums=1))

        def run() -> Any:
            value, gradient = jax.block_until_ready(both(labels, scores))
            return value, np.asarray(gradient)

        return run, lambda: fn(labels, scores)

    import torch

    targets, x = torch.tensor(y_true), torch.tensor(y_pred)
    called = torch.compile(fn) if mode == COMPILED else fn

    def run_torch() -> Any:
        trained = x.clone().requires_grad_()
        value = called(targets, trained)
        gradient = torch.autograd.grad(value, trained)[0]
        return value.detach(), gradient.numpy()

    return run_torch, lambda: fn(targets, x)


def cells() -> list[tuple[str, str, str, int]]:
    """Metric, mode, rival and size of each cell; compiled sorts in the default method only."""
    return [
        (metric, mode, rival, n)
        for metric, case in METRICS.items()
        for mode in MODES
        for rival, how in case.rivals.items()
        for n in SIZES
        if mode != COMPILED or how in ({}, DEFAULT)
    ]


def measure(limit: float, budget: float, only: str) -> Result:
    """All cells, one process after another."""
    rows: list[tuple[str | float, ...]] = []
    bars: list[Bar] = []
    facts = machine() | {name: version(name) for name in LIBRARIES.values()}
    begun = time.monotonic()
    for metric, mode, rival, n in cells():
        if only not in f"{metric}, {mode}, {rival}, {n}":
            continue
        library = LIBRARIES[MODES[mode]]
        if rival != BY_HAND and version(library) == "not installed":
            found = {"failed": "not installed"}
        elif time.monotonic() - begun > budget:
            found = {"failed": "not run: no time left"}
        else:
            call = [__file__, "--cell", metric, "--mode", mode, "--rival", rival, "--n", str(n)]
            found = elsewhere(call, MODES[mode], limit)
        name = rival if rival == BY_HAND else f"{library}, {rival}"
        rows.append((metric, mode, name, f"{n:,}", *_numbers_of(found)))
        bars += _bars(found, metric, mode, rival, name, n)
        print(f"{time.monotonic() - begun:5.0f} s", *rows[-1], file=sys.stderr, flush=True)
    return Result(
        name="relaxed_soft",
        title="Hard code relaxed by Bevel beside rewritings with soft functions",
        about=(
            "Value and gradient in float32, in turns in one process for each row, with one thread "
            f"on one core, at most {limit:.0f} s and 8 GiB with imports and compilation. Times are "
            "of the processor, so that other work counts less. Temperature and softness are 0.1, "
            "the default of all; so is everything else but the method of a sort, which is named. "
            "First is the first call, with tracing and compilation. Off is the distance of the "
            "value to the hard one; live is the share of elements with a gradient (at least 1e-9 "
            "of the largest). A row in which a rival reaches less than half of the elements that "
            "Bevel reaches has no bar, however fast or slow it is; nor has a rival that did not "
            "end. `neuralsort` and `softsort` meet all pairs, so the bar at 100,000 is a tenth of "
            "their time; it is their own time for comparisons, for the top 10, and for the methods "
            "that sort. PyTorch's compiler leaves a relaxed function as it is."
        ),
        columns=(
            "metric", "mode", "rival", "n", "Bevel ms", "rival ms", "ratio", "Bevel first s",
            "rival first s", "Bevel off", "rival off", "Bevel live", "rival live",
        ),
        rows=tuple(rows),
        bars=tuple(bars),
        machine=facts,
    )  # fmt: skip


def _numbers_of(found: dict[str, Any]) -> list[str | float]:
    """The cells of a row; where a process ended early, what it had found, and how it ended."""
    keys = ["bevel ms", "rival ms", "ratio"]
    keys += [f"{name} {what}" for what in ("first", "error", "live") for name in ("bevel", "rival")]
    cells: list[str | float] = [found.get(key, "") for key in keys]
    if "failed" in found:
        cells[1 if "bevel ms" in found else 0] = found["failed"]
    return cells


def _bars(
    found: dict[str, Any], metric: str, mode: str, rival: str, name: str, n: int
) -> list[Bar]:
    what = f"{metric}, {mode}, n = {n:,}"
    bars = []
    if rival == BY_HAND and "bevel first" in found:
        bars.append(Bar(f"{what}: seconds of the first call", found["bevel first"], FIRST_CALL))
    if "ratio" in found and found["rival live"] >= found["bevel live"] / 2:
        limit = LIMIT
        if rival == BY_HAND:
            limit = LIMITS_BY_HAND[mode]
        elif rival in QUADRATIC and n > 1_000 and metric != TOP_10:
            limit = FAR_BELOW
        bars.append(Bar(f"{what}: time over that of {name}", found["ratio"], limit))
    return bars


def write_page() -> None:
    """`docs/relaxed_soft.md` from what was kept."""
    from run import _section  # its tables look the same

    PAGE.write_text(f"{HEAD}\n{_section(load('relaxed_soft'))}", encoding="utf-8")


def main(
    save: bool = False,
    docs: Annotated[bool, typer.Option(help="Only write the page.")] = False,
    cell: Annotated[str, typer.Option(help="Measure this metric here, as JSON.")] = "",
    mode: str = "JAX, jitted",
    rival: str = "neuralsort",
    n: int = 1_000,
    limit: Annotated[float, typer.Option(help="Seconds for a cell.")] = 90.0,
    budget: Annotated[float, typer.Option(help="Seconds; no cell begins later.")] = 7200.0,
    only: Annotated[str, typer.Option(help="Only cells whose name has this in it.")] = "",
) -> None:
    """Measure, show the table, and with --save keep it and write the page."""
    if cell:
        run_cell(cell, mode, rival, n)
        return
    if not docs:
        report(measure(limit, budget, only), save)
    if docs or save:
        write_page()


if __name__ == "__main__":
    typer.run(main)
