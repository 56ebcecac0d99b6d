"""Python's own `float`, `len`, `min` ... and numpy's means, as a traced function sees them.

They insist on giving plain numbers, or compare one pair after the other; a value that goes through
them would be lost, or would make a branch of each comparison. While a function is recorded, the
globals of its module, and of those that it calls into, hold stand-ins that give tensors of one
number for tensors, and do what they always did for everything else, in this thread; other threads
notice nothing.
"""

from __future__ import annotations

import builtins
import functools
import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from bevel.frontends.torch.scopes import scopes

# What numpy and `math` do with numbers that are followed; all else is theirs.
_OF_LISTS = {
    "mean": torch.mean, "nanmean": torch.nanmean, "sum": torch.sum, "nansum": torch.nansum,
    "max": torch.max, "min": torch.min, "prod": torch.prod, "std": lambda x: x.std(correction=0),
}  # fmt: skip
_OF_NUMBERS = {
    "sqrt": torch.sqrt, "log": torch.log, "log2": torch.log2, "exp": torch.exp, "abs": torch.abs,
    "fabs": torch.abs, "sign": torch.sign, "floor": torch.floor, "ceil": torch.ceil,
    "round": torch.round, "isnan": torch.isnan, "tanh": torch.tanh,
}  # fmt: skip


class _Module:
    """numpy or `math`, with other functions for numbers that are followed."""

    def __init__(self, module: Any, escapes: Any, is_here: Callable[[], bool]) -> None:
        self._module, self._escapes, self._is_here = module, escapes, is_here

    def __getattr__(self, name: str) -> Any:
        plain = getattr(self._module, name)
        if not self._is_here() or (name not in _OF_LISTS and name not in _OF_NUMBERS):
            return plain

        def found(*args: Any, **kwargs: Any) -> Any:
            if self._module is math and isinstance(args[0], torch.Tensor) and len(args) == 1:
                args = (self._escapes.number(args[0], float),)  # as `math` would ask for one
            if len(args) != 1 or kwargs or not self._escapes.is_followed(args[0]):
                return plain(*args, **kwargs)
            if name in _OF_NUMBERS and isinstance(args[0], torch.Tensor):
                return self._escapes.computed(_OF_NUMBERS[name], args[0])
            if name in _OF_LISTS:
                return self._escapes.computed(_OF_LISTS[name], args[0])
            return plain(*args)

        return found


@contextmanager
def stand_ins(fn: Any, escapes: Any) -> Iterator[None]:
    """A context in which the modules that a function calls into see the stand-ins.

    Args:
        fn: A function, a method, or an object that can be called.
        escapes: Gives the numbers: `number`, `rows` and `is_number`.
    """
    here = _here()
    made = _made_for(escapes, here)
    changed = []
    for scope in scopes(fn):
        names = {n: v for n, v in made.items() if n not in scope}
        modules = {n: v for n, v in scope.items() if v is np or v is math}
        changed.append((scope, names, modules))
        scope.update(names, **{n: _Module(m, escapes, here) for n, m in modules.items()})
    try:
        yield
    finally:
        for scope, names, modules in changed:
            scope.update(modules)
            for name in names:
                scope.pop(name, None)


def _here() -> Callable[[], bool]:
    owner = threading.get_ident()
    return lambda: threading.get_ident() == owner


def _made_for(escapes: Any, is_here: Callable[[], bool]) -> dict[str, Any]:
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

    @functools.wraps(builtins.sorted)
    def in_order(items: Any, /, *, key: Any = None, reverse: bool = False) -> Any:
        items = list(items)
        is_ours = is_here() and key is None and any(isinstance(i, torch.Tensor) for i in items)
        if not is_ours or not all(isinstance(i, torch.Tensor) and _is_single(i) for i in items):
            return builtins.sorted(items, key=key, reverse=bool(reverse))
        return escapes.in_order(items, bool(reverse))

    return {
        "float": kind(float),
        "int": kind(int),
        "len": length,
        "min": extreme(builtins.min, torch.minimum),
        "max": extreme(builtins.max, torch.maximum),
        "sorted": in_order,
    }


def _is_single(value: Any) -> bool:
    if isinstance(value, torch.Tensor):
        return value.ndim == 0
    return isinstance(value, int | float)
