"""Example inputs for a function: described by the user, or found by trying what fits its use.

A metric says nowhere whether it wants probabilities, class columns or boxes, but its use shows it.
Each *family* of `bevel.families` is a plausible pair (y_true, y_pred). The function is called with
all of them, and the one is kept for which it runs, gives finite numbers, heeds most rows of the
prediction, and rates a perfect prediction apart from random ones; ties go to the earlier family.
What was chosen is always said. Nothing is guessed twice: seeds are fixed, and a described sample is
used exactly as described.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bevel.errors import TargetError, printable
from bevel.families import FAMILIES, KINDS, SINGLES, Array, Family
from bevel.roles import WEIGHTS, resembles, roles
from bevel.targets import user_place

SPEC_HELP = (
    "A family such as binary or onehot:(32,5), or each argument as NAME=KIND(SHAPE): "
    "y_true=onehot(32,3),y_pred=softmax(32,3), or a .npz file with an array for each argument."
)


@dataclass(frozen=True)
class Sample:
    """Inputs for one call of a function.

    Attributes:
        arguments: An array for each parameter, in the order of the call.
        words: Where they come from, for a reader.
        answered: False if the value did not respond to any other prediction that was tried.
    """

    arguments: dict[str, Array]
    words: str
    answered: bool = True

    def __str__(self) -> str:
        shown = ", ".join(f"{k}={v.dtype}{list(v.shape)}" for k, v in self.arguments.items())
        return printable(f"{self.words}: {shown}")


def make_sample(fn: Callable[..., Any], spec: str | None = None, seed: int = 0) -> Sample:
    """Return inputs for `fn`: those that `spec` describes, else ones found by trying.

    Args:
        fn: A function of (y_true, y_pred), or of the prediction alone; parameters with a default
            keep it, further ones named like weights or a mask get ones.
        spec: See `SPEC_HELP`; None to try the families.
        seed: Of every random number drawn.

    Returns:
        Arrays by parameter name, in the order of the call.

    Raises:
        TargetError: If `spec` cannot be read or does not fit the parameters, or no family works.

    Example:
        >>> make_sample(lambda y_true, y_pred: ((y_true - y_pred) ** 2).mean(), "binary:(8,)").words
        '0/1 labels and probabilities, as --sample asks'
    """
    names = parameters(fn)
    if spec is not None:
        return _described(names, spec, seed)
    return _found(fn, names, seed)


def parameters(fn: Callable[..., Any]) -> tuple[str, ...]:
    """The names of the positional parameters without a default, in order; at least one.

    Raises:
        TargetError: If there is none, or a keyword-only one is required.
    """
    try:
        signature = inspect.signature(fn).parameters.values()
    except (TypeError, ValueError):
        return ("y_true", "y_pred")
    required = [p for p in signature if p.default is p.empty]
    names = [p.name for p in required if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    keyword_only = [p.name for p in required if p.kind is p.KEYWORD_ONLY]
    if any(p.kind is p.VAR_POSITIONAL for p in required) and not names:
        return ("y_true", "y_pred")
    if keyword_only or not names:
        lacking = f"requires the keyword {keyword_only[0]}" if keyword_only else "takes no argument"
        raise TargetError(
            f"the function {lacking}; expected (y_true, y_pred) or the prediction alone",
            help="wrap it in a function with these parameters",
        )
    return tuple(names)


# What `--sample` describes.

_ARGUMENT = re.compile(r"\s*(\w+)\s*=\s*(\w+)\s*\(([\d\s,]*)\)\s*(?:,|$)")
_FAMILY = re.compile(r"\s*(\w+)\s*(?::\s*\(([\d\s,]*)\))?\s*$")


def _described(names: tuple[str, ...], spec: str, seed: int) -> Sample:
    if spec.endswith(".npz"):
        return _from_file(names, Path(spec))
    if "=" in spec:
        return _from_kinds(names, spec, np.random.default_rng(seed))
    match = _FAMILY.match(spec)
    table = {f.name: f for f in (FAMILIES if len(names) > 1 else SINGLES)}
    if not match or match[1] not in table:
        raise _unreadable(spec, f"a family is one of: {', '.join(table)}")
    family = table[match[1]]
    shape = family.shape if match[2] is None else _shape(match[2])
    if family.shape and (0 in shape or len(shape) < (2 if family.integer_labels else 1)):
        raise _unreadable(spec, f"{family.name} wants a shape such as {family.shape}")
    arguments = _draw(family, names, shape, np.random.default_rng(seed))
    return Sample(arguments, f"{family.words}, as --sample asks")


def _from_kinds(names: tuple[str, ...], spec: str, rng: np.random.Generator) -> Sample:
    arguments, position = {}, 0
    while position < len(spec):
        match = _ARGUMENT.match(spec, position)
        if not match or match[2] not in KINDS:
            raise _unreadable(spec, f"a kind is one of: {', '.join(KINDS)}")
        try:
            arguments[match[1]] = KINDS[match[2]](rng, _shape(match[3]))
        except (MemoryError, ValueError) as error:
            raise _unreadable(spec, str(error)) from None
        position = match.end()
    return Sample(_matched(names, arguments, "--sample"), "as --sample asks")


def _from_file(names: tuple[str, ...], path: Path) -> Sample:
    try:
        with np.load(path, allow_pickle=False) as stored:
            arguments = {name: _single(stored[name]) for name in stored.files}
    except (OSError, ValueError, EOFError) as error:
        said = printable(str(error).split("\n")[0])
        raise TargetError(
            f"cannot read `{printable(str(path))}` as arrays: {said}",
            help="write it with numpy.savez(file, y_true=…, y_pred=…); pickled objects are refused",
        ) from None
    return Sample(_matched(names, arguments, printable(str(path))), f"from {path}")


def _single(array: Array) -> Array:
    """numpy writes double precision unless asked not to; a network gives single."""
    return array.astype("float32") if array.dtype == np.float64 else array


def _matched(names: tuple[str, ...], arguments: dict[str, Array], source: str) -> dict[str, Array]:
    lacking = [n for n in names if n not in arguments]
    unknown = [n for n in arguments if n not in names]
    if lacking or unknown:
        found = f"it gives {', '.join(arguments) or 'nothing'}"
        raise TargetError(
            f"{source} does not fit the parameters ({', '.join(names)}): {printable(found)}",
            help="give one array for each parameter, by its name",
        )
    return {n: arguments[n] for n in names}


def _shape(text: str) -> tuple[int, ...]:
    return tuple(int(size) for size in text.replace(" ", "").split(",") if size)


def _unreadable(spec: str, expected: str) -> TargetError:
    return TargetError(f"cannot read --sample {printable(spec)!r}: {expected}", help=SPEC_HELP)


# What is found by trying.


def _draw(
    family: Family, names: tuple[str, ...], shape: tuple[int, ...], rng: np.random.Generator
) -> dict[str, Array]:
    label, prediction = roles(names)
    drawn = {}
    for name in names:
        if name == prediction:
            drawn[name] = KINDS[family.prediction](rng, shape)
        elif name == label:
            drawn[name] = family.labels(rng, shape)
        elif resembles(name, WEIGHTS):
            drawn[name] = np.ones(shape[:1], "float32")
        else:
            drawn[name] = KINDS["uniform"](rng, shape)
    return drawn


def _found(fn: Callable[..., Any], names: tuple[str, ...], seed: int) -> Sample:
    best: tuple[tuple[bool, ...], Sample] | None = None
    failures: dict[str, list[str]] = {}
    place = None
    for family in FAMILIES if len(names) > 1 else SINGLES:
        rng = np.random.default_rng(seed)
        arguments = _draw(family, names, family.shape, rng)
        try:
            merit = _merit(fn, family, arguments, rng)
        except Exception as error:
            failures.setdefault(_headline(error), []).append(family.name)
            place = place or _place(fn, error)
            continue
        sample = Sample(arguments, f"{family.words}, found by trying", answered=merit[1])
        if best is None or merit > best[0]:
            best = merit, sample
        if all(merit):
            break
    if best is None:
        tried = "\n".join(f"  {', '.join(names)}: {said}" for said, names in failures.items())
        raise TargetError(
            f"no sample works for ({', '.join(names)}); tried:\n{tried}",
            loc=place,
            label="the first of these errors" if place else "",
            help=f"describe one with --sample. {SPEC_HELP}",
        )
    return best[1]


def _place(fn: Callable[..., Any], error: BaseException) -> Any:
    """The line of the function's file that an error came through, if its file is known."""
    code = getattr(fn, "__code__", None)
    return user_place(error, Path(code.co_filename)) if code else None


def _merit(
    fn: Callable[..., Any], family: Family, arguments: dict[str, Array], rng: np.random.Generator
) -> tuple[bool, ...]:
    """How well a family fits, the weightier reasons first: `max` over these tuples picks one.

    The reasons: the value is finite; it heeds the prediction at all; most rows of it; a perfect
    prediction is rated apart from all random ones; the value is a scalar. The last two are asked of
    functions with labels only: a function of one argument may well be an activation.
    """
    label, prediction = roles(tuple(arguments))
    before = _call(fn, arguments)
    draws = [KINDS[family.prediction](rng, arguments[prediction].shape) for _ in range(5)]
    moved = [_call(fn, {**arguments, prediction: draw}) for draw in draws]
    heeded = list(_heeded_rows(fn, arguments, prediction, draws))
    apart = label is None
    if label is not None:
        classes = arguments[prediction].shape[-1] if arguments[prediction].ndim else 1
        ideal = family.perfect(arguments[label], classes).astype("float32")
        rated = float(np.mean(_call(fn, {**arguments, prediction: ideal})))
        values = [float(np.mean(m)) for m in (before, *moved)]
        apart = np.isfinite(rated) and not min(values) <= rated <= max(values)
    return (
        bool(np.all(np.isfinite(before))),
        any(not np.array_equal(before, m) for m in moved),
        bool(np.mean(heeded) >= 0.5),
        bool(apart),
        label is None or before.ndim == 0,
    )


def _headline(error: Exception) -> str:
    """The first line of an exception, without TensorFlow's name of the kernel that raised it."""
    first = re.sub(r"{{.*?}}\s*", "", str(error).strip().split("\n")[0])
    return printable(f"{type(error).__name__}: {first[:160]}")


def _heeded_rows(
    fn: Callable[..., Any], arguments: dict[str, Array], prediction: str, draws: list[Array]
) -> Iterator[bool]:
    """For a few rows of the prediction: does another value there change the result?"""
    base = arguments[prediction]
    before = _call(fn, arguments)
    if base.ndim == 0:
        yield any(not np.array_equal(before, _call(fn, {prediction: d})) for d in draws)
        return
    for row in range(min(6, len(base))):
        changed = False
        for draw in draws[:3]:
            other = base.copy()
            other[row] = draw[row]
            changed |= not np.array_equal(before, _call(fn, {**arguments, prediction: other}))
        yield changed


def _call(fn: Callable[..., Any], arguments: dict[str, Array]) -> Array:
    """The value of `fn` as one numpy array of float64; several results are joined."""
    from keras import ops, tree

    results = fn(*(ops.convert_to_tensor(a) for a in arguments.values()))
    leaves = [np.asarray(ops.convert_to_numpy(leaf)) for leaf in tree.flatten(results)]
    if not leaves or any(leaf.dtype.kind not in "fiub" or leaf.size == 0 for leaf in leaves):
        raise TypeError("the result is not a number")
    if len(leaves) == 1:
        return leaves[0].astype("float64")
    return np.concatenate([leaf.astype("float64").ravel() for leaf in leaves])
