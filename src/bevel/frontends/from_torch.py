"""PyTorch's front end: from an eager function to a `Program`, by running it on its true values.

A function of PyTorch is ordinary Python: no graph of it exists before it runs. `trace` runs it once
and writes down what reaches PyTorch (`bevel.frontends.torch.recorder`). Where the way it takes
depends on values (an `if`, a size), the program is that of this run: `Trace.depends_on_values` says
so, and `Trace.at` gives the one of other values. The other side of an `if` is had by a run with the
truth forced (`bevel.frontends.torch.branches`).
"""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
import torch

from bevel.backend import dtype_name
from bevel.errors import TraceError
from bevel.frontends.arguments import Arguments, flatten
from bevel.frontends.refusals import not_taken, returns_nothing, untraceable, users_line
from bevel.frontends.torch.branches import with_other_sides
from bevel.frontends.torch.builtins import stand_ins
from bevel.frontends.torch.dispatch import Dispatch, outside_transforms
from bevel.frontends.torch.escapes import Escapes, following
from bevel.frontends.torch.keras_loops import as_one_operation
from bevel.frontends.torch.recorder import Recorder
from bevel.frontends.torch.stops import without_idle_stops
from bevel.frontends.torch.templates import Var
from bevel.program import Loc, Program
from bevel.source import Locator

ARRAYS = (torch.Tensor, np.ndarray, np.generic)

# How many ways through a function are remembered.
_MOST_EARLIER = 8

# A program is made from a run, so tracing needs values and not only shapes.
NEEDS_VALUES = True

# What is replaced while a function is recorded (see `stand_ins`) is there for all threads; a
# recorded function may itself trace another one.
_ONE_AT_A_TIME = threading.RLock()


@dataclass(frozen=True)
class Spec:
    """Shape, dtype and device of a leaf."""

    shape: tuple[int, ...]
    dtype: str
    device: str


@dataclass(frozen=True)
class Trace:
    """A program with what it needs to run again.

    Attributes:
        program: The function as data.
        captured: A tensor for each of the program's captures.
        arguments: The call it was traced with.
        pack: Puts a flat list of results into the structure that the function returns.
        name: The function's name.
        fn: The function.
        depends_on_values: Whether other values of the arguments may take another way.
        checks: Lines of branches that only check something: the other side raises or is the same.
        trained: Leaves that a gradient must reach.
    """

    program: Program
    captured: tuple[Any, ...]
    arguments: Arguments
    pack: Callable[[Sequence[Any]], Any]
    name: str
    fn: Callable[..., Any]
    depends_on_values: bool = False
    checks: frozenset[Loc | None] = frozenset()
    trained: tuple[int, ...] = ()

    def at(self, leaves: Sequence[Any]) -> Trace:
        """The trace for other values of the leaves."""
        if not self.depends_on_values:
            return self
        call = replace(self.arguments, leaves=tuple(leaves))
        found = trace_call(self.fn, call, checks=self.checks)
        return replace(found, program=without_idle_stops(found.program, self.trained))


def is_array(value: Any) -> bool:
    """Whether PyTorch takes a value as a tensor here (Python numbers are fixed)."""
    return isinstance(value, ARRAYS)


def arguments(fn: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Arguments:
    """A call taken apart, its arrays turned into tensors."""
    named = fn.forward if isinstance(fn, torch.nn.Module) else fn  # for its parameters' names
    call = flatten(named, args, kwargs, is_array)
    return replace(call, leaves=tuple(map(as_tensor, call.leaves)))


def as_tensor(value: Any) -> Any:
    """A tensor; of a numpy array a copy, since the function may write into it.

    Raises:
        BevelTypeError: An array that PyTorch has no dtype for.
    """
    if isinstance(value, torch.Tensor):
        return value
    try:
        return keras.ops.convert_to_tensor(np.array(value))
    except (TypeError, ValueError) as error:
        raise not_taken(value, "tensor", error) from None


def spec(leaf: Any) -> Spec:
    """Shape, dtype and device of a leaf."""
    return Spec(tuple(leaf.shape), dtype_name(leaf), str(leaf.device))


def kind(spec: Spec) -> tuple[Any, ...]:
    """What all leaves have in common that one trace may serve: dtype and rank."""
    return spec.dtype, len(spec.shape)


def common_spec(a: Spec, b: Spec) -> Spec:
    """The second: an eager program is of one shape."""
    return b


def trace(fn: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Trace:
    """Traces `fn` for one call; see `bevel.trace`."""
    return trace_call(fn, arguments(fn, args, kwargs))


def trace_call(
    fn: Callable[..., Any],
    call: Arguments,
    trained: Sequence[int] = (),
    earlier: list[tuple[Run, Trace]] | None = None,
    checks: frozenset[Loc | None] = frozenset(),
) -> Trace:
    """Traces `fn` for a call that has been taken apart.

    Args:
        fn: The function.
        call: The call, with tensors that have values.
        trained: Leaves that a gradient must reach: where Python branches on what depends on them,
            the other side is traced too.
        earlier: Traces of the same function; one that took the same way is used again, so that the
            other sides are not run anew in each step of a training. A new one is added.
        checks: Lines of branches that are known to check something only.

    Raises:
        TraceError: The function raises.
    """
    name = getattr(fn, "__name__", type(fn).__name__)
    first = first_run(fn, call, name)
    for known, found in reversed(earlier or []):
        if _is_same(known, first):
            return found
    run = with_what_comes_back(first)
    sides = with_other_sides(run, name, trained, checks)

    def pack(results: Sequence[Any]) -> Any:
        return keras.tree.pack_sequence_as(run.structure, list(results))

    program = without_idle_stops(sides.program.verify(), trained)
    varies = not run.recorder.fixed
    made = Trace(
        program, sides.captured, call, pack, name, fn, varies, sides.checks, tuple(trained)
    )
    if earlier is not None and made.depends_on_values:
        earlier.append((first, made))
        del earlier[:-_MOST_EARLIER]
    return made


def _is_same(a: Run, b: Run) -> bool:
    """Whether two runs took the same way."""
    if a.recorder.nodes != b.recorder.nodes or len(a.results) != len(b.results):
        return False
    if any(x.id != y.id for x, y in zip(a.results, b.results, strict=True)):
        return False
    pairs = zip(a.recorder.captured, b.recorder.captured, strict=True)
    return all(x is y or (x.shape == y.shape and torch.equal(x, y)) for x, y in pairs)


@dataclass(frozen=True)
class Run:
    """One run of a function, written down.

    Attributes:
        recorder: What was written down.
        results: The values that the function returned.
        structure: What it returned them in.
        again: Runs the function again on the same values, with more options of the recorder.
    """

    recorder: Recorder
    results: tuple[Var, ...]
    structure: Any
    again: Callable[[dict[str, Any]], Run]


def first_run(fn: Callable[..., Any], call: Arguments, name: str) -> Run:
    """Runs a function, writing down what it does."""
    state = torch.get_rng_state()

    def run(follows: bool, **options: Any) -> Run:
        torch.set_rng_state(state)
        again = lambda more: run(follows, **options | more)  # noqa: E731
        return _run(fn, call, name, again, follows, **options)

    try:
        return run(True)
    except TraceError:
        return run(False)  # the code may insist on Python's own numbers


def with_what_comes_back(run: Run) -> Run:
    """Finds out which numbers were made of values, where Python was handed some of them.

    It is run once more with other numbers in their place: what changes is what was made of them.
    """
    if not run.recorder.leaks or not run.recorder.seen:
        return run
    returning = _changing(run.recorder.seen, lambda: run.again({"alter": True}).recorder.seen)
    return run.again({"returning": returning}) if returning else run


def _changing(seen: Sequence[Any], altered: Callable[[], Sequence[Any]]) -> frozenset[int]:
    try:
        others = altered()
    except TraceError:  # nothing is known of what would change
        return frozenset(range(len(seen)))
    same = [
        a.shape == b.shape and bool(torch.equal(a, b)) for a, b in zip(seen, others, strict=False)
    ]
    return frozenset(n for n in range(len(seen)) if n >= len(same) or not same[n])


def _run(
    fn: Callable[..., Any],
    call: Arguments,
    name: str,
    again: Callable[[dict[str, Any]], Run],
    follows: bool,
    **options: Any,
) -> Run:
    # copies: the function may write into its arguments
    with outside_transforms():
        plain = [_plain(leaf).detach() for leaf in call.leaves]
        leaves = [leaf.clone(memory_format=torch.contiguous_format) for leaf in plain]
    positional, named = call.rebuild(leaves)
    recorder = Recorder(leaves, Locator(__file__), __file__, **options)
    try:
        with warnings.catch_warnings(), torch.inference_mode(False), torch.enable_grad():
            warnings.simplefilter("ignore")  # it is the user's run that is to warn
            escapes = Escapes(recorder, follows)
            with (
                _ONE_AT_A_TIME,
                outside_transforms(),
                Dispatch(recorder),
                following(escapes),
                stand_ins(fn, escapes),
                as_one_operation(),
            ):
                returned = fn(*positional, **named)
                structure = keras.tree.map_structure(lambda _: 0, returned)
                flat = keras.tree.flatten(returned)
                results = tuple(_result(recorder, r, name) for r in flat)
    except TraceError:
        raise
    except Exception as error:
        raise _trace_error(error, name, call) from error
    if recorder.astray:
        raise TraceError(f"`{name}` writes into an entry that depends on values in place")
    if not results:
        raise returns_nothing(name, "tensor")
    return Run(recorder, results, structure, again)


def _plain(leaf: Any) -> Any:
    """The tensor within the wrappers of `torch.func`; of rows that are mapped, the first."""
    functorch: Any = getattr(torch._C, "_functorch", None)
    while functorch is not None and functorch.is_functorch_wrapped_tensor(leaf):
        axis = functorch.maybe_get_bdim(leaf) if functorch.is_batchedtensor(leaf) else None
        leaf = functorch.get_unwrapped(leaf)
        leaf = leaf if axis is None else leaf.select(axis, 0)
    return leaf


def _result(recorder: Recorder, value: Any, name: str) -> Var:
    if isinstance(value, torch.Tensor):
        found = recorder.read(value)
        if recorder.depends_on(found):
            return found
        return recorder.returned(value) or found
    if isinstance(value, bool | int | float | np.ndarray | np.generic):
        with recorder.pause():
            tensor = torch.as_tensor(value)
        return recorder.returned(tensor) or recorder.constant(tensor)
    raise TraceError(
        f"`{name}` returns {type(value).__name__} where a tensor is expected; a metric returns a "
        "number per call or per row. Is a `return` missing?"
    )


def _trace_error(error: Exception, name: str, call: Arguments) -> TraceError:
    """Says at the user's line why a function cannot be traced."""
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    return untraceable(
        name,
        f"{type(error).__name__}: {lines[0].strip() if lines else ''}",
        users_line(error, __file__, "native", ""),
        call,
        lambda leaf: f"{dtype_name(leaf)} {tuple(leaf.shape)}",
    )
