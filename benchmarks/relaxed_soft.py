"""Is relaxed code as fast as the same metric rewritten by hand with soft functions?

A cell is one metric at one size in one framework: the hard code relaxed by Bevel takes turns with
each rewriting in SoftJAX or SoftTorch, or a soft F1 by hand, value and gradient. It has a process
of its own, whose end for want of time or memory is a result. Beside each time stands what it buys:
how far the value is from the hard one, and how many elements get a gradient.
None of the libraries is needed by Bevel; SoftJAX wants Python 3.12:

    pip install softjax softtorch

`python benchmarks/relaxed_soft.py --save` keeps the figures and writes `docs/relaxed_soft.md`;
`--docs` only writes the page again.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer
from measure import Bar, Result, interleave, load, machine, report
from peers import confine, elsewhere, is_full, live, version
from soft_functions import BY_HAND, COMPILED, DEFAULT, LIBRARIES, METRICS, MODES, Function, calls

PAGE = Path(__file__).parents[1] / "docs" / "relaxed_soft.md"
HEAD = """\
# Relaxed, and rewritten by hand

`python benchmarks/relaxed_soft.py --save` measures all of this again. Only ratios within one run
mean something on another machine.
"""
SIZES = (1_000, 100_000)
# Bevel's time over theirs; at 100,000 over that of methods that meet all pairs; over a soft F1's.
LIMIT, FAR_BELOW, FIRST_CALL = 1.0, 0.1, 2.0
LIMITS_BY_HAND = {"JAX, jitted": 1.15, "PyTorch, eager": 3.0, COMPILED: 1.3}
QUADRATIC = ("neuralsort", "softsort")
NAMES = ("bevel", "rival")
KEYS = ("bevel ms", "rival ms", "ratio",
        *(f"{name} {what}" for what in ("first", "off", "live") for name in NAMES))  # fmt: skip


def run_cell(metric: str, mode: str, rivals: list[str], n: int, limit: int) -> None:
    """Prints what Bevel and each rival cost and give in this process, as soon as it is known."""
    confine()
    threading.Thread(target=_end_after, args=(limit,), daemon=True).start()
    import bevel

    case, framework = METRICS[metric], MODES[mode]
    inputs = case.inputs(n)
    hard = case.written(framework)
    value = float(calls(mode, hard, *inputs)[1]())
    relaxed, ours = _tried("bevel", lambda: bevel.relax(hard), mode, inputs, value)
    found = {}
    for rival in rivals:
        found[rival] = ours
        print(json.dumps(found), flush=True)
        make = partial(case.rewritten, framework, rival)
        run, theirs = _tried("rival", make, mode, inputs, value)
        found[rival] = both = ours | theirs
        print(json.dumps(found), flush=True)
        if relaxed and run:
            is_slow = max(both["bevel ms"], both["rival ms"]) > 300
            how = {"rounds": 3, "calls": 1} if is_slow else {"rounds": 15, "calls": 3}
            runs = dict(zip(NAMES, (relaxed, run), strict=True))
            times = interleave(runs, **how, clock=time.process_time)
            both |= {f"{name} ms": times[name].median * 1e3 for name in NAMES}
            both["ratio"] = both["bevel ms"] / both["rival ms"]
        both["done"] = True
    print(json.dumps(found))


def _end_after(seconds: int) -> None:
    """Ends this process by its own time; a limit of the system would make its clock coarse."""
    while time.process_time() < seconds:
        time.sleep(0.2)
    print(f"TimeoutError: over {seconds} s", file=sys.stderr, flush=True)
    os._exit(1)


def _tried(
    name: str, make: Callable[[], Function], mode: str, inputs: Any, hard: float
) -> tuple[Any, dict[str, Any]]:
    """The call of a function, and its figures; None, and how it failed, if it does."""
    try:
        run, _ = calls(mode, make(), *inputs)
        begun = time.process_time()
        run()
        first = time.process_time() - begun
        begun = time.process_time()
        value, gradient = run()
        took = time.process_time() - begun
    except Exception as error:  # any failure of a library is a result
        traceback.print_exc()
        told = "out of memory" if is_full(str(error)) else type(error).__name__
        return None, {f"{name} ms": told}
    figures = {"first": first, "ms": took * 1e3, "off": abs(float(value) - hard)}
    figures["live"] = live(gradient)
    return run, {f"{name} {what}": figure for what, figure in figures.items()}


def rivals_of(metric: str, mode: str) -> list[str]:
    """Whom Bevel is held against; compiled sorts in the default method only."""
    rivals = METRICS[metric].rivals
    return [r for r, how in rivals.items() if mode != COMPILED or how in ({}, DEFAULT)]


def measure(limit: int, budget: float, only: str) -> Result:
    """All cells, one process after another; of others than `only` those that were kept."""
    rows: list[tuple[str | float, ...]] = []
    bars: list[Bar] = []
    facts = machine() | {name: version(name) for name in LIBRARIES.values()}
    before = load("relaxed_soft") if only else None
    if before:
        facts = before.machine | {"and later in a run of its own": only}
    begun = time.monotonic()
    for metric, mode, n in itertools.product(METRICS, MODES, SIZES):
        label = f"{metric}, {mode}, n = {n:,}"
        if before and only not in f"{metric}, {mode}, {n}":
            rows += [row for row in before.rows if row[:2] == (metric, mode) and row[3] == f"{n:,}"]
            bars += [bar for bar in before.bars if bar.what.startswith(f"{label}:")]
            continue
        is_late = time.monotonic() - begun > budget
        for rival, found in _cell_elsewhere(metric, mode, n, limit, is_late).items():
            name = rival if rival == BY_HAND else f"{LIBRARIES[MODES[mode]]}, {rival}"
            rows.append((metric, mode, name, f"{n:,}", *(found.get(key, "") for key in KEYS)))
            bars += _bars(found, label, mode, rival, n)
            print(f"{time.monotonic() - begun:5.0f} s", *rows[-1], file=sys.stderr, flush=True)
    return Result(
        name="relaxed_soft",
        title="Hard code relaxed by Bevel beside rewritings with soft functions",
        about=(
            "Value and gradient in float32; Bevel takes turns with each rival in one process, on "
            f"one core, with at most {limit} s and 8 GiB, imports and compilation included. Times "
            "are of the processor, so that other work counts less. Temperature and softness are "
            "0.1, the default of all, and so is everything else but the method of a sort, which is "
            "named. First is the first call, with tracing and compilation, in s. Off is the "
            "distance of the value to the hard one; live is the share of elements with a gradient "
            "(at least 1e-9 of the largest). The bar is the rival's own time, and a tenth of it at "
            "100,000 for `neuralsort` and `softsort`, which meet all pairs. A rival that reaches "
            "less than half of the elements that Bevel reaches has no bar, nor has one that did "
            "not end; where Bevel reaches less than half of what a rival does, that is a bar not "
            "met, however fast it is, and so is a failure where a rival has none. PyTorch's "
            "compiler takes what a relaxed function writes down in its second call; an "
            "`UnknownOperationError` of Bevel is its refusal to make n x n weights."
        ),
        columns=(
            "metric", "mode", "rival", "n", "Bevel ms", "rival ms", "ratio", "Bevel first",
            "rival first", "Bevel off", "rival off", "Bevel live", "rival live",
        ),
        rows=tuple(rows),
        bars=tuple(bars),
        machine=facts,
    )  # fmt: skip


def _cell_elsewhere(
    metric: str, mode: str, n: int, limit: int, is_late: bool
) -> dict[str, dict[str, Any]]:
    """The figures by rival; where one ends the process, the next ones get a new process."""
    found: dict[str, dict[str, Any]] = {}
    rivals = rivals_of(metric, mode)
    for rival in rivals:
        if is_late:
            found[rival] = {"rival ms": "not run: no time left"}
        elif rival != BY_HAND and version(LIBRARIES[MODES[mode]]) == "not installed":
            found[rival] = {"rival ms": "not installed"}
    while left := [rival for rival in rivals if rival not in found]:
        call = [__file__, "--cell", metric, "--mode", mode, "--n", str(n), "--limit", str(limit)]
        # the process ends itself by its own time; the clock only stops one that hangs
        new = elsewhere([*call, "--rivals", ",".join(left)], MODES[mode], 10 * limit)
        ended = new.pop("failed", "")
        found |= {rival: figures for rival, figures in new.items() if "done" in figures}
        lost = next((rival for rival in left if rival not in found), None)
        if lost is not None:
            figures = new.get(lost, {"bevel ms": ended})
            found[lost] = figures | ({} if "ratio" in figures else {"rival ms": ended})
    return {rival: found[rival] for rival in rivals}


def _bars(found: dict[str, Any], what: str, mode: str, rival: str, n: int) -> list[Bar]:
    bars = []
    if rival == BY_HAND and "bevel first" in found:
        bars.append(Bar(f"{what}: seconds of the first call", found["bevel first"], FIRST_CALL))
    if "rival live" in found and "bevel live" not in found:
        return [Bar(f"{what}: failures where {rival} has none", 1.0, 0.0)]
    if "ratio" not in found:
        return bars
    ahead = found["rival live"] / max(found["bevel live"], 1e-9)
    if ahead > 2:
        bars.append(Bar(f"{what}: live elements of {rival} over Bevel's", ahead, 2.0))
    elif ahead >= 0.5:
        limit = LIMITS_BY_HAND[mode] if rival == BY_HAND else LIMIT
        limit = FAR_BELOW if rival in QUADRATIC and n > SIZES[0] else limit
        bars.append(Bar(f"{what}: time over that of {rival}", found["ratio"], limit))
    return bars


def page() -> str:
    """The text of `docs/relaxed_soft.md`, from what was kept."""
    from run import _section  # its tables look the same

    return f"{HEAD}\n{_section(load('relaxed_soft'))}"


def main(
    save: bool = False,
    docs: Annotated[bool, typer.Option(help="Only write the page.")] = False,
    cell: Annotated[str, typer.Option(help="Measure this metric here, as JSON.")] = "",
    mode: str = "JAX, jitted",
    rivals: str = "neuralsort",
    n: int = 1_000,
    limit: Annotated[int, typer.Option(help="Seconds of the processor for a cell.")] = 60,
    budget: Annotated[float, typer.Option(help="Seconds; no cell begins later.")] = 7200.0,
    only: Annotated[
        str, typer.Option(help="Only cells with this in their name; others are kept.")
    ] = "",
) -> None:
    """Measure, show the table, and with --save keep it and write the page."""
    if cell:
        run_cell(cell, mode, rivals.split(","), n, limit)
        return
    if not docs:
        report(measure(limit, budget, only), save)
    if docs or save:
        PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
