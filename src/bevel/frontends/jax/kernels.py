"""What runs a node of a program traced from JAX: a primitive with its parameters, or a function.

A primitive's parameters often hold the shapes that it was traced with. Where a rule runs a node on
operands with further axes at the end (the possible values of an index), a function takes the place
of the primitive here: look-ups, scatters and one-hot codes take positions of any rank.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import jaxpr_as_fun

from bevel.frontends.jax import names


@dataclass(frozen=True, eq=False)
class Kernel:
    """Runs a node; equal to another one of the same name and key.

    Attributes:
        name: The primitive's name, or that of the function.
        run: Takes the operands, gives a result or a list of them.
        key: What tells it from others of its name.
        alike: Which operands are brought to one dtype.
        broadcasts: Whether operands are brought to one shape.
    """

    name: str
    run: Callable[..., Any]
    key: Any = ()
    alike: slice | tuple[int, ...] | None = None
    broadcasts: bool = False

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Kernel) and (self.name, self.key) == (other.name, other.key)

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        return self.name

    def __call__(self, operands: Sequence[Any]) -> list[Any]:
        """The results for operands that may be floats where the user's program had integers."""
        operands = list(operands)
        if self.alike is not None:
            _unify(operands, self.alike)
        if self.broadcasts:
            operands = _broadcast(operands)
        results = self.run(*_spread(operands))
        return list(results) if isinstance(results, tuple | list) else [results]


def _unify(operands: list[Any], places: slice | tuple[int, ...]) -> None:
    """Brings operands to the widest float among them, or the widest dtype where there is none."""
    where = range(len(operands))[places] if isinstance(places, slice) else places
    kinds = {jnp.asarray(operands[i]).dtype for i in where}
    if len(kinds) == 1:
        return
    floats = [k for k in kinds if jnp.issubdtype(k, jnp.inexact)]
    common = max(floats or kinds, key=lambda k: k.itemsize)
    for i in where:
        operands[i] = lax.convert_element_type(operands[i], common)


def _broadcast(operands: list[Any]) -> list[Any]:
    shapes = {jnp.shape(x) for x in operands}
    if len(shapes) == 1:
        return operands
    common = jnp.broadcast_shapes(*shapes)
    return [x if jnp.shape(x) == common else jnp.broadcast_to(x, common) for x in operands]


def _axes(kind: Any) -> frozenset[Any]:
    """The axes of a `shard_map` along which an array varies; the name changed in JAX 0.10."""
    now = getattr(kind, "mat", None)
    return getattr(kind, "vma", frozenset()) if now is None else now.varying


def _spread(operands: list[Any]) -> list[Any]:
    """Operands that vary along the same axes of a `shard_map`, as its primitives insist on."""
    varying = [_axes(jax.typeof(x)) for x in operands]
    every = frozenset().union(*varying)
    return [
        lax.pcast(x, tuple(every - own), to="varying") if every - own else x
        for x, own in zip(operands, varying, strict=True)
    ]


def primitive(eqn: Any) -> Kernel:
    """The primitive of an equation with its parameters."""
    name, params = eqn.primitive.name, dict(eqn.params)
    key = tuple((k, _known_by(v)) for k, v in sorted(params.items()))

    def run(*operands: Any) -> Any:
        given = params
        if params.get("preferred_element_type") is not None:  # floats where there were integers
            given = params | {"preferred_element_type": jnp.result_type(*operands)}
        bound = eqn.primitive.get_bind_params(given)
        functions, given = bound if isinstance(bound, tuple) else ((), bound)
        return eqn.primitive.bind(*functions, *operands, **given)

    if name == "select_n":
        run = _select(len(eqn.invars) - 1)
    if name in _SCATTERS:
        run = _scattered(_SCATTERS[name], params)
    return Kernel(name, run, key, names.ALIKE.get(name), name in names.BROADCASTS)


_SCATTERS: dict[str, Callable[..., Any]] = {
    "scatter-max": lax.scatter_max,
    "scatter-min": lax.scatter_min,
    "scatter-mul": lax.scatter_mul,
    "scatter-sub": lax.scatter_sub,
}


def _scattered(put: Callable[..., Any], params: dict[str, Any]) -> Callable[..., Any]:
    """A scatter whose function of two numbers is made for the dtype that it meets."""
    kept = ("dimension_numbers", "indices_are_sorted", "unique_indices", "mode")
    return lambda *operands: put(*operands, **{k: params[k] for k in kept})


def _select(count: int) -> Callable[..., Any]:
    """One of several values; a condition may be a number, and cases have further axes."""

    def run(which: Any, *cases: Any) -> Any:
        if count == 2 and which.dtype != bool:
            which = which != 0
        elif count > 2:
            which = jnp.clip(which, 0, count - 1).astype("int32")
        return lax.select_n(which, *cases)

    return run


def _known_by(value: Any) -> Any:
    """What tells parameters apart: themselves, or their identity where they cannot be hashed."""
    try:
        hash(value)
    except TypeError:
        return repr(value) if isinstance(value, list | dict) else id(value)
    return value


def function(name: str, run: Callable[..., Any], *key: Any, **kwargs: Any) -> Kernel:
    """A function in place of a primitive."""
    return Kernel(name, run, key, **kwargs)


def elementwise(name: str, run: Callable[..., Any]) -> Kernel:
    """A function that acts on each element of operands of one dtype, of whatever shape."""
    return Kernel(name, run, (), slice(None), True)


def closed(name: str, jaxpr: Any, run: Callable[..., Any] | None = None) -> Kernel:
    """A traced function of the library's, taken as a whole."""
    return Kernel(name, run or jaxpr_as_fun(jaxpr), id(jaxpr))


def declared(eqn: Any, jaxpr: Any, name: str) -> Kernel:
    """A function with its own derivative; operands may have further axes at the end."""
    inner = primitive(eqn)
    rank = max((len(v.aval.shape) for v in eqn.outvars), default=0)
    scalars = [not v.aval.shape for v in eqn.invars]

    def run(*operands: Any) -> Any:
        if len(eqn.outvars) > 1:
            return inner(operands)
        wide = [x for x, is_scalar in zip(operands, scalars, strict=True) if not is_scalar]
        full = iter(_broadcast(list(wide)))
        operands = tuple(x if s else next(full) for x, s in zip(operands, scalars, strict=True))
        deeper = max((jnp.ndim(x) for x in operands), default=0) - rank
        call: Callable[..., Any] = lambda *xs: inner(xs)  # noqa: E731
        axes = tuple(None if s else -1 for s in scalars)
        for _ in range(deeper):
            call = jax.vmap(call, axes, -1)
        return call(*operands)

    return Kernel(name, run, id(jaxpr), slice(None))


def transpose(order: tuple[int, ...]) -> Kernel:
    """Axes in another order."""
    return function("transpose", lambda x: jnp.transpose(x, order), order)


def reshape(shape: tuple[int, ...]) -> Kernel:
    """Another shape."""
    return function("reshape", lambda x: jnp.reshape(x, shape), shape)


def zeros(shape: tuple[int, ...], dtype: Any) -> Kernel:
    """An array of zeros."""
    return function("zeros", lambda: jnp.zeros(shape, dtype), shape, str(dtype))


def wrap_index(size: Any) -> Kernel:
    """A position counted from the end where it is negative."""
    return function("select_n", lambda i: jnp.where(i < 0, i + size, i), "wrap", int(size))


def nonzero(size: int, dtype: str) -> Kernel:
    """The first places where a mask holds; its length, where there are fewer."""

    def run(mask: Any) -> Any:
        counts = jnp.bincount(jnp.cumsum(mask), length=size)
        return jnp.cumsum(counts).astype(dtype)

    return function("cumsum", run, "nonzero", size, dtype)


def one_hot(classes: int, axis: int, dtype: Any) -> Kernel:
    """The code of a position: `on` there, `off` elsewhere, along a new axis."""

    def run(index: Any, on: Any, off: Any) -> Any:
        found = jnp.expand_dims(index, axis)
        numbers = jnp.arange(classes, dtype=index.dtype)
        rest = found.ndim - 1 - (axis % found.ndim)
        return jnp.where(found == numbers.reshape(-1, *(1,) * rest), on, off)

    return function("one_hot", run, classes, axis, str(dtype))


def take(name: str, batch: int, mode: Any, fill: Any) -> Kernel:
    """Entries along the axis behind `batch` shared ones, at positions of any rank."""

    def run(table: Any, index: Any) -> Any:
        rest = table.ndim - batch - 1
        numbers = lax.GatherDimensionNumbers(
            offset_dims=tuple(range(index.ndim, index.ndim + rest)),
            collapsed_slice_dims=(batch,),
            start_index_map=(batch,),
            operand_batching_dims=tuple(range(batch)),
            start_indices_batching_dims=tuple(range(batch)),
        )
        sizes = (*(1,) * (batch + 1), *table.shape[batch + 1 :])
        return lax.gather(
            table, _column(index), numbers, sizes, mode=mode, fill_value=_fitting(fill, table)
        )

    return function(name, run, "take", batch, str(mode))


def gather(eqn: Any) -> Kernel:
    """Slices at positions of several coordinates; what was sliced comes last."""
    numbers, params = eqn.params["dimension_numbers"], eqn.params

    def run(table: Any, index: Any) -> Any:
        rank = index.ndim - 1
        count = len(numbers.offset_dims)
        own = numbers._replace(offset_dims=tuple(range(rank, rank + count)))
        return lax.gather(
            table, _integers(index), own, params["slice_sizes"],
            mode=params["mode"], fill_value=_fitting(params["fill_value"], table),
        )  # fmt: skip

    return function("gather", run, numbers, params["slice_sizes"], str(params["mode"]))


def scatter(eqn: Any) -> Kernel:
    """Updates at positions of any rank; the slices that they fill come last."""
    name, params = eqn.primitive.name.replace("-sub", "-add"), eqn.params
    numbers = params["dimension_numbers"]
    put = lax.scatter_add if name == "scatter-add" else lax.scatter

    def run(table: Any, index: Any, updates: Any) -> Any:
        rank = index.ndim - 1
        count = len(numbers.update_window_dims)
        own = numbers._replace(update_window_dims=tuple(range(rank, rank + count)))
        return put(table, _integers(index), updates, own, mode=params["mode"])

    return function(name, run, numbers, str(params["mode"]), alike=(0, 2))


def _column(index: Any) -> Any:
    return _integers(index)[..., None]


def _integers(index: Any) -> Any:
    return index if jnp.issubdtype(index.dtype, jnp.integer) else index.astype("int32")


def _fitting(fill: Any, table: Any) -> Any:
    """The value for positions out of range, if the table can hold it."""
    is_float = jnp.issubdtype(table.dtype, jnp.floating)
    return None if fill is None or (fill != fill and not is_float) else fill
