"""Load the function that a command-line target such as `metrics.py:f1` names.

Loading a file *executes* it, with the rights of whoever runs the command: there is no other way to
get a Python function, so every command says so. The file is imported under a private module name;
its own folder is importable while that happens, as it would be for `python metrics.py`, and not
afterwards. A mistake in the file is reported at the user's own line, without Bevel's traceback.
"""

from __future__ import annotations

import ast
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from hashlib import sha256
from pathlib import Path
from types import ModuleType
from typing import Any

from bevel.backend import FRAMEWORKS
from bevel.errors import TargetError, printable

_FORM = "write it as FILE.py:FUNCTION, for instance metrics.py:f1"
_EXTRAS = {"tensorflow": "tensorflow", "keras": "tensorflow", "jax": "jax", "torch": "torch"}


@dataclass(frozen=True)
class Target:
    """A function which was loaded from a file.

    Attributes:
        function: The callable itself.
        name: Its name in the file.
        path: The file that it was loaded from.
    """

    function: Callable[..., Any]
    name: str
    path: Path

    def __str__(self) -> str:
        return printable(f"{self.path}:{self.name}")


@dataclass(frozen=True)
class _Place:
    """A line of the user's file, in the form that `bevel.errors.excerpt` shows."""

    file: str
    line: int
    text: str
    function: str = ""
    column: int | None = None
    end_column: int | None = None


def load_target(text: str) -> Target:
    """Import the file that a target names and return its function. This executes the file.

    The file's folder is put on Python's path, as when Python runs the file.

    Args:
        text: `FILE.py:FUNCTION`. The last colon separates, so Windows drives are fine.

    Returns:
        The function with its name and its file.

    Raises:
        TargetError: If the form is wrong, the file is missing or fails when it is executed, or it
            has no such function; close names are suggested.
    """
    path, name = locate(text)
    return Target(_function(_execute(path), name, path), name, path)


def locate(text: str) -> tuple[Path, str]:
    """The file and the name that a target names; nothing is executed.

    Raises:
        TargetError: If the form is wrong or there is no such file.
    """
    file, separator, name = text.rpartition(":")
    if not separator or not file or not name:
        raise TargetError(f"the target {_quoted(text)} names no file and function", help=_FORM)
    path = Path(file)
    if not path.exists():
        raise TargetError(f"there is no file {_quoted(file)}", help=_near_files(path))
    if path.suffix != ".py" or not path.is_file():
        raise TargetError(f"{_quoted(file)} is not a Python file (.py)", help=_FORM)
    return path, name


def framework_of(path: Path) -> str | None:
    """The framework that a file imports, read from its text; nothing is executed.

    Returns:
        One of `bevel.backend.FRAMEWORKS`, the first of them where a file imports several; None
        where it imports none, or is no Python.
    """
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError):
        return None  # told with its line when the file is executed
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            imported.add(node.module.partition(".")[0])
    return next((name for name in FRAMEWORKS if name in imported), None)


def user_place(error: BaseException, path: Path) -> _Place | None:
    """Return the innermost line of the file at `path` that an exception passed through, if any."""
    if isinstance(error, SyntaxError) and error.filename and _same(error.filename, path):
        return _Place(str(path), error.lineno or 1, (error.text or "").rstrip("\n"))
    frames = [f for f in traceback.extract_tb(error.__traceback__) if _same(f.filename, path)]
    if not frames:
        return None
    last = frames[-1]
    function = "" if last.name == "<module>" else last.name
    return _Place(str(path), last.lineno or 1, last.line or "", function)


def _execute(path: Path) -> ModuleType:
    location = path.resolve()
    private = f"_bevel_target_{sha256(str(location).encode()).hexdigest()[:12]}"
    spec = importlib.util.spec_from_file_location(private, location)
    if spec is None or spec.loader is None:
        raise TargetError(f"{_quoted(str(path))} cannot be imported", help=_FORM)
    module = importlib.util.module_from_spec(spec)
    sys.modules[private] = module
    try:
        # as when Python runs the file: its functions may import what lies beside it, also later
        if str(location.parent) not in sys.path:
            sys.path.insert(0, str(location.parent))
        spec.loader.exec_module(module)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        del sys.modules[private]
        raise _failed(path, error) from None
    return module


def _failed(path: Path, error: BaseException) -> TargetError:
    said = printable(str(error).split("\n")[0])
    message = f"{_quoted(str(path))} failed while it was executed: {type(error).__name__}: {said}"
    if isinstance(error, SyntaxError):
        message = f"{_quoted(str(path))} is not valid Python: {printable(error.msg or said)}"
    hint = ""
    if isinstance(error, ModuleNotFoundError) and error.name:
        root = error.name.partition(".")[0]
        extra = _EXTRAS.get(root)
        wanted = f"bevel[{extra}]" if extra else printable(root)
        hint = f'install what it needs, for instance: pip install "{wanted}"'
    return TargetError(message, loc=user_place(error, path), help=hint)


def _function(module: ModuleType, name: str, path: Path) -> Callable[..., Any]:
    shown = _quoted(str(path))
    if not hasattr(module, name):
        own = _own_functions(module)
        near = get_close_matches(name, own, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        hint += f"it defines: {', '.join(own)}" if own else "it defines no function"
        raise TargetError(f"{shown} has no function {_quoted(name)}", help=hint)
    value = getattr(module, name)
    if not callable(value) or inspect.isclass(value):
        what = "a class" if inspect.isclass(value) else f"of type {type(value).__name__}"
        raise TargetError(
            f"{_quoted(name)} in {shown} is {what}; expected a function (y_true, y_pred) -> scalar",
            help="name a function, or give an instance of the class a name of its own",
        )
    return value


def _own_functions(module: ModuleType) -> list[str]:
    """The functions that the file itself defines, in its order."""
    return [
        name
        for name, value in vars(module).items()
        if inspect.isfunction(value) and value.__module__ == module.__name__
    ]


def _near_files(path: Path) -> str:
    folder = path.parent
    if not folder.is_dir():
        return f"there is no folder {_quoted(str(folder))} either"
    near = get_close_matches(path.name, sorted(p.name for p in folder.glob("*.py")), n=1)
    return f"did you mean {printable(str(folder / near[0]))}?" if near else _FORM


def _same(filename: str, path: Path) -> bool:
    return Path(filename).resolve() == path.resolve()


def _quoted(text: str) -> str:
    return f"`{printable(text)}`"
