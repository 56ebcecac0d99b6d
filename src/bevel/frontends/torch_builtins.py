"""Python's own `float`, `int`, `len`, `min` and `max`, as a traced function sees them.

They insist on giving plain numbers, or compare one pair after the other; a value that goes through
them would be lost, or would make a branch of each comparison. While a function is recorded, the
globals of its module hold stand-ins that give tensors of one number for tensors, and do what they
always did for everything else, in this thread; other threads notice nothing.
"""

from __future__ import annotations

import builtins
import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


@contextmanager
def stand_ins(fn: Any, escapes: Any) -> Iterator[None]:
    """A context in which a function's module sees the stand-ins.

    Args:
        fn: A function, a method, or an object that can be called.
        escapes: Gives the numbers: `number`, `rows` and `is_number`.
    """
    scope = _globals_of(fn)
    names = {n: v for n, v in _made_for(escapes).items() if n not in scope}
    scope.update(names)
    try:
        yield
    finally:
        for name in names:
            scope.pop(name, None)


def _globals_of(fn: Any) -> dict[str, Any]:
    while isinstance(fn, functools.partial) or hasattr(fn, "__wrapped__"):
        fn = fn.func if isinstance(fn, functools.partial) else fn.__wrapped__
    call = type(fn).__dict__.get("__call__")
    for code in (fn, getattr(fn, "__func__", None), getattr(fn, "forward", None), call):
        found = getattr(getattr(code, "__func__", code), "__globals__", None)
        if found is not None and not found.get("__name__", "").startswith(("torch", "keras")):
            return found
    return {}


def _made_for(escapes: Any) -> dict[str, Any]:
    owner = threading.get_ident()

    def is_here() -> bool:
        return threading.get_ident() == owner

    def kind(plain: type) -> type:
        class Meta(type):
            def __call__(cls, *args: Any, **kwargs: Any) -> Any:
                if is_here() and len(args) == 1 and isinstance(args[0], torch.Tensor):
                    return escapes.number(args[0], plain)
                return plain(*args, **kwargs)

            def __instancecheck__(cls, value: Any) -> bool:
                return isinstance(value, plain) or escapes.is_number(value, plain)

            def __getattr__(cls, name: str) -> Any:
                return getattr(plain, name)

        return Meta(plain.__name__, (), {"dtype": np.dtype(plain)})

    def length(value: Any) -> Any:
        if is_here() and isinstance(value, torch.Tensor):
            return escapes.rows(value)
        return builtins.len(value)

    def extreme(plain: Callable[..., Any], fold: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(plain)
        def found(*args: Any, **kwargs: Any) -> Any:
            if kwargs or not is_here() or not args:
                return plain(*args, **kwargs)
            items = list(args if len(args) > 1 else next(iter(args)))
            if not any(isinstance(i, torch.Tensor) for i in items):
                return plain(*args) if len(args) > 1 else plain(items)
            if not all(_is_single(i) for i in items):
                return plain(items)
            return functools.reduce(lambda a, b: escapes.folded(plain, fold, a, b), items)

        return found

    return {
        "float": kind(float),
        "int": kind(int),
        "len": length,
        "min": extreme(builtins.min, torch.minimum),
        "max": extreme(builtins.max, torch.maximum),
    }


def _is_single(value: Any) -> bool:
    if isinstance(value, torch.Tensor):
        return value.ndim == 0
    return isinstance(value, int | float)
