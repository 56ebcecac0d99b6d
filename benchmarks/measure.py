"""What every benchmark shares: interleaved timing, the machine's facts, and one form of result.

A result is a table of numbers and the bars that they are held to. It is shown in the terminal, kept
as JSON, and turned into `docs/benchmarks.md` from there by `run.py --docs`.
"""

from __future__ import annotations

import json
import os
import platform
import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

RESULTS = Path(__file__).parent / "results"
_PACKAGES = ("tensorflow", "jax", "torch", "keras", "numpy")


@dataclass(frozen=True)
class Bar:
    """A figure that must not be above a limit."""

    what: str
    measured: float
    limit: float

    @property
    def is_met(self) -> bool:
        """Whether the figure is at most the limit."""
        return self.measured <= self.limit

    def __str__(self) -> str:
        outcome = "met" if self.is_met else "not met"
        return f"{self.what}: {cell(self.measured)}, bar {cell(self.limit)}, {outcome}"


@dataclass(frozen=True)
class Result:
    """The table of one benchmark.

    Attributes:
        name: Name of the script and of the JSON file.
        title: Heading.
        about: What was measured, and how.
        columns: Headings of the table.
        rows: A text or a number for each heading.
        bars: The figures with a limit.
        machine: Where it was measured.
    """

    name: str
    title: str
    about: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str | float, ...], ...]
    bars: tuple[Bar, ...]
    machine: dict[str, str]


@dataclass(frozen=True)
class Spread:
    """Median and quartiles of repeated measurements."""

    median: float
    low: float
    high: float


def use_cpu() -> None:
    """Lets TensorFlow see the processor only, without a greeting; call it before the import."""
    os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def interleave(
    functions: dict[str, Callable[[], Any]],
    *,
    rounds: int,
    calls: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Spread]:
    """Seconds per call of each function, one after another in every round, in a new order.

    What else the machine does slows them all alike, so ratios of the medians stay meaningful.
    """
    order, shuffle = list(functions), random.Random(0).shuffle  # noqa: S311
    times: dict[str, list[float]] = {name: [] for name in order}
    for function in functions.values():
        function()
    for _ in range(rounds):
        shuffle(order)
        for name in order:
            start = clock()
            for _ in range(calls):
                functions[name]()
            times[name].append((clock() - start) / calls)
    return {name: spread(times[name]) for name in functions}


def spread(values: Sequence[float]) -> Spread:
    """Median and quartiles of at least two values."""
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(middle, low, high)


def machine() -> dict[str, str]:
    """The processor and the versions that matter; nothing that names this one computer."""
    modules = metadata.packages_distributions()
    packages = {n: metadata.version(modules[n][0]) for n in _PACKAGES if n in modules}
    return {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "system": f"{platform.system()} {platform.machine()}",
        "load before": f"{os.getloadavg()[0]:.1f}",
        "python": platform.python_version(),
        **packages,
    }


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def cell(value: str | float) -> str:
    """A number with three digits."""
    if isinstance(value, str):
        return value
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def report(result: Result, save: bool) -> None:
    """Shows a result, and keeps it as JSON if asked to."""
    console = Console()
    table = Table(*result.columns, title=result.title)
    for row in result.rows:
        table.add_row(*map(cell, row))
    console.print(table)
    for bar in result.bars:
        console.print(str(bar), style="green" if bar.is_met else "red", highlight=False)
    if save:
        RESULTS.mkdir(exist_ok=True)
        text = json.dumps(asdict(result), indent=1, ensure_ascii=False)
        (RESULTS / f"{result.name}.json").write_text(text + "\n", encoding="utf-8")


def load(name: str) -> Result:
    """A result as it was kept."""
    fields = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    fields["columns"] = tuple(fields["columns"])
    fields["rows"] = tuple(map(tuple, fields["rows"]))
    fields["bars"] = tuple(Bar(**bar) for bar in fields["bars"])
    return Result(**fields)
