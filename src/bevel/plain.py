"""A plain Python function, written for numbers or numpy arrays, as array code.

The function is run on stand-ins that write down what is done to them. Where it asks one for its
truth (`if x > 0`), the run goes on as if it were true, and another run later as if it were not, so
that all ways through the function are found. Applied to tensors, each way is computed for all
elements, and each element takes the result of its own:

    fn(x) = where(way 1, result 1(x), where(way 2, result 2(x), ...))

No gradient passes from a way to elements which do not take it, so that the infinite slope of a
`log` that was not meant for them stays out.
"""

from __future__ import annotations

import math
import types
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from keras import ops as K

from bevel.backend import FRAMEWORKS
from bevel.ops.arguments import dtype_of

MOST_WAYS = 64
MOST_QUESTIONS = 64

# What numpy, scipy and math call differently from Keras. All else is looked up by its own name.
_NAMES = {
    "remainder": "mod",
    "rint": "round",
    "around": "round",
    "positive": "copy",
    "invert": "logical_not",
    "bitwise_and": "logical_and",
    "bitwise_or": "logical_or",
    "bitwise_xor": "logical_xor",
    "float_power": "power",
    "pow": "power",
    "fabs": "abs",
    "fmax": "maximum",
    "fmin": "minimum",
    "amax": "max",
    "amin": "min",
    "acos": "arccos",
    "asin": "arcsin",
    "atan": "arctan",
    "atan2": "arctan2",
    "acosh": "arccosh",
    "asinh": "arcsinh",
    "atanh": "arctanh",
    "radians": "deg2rad",
    "expit": "sigmoid",
    "astype": "cast",
}

# Methods of an array that mean the function of the same name.
_METHODS = frozenset({
    "all", "any", "argmax", "argmin", "astype", "clip", "copy", "cumsum", "dot", "max", "mean",
    "min", "prod", "ravel", "reshape", "round", "squeeze", "std", "sum", "transpose", "var",
})  # fmt: skip


class NotRecordable(Exception):  # noqa: N818
    """The function does something that cannot be written down; the message says what."""


@dataclass(eq=False)
class Expression:
    """A function, and its arguments with other expressions among them.

    Without a function it stands for the input of that number.
    """

    fn: Callable[..., Any] | None
    args: tuple[Any, ...] = ()
    kwargs: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Way:
    """One way through the function: what was asked, what was answered, and what it returned."""

    questions: tuple[Expression, ...]
    answers: tuple[bool, ...]
    result: Any


class Stand(np.lib.mixins.NDArrayOperatorsMixin):
    """Stands for an array; every use of it is written down."""

    def __init__(self, expression: Expression, run: _Run) -> None:
        self._expression, self._run = expression, run

    def __array_ufunc__(self, ufunc: Any, method: str, *args: Any, **kwargs: Any) -> Stand:
        # `x += 1` comes with an output; a number would be left alone, so the stand-in is too
        out = kwargs.pop("out", (self,))
        if method != "__call__" or not isinstance(out[0], Stand):
            raise NotRecordable(f"np.{ufunc.__name__}.{method} is used")
        return self._written(_counterpart(ufunc.__name__), *args, **kwargs)

    def __array_function__(self, func: Any, types_: Any, args: Any, kwargs: Any) -> Stand:
        return self._written(_counterpart(func.__name__), *args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name in _METHODS:
            return partial(self._written, _counterpart(name), self)
        raise NotRecordable(f"`.{name}` of an argument is used")

    def __getitem__(self, key: Any) -> Stand:
        if any(isinstance(k, Stand) for k in (key if isinstance(key, tuple) else (key,))):
            raise NotRecordable("elements are picked by a computed index or mask")
        return self._written(_item, self, key)

    def __setitem__(self, key: Any, value: Any) -> None:
        if not isinstance(key, Stand):
            raise NotRecordable("a part of an array is overwritten")
        self._expression = self._written(
            K.where, key, value, Stand(self._expression, self._run)
        )._expression

    def __bool__(self) -> bool:
        return self._run.answer(self._expression)

    def __round__(self, digits: int | None = None) -> Stand:
        return self._written(K.round, self, digits or 0)

    def __floor__(self) -> Stand:
        return self._written(K.floor, self)

    def __ceil__(self) -> Stand:
        return self._written(K.ceil, self)

    def __trunc__(self) -> Stand:
        return self._written(K.trunc, self)

    def _unknown(self, *_: Any, **__: Any) -> Any:
        raise NotRecordable("a number or an array is needed where only its place is known")

    __array__ = __float__ = __int__ = __index__ = __complex__ = __len__ = __iter__ = _unknown

    def _written(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Stand:
        return Stand(Expression(fn, _expressions(args), _expressions(kwargs)), self._run)


class _Run:
    """The answers of one run: those given beforehand, then always yes."""

    def __init__(self, given: Sequence[bool]) -> None:
        self.answers = list(given)
        self.questions: list[Expression] = []

    def answer(self, question: Expression) -> bool:
        if len(self.questions) == MOST_QUESTIONS:
            raise NotRecordable(
                f"it asks more than {MOST_QUESTIONS} times for a truth value, as a loop does that "
                "runs until a condition holds"
            )
        self.questions.append(question)
        if len(self.answers) < len(self.questions):
            self.answers.append(True)
        return self.answers[len(self.questions) - 1]


def record(fn: Callable[..., Any], arity: int) -> tuple[Way, ...]:
    """All ways through a function of `arity` arguments.

    Raises:
        NotRecordable: It does what cannot be written down, or has too many ways.
    """
    fn = _with_stand_ins(fn)
    return tuple(_ways(fn, [Expression(None, (n,)) for n in range(arity)]))


def _ways(fn: Callable[..., Any], inputs: Sequence[Expression]) -> Iterator[Way]:
    given: list[bool] = []
    for _ in range(MOST_WAYS):
        run = _Run(given)
        try:
            result = fn(*(Stand(place, run) for place in inputs))
        except NotRecordable:
            raise
        except Exception as error:  # whatever it is, the function itself will say it better
            raise NotRecordable(f"{type(error).__name__}: {error}") from error
        yield Way(tuple(run.questions), tuple(run.answers), _expressions(result))
        given = run.answers
        while given and not given[-1]:
            given.pop()
        if not given:
            return
        given[-1] = False
    raise NotRecordable(f"there are more than {MOST_WAYS} ways through it")


def evaluate(ways: Sequence[Way], inputs: Sequence[Any]) -> Any:
    """What the function gives for tensors, with its derivative.

    Args:
        ways: All ways through it.
        inputs: Tensors, one of floats among them.

    Returns:
        A tensor; or, where the function returns several results, a tuple of tensors and None.
    """
    plain = [K.stop_gradient(x) for x in inputs]
    taken = [_is_taken(way, plain) for way in ways]
    results = []
    for way, here in zip(ways, taken, strict=True):
        gated = inputs if here is None else [_gated(x, here) for x in inputs]
        found = _Replay(gated).value(way.result)
        results.append(found if isinstance(found, tuple) else (found,))
    dtype = next(x.dtype for x in inputs if _is_float(x))
    columns = [_chosen(taken, column, dtype) for column in zip(*results, strict=True)]
    return tuple(columns) if isinstance(ways[0].result, tuple) else columns[0]


def _is_taken(way: Way, inputs: Sequence[Any]) -> Any:
    """Where a way is taken; None if it is the only one."""
    replay, here = _Replay(inputs), None
    for question, answer in zip(way.questions, way.answers, strict=True):
        truth = K.cast(replay.value(question), "bool")
        truth = truth if answer else K.logical_not(truth)
        here = truth if here is None else K.logical_and(here, truth)
    return here


def _chosen(taken: Sequence[Any], results: Sequence[Any], dtype: Any) -> Any:
    """For each element the result of the way that it takes: the last one where all others end."""
    if any(r is None for r in results):
        return None
    chosen = K.cast(results[-1], dtype)
    for here, result in zip(reversed(taken[:-1]), reversed(results[:-1]), strict=True):
        chosen = K.where(here, K.cast(result, dtype), chosen)
    return chosen


class _Replay:
    """Computes expressions for inputs, each once."""

    def __init__(self, inputs: Sequence[Any]) -> None:
        self._inputs = inputs
        self._known: dict[int, Any] = {}

    def value(self, item: Any) -> Any:
        if isinstance(item, Expression):
            if id(item) not in self._known:
                self._known[id(item)] = self._computed(item)
            return self._known[id(item)]
        if isinstance(item, tuple | list):
            return type(item)(map(self.value, item))
        return item

    def _computed(self, expression: Expression) -> Any:
        if expression.fn is None:
            return self._inputs[expression.args[0]]
        kwargs = {name: self.value(v) for name, v in expression.kwargs.items()}
        return expression.fn(*map(self.value, expression.args), **kwargs)


def _gated(x: Any, is_open: Any) -> Any:
    """x, whose gradient passes where the gate is open only."""

    @K.custom_gradient
    def gate(x: Any) -> Any:
        def gradient(*args: Any, upstream: Any = None) -> Any:
            arriving = args[0] if upstream is None else upstream
            return K.where(is_open, arriving, K.zeros_like(arriving))

        return K.copy(x), gradient

    return gate(x) if _is_float(x) else x


def _is_float(x: Any) -> bool:
    return "float" in dtype_of(x)


def _expressions(item: Any) -> Any:
    """The same with what stand-ins stand for in their places."""
    if isinstance(item, Stand):
        return item._expression
    if isinstance(item, tuple | list):
        return type(item)(map(_expressions, item))
    if isinstance(item, dict):
        return {name: _expressions(v) for name, v in item.items()}
    if isinstance(item, np.ndarray) and item.dtype == object:
        raise NotRecordable("arguments are put into a numpy array")
    return item


def _counterpart(name: str) -> Callable[..., Any]:
    """The array function of a numpy function, by its name."""
    found = getattr(K, _NAMES.get(name, name), None)
    if found is None:
        raise NotRecordable(f"there is no array function for `{name}`")
    return found


def _item(tensor: Any, key: Any) -> Any:
    return tensor[key]


# Functions of Python that insist on a number give way to ones that take stand-ins.


def _with_stand_ins(fn: Callable[..., Any]) -> Callable[..., Any]:
    """The function with another `math`, `float` and `int`, in its own helpers too."""
    method = getattr(fn, "__func__", None)
    if method is not None:
        return partial(_rebuilt(method, {}), fn.__self__)  # pyright: ignore[reportFunctionMemberAccess]
    if isinstance(fn, types.FunctionType):
        return _rebuilt(fn, {})
    method = vars(type(fn)).get("__call__")
    return partial(_rebuilt(method, {}), fn) if isinstance(method, types.FunctionType) else fn


def _rebuilt(fn: types.FunctionType, done: dict[Any, Any]) -> Any:
    if fn in done:
        return done[fn]
    namespace = dict(fn.__globals__)
    cells = tuple(types.CellType() for _ in fn.__closure__ or ())
    copy = types.FunctionType(fn.__code__, namespace, fn.__name__, fn.__defaults__, cells)
    copy.__kwdefaults__ = fn.__kwdefaults__
    done[fn] = copy
    used = [name for name in _names(fn.__code__) if name in namespace]
    namespace |= {"float": _Float, "int": _Int}
    namespace |= {name: _replaced(namespace[name], done) for name in used}
    for cell, old in zip(cells, fn.__closure__ or (), strict=True):
        with suppress(ValueError):  # a cell may be empty
            cell.cell_contents = _replaced(old.cell_contents, done)
    return copy


def _names(code: types.CodeType) -> set[str]:
    """All names that code looks up, functions within it included."""
    inner = [c for c in code.co_consts if isinstance(c, types.CodeType)]
    return set(code.co_names).union(*map(_names, inner))


def _replaced(value: Any, done: dict[Any, Any]) -> Any:
    if value is math:
        return _Math()
    if isinstance(value, types.BuiltinFunctionType) and value.__module__ == "math":
        return _of_math(value)
    if isinstance(value, types.FunctionType) and _package(value) not in _LIBRARIES:
        return _rebuilt(value, done)
    return value


# Their functions are not rebuilt: they work on arrays already.
_LIBRARIES = frozenset({"numpy", "scipy", "keras", "bevel", *FRAMEWORKS})


def _package(fn: types.FunctionType) -> str:
    return (fn.__module__ or "").partition(".")[0]


class _Math:
    """The module `math` for stand-ins."""

    def __getattr__(self, name: str) -> Any:
        value = getattr(math, name)
        return _of_math(value) if callable(value) else value


def _of_math(fn: Any) -> Callable[..., Any]:
    def called(*args: Any, **kwargs: Any) -> Any:
        stand = _stand_among(args)
        if stand is None:
            return fn(*args, **kwargs)
        return stand._written(_MATH.get(fn.__name__) or _counterpart(fn.__name__), *args, **kwargs)

    return called


def _log(x: Any, base: Any = None) -> Any:
    return K.log(x) if base is None else K.divide(K.log(x), K.log(base))


# Those of `math` whose counterpart is written with others.
_MATH: dict[str, Callable[..., Any]] = {
    "log": _log,
    "erfc": lambda x: 1 - K.erf(x),
    "copysign": lambda x, y: K.multiply(K.abs(x), K.where(y < 0, -1.0, 1.0)),
    "degrees": lambda x: x * (180 / math.pi),
}


class _Lenient(type):
    """A number's type that lets stand-ins through, and takes them for floats."""

    def __call__(cls, value: Any = 0, *more: Any) -> Any:
        if isinstance(value, Stand):
            return math.trunc(value) if cls is _Int else value
        return cls.__base__(value, *more)  # pyright: ignore[reportOptionalCall]

    def __instancecheck__(cls, value: Any) -> bool:
        return isinstance(value, cls.__base__ or ()) or (cls is _Float and isinstance(value, Stand))


class _Float(float, metaclass=_Lenient):
    pass


class _Int(int, metaclass=_Lenient):
    pass


def _stand_among(args: Sequence[Any]) -> Stand | None:
    return next((a for a in args if isinstance(a, Stand)), None)
