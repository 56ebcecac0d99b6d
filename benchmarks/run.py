"""Runs every benchmark in a process of its own, keeps the results, and writes their page.

`python benchmarks/run.py` measures, shows and keeps; with `--docs` it measures nothing and writes
`docs/benchmarks.md` from what was kept.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import typer
from measure import Result, cell, load

NAMES = ("relaxed_f1", "metric_loss", "ranking", "audit_time", "memory", "small_batches")
HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "benchmarks.md"
HEAD = """\
# Benchmarks

`python benchmarks/run.py` measures all of this again, in a few minutes, and keeps the figures in
`benchmarks/results`; `python benchmarks/run.py --docs` makes this page from them. Of all figures,
only ratios within one run mean something on another machine.
"""


def page() -> str:
    """The text of `docs/benchmarks.md`."""
    return "\n".join([HEAD, *(_section(load(name)) for name in NAMES)])


def _section(result: Result) -> str:
    lines = [f"## {result.title}", "", result.about, "", _row(result.columns)]
    numbers = [isinstance(value, int | float) for value in result.rows[0]]
    lines.append(_row("---:" if number else "---" for number in numbers))
    lines += [_row(map(cell, row)) for row in result.rows]
    lines += ["", *(f"- {bar}" for bar in result.bars), ""]
    facts = ", ".join(f"{name} {value}" for name, value in result.machine.items())
    lines += [f"Measured with `python benchmarks/{result.name}.py` on: {facts}.", ""]
    return "\n".join(lines)


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def main(docs: bool = False) -> None:
    """Run every benchmark, or with --docs write the page only."""
    if docs:
        PAGE.write_text(page(), encoding="utf-8")
        return
    for name in NAMES:
        subprocess.run([sys.executable, HERE / f"{name}.py", "--save"], check=True)  # noqa: S603


if __name__ == "__main__":
    typer.run(main)
