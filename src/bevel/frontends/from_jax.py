"""JAX's front end: from a Python function to a `Program`, by way of a jaxpr.

`trace` lets JAX trace the function for shapes, then copies the jaxpr into plain data
(`bevel.frontends.jax.builder`). The executor of the result is `bevel.frontends.jax.executor`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import keras
import numpy as np
from jax import numpy as jnp

from bevel.errors import TraceError
from bevel.frontends.arguments import Arguments, flatten
from bevel.frontends.jax.builder import Builder
from bevel.frontends.refusals import (
    advice,
    not_taken,
    returns_nothing,
    unreadable,
    untraceable,
    users_line,
)
from bevel.program import Program
from bevel.source import Locator

ARRAYS = (jax.Array, jax.ShapeDtypeStruct, np.ndarray, np.generic)


@dataclass(frozen=True)
class Trace:
    """A program with what it needs to run again.

    Attributes:
        program: The function as data.
        captured: An array for each of the program's captures.
        arguments: The call it was traced with.
        pack: Puts a flat list of results into the structure that the function returns.
        name: The function's name.
    """

    program: Program
    captured: tuple[Any, ...]
    arguments: Arguments
    pack: Callable[[Sequence[Any]], Any]
    name: str


def is_array(value: Any) -> bool:
    """Whether a value is an array here (Python numbers are fixed)."""
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind not in "biufcV":
        return False
    return isinstance(value, ARRAYS)


def arguments(fn: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Arguments:
    """A call taken apart, its arrays turned into JAX's; of numbers alone, floats are arrays."""
    call = flatten(fn, args, kwargs, is_array, opened)
    if not call.leaves:
        call = flatten(fn, args, kwargs, lambda v: is_array(v) or type(v) is float, opened)
    return replace(call, leaves=tuple(map(as_array, call.leaves)))


def opened(value: Any) -> tuple[list[Any], Any] | None:
    """What an object that is registered as a pytree holds, one level deep, and its structure."""
    children, structure = jax.tree.flatten(value, is_leaf=lambda v: v is not value)
    return None if jax.tree_util.treedef_is_leaf(structure) else (children, structure)


def as_array(value: Any) -> Any:
    """An array, with specifications left as they are.

    Raises:
        BevelTypeError: An array that JAX has no dtype for.
    """
    if isinstance(value, jax.ShapeDtypeStruct):
        return value
    try:
        return jnp.asarray(value)
    except (TypeError, ValueError) as error:
        raise not_taken(value, "array", error) from None


def spec(leaf: Any) -> jax.ShapeDtypeStruct:
    """Shape and dtype of a leaf; JAX knows no open dimensions."""
    return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype)


def kind(spec: jax.ShapeDtypeStruct) -> tuple[Any, ...]:
    """What all leaves have in common that one trace may serve: dtype and shape."""
    return spec.dtype, spec.shape


def common_spec(a: jax.ShapeDtypeStruct, b: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
    """The second one: every shape is traced anew."""
    return b


def trace(fn: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Trace:
    """Traces `fn` for one call's shapes and dtypes; see `bevel.trace`."""
    return trace_call(fn, arguments(fn, args, kwargs))


def trace_call(fn: Callable[..., Any], call: Arguments) -> Trace:
    """Traces `fn` for a call that has been taken apart.

    Raises:
        TraceError: The function needs values while it is traced, or raises.
    """
    name = getattr(fn, "__name__", type(fn).__name__)
    structure: list[Any] = []

    def traced(*leaves: Any) -> Any:
        positional, named = call.rebuild(leaves)
        with keras.StatelessScope():  # else a metric of Keras would keep tracers for its state
            flat, tree = jax.tree.flatten(fn(*positional, **named))
        structure[:] = [tree]
        return flat

    try:
        closed = jax.make_jaxpr(traced)(*map(spec, call.leaves))
    except Exception as error:
        raise _trace_error(error, name, call) from error
    if not closed.jaxpr.outvars:
        raise returns_nothing(name, "array")
    try:
        program = Builder(Locator(__file__)).program(closed, name)
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise unreadable(name, error) from error
    (tree,) = structure

    def pack(results: Sequence[Any]) -> Any:
        return jax.tree.unflatten(tree, list(results))

    return Trace(program.verify(), tuple(closed.consts), call, pack, name)


def _trace_error(error: Exception, name: str, call: Arguments) -> TraceError:
    """Says at the user's line why a function cannot be traced."""
    if isinstance(error, TraceError):
        return error
    reason = str(error).strip().splitlines()
    first = next((r.strip() for r in reason if r.strip()), "")
    said = f"{type(error).__name__}: {first}" if first else type(error).__name__
    return untraceable(
        name,
        said,
        users_line(error, __file__, "py_call", "numpy"),
        call,
        lambda leaf: f"{leaf.dtype} {tuple(leaf.shape)}",
        advice(said, _ADVICE),
        "Keep to array operations (jax.numpy, jax.lax, keras.ops); a black box of numpy or Python "
        "code can be audited, but not relaxed.",
    )


_ADVICE = (
    (
        "^TracerBoolConversionError",
        "this line asks for the truth of a traced array; use jnp.where or jax.lax.cond.",
    ),
    (
        "^NonConcreteBooleanIndexError",
        "this line picks rows by a mask, and nobody knows how many; use jnp.where(mask, x, 0).",
    ),
    (
        "^(Tracer(Array|Integer)Conversion|ConcretizationType)Error|no attribute '(numpy|item)'",
        "this line needs the values as numpy or Python numbers, which are not known while tracing.",
    ),
)
