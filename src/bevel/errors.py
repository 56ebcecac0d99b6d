"""What Bevel says when something is wrong: its exceptions, and text that points at a source line.

Every exception derives from `BevelError`, and from the built-in class that a caller would expect,
so `except ValueError` works too. `render` turns a finding into text that reads like a good compiler
message. Whatever comes from a user's file is made printable first: a control character in a source
line, a path or a message never reaches the terminal as one. Nothing here imports a framework.
"""

from __future__ import annotations

import unicodedata
from pathlib import Path
from typing import Protocol

_TAB = "    "
_NOT_PRINTABLE = ("Cc", "Cf", "Cs", "Zl", "Zp")


class SourceLocation(Protocol):
    """What the renderer needs to know about a place in a file; `bevel.Loc` has it.

    `column` and `end_column` count characters of `text` from 0, the end excluded, as slices do.
    """

    @property
    def file(self) -> str: ...
    @property
    def line(self) -> int: ...
    @property
    def column(self) -> int | None: ...
    @property
    def end_column(self) -> int | None: ...
    @property
    def function(self) -> str: ...
    @property
    def text(self) -> str: ...


class BevelError(Exception):
    """Base of every error that Bevel raises on purpose.

    Args:
        message: What is wrong with which argument, what was expected, what was received.
        loc: The user's line that it is about, shown under the message.
        label: What to write beside the underlined piece of that line.
        help: What to do about it.

    Example:
        >>> print(BevelError("the step size is 0", help="pass a positive number"))
        the step size is 0
          help: pass a positive number
    """

    def __init__(
        self,
        message: str,
        *,
        loc: SourceLocation | None = None,
        label: str = "",
        help: str = "",
    ) -> None:
        lines = map(printable, message.split("\n"))
        super().__init__("\n".join([*lines, *_details(loc, label, help)]))
        self.loc = loc
        self.label = label


class BevelValueError(BevelError, ValueError):
    """An argument has the right type and a value that cannot be used."""


class BevelTypeError(BevelError, TypeError):
    """An argument has a type or dtype that cannot be used."""


class TraceError(BevelError):
    """A function could not be turned into a `Program`, for instance because it leaves the graph."""


class UnknownOperationError(BevelError, NotImplementedError):
    """A program holds an operation that `relax` has no rule for."""


class MissingFrameworkError(BevelError, ImportError):
    """A needed package is not installed; the message names the extra that installs it."""


class StateWarning(UserWarning):
    """A relaxed function leaves a variable as it is that the function itself would change."""


class ConstantWarning(UserWarning):
    """A call of a relaxed function took a way on which nothing depends on the prediction."""


class TargetError(BevelError):
    """A command-line target such as `metrics.py:f1` names nothing that can be used."""


def printable(text: str) -> str:
    r"""Return `text` with tabs as spaces and every character that could steer a terminal escaped.

    Example:
        >>> printable("a\tb\x1b[2J")
        'a    b\\x1b[2J'
    """
    return "".join(map(_printable_character, text))


def excerpt(loc: SourceLocation, label: str = "") -> str:
    """Show one source line with its place, and underline the piece that `loc` points at.

    Args:
        loc: A place in a file. Without a column the whole line is underlined, without a text the
            place alone is shown.
        label: What to write beside the underlining.

    Returns:
        Up to three lines of text without a final line break.
    """
    place = f"  --> {_shown_path(loc.file)}:{loc.line}"
    if loc.function:
        place += f" in {printable(loc.function)}"
    source = loc.text.rstrip()
    number = f"{loc.line:>5}"
    bar = " " * len(number) + " |"
    if not source.strip():
        return f"{place}\n{bar} {printable(label)}" if label else place
    start, end = _span(source, loc.column, loc.end_column)
    indent = _width(printable(source[:start]))
    carets = "^" * max(1, _width(printable(source[start:end])))
    underline = f"{bar} {' ' * indent}{carets} {printable(label)}".rstrip()
    return f"{place}\n{number} | {printable(source)}\n{underline}"


def render(
    code: str,
    severity: str,
    message: str,
    loc: SourceLocation | None = None,
    label: str = "",
    help: str = "",
) -> str:
    """Write a finding the way a good compiler writes its messages.

    Args:
        code: A stable code which has a page, such as `B101`.
        severity: `error`, `warning` or `note`.
        message: One sentence that says what is wrong.
        loc: The user's line, where there is one.
        label: What the underlined piece of the line is.
        help: What to do about it.

    Returns:
        Text without a final line break.

    Example:
        >>> print(render("B101", "error", "no gradient reaches `p`", help="relax it"))
        error[B101]: no gradient reaches `p`
          help: relax it
    """
    return "\n".join([f"{severity}[{code}]: {printable(message)}", *_details(loc, label, help)])


def _details(loc: SourceLocation | None, label: str, help: str) -> list[str]:
    """The lines under a message: the place, the label where no line can carry it, the help."""
    lines = []
    if loc is not None:
        lines.append(excerpt(loc, label))
    elif label:
        lines.append(_indented("note", label))
    if help:
        lines.append(_indented("help", help))
    return lines


def _indented(word: str, text: str) -> str:
    lead = f"  {word}: "
    return lead + ("\n" + " " * len(lead)).join(map(printable, text.splitlines()))


def _printable_character(character: str) -> str:
    if character == "\t":
        return _TAB
    if unicodedata.category(character) in _NOT_PRINTABLE:
        return character.encode("unicode_escape", "surrogatepass").decode("ascii")
    return character


def _shown_path(file: str) -> str:
    """A path below the working directory is shown relative to it, any other as it is."""
    path = Path(file)
    if path.is_absolute() and path.is_relative_to(Path.cwd()):
        path = path.relative_to(Path.cwd())
    return printable(str(path))


def _span(source: str, column: int | None, end_column: int | None) -> tuple[int, int]:
    """The piece of the line to underline: the named one, or all of it but the indentation."""
    if column is None or not 0 <= column < len(source):
        return len(source) - len(source.lstrip()), len(source)
    if end_column is None or end_column <= column:
        return column, len(source)
    return column, min(end_column, len(source))


def _width(text: str) -> int:
    """The number of terminal columns that a printable text takes."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )
