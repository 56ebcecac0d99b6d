"""What the command line prints: text as it is, in the stream where it belongs."""

import pytest
import typer

from bevel.console import complain, errors_shown, progress_bar, remark, show
from bevel.errors import BevelValueError
from bevel.recipes import Progress


def test_text_is_printed_as_it_is(capsys):
    text = "[red]no markup[/red] " + "and no wrapping " * 20
    show(text)
    assert capsys.readouterr().out == text + "\n"


def test_remarks_and_errors_go_to_standard_error(capsys):
    remark("a remark \x1b[2J")
    complain("[bold]wrong")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "a remark \\x1b[2J\nerror: [bold]wrong\n"


def test_an_error_of_our_own_becomes_a_message_and_code_2(capsys):
    with pytest.raises(typer.Exit) as caught, errors_shown():
        raise BevelValueError("`k` must be positive; got 0.")
    assert caught.value.exit_code == 2
    assert capsys.readouterr().err == "error: `k` must be positive; got 0.\n"


def test_an_exit_keeps_its_code():
    with pytest.raises(typer.Exit) as caught, errors_shown():
        raise typer.Exit(1)
    assert caught.value.exit_code == 1


def test_progress_leaves_standard_output_alone(capsys):
    with progress_bar() as advance:
        advance(Progress(1, 2, "seed 1: cross-entropy", 0.25))
        advance(Progress(2, 2, "seed 1: cross-entropy", float("nan")))
    assert capsys.readouterr().out == ""
