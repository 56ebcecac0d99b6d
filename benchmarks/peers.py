"""Soft ranks, sorts and losses beside those of other libraries, all in one run.

A cell, one function at one shape, runs in a process of its own: value and gradient, compiled where
the library compiles, in turns with the hard sort of the same framework; then the peak of its memory
above that before the first call. A cell that ends by the clock or for want of memory is a result,
and so is a library that is not installed. None of the peers is needed by Bevel:

    pip install softjax softtorch torchsort torchpsort diffsort ott-jax optax rax \
        segmentation-models-pytorch libauc pytorch-metric-learning

softjax and softtorch want Python 3.12, torchsort a compiler.
`python benchmarks/peers.py --save` keeps the figures and writes `docs/peers.md`; `--docs` only
writes the page again.
"""

from __future__ import annotations

import json
import os
import re
import resource
import subprocess
import sys
import time
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from measure import Result, interleave, load, machine, report
from peer_table import FRAMEWORKS, TABLE, Peer

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "peers.md"
HEAD = """\
# Beside other libraries

`python benchmarks/peers.py --save` measures all of this again. Only ratios within one run mean
something on another machine.
"""
PACKAGES = (
    "softjax", "softtorch", "torchsort", "torchpsort", "diffsort", "ott-jax", "optax", "rax",
    "segmentation-models-pytorch", "libauc", "pytorch-metric-learning",
)  # fmt: skip
SHAPES = (
    (1, 100), (128, 100), (1, 1_000), (64, 1_000), (1, 10_000), (1, 100_000), (1, 1_000_000)
)  # fmt: skip
FEW = ((64, 1_000), (1, 100_000))
_ERROR = re.compile(r"[\w.]*(Error|Exception)\b:")
_FULL = ("out of memory", "can't allocate", "cannot allocate", "unable to allocate", "exhausted")
MOST_MEMORY = 8 * 2**30
MISSING = "not installed"


def run_cell(name: str, rows: int, n: int, rounds: int) -> dict[str, Any]:
    """What one function costs and gives, in this process."""
    confine()
    peer = TABLE[name]
    inputs = peer.inputs(rows, n)
    timed, sort, both = FRAMEWORKS[peer.framework](peer.make(), *inputs)
    sort()
    before = _resident()
    value, gradient = both()
    times = interleave(
        {"soft": timed, "sort": sort}, rounds=rounds, calls=1, clock=time.process_time
    )
    found = {
        "ms": times["soft"].median * 1e3,
        "ratio": times["soft"].median / times["sort"].median,
        "mib": max(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - before, 0.0),
        "live": live(gradient),
    }
    x = inputs[0]
    if peer.kind == "rank":
        hard = x.argsort(axis=-1).argsort(axis=-1) + 1
        found["error"] = float(np.abs(value - hard).mean() / x.shape[-1])
    if peer.kind == "sort":
        found["error"] = float(np.abs(value - np.sort(x, axis=-1)).mean())
    return found


def confine() -> None:
    """Keeps this process to one core and 8 GiB."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    resource.setrlimit(resource.RLIMIT_DATA, (MOST_MEMORY, MOST_MEMORY))


def live(gradient: np.ndarray) -> float:
    """The share of elements with a gradient."""
    return float((np.abs(gradient) > 1e-9 * np.abs(gradient).max()).mean())


def _resident() -> float:
    """MiB in use by this process, its peak set back to that where the system can."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**20


def cell_elsewhere(peer: Peer, rows: int, n: int, rounds: int, limit: float) -> dict[str, Any]:
    """The same in a process of its own, or how that ended."""
    call = [__file__, "--cell", peer.name, "--rounds", str(rounds)]
    return elsewhere([*call, "--rows", str(rows), "--n", str(n)], peer.framework, limit)


def elsewhere(call: list[str], framework: str, limit: float) -> dict[str, Any]:
    """The last JSON line of a Python process with one thread, and as `failed` how it ended."""
    environment = os.environ | {"KERAS_BACKEND": framework, "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment |= dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    try:
        run = subprocess.run(  # noqa: S603
            [sys.executable, *call],
            env=environment, capture_output=True, text=True, timeout=limit, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        return _last(bytes(error.stdout or b"").decode()) | {"failed": f"over {limit:.0f} s"}
    found = _last(run.stdout)
    if run.returncode == 0 and found:
        return found
    kinds = [s.partition(":")[0] for s in run.stderr.splitlines() if _ERROR.match(s)]
    last = kinds[-1].rpartition(".")[2] if kinds else f"ended with {run.returncode}"
    if is_full(run.stderr) or run.returncode == -9:
        last = "out of memory"
    return found | {"failed": last}


def is_full(text: str) -> bool:
    """Whether a message is about memory that is not there."""
    return any(words in text.lower() for words in _FULL)


def _last(text: str) -> dict[str, Any]:
    lines = [line for line in text.splitlines() if line.startswith("{")]
    return json.loads(lines[-1]) if lines else {}


def measure(rounds: int, limit: float, few: bool, budget: float, only: str = "") -> Result:
    """All cells, one process after another; a peer that ran out of time is not asked for more."""
    before = load("peers") if only else None
    kept = [tuple(row) for row in before.rows] if before else []
    rows: list[tuple[str | float, ...]] = []
    facts = machine() | {name: version(name) for name in PACKAGES}
    if before:  # of what was measured then
        again = f"{only!r} by python {facts['python']}, torch {facts['torch']}"
        found = {k: v for k, v in facts.items() if v != MISSING}
        facts = found | before.machine | {"and later in a run of its own": again}
    begun = time.monotonic()
    for peer in TABLE.values():
        if not re.search(only, peer.name):
            rows += [row for row in kept if row[1] == peer.name]
            continue
        is_lost = False
        for shape in peer.shapes or (FEW if few else SHAPES):
            told = "x".join(f"{n:,}" for n in shape)
            needs = peer.needs or peer.framework
            if version(needs) == MISSING:
                found = {"failed": MISSING}
            elif is_lost and shape[1] > 1_000:
                found = {"failed": "not tried: a smaller one failed"}
            elif time.monotonic() - begun > budget:
                found = {"failed": "not run: no time left"}
            else:
                found = cell_elsewhere(peer, *shape, rounds, limit)
                is_lost = is_lost or "failed" in found
            keys = ("ms", "ratio", "mib", "error", "live")
            cells = [found.get(k, "") for k in keys]
            if "failed" in found:
                cells = [found["failed"], "", "", "", ""]
            row = (peer.kind, peer.name, told, *cells)
            print(f"{time.monotonic() - begun:5.0f} s", *row, file=sys.stderr, flush=True)
            rows.append(row)
            if found.get("failed") == MISSING:
                break
    return Result(
        name="peers",
        title="Value and gradient, as a multiple of one hard sort in the same framework",
        about=(
            f"Normal scores in float32, {rounds} rounds in turns with the hard sort (forward only) "
            f"of the same scores, at most {limit:.0f} s and 8 GiB for a cell with its compilation, "
            "each in a process of its own with one thread on one core. Times are of the processor, "
            "so that other work counts less. JAX is jitted, TensorFlow in a graph, PyTorch eager. "
            "MiB is the peak of resident memory above that before the first call, with what it "
            "took to compile. Error is the mean distance to hard ranks over n, or to the sorted "
            "values; live is the share of scores with a gradient. Strength: the libraries' own "
            "default of 0.1; for ranks by isotonic regression 0.1 / n, and 2 for Bevel's in units "
            "of the density. A row with no live scores trains nothing, however fast it is."
        ),
        columns=("what", "function", "shape", "ms", "ratio", "MiB", "error", "live"),
        rows=tuple(rows),
        bars=(),
        machine=facts,
    )


def version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return MISSING


def page() -> str:
    """`docs/peers.md` from what was kept."""
    from run import _section  # its tables look the same

    result = load("peers")
    groups: Iterable[str] = dict.fromkeys(str(row[0]) for row in result.rows)
    counts = ", ".join(f"{sum(r[0] == g for r in result.rows)} of {g}" for g in groups)
    return f"{HEAD}\n{_section(result)}\nCells: {counts}.\n"


def main(
    save: bool = False,
    docs: Annotated[bool, typer.Option(help="Only write the page.")] = False,
    cell: Annotated[str, typer.Option(help="Measure this one here, as JSON.")] = "",
    rows: int = 1,
    n: int = 100,
    rounds: Annotated[int, typer.Option(min=2)] = 5,
    limit: Annotated[float, typer.Option(help="Seconds for a cell.")] = 60.0,
    few: Annotated[bool, typer.Option(help="Two shapes only.")] = False,
    budget: Annotated[float, typer.Option(help="Seconds; no cell begins later.")] = 7200.0,
    only: Annotated[str, typer.Option(help="Only names that match; other figures are kept.")] = "",
) -> None:
    """Measure, show the table, and with --save keep it and write the page."""
    if cell:
        print(json.dumps(run_cell(cell, rows, n, rounds)))
        return
    if not docs:
        report(measure(rounds, limit, few, budget, only), save)
    if docs or save:
        PAGE.write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
