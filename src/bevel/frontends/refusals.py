"""What front ends say of an argument or a function that they cannot take, alike in all frameworks.

Each gives the error; the front end raises it. `noun` is what the framework calls its arrays.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Callable, Sequence
from typing import Any

from bevel.errors import BevelTypeError, TraceError
from bevel.frontends.arguments import Arguments
from bevel.program import Loc
from bevel.source import Locator, choose_frame, is_users

Frame = tuple[str, int, str]


def not_taken(value: Any, noun: str, error: Exception) -> BevelTypeError:
    """An argument that the framework has no dtype for."""
    return BevelTypeError(
        f"an argument of type {type(value).__name__} and dtype "
        f"{getattr(value, 'dtype', None)} is no {noun}: {error}. Pass numbers or bools."
    )


def returns_nothing(name: str, noun: str) -> TraceError:
    """A function without a result."""
    return TraceError(
        f"`{name}` returns nothing that is {'an' if noun[0] in 'aeiou' else 'a'} {noun}; a metric "
        "returns a number per call or per row. Is a `return` missing?"
    )


def unreadable(name: str, error: Exception) -> TraceError:
    """A function that was traced, and holds what Bevel does not know."""
    return TraceError(
        f"`{name}` holds something that Bevel cannot read: {type(error).__name__}: {error}"
    )


def untraceable(
    name: str,
    said: str,
    loc: Loc | None,
    call: Arguments,
    shown: Callable[[Any], str],
    meaning: str | None = None,
    help: str = "",
) -> TraceError:
    """A function that raised while it was traced.

    Args:
        name: The function's name.
        said: What the framework said.
        loc: The user's line.
        call: The call it was traced with.
        shown: Dtype and shape of a leaf, in words.
        meaning: What that means for the user's code, where it is known.
        help: What to do where it is known.
    """
    if meaning is None:
        given = ", ".join(
            f"{n} {shown(leaf)}" for n, leaf in zip(call.names, call.leaves, strict=True)
        )
        meaning = f"it raised an error with {given}"
        help = "pass arguments of the shapes and dtypes that this line takes."
    return TraceError(f"`{name}` cannot be traced: {meaning}", loc=loc, label=said[:300], help=help)


def advice(text: str, table: Sequence[tuple[str, str]]) -> str | None:
    """What a framework's message means for the user's code, if it is one of those known."""
    return next((meaning for sign, meaning in table if re.search(sign, text)), None)


def users_line(
    error: BaseException, tracer: str, op: str, native: str, quoted: Sequence[Frame] = ()
) -> Loc | None:
    """The innermost line of the user's that an error of tracing came through.

    Args:
        error: The error.
        tracer: The file of the front end, where the user's frames end.
        op: What is looked for in the line, see `bevel.source.Locator`.
        native: Likewise.
        quoted: Frames that the error's own text names, which come first.
    """
    stack = [(f.filename, f.lineno or 0, f.name) for f in traceback.extract_tb(error.__traceback__)]
    frame = choose_frame(quoted, tracer) or choose_frame(stack, tracer)
    if frame is None or not is_users(frame[0]):
        return None
    return Locator("")([frame], op, native)
