"""The command line: `bevel audit`, `train`, `relax`, `plot` and `explain`.

This file only reads arguments and calls: the work is done elsewhere, `bevel.console` shows it, and
frameworks are loaded when a command needs them. Exit codes: 0 done (for `audit`: it trains), 1 it
does not train, 2 could not tell or wrong usage.
"""

from __future__ import annotations

import contextlib
import inspect
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bevel import __version__
from bevel.backend import check_active, load_quietly, require, require_any
from bevel.console import (
    errors_shown,
    progress_bar,
    remark,
    show,
    show_comparison,
    show_report,
)
from bevel.errors import TargetError, printable

if TYPE_CHECKING:
    from bevel.report import Report
    from bevel.targets import Target

EXECUTES = "Note: naming FILE.py executes that file; only name files you trust."

app = typer.Typer(
    name="bevel",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help=f"Train on the metric you mean: audit it, relax it, train on it.\n\n{EXECUTES}",
)

_TARGET = "FILE.py:FUNCTION. The file is executed."


def main() -> None:
    """The entry point of the `bevel` command."""
    # TensorFlow writes notes about the processor to the terminal unless told not to; with the
    # oneDNN kernels off, figures also agree between machines.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")
    app()


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"bevel {__version__}")
        raise typer.Exit


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    del version  # Handled by its callback.


@app.command()
def audit(
    target: Annotated[str, typer.Argument(metavar="FILE.py:FUNC", help=_TARGET)],
    sample: Annotated[
        str | None,
        typer.Option(metavar="SPEC", help="Example inputs; see below. By default they are found."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
    wrt: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="The argument that a gradient must reach, or several: a,b."
        ),
    ] = None,
) -> None:
    """Does a useful gradient reach the prediction, and if not, which line stops it?

    Exit code: 0 it trains, 1 it does not, 2 could not tell.

    Without --sample, the function is called with plausible inputs of many kinds (probabilities,
    class columns, series, boxes, …), and those are used which it can be used with; which, is said.
    SPEC is a family such as binary or onehot:(32,5), or each argument as NAME=KIND(SHAPE), for
    instance y_true=onehot(32,3),y_pred=softmax(32,3), or a .npz file with an array for each
    argument.

    A function without parameters that returns a Keras model, or (model, x, y) or (model, x, y,
    loss), is called, and each weight of the model gets a row.

    This executes FILE.py.
    """
    with errors_shown(target), contextlib.redirect_stdout(sys.stderr):
        from bevel.sampling import make_sample

        loaded = _loaded(target)
        from bevel import audit as run_audit

        inputs = None
        if inspect.signature(loaded.function).parameters:
            inputs = make_sample(loaded.function, sample)
            remark(f"inputs: {inputs}")
            arguments = _tensors(inputs.arguments)
            report = run_audit(loaded.function, *arguments, wrt=_wanted(wrt))
        else:
            from bevel.model_audit import model_sample

            report = run_audit(*model_sample(loaded.function()))
    if as_json:
        typer.echo(report.to_json())
    elif inputs is None:
        show(str(report))
    else:
        show_report(report)
    if inputs is None:
        raise typer.Exit(0 if report.ok else 1)
    if report.verdict == "flat" and not inputs.answered:
        remark("could not tell: the value responds to none of the inputs tried; pass --sample")
        raise typer.Exit(2)
    raise typer.Exit(_audit_code(report))


@app.command()
def relax(
    target: Annotated[str, typer.Argument(metavar="FILE.py:FUNC", help=_TARGET)],
    sample: Annotated[
        str | None, typer.Option(metavar="SPEC", help="Example inputs, as for audit.")
    ] = None,
    temperature: Annotated[
        float, typer.Option(min=0.0, help="How soft: 0 is the hard function itself.")
    ] = 0.1,
) -> None:
    """List, line by line, what bevel.relax replaces in the function by what.

    This executes FILE.py.
    """
    with errors_shown(target), contextlib.redirect_stdout(sys.stderr):
        from bevel.sampling import make_sample

        loaded = _loaded(target)
        from bevel import relax as run_relax

        inputs = make_sample(loaded.function, sample)
        remark(f"inputs: {inputs}")
        explanation = run_relax(loaded.function, temperature=temperature).explain(
            *_tensors(inputs.arguments)
        )
    show(str(explanation))


@app.command()
def plot(
    target: Annotated[
        str,
        typer.Argument(
            metavar="FILE.py:FUNC|NAME", help=f"{_TARGET} Or an operation of bevel.ops."
        ),
    ] = "qpwc",
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A .png or .svg file. [default: NAME.png]")
    ] = None,
    limits: Annotated[
        str | None, typer.Option("--range", metavar="LOW,HIGH", help="The range to show.")
    ] = None,
    sample: Annotated[
        str | None, typer.Option(metavar="SPEC", help="Example inputs, as for audit.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
) -> None:
    """Draw value and slope side by side, hard and relaxed at several temperatures.

    NAME is one of qpwc, step, sign, round, floor, ceil, trunc, relu, abs. A function of one
    argument is drawn element by element; a metric of (y_true, y_pred) as all its predictions move
    together.

    FILE.py is executed.
    """
    with errors_shown(target), contextlib.redirect_stdout(sys.stderr):
        between = None if limits is None else _limits(limits)
        require_any()
        load_quietly("keras")
        from bevel import curves, plots
        from bevel.outputs import claim_file

        if ":" in target:
            from bevel.sampling import make_sample

            loaded = _loaded(target)
            path = claim_file(out or f"{loaded.name}.png", plots.SUFFIXES, force=force)
            inputs = make_sample(loaded.function, sample)
            remark(f"inputs: {inputs}")
            drawn = curves.function_curves(loaded.function, inputs.arguments, between, loaded.name)
        else:
            if target not in curves.OPERATIONS:
                known = ", ".join(curves.OPERATIONS)
                raise TargetError(
                    f"{printable(target)!r} is neither FILE.py:FUNC nor an operation",
                    help=f"expected one of: {known}",
                )
            path = claim_file(out or f"{target}.png", plots.SUFFIXES, force=force)
            drawn = curves.operation_curves(target, between)
        plots.save(plots.draw_curves(drawn), path)
    show(f"{drawn.title}: {drawn.subtitle}\nwritten: {_relative(path)}")


@app.command()
def explain(code: Annotated[str, typer.Argument(help="A code such as B101.")]) -> None:
    """Print what a code of the audit means, why it matters, an example, and what to do instead."""
    with errors_shown():
        from bevel.codes import explain as page

        text = page(code)
    show(text)


@app.command()
def train(
    target: Annotated[
        str,
        typer.Argument(
            metavar="TARGET",
            help=f"{_TARGET} Or a built-in: f1, accuracy, balanced_accuracy, gmean, mcc, profit.",
        ),
    ],
    data: Annotated[
        Path | None,
        typer.Option(metavar="FILE.csv", help="[default: the diabetes study in scikit-learn]"),
    ] = None,
    label: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="The column of --data to predict.")
    ] = None,
    maximize: Annotated[
        bool | None,
        typer.Option(
            "--maximize/--minimize", help="Which direction is better. [default: inferred]"
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="For figures.json and curves.png. [default: bevel-out/NAME]"
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(min=2, help="Splits and first weights.")] = 10,
    epochs: Annotated[int, typer.Option(min=1, help="Full-batch steps of each run.")] = 200,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the results in DIR.")] = False,
) -> None:
    """Train a Keras network on the metric, and compare honestly with cross-entropy.

    The metric is audited first. Then the same network is trained with (a) cross-entropy, decided at
    0.5, (b) the same with the decision tuned on validation rows, (c) the relaxed metric, from (a)'s
    weights; and with cross-entropy weighted by class, as many would do first. The table shows the
    hard metric on held-out rows.

    FILE.py is executed.
    """
    with errors_shown(target):
        with contextlib.redirect_stdout(sys.stderr):
            from bevel.outputs import claim

            for package in ("tensorflow", "sklearn", "matplotlib"):
                require(package)
            fn, name = _metric(target)
            check_active("tensorflow")  # the networks that are trained
            rows = _data(data, label)
            load_quietly("matplotlib")  # if it cannot be imported, that is told before training
            from bevel import plots, recipes
            from bevel.arrangements import arrange

            arranged = arrange(fn, rows.labels, len(rows.classes), maximize)
            folder = out or Path("bevel-out") / name
            paths = claim(folder, ("figures.json", "curves.png"), force=force)
            remark(f"data: {rows}")
            remark(f"metric: called with {arranged.form.words}")
            report = recipes.audit_on(arranged, rows)
        show_report(report)
        if report.verdict == "independent":
            remark("the metric does not use the prediction: there is nothing to train")
            raise typer.Exit(1)
        with contextlib.redirect_stdout(sys.stderr), progress_bar() as advance:
            comparison = recipes.compare(
                fn,
                rows,
                maximize=maximize,
                seeds=seeds,
                epochs=epochs,
                name=name,
                verdict=report.verdict,
                on_progress=advance,
            )
        show_comparison(comparison)
        paths["figures.json"].write_text(comparison.to_json(), encoding="utf-8")
        plots.save(plots.draw_comparison(comparison), paths["curves.png"])
    show("written: " + ", ".join(_relative(path) for path in paths.values()))


def _wanted(wrt: str | None) -> list[str | int] | None:
    """Names and positions, as they are written on the command line."""
    if wrt is None:
        return None
    return [int(w) if w.strip("-").isdigit() else w.strip() for w in wrt.split(",")]


def _audit_code(report: Report) -> int:
    """0 trains, 1 does not, 2 could not tell (a finding B701)."""
    if any(finding.code == "B701" for finding in report.findings):
        return 2
    return 0 if report.ok else 1


def _metric(target: str) -> tuple[Callable[..., Any], str]:
    if ":" in target:
        loaded = _loaded(target)
        return loaded.function, loaded.name
    load_quietly("keras")
    from bevel.metrics import BUILTIN

    if target not in BUILTIN:
        raise TargetError(
            f"{printable(target)!r} is neither FILE.py:FUNC nor a built-in metric",
            help=f"the built-in metrics are: {', '.join(BUILTIN)}",
        )
    return BUILTIN[target], target


def _loaded(target: str) -> Target:
    """Execute the file that a target names; its framework first, without notes on the machine.

    Keras runs on the framework that the file imports, else on the one that was chosen or found.
    """
    from bevel.targets import framework_of, load_target, locate

    path, _ = locate(target)  # a wrong name is told at once
    require_any()
    framework = framework_of(path)
    if framework is None:
        load_quietly("keras")  # brings its backend with it
    else:
        require(framework)
        load_quietly(framework)
        check_active(framework)
    return load_target(target)


def _data(path: Path | None, label: str | None) -> Any:
    from bevel.data import load_default, read_csv

    if path is None:
        if label is not None:
            raise TargetError("--label names a column of --data, which is missing")
        return load_default()
    if label is None:
        raise TargetError("--data needs --label COLUMN, the column to predict")
    return read_csv(path, label)


def _tensors(arguments: dict[str, Any]) -> list[Any]:
    from keras import ops

    return [ops.convert_to_tensor(value) for value in arguments.values()]


def _limits(text: str) -> tuple[float, float]:
    number = r"\s*([-+]?[\d.]+(?:[eE][-+]?\d+)?)\s*"
    match = re.fullmatch(f"{number},{number}", text)
    try:
        low, high = (float(match[1]), float(match[2])) if match else (0.0, 0.0)
    except ValueError:
        low = high = 0.0
    if not -_LARGEST < low < high < _LARGEST:
        raise TargetError(f"--range must be two numbers, LOW,HIGH; got {printable(text)!r}")
    return low, high


# What float32 holds, with room for the margins of a plot.
_LARGEST = 1e38


def _relative(path: Path) -> str:
    here = Path.cwd().resolve()
    return printable(str(path.relative_to(here) if path.is_relative_to(here) else path))
