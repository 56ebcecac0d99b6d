"""Which modules' own code a function may run: its own, and those of the functions that it calls.

They are found by the names in its code, before it runs: names of its module and of what it closes
over, and of the functions found there in turn. Python's own and large libraries are left out.
"""

from __future__ import annotations

import functools
import inspect
import sys
import types
from collections.abc import Iterator
from typing import Any

_LIBRARIES = sys.stdlib_module_names | {"torch", "keras", "numpy", "bevel", "scipy", "matplotlib"}

# A metric's own code is much smaller; nobody's whole library is to be searched.
_MOST = 500


def scopes(fn: Any) -> list[dict[str, Any]]:
    """The globals of each such module.

    Args:
        fn: A function, a method, or an object that can be called.
    """
    found: dict[int, dict[str, Any]] = {}
    seen: set[int] = set()
    stack = [fn]
    while stack and len(seen) < _MOST:
        function = stack.pop()
        if id(function) in seen:
            continue
        seen.add(id(function))
        code, scope = getattr(function, "__code__", None), getattr(function, "__globals__", None)
        if code is None or scope is None:
            stack.extend(_functions_in(function))
        elif _is_own(scope.get("__name__", "")):
            found[id(scope)] = scope
            stack.extend(_named(function, code, scope))
            cells = function.__closure__ or ()
            stack.extend(c.cell_contents for c in cells if _is_filled(c))
        else:
            stack.extend(_functions_in(function))
    return list(found.values())


def _functions_in(value: Any) -> Iterator[Any]:
    """What runs when something that is no plain function is called."""
    if isinstance(value, functools.partial):
        yield from (value.func, *value.args, *value.keywords.values())
    elif isinstance(value, types.MethodType):
        yield value.__func__
    elif hasattr(value, "__wrapped__"):
        yield value.__wrapped__
    elif inspect.isfunction(value) or inspect.isclass(value) or isinstance(value, types.ModuleType):
        return
    else:
        for cls in type(value).__mro__:
            if _is_own(cls.__module__):
                yield from filter(inspect.isfunction, vars(cls).values())


def _named(function: Any, code: types.CodeType, scope: dict[str, Any]) -> Iterator[Any]:
    """The functions that a function's code names, in its module or in modules that it names."""
    if hasattr(function, "__wrapped__"):
        yield function.__wrapped__
    names = set(code.co_names)
    for inner in code.co_consts:
        if isinstance(inner, types.CodeType):
            yield from _named(None, inner, scope)
    yield from _members(scope, names, 3)


def _members(scope: dict[str, Any], names: set[str], depth: int) -> Iterator[Any]:
    """The functions among the names in a module, and in the modules that it names."""
    for value in (scope[n] for n in names if n in scope):
        if inspect.isfunction(value):
            yield value
        elif depth and isinstance(value, types.ModuleType) and _is_own(value.__name__):
            yield from _members(vars(value), names, depth - 1)


def _is_own(module: str) -> bool:
    return module.partition(".")[0] not in _LIBRARIES


def _is_filled(cell: Any) -> bool:
    try:
        return callable(cell.cell_contents)
    except ValueError:  # not assigned yet
        return False
