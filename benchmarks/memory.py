"""How much memory do value and gradient of a relaxed F1 take, and is it linear in the batch?

A process's peak never falls, so each figure comes from a process of its own: the peak after the
call less the peak before it, when TensorFlow is loaded, the data are there and a call on a few
predictions has woken everything up.
"""

from __future__ import annotations

import itertools
import resource
import subprocess
import sys
from typing import Annotated

import typer
from measure import Bar, Result, machine, report, use_cpu
from relaxed_f1 import HAND, MODES, contestants, data, value_and_gradient

SIZES = (100_000, 1_000_000, 10_000_000)
FEW = 1_000
FUNCTIONS = (HAND, "hard F1, relaxed")
LIMIT = 1.2
UNIT = 1 if sys.platform == "darwin" else 1024


def peak() -> int:
    """The most memory that this process has held so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * UNIT


def sample(name: str, mode: str, size: int) -> int:
    """Bytes that one call adds to the peak of this process, which must be fresh."""
    y_true, y_pred = data(size)
    run = value_and_gradient(contestants()[name], MODES[mode])
    run(y_true[:FEW], y_pred[:FEW])
    before = peak()
    run(y_true, y_pred)[1].numpy()
    return peak() - before


def measure() -> Result:
    """One process for each function, mode and size."""
    facts = machine()
    rows: list[tuple[str | float, ...]] = []
    bars = []
    for mode, name in itertools.product(MODES, FUNCTIONS):
        found = [_sample_apart(name, mode, size) for size in SIZES]
        slope = found[-1] / SIZES[-1]
        rows.append((mode, name, *(added / 2**20 for added in found), slope))
        if name != HAND:
            growth = (found[-1] / found[-2]) / (SIZES[-1] / SIZES[-2])
            bars.append(Bar(f"{mode}, growth over that of the batch, last step", growth, LIMIT))
    return Result(
        name="memory",
        title="Peak memory of value and gradient",
        about=(
            "MiB that one call adds to the peak of a fresh process in which TensorFlow is loaded, "
            f"the data are there, and a call on {FEW:,} predictions was made. Tracing and "
            "compiling for the new size are part of it. A prediction takes 4 bytes, and so does "
            "its gradient."
        ),
        columns=(
            "compiled by",
            "function",
            *(f"{size:,} predictions" for size in SIZES),
            "bytes per prediction",
        ),
        rows=tuple(rows),
        bars=tuple(bars),
        machine=facts,
    )


def _sample_apart(name: str, mode: str, size: int) -> int:
    command = [sys.executable, __file__, "--sample", name, mode, str(size)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)  # noqa: S603
    return int(done.stdout)


def main(
    save: bool = False,
    only: Annotated[
        tuple[str, str, int] | None,
        typer.Option("--sample", help="Print one sample: function, mode, size."),
    ] = None,
) -> None:
    """Measure, show the table, and with --save keep it in results/."""
    use_cpu()
    if only:
        typer.echo(sample(*only))
    else:
        report(measure(), save)


if __name__ == "__main__":
    typer.run(main)
