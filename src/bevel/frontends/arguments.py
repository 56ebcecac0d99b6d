"""Call arguments as a flat list of arrays and a fixed rest, so that a trace can be kept and called.

Arrays (tensors, numpy arrays, lists of numbers, tensor specifications) become leaves; everything
else (Python numbers, strings, objects) is part of the key: another value is another trace.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np

from bevel.errors import BevelTypeError, BevelValueError
from bevel.roles import prediction_among

# Packages whose tensors are no arrays here, and the backend that takes them.
_FOREIGN = {"torch": "torch", "jax": "jax", "jaxlib": "jax", "tensorflow": "tensorflow"}

_SIGNATURES: WeakKeyDictionary[Callable[..., Any], inspect.Signature] = WeakKeyDictionary()


@dataclass(frozen=True)
class Arguments:
    """Arguments of one call.

    Attributes:
        leaves: Arrays in order.
        names: For each leaf, the parameter that it came with.
        positional: The parameter of each positional argument, whether it holds arrays or not.
        rebuild: Puts leaves back where they were: gives `(args, kwargs)`.
        key: Hashable description of everything that is not an array.
    """

    leaves: tuple[Any, ...]
    names: tuple[str, ...]
    positional: tuple[str, ...]
    rebuild: Callable[[Sequence[Any]], tuple[tuple[Any, ...], dict[str, Any]]]
    key: Any

    def of(self, kept: Sequence[int]) -> Arguments:
        """The same call with some of its leaves; the others are fixed as they are."""

        def rebuild(given: Sequence[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
            leaves = list(self.leaves)
            for place, leaf in zip(kept, given, strict=True):
                leaves[place] = leaf
            return self.rebuild(leaves)

        leaves, names = (tuple(a[i] for i in kept) for a in (self.leaves, self.names))
        return Arguments(leaves, names, self.positional, rebuild, self.key)


def flatten(
    fn: Callable[..., Any],
    args: Sequence[Any],
    kwargs: dict[str, Any],
    is_array: Callable[[Any], bool],
    open_up: Callable[[Any], tuple[Sequence[Any], Any] | None] = lambda value: None,
) -> Arguments:
    """Takes a call apart.

    Args:
        fn: The function, for its parameter names.
        args: Positional arguments.
        kwargs: Arguments by name.
        is_array: What the framework takes as an array.
        open_up: Of an object that the framework knows to hold others, gives those, and what puts
            them back with `unflatten` and compares; None for all other objects.

    Raises:
        BevelTypeError: The arguments do not fit the function's parameters.
        BevelValueError: A list of numbers has rows of different lengths.
    """
    if not callable(fn) or inspect.isclass(fn):
        what = f"the class {fn.__name__}" if inspect.isclass(fn) else type(fn).__name__
        raise BevelTypeError(
            f"`fn` must be a function of tensors; got {what}.",
            help="of a metric class pass an instance" if inspect.isclass(fn) else "",
        )
    leaves: list[Any] = []
    names: list[str] = []

    def take(value: Any, name: str) -> tuple[Any, Any]:
        if _is_numbers(value):
            value = _array_of(value, name)
        if is_array(value):
            leaves.append(value)
            names.append(name)
            return "leaf", len(leaves) - 1
        if isinstance(value, dict):
            return "dict", tuple((k, take(v, name)) for k, v in value.items())
        if isinstance(value, tuple | list):
            return type(value), tuple(take(v, name) for v in value)
        foreign = type(value).__module__.partition(".")[0]
        if foreign in _FOREIGN and hasattr(value, "shape"):
            raise BevelTypeError(
                f"`{name}` is a tensor of another framework ({foreign}) than the one that Keras "
                "runs on.",
                help=f"set KERAS_BACKEND={_FOREIGN[foreign]} before Python starts, or pass numpy "
                "arrays.",
            )
        opened = open_up(value)
        if opened is not None:
            return "object", (_Fixed(opened[1]), tuple(take(v, name) for v in opened[0]))
        return "fixed", _Fixed(value)

    parameters = parameter_names(fn, args, kwargs)
    tree = tuple(take(a, n) for a, n in zip(args, parameters, strict=False))
    named = tuple((k, take(v, k)) for k, v in sorted(kwargs.items()))

    def put(node: tuple[Any, Any], given: Sequence[Any]) -> Any:
        kind, content = node
        if kind == "leaf":
            return given[content]
        if kind == "fixed":
            return content.value
        if kind == "dict":
            return {k: put(v, given) for k, v in content}
        if kind == "object":
            return content[0].value.unflatten([put(v, given) for v in content[1]])
        items = [put(v, given) for v in content]
        return items if issubclass(kind, list) else getattr(kind, "_make", tuple)(items)

    def rebuild(given: Sequence[Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return tuple(put(t, given) for t in tree), {k: put(t, given) for k, t in named}

    return Arguments(tuple(leaves), tuple(names), parameters, rebuild, (tree, named))


def parameter_names(
    fn: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]
) -> tuple[str, ...]:
    """The name of the parameter that each positional argument is given to."""
    try:
        signature = _signature(fn)
    except (TypeError, ValueError):
        return tuple(f"argument {i}" for i in range(len(args)))
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        name = getattr(fn, "__name__", type(fn).__name__)
        raise BevelTypeError(
            f"`{name}{signature}` cannot be called with {len(args)} positional arguments"
            f"{' and ' + ', '.join(kwargs) if kwargs else ''}: {error}."
        ) from None
    names = []
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.VAR_POSITIONAL:
            names.extend(f"{parameter.name}[{i}]" for i in range(len(args)))
        elif parameter.kind is not parameter.KEYWORD_ONLY:
            names.append(parameter.name)
    return tuple(names[: len(args)])


def _signature(fn: Callable[..., Any]) -> inspect.Signature:
    """A function's signature, kept as long as the function: to find out takes Python long."""
    try:
        known = _SIGNATURES.get(fn)
    except TypeError:  # an object that cannot be a key
        return inspect.signature(fn)
    if known is None:
        known = _SIGNATURES[fn] = inspect.signature(fn)
    return known


def select(arguments: Arguments, wrt: Any) -> tuple[int, ...]:
    """Positions of the leaves that a gradient must reach.

    Args:
        arguments: A call taken apart.
        wrt: A parameter name, a position, several of either, or None for the parameter called
            `y_pred` where there is one, else the last positional argument; the one before where
            the names say so, as in `(logits, target)`.

    Raises:
        BevelValueError: A name or position that the call does not have, or one with no array in it.
    """
    order = tuple(dict.fromkeys(arguments.names))
    places = arguments.positional
    if not order:
        raise BevelValueError(
            "the call has no array argument for a gradient to reach; pass tensors or numpy arrays."
        )
    if wrt is None:
        if "y_pred" in places and "y_pred" not in order:
            raise BevelTypeError(
                "`y_pred` holds no array; a gradient is to reach it. Pass a tensor or a numpy "
                "array, or name another argument with `wrt`."
            )
        last = [name for name in places if name in order] or order
        wrt = "y_pred" if "y_pred" in order else prediction_among(last)
    items = tuple(wrt) if isinstance(wrt, tuple | list | set) else (wrt,)
    if not items:
        raise BevelValueError(f"`wrt` names nothing; choose from {', '.join(order)}.")
    wanted = set()
    for item in items:
        is_number = isinstance(item, int) and not isinstance(item, bool)
        is_place = is_number and -len(places) <= item < len(places)
        name = places[item] if is_place else item
        if name not in order:
            raise BevelValueError(
                f"`wrt` names {item!r}, but the arguments that hold arrays are {', '.join(order)}."
            )
        wanted.add(name)
    return tuple(i for i, name in enumerate(arguments.names) if name in wanted)


@dataclass(frozen=True)
class _Fixed:
    """A value that is not an array; compares by value where it can be hashed, else by identity."""

    value: Any

    def _key(self) -> Any:
        try:
            hash(self.value)
        except TypeError:
            return id(self.value)
        return type(self.value), self.value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Fixed) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())


def _array_of(numbers: list[Any], name: str) -> np.ndarray:
    """A list of numbers as an array, in single precision like a framework makes it."""
    try:
        array = np.asarray(numbers)
    except ValueError:
        raise BevelValueError(
            f"`{name}` is a list whose rows have different lengths; pass rows of one length."
        ) from None
    return array.astype("float32") if array.dtype == np.float64 else array


def _is_numbers(value: Any) -> bool:
    """Whether a value is a plain list of numbers, or a list of such lists."""
    if not isinstance(value, list) or not value:
        return False
    return all(isinstance(v, bool | int | float) or _is_numbers(v) for v in value)
