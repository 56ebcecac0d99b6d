"""How the command line speaks: results on standard output, progress and remarks on standard error.

Whatever may come from a user's file is printed as it is, without markup or wrapping, and was made
printable before. Colours are left out where NO_COLOR is set or the output is no terminal.
"""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from bevel.backend import EXTRAS
from bevel.errors import BevelError, TargetError, printable

if TYPE_CHECKING:
    from bevel.comparison import Comparison
    from bevel.report import Report

_VERDICT_COLOURS = {"trains": "green", "partial": "yellow", "flat": "yellow"}
_OUTCOME_COLOURS = {"wins": "green", "tie": "yellow", "loses": "red"}


@contextlib.contextmanager
def errors_shown(target: str = "") -> Iterator[None]:
    """Show an error as a message, leave with code 2; anybody's code 1 must mean "does not train".

    An error of Bevel's own comes without a traceback, and so does one that was raised below a line
    of the user's file, which is shown. Any other is a bug, and shown in full.
    """
    try:
        yield
    except BevelError as error:
        complain(str(error))
        raise typer.Exit(2) from None
    except typer.Exit:
        raise
    except ImportError as error:
        root = (error.name or "").partition(".")[0]
        hint = f'pip install "bevel[{EXTRAS[root]}]"' if root in EXTRAS else ""
        said = printable(str(error).strip().split("\n")[0])
        complain(str(TargetError(f"a package cannot be imported: {said}", help=hint)))
        raise typer.Exit(2) from None
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # also a SystemExit in the user's function: code 0 is "trains"
        from bevel.targets import user_place

        place = user_place(error, Path(target.rpartition(":")[0]))
        if place is None:
            traceback.print_exc()
        else:
            said = printable(str(error).strip().split("\n")[0])
            complain(str(TargetError(f"{type(error).__name__}: {said}", loc=place)))
        raise typer.Exit(2) from None


def complain(text: str) -> None:
    """An error, on standard error."""
    console = Console(stderr=True)
    console.print(Text("error: ", "bold red").append(text, ""), soft_wrap=True)


def show(text: str) -> None:
    """Print text that may hold anything: no markup, no wrapping, no highlighting."""
    Console().print(Text(text), soft_wrap=True)


def remark(text: str) -> None:
    """A word about what is being done, on standard error."""
    Console(stderr=True).print(Text(printable(text), "dim"), soft_wrap=True)


def show_report(report: Report) -> None:
    """A report as it prints itself, with colours where the terminal has them."""
    text = Text(str(report))
    text.highlight_regex(r"(?m)^error\[\w+\]", "bold red")
    text.highlight_regex(r"(?m)^warning\[\w+\]", "bold yellow")
    text.highlight_regex(r"(?m)^note\[\w+\]", "bold cyan")
    text.highlight_regex(r"\^+", "red")
    text.highlight_words([report.verdict], f"bold {_VERDICT_COLOURS.get(report.verdict, 'red')}")
    Console().print(text, soft_wrap=True)


def show_comparison(comparison: Comparison) -> None:
    """The table, the sentence it bears, and the notes."""
    from bevel.comparison import METHODS

    console = Console()
    better = "higher" if comparison.maximize else "lower"
    how = "inferred" if comparison.inferred else "as asked"
    table = Table(
        title=f"hard {escape(printable(comparison.metric))} on held-out rows",
        caption=f"{better} is better ({how}); perfect predictions: {comparison.perfect:.4g}; "
        f"mean over {comparison.seeds} seeds, 95 % bootstrap intervals",
        title_justify="left",
        caption_justify="left",
    )
    for header in ("trained with", "mean", "95 % interval"):
        table.add_column(header, justify="left" if header == "trained with" else "right")
    pick = max if comparison.maximize else min
    best = pick(METHODS, key=lambda key: comparison.estimates[key].mean)
    for key, words in METHODS.items():
        estimate = comparison.estimates[key]
        interval = f"{estimate.low:.4g} … {estimate.high:.4g}"
        table.add_row(
            words, f"{estimate.mean:.4g}", interval, style="bold" if key == best else None
        )
    console.print(table)
    colour = _OUTCOME_COLOURS[comparison.outcome]
    console.print(Text(comparison.words(), colour))
    for note in comparison.notes:
        console.print(Text(f"note: {note}"))
    console.print(Text(f"trained in {comparison.seconds:.0f} s"))


@contextlib.contextmanager
def progress_bar() -> Iterator[Callable[[Any], None]]:
    """A live bar on standard error; yields the function that moves it."""
    from rich import progress

    columns = (
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.TaskProgressColumn(),
        progress.TextColumn("validation {task.fields[value]}"),
        progress.TimeRemainingColumn(),
    )
    with progress.Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("preparing", total=None, value="")

        def advance(now: Any) -> None:
            shown = f"{now.value:.3g}"
            bar.update(task, completed=now.done, total=now.total, description=now.run, value=shown)

        yield advance
