"""Bad targets, paths and options on the command line: exit code 2, a message, no traceback."""

import pytest
from typer.testing import CliRunner

from bevel.cli import app

FILES = {
    "metrics.py": "def f1(y_true, y_pred):\n    return (y_true - y_pred).sum()\n",
    "broken.py": "def f(y):\n    return (y\n",
    "raises.py": "def f(y):\n    return y\n\nraise RuntimeError('no \x1b[31mred here')\n",
    "escape.py": "x = undefined  # \x1b]0;owned\x07\ndef f(y):\n    return y\n",
    "rows.csv": "a,y\n1,0\n,1\n",
    "bell\x07.py": "def f(y):\n    return y\n",
}


@pytest.fixture
def run(tmp_path, monkeypatch):
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "300")
    return lambda *arguments: CliRunner().invoke(app, [str(a) for a in arguments])


def _refused(result, message):
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    assert not any(c in result.stderr for c in "\x1b\x07")


@pytest.mark.parametrize("command", ["audit", "relax", "plot", "train"])
@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("nowhere.py:f1", "there is no file `nowhere.py`"),
        ("metrics.py:f2", "`metrics.py` has no function `f2`"),
        ("metrics.py:ff1", "did you mean f1? it defines: f1"),
        ("broken.py:f", "`broken.py` is not valid Python"),
        ("broken.py:f", "--> broken.py:2"),
        ("raises.py:f", "--> raises.py:4"),
        ("raises.py:f", r"RuntimeError: no \x1b[31mred here"),
        ("escape.py:f", r"x = undefined  # \x1b]0;owned\x07"),
        ("bell\x07.py:g", r"`bell\x07.py` has no function `g`"),
        ("[red]x[/red].py:f", "there is no file `[red]x[/red].py`"),
        ("metrics.py:", "names no file and function"),
    ],
)
def test_a_bad_target_is_explained(run, command, target, message):
    _refused(run(command, target), message)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["plot", "stepp"], "'stepp' is neither FILE.py:FUNC nor an operation"),
        (["plot", "step", "--range", "2"], "--range must be two numbers, LOW,HIGH; got '2'"),
        (["plot", "step", "--range", "2,1"], "--range must be two numbers"),
        (["plot", "step", "--range", "nan,1"], "--range must be two numbers"),
        (["plot", "step", "--range", "1.2.3,4"], "--range must be two numbers"),
        (["plot", "step", "--out", "a.exe"], "ends in '.exe'; expected .png or .svg"),
        (["train", "f2"], "'f2' is neither FILE.py:FUNC nor a built-in metric"),
        (["train", "f1", "--label", "y"], "--label names a column of --data, which is missing"),
        (["train", "f1", "--data", "rows.csv"], "--data needs --label COLUMN"),
        (["train", "f1", "--data", "no.csv", "--label", "y"], "cannot read `no.csv`"),
        (["train", "f1", "--data", "rows.csv", "--label", "y"], "row 2, column 'a'"),
        (["train", "f1", "--data", "rows.csv", "--label", "z"], "it has no column 'z'"),
        (["explain", "B999"], "B999"),
    ],
)
def test_a_bad_option_is_explained(run, arguments, message):
    _refused(run(*arguments), message)


def test_an_argument_that_there_is_not_cannot_be_looked_at(run):
    result = run("audit", "metrics.py:f1", "--sample", "binary", "--wrt", "y_guess")
    assert result.exit_code == 2
    assert "y_guess" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_function_that_fails_on_the_sample_is_shown_at_its_line(run, tmp_path):
    (tmp_path / "picky.py").write_text("def f(y_true, y_pred):\n    return y_true['a']\n")
    result = run("plot", "picky.py:f", "--sample", "binary")
    assert result.exit_code == 2
    assert "--> picky.py:2 in f" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_bug_is_shown_in_full_and_is_no_verdict(run, monkeypatch):
    monkeypatch.setattr("bevel.sampling.make_sample", lambda *_: 1 / 0)
    result = run("audit", "metrics.py:f1")
    assert result.exit_code == 2
    assert "ZeroDivisionError" in result.stderr
    assert "Traceback" in result.stderr


@pytest.mark.parametrize("option", ["--seeds", "--epochs"])
def test_a_number_that_is_too_small_is_a_usage_error(run, option):
    assert run("train", "f1", option, "0").exit_code == 2


def test_a_negative_temperature_is_a_usage_error(run):
    assert run("relax", "metrics.py:f1", "--temperature", "-1").exit_code == 2


@pytest.mark.parametrize(
    "arguments",
    [["plot", "step", "--out", "keep.png"], ["train", "f1", "--out", "results"]],
)
def test_nothing_is_overwritten_without_force(run, tmp_path, arguments):
    (tmp_path / "results").mkdir()
    kept = [tmp_path / "keep.png", tmp_path / "results" / "figures.json"]
    for path in kept:
        path.write_text("precious")
    _refused(run(*arguments), "exists\n  help: pass --force to overwrite it")
    assert [path.read_text() for path in kept] == ["precious", "precious"]


def test_force_overwrites(run, tmp_path):
    (tmp_path / "keep.png").write_text("old")
    assert run("plot", "step", "--out", "keep.png", "--force").exit_code == 0
    assert (tmp_path / "keep.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("force", [[], ["--force"]])
def test_a_link_out_of_the_folder_is_not_followed(run, tmp_path, force):
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "curves.png").symlink_to(tmp_path / "secret.txt")
    result = run("train", "f1", "--out", "results", *force)
    _refused(result, "leads out of")
    assert not (tmp_path / "secret.txt").exists()
    assert list((tmp_path / "results").iterdir()) == [tmp_path / "results" / "curves.png"]


def test_an_objects_array_is_not_unpickled(run, tmp_path):
    import numpy as np

    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "exploded"), "w"))

    np.savez(tmp_path / "bomb.npz", y_true=np.array([Bomb()], object), y_pred=np.ones(1))
    _refused(run("audit", "metrics.py:f1", "--sample", "bomb.npz"), "pickled objects are refused")
    assert not (tmp_path / "exploded").exists()
