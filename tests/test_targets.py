"""Loading `FILE.py:FUNCTION`: what is found, and what every mistake says."""

import sys

import pytest

from bevel.errors import TargetError
from bevel.targets import framework_of, load_target, user_place


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder that is the working directory, with a file of metrics and a module beside it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "beside.py").write_text("FACTOR = 3\n")
    (tmp_path / "metrics.py").write_text(
        "from beside import FACTOR\n"
        "THRESHOLD = 0.5\n"
        "class Metric:\n    pass\n"
        "def triple(y_true, y_pred):\n    return FACTOR * y_pred\n"
        "def other(y_true, y_pred):\n    return y_pred\n"
        "def late(y_true, y_pred):\n    import beside\n    return beside.FACTOR\n"
    )
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path


def test_a_function_is_loaded_with_the_modules_beside_its_file(folder):
    target = load_target("metrics.py:triple")
    assert target.function(None, 2) == 6
    assert (target.name, str(target.path), str(target)) == (
        "triple",
        "metrics.py",
        "metrics.py:triple",
    )
    sys.modules.pop("beside")
    assert load_target("metrics.py:late").function(None, 2) == 3
    sys.modules.pop("beside")


def test_the_module_keeps_a_private_name(folder):
    module = load_target("metrics.py:triple").function.__module__
    assert module.startswith("_bevel_target_")
    assert "metrics" not in sys.modules
    sys.modules.pop("beside")


def test_absolute_paths_and_colons_in_folders_are_fine(tmp_path):
    folder = tmp_path / "a:b"
    folder.mkdir()
    (folder / "m.py").write_text("def f(p):\n    return p\n")
    assert load_target(f"{folder / 'm.py'}:f").function(4) == 4


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("metrics.py", r"`metrics\.py` names no file and function\n.*FILE\.py:FUNCTION"),
        (":f", r"`:f` names no file and function"),
        ("metrics.py:", r"`metrics\.py:` names no file and function"),
        ("metric.py:triple", r"there is no file `metric\.py`\n.*did you mean metrics\.py\?"),
        ("nowhere/metrics.py:f", r"there is no folder `nowhere` either"),
        (".:f", r"`\.` is not a Python file"),
        ("text.txt:f", r"`text\.txt` is not a Python file \(\.py\)"),
        (
            "metrics.py:tripel",
            r"has no function `tripel`\n.*did you mean triple\? it defines: triple, other",
        ),
        ("metrics.py:zzz", r"has no function `zzz`\n  help: it defines: triple, other"),
        ("metrics.py:THRESHOLD", r"`THRESHOLD` in `metrics\.py` is of type float; expected a func"),
        ("metrics.py:Metric", r"`Metric` in `metrics\.py` is a class; expected a function"),
    ],
)
def test_a_wrong_target_is_explained(folder, target, message):
    (folder / "text.txt").write_text("")
    with pytest.raises(TargetError, match=message):
        load_target(target)
    sys.modules.pop("beside", None)


def test_a_failure_is_shown_at_the_users_line_without_our_frames(folder):
    (folder / "bad.py").write_text("X = 1\n\ndef make():\n    return X / 0\n\nmake()\n")
    before = set(sys.modules)
    with pytest.raises(TargetError) as caught:
        load_target("bad.py:make")
    text = str(caught.value)
    assert "`bad.py` failed while it was executed: ZeroDivisionError: division by zero" in text
    assert "--> bad.py:4 in make" in text
    assert "return X / 0" in text
    assert caught.value.__suppress_context__
    assert not any(name.startswith("_bevel_target_") for name in set(sys.modules) - before)


def test_a_syntax_error_is_shown_at_its_line(folder):
    (folder / "bad.py").write_text("def f(y):\n    return y +\n")
    message = r"`bad\.py` is not valid Python: .*\n  --> bad\.py:2\n.*return y \+"
    with pytest.raises(TargetError, match=message):
        load_target("bad.py:f")


def test_a_missing_module_says_what_to_install(folder):
    (folder / "bad.py").write_text("import no_such_module_of_mine\n")
    with pytest.raises(TargetError, match=r"pip install \"no_such_module_of_mine\""):
        load_target("bad.py:f")


def test_a_missing_framework_names_the_extra(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "jax", None)
    (folder / "bad.py").write_text("raise ModuleNotFoundError('no jax', name='jax.numpy')\n")
    with pytest.raises(TargetError, match=r"pip install \"bevel\[jax\]\""):
        load_target("bad.py:f")


def test_a_file_that_exits_does_not_end_the_command(folder):
    (folder / "bad.py").write_text("raise SystemExit(0)\n")
    with pytest.raises(TargetError, match="SystemExit"):
        load_target("bad.py:f")


def test_an_error_elsewhere_has_no_place_in_the_file(folder):
    with pytest.raises(ValueError, match="invalid literal") as caught:
        int("x")
    assert user_place(caught.value, folder / "metrics.py") is None


@pytest.mark.parametrize(
    ("text", "framework"),
    [
        ("import jax.numpy as jnp\n", "jax"),
        ("def f(y):\n    from torch.nn import functional as F\n    return F.relu(y)\n", "torch"),
        ("import torch\nimport tensorflow as tf\n", "tensorflow"),
        ("import keras\nfrom .jax import numpy\n", None),
        ("import torch\n)", None),
    ],
)
def test_the_framework_is_read_from_the_imports_of_a_file(folder, text, framework):
    path = folder / "loss.py"
    path.write_text(text)
    assert framework_of(path) == framework
