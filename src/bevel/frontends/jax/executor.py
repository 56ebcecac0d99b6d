"""Runs the nodes of a program on JAX: natively, with a gradient, or a whole program at once.

A node is run by its kernel (`bevel.frontends.jax.kernels`): the primitive of the user's own program
with its parameters. What depends on nothing traced is computed at once, so that it is known while
the rest is compiled. Branches and loops are handed the function that runs their nested programs, so
that other interpretations can run them too.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax import lax
from jax import numpy as jnp
from jax.core import Tracer

from bevel.errors import BevelTypeError, UnknownOperationError
from bevel.frontends.from_jax import Trace
from bevel.frontends.running import is_alone, mapped_axis, run_all
from bevel.program import Node, Program

NAME = "JAX"

ADDS_GRADIENTS = False
"""Whether the gradients of replicas are added up, each giving its share, or averaged."""

Run = Callable[[Program, Sequence[Any]], list[Any]]


def run_node(node: Node, operands: Sequence[Any], run: Run | None = None) -> list[Any]:
    """Runs one node on arrays.

    Args:
        node: Any node of a program traced from JAX.
        operands: An array for each of `node.inputs`.
        run: How nested programs are run; by default natively.

    Returns:
        A list with an array for each output.
    """
    if any(isinstance(x, Tracer) for x in operands):
        return _run(node, operands, run)
    with jax.ensure_compile_time_eval():
        return _run(node, operands, run)


def _run(node: Node, operands: Sequence[Any], run: Run | None) -> list[Any]:
    special = _SPECIAL.get(node.op)
    if special:
        return special(node, operands, run)
    return dict(node.attrs)["kernel"](operands)


def _run_cond(node: Node, operands: Sequence[Any], run: Run | None) -> list[Any]:
    predicate, *rest = operands
    each = run or run_program
    then, other = node.programs
    # the operands may be soft values, so a branch closes over them
    return lax.cond(
        jnp.asarray(predicate, bool), lambda: each(then, rest), lambda: each(other, rest)
    )


def _run_switch(node: Node, operands: Sequence[Any], run: Run | None) -> list[Any]:
    index, *rest = operands
    each = run or run_program
    branches = [lambda p=p: each(p, rest) for p in node.programs]
    return lax.switch(jnp.asarray(index, "int32"), branches)


def _run_while(node: Node, operands: Sequence[Any], run: Run | None) -> list[Any]:
    """A loop; what its body hands on unchanged stays outside of the loop's state."""
    rounds = node.param("rounds")
    if rounds is None and run is not None:
        raise UnknownOperationError(
            "a loop whose number of rounds is not known has no derivative on the way back in JAX",
            loc=node.loc,
            label=f"JAX's {node.native}",
            help="use lax.scan, or lax.fori_loop with fixed bounds, and let a condition inside "
            "decide what counts.",
        )
    condition, body = node.programs
    each = run or run_program
    moving = [i for i, out in enumerate(body.outputs) if out != body.inputs[i].id]
    start = tuple(jnp.asarray(operands[i]) for i in moving)

    def whole(state: Sequence[Any]) -> list[Any]:
        values = list(operands)
        for i, value in zip(moving, state, strict=True):
            values[i] = value
        return values

    def step(state: Sequence[Any]) -> tuple[Any, ...]:
        results = each(body, whole(state))
        return tuple(
            lax.convert_element_type(results[i], s.dtype)
            for i, s in zip(moving, state, strict=True)
        )

    if rounds is not None:
        return whole(lax.fori_loop(0, rounds, lambda _, state: step(state), start))
    return whole(_until(lambda state: each(condition, whole(state))[0], step, start, node))


def _until(goes_on: Any, step: Any, start: tuple[Any, ...], node: Node) -> tuple[Any, ...]:
    """A loop until a condition fails; NaN beyond the most rounds that it may take."""
    limit = node.param("limit")
    if limit is None:
        return lax.while_loop(goes_on, step, start)
    count, final = lax.while_loop(
        lambda s: jnp.logical_and(s[0] < limit, goes_on(s[1])),
        lambda s: (s[0] + 1, step(s[1])),
        (jnp.int32(0), start),
    )
    return tuple(
        jnp.where(count < limit, x, jnp.nan) if jnp.issubdtype(x.dtype, jnp.floating) else x
        for x in final
    )


_SPECIAL: dict[str, Callable[[Node, Sequence[Any], Run | None], list[Any]]] = {
    "cond": _run_cond,
    "switch": _run_switch,
    "while_loop": _run_while,
}


def run_program(program: Program, operands: Sequence[Any]) -> list[Any]:
    """Runs a program natively on arrays for its inputs and captures; gives its results."""
    return run_all(program, operands, run_node)


def function(
    fn: Callable[..., Any], jit_compile: bool | None = None, state: Callable[[], Any] | None = None
) -> Callable[..., Any]:
    """Compiles a function of arrays.

    Args:
        fn: The function.
        jit_compile: JAX always compiles.
        state: Gives what may change between two calls, as the keyword `state`.
    """
    compiled = jax.jit(fn)
    if state is None:
        return compiled

    def call(*leaves: Any) -> Any:
        now = state()
        return compiled(*leaves, state=jnp.asarray(getattr(now, "value", now)))

    return call


def prepare(compiled: Callable[..., Any], specs: Sequence[Any]) -> None:
    """Traces a compiled function for leaves of these shapes, without running it."""
    jax.eval_shape(compiled, *specs)


def called(fn: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """What a function returns: whatever compiles it compiles what it relaxes."""
    return fn(*args, **kwargs)


def in_graph() -> bool:
    """A compiled function is a part of whatever is being traced, so nothing depends on it."""
    return False


def static_value(tensor: Any) -> Any:
    """What is known of an array while something is being traced, or None."""
    if tensor is None or isinstance(tensor, Tracer) or jnp.issubdtype(
        getattr(tensor, "dtype", np.float32), jax.dtypes.extended
    ):  # fmt: skip
        return None
    return np.asarray(tensor)


def outside_graphs() -> Any:
    """A context in which operations on known arrays run at once."""
    return jax.ensure_compile_time_eval()


def at_once_if_known(fn: Callable[..., Any]) -> Callable[..., Any]:
    """A function whose operations on known arrays run at once, while it is traced."""

    @functools.wraps(fn)
    def run(*args: Any, **kwargs: Any) -> Any:
        with jax.ensure_compile_time_eval():
            return fn(*args, **kwargs)

    return run


def replicas() -> int:
    """How many shards of a batch run the same code: along an axis that is mapped by the user.

    Sharded arrays under `jit` are one replica, whose program sees the whole batch.
    """
    axis = mapped_axis()
    if axis is None or is_alone():
        return 1
    try:
        return lax.axis_size(axis)
    except NameError:  # outside of the map, where the whole batch is seen
        return 1


def all_sum(value: Any) -> Any:
    """The sum over all replicas, with its gradient."""
    return value if replicas() == 1 else lax.psum(value, mapped_axis())


def all_rows(value: Any) -> Any:
    """The rows of all replicas, in order, with their gradient.

    A sum of what each replica has among zeros, which `shard_map` knows to be the same everywhere.
    """
    if replicas() == 1:
        return value
    if value.dtype == bool:
        return all_rows(value.astype("uint8")).astype(bool)
    count = len(value)
    among = jnp.zeros((replicas() * count, *value.shape[1:]), value.dtype)
    first = lax.axis_index(mapped_axis()) * count
    return all_sum(lax.dynamic_update_slice_in_dim(among, value, first, 0))


def assigned_by_gradient(variables: Sequence[Any], values: Sequence[Any]) -> list[Any]:
    """JAX's functions have no effects: a gradient cannot assign a variable.

    Raises:
        BevelTypeError: Always.
    """
    raise BevelTypeError(
        "a loss cannot remember earlier batches on JAX, whose gradients assign no variables.",
        help="use memory=0, and a larger batch.",
    )


def in_xla() -> bool:
    """A loop is traced alike, whoever compiles it."""
    return False


def execute(trace: Trace, leaves: Sequence[Any]) -> Any:
    """Runs a trace natively on new leaves and returns what the user's function would."""
    return trace.pack(run_program(trace.program, [*leaves, *trace.captured]))


def vjp(
    node: Node, operands: Sequence[Any]
) -> tuple[list[Any], Callable[[Sequence[Any]], list[Any]]]:
    """Runs one node, and gives what turns cotangents of its results into those of its operands."""
    smooth = [i for i, x in enumerate(operands) if _is_differentiable(x)]

    def call(*sources: Any) -> list[Any]:
        given = list(operands)
        for i, source in zip(smooth, sources, strict=True):
            given[i] = source
        return run_node(node, given)

    results, back = jax.vjp(call, *(operands[i] for i in smooth))

    def pull_back(cotangents: Sequence[Any]) -> list[Any]:
        fitting = [
            c if _is_differentiable(r) else np.zeros(jnp.shape(r), jax.dtypes.float0)
            for r, c in zip(results, cotangents, strict=True)
        ]
        found = dict(zip(smooth, back(fitting), strict=True))
        return [found.get(i) for i in range(len(operands))]

    return results, pull_back


def _is_differentiable(value: Any) -> bool:
    return jnp.issubdtype(getattr(value, "dtype", np.int32), jnp.inexact)


def scalar(results: Any) -> Any:
    """One number for whatever a function returns: the sum of the means of its results."""
    total = jnp.zeros((), jnp.result_type(float))
    arrays = list(map(jnp.asarray, jax.tree.leaves(results)))
    if not arrays:
        raise BevelTypeError("the function returns nothing that is an array.")
    for array in arrays:
        if jnp.issubdtype(array.dtype, np.number) or array.dtype == bool:
            total += jnp.mean(array.astype(total.dtype))
    return total


def value_and_gradient(
    fn: Callable[..., Any], trained: Sequence[int], compiled: bool, missing: int = 0
) -> Callable[[Sequence[Any]], tuple[float, list[Any]]]:
    """The scalar value of a function of leaves, and its gradient to the trained ones as numpy.

    Args:
        fn: A function of arrays.
        trained: Positions of the leaves to differentiate.
        compiled: Whether the function can be compiled; else it is run as Python, and where it needs
            the values as numpy, its gradient is missing.
        missing: How many gradients to give as None, for arguments that are not differentiated.

    Returns:
        A function of the leaves.
    """

    def evaluate(*leaves: Any) -> Any:
        return scalar(fn(*leaves))

    both: Callable[..., Any] = (
        jax.value_and_grad(evaluate, tuple(trained)) if trained else lambda *xs: (evaluate(*xs), ())
    )
    run = jax.jit(both) if compiled else both

    def call(leaves: Sequence[Any]) -> tuple[float, list[Any]]:
        arrays = list(map(jnp.asarray, leaves))
        try:
            value, gradients = run(*arrays)
        except _NEEDS_VALUES:
            if compiled:
                raise
            value, gradients = evaluate(*arrays), [None] * len(trained)
        found = [None if g is None else np.asarray(g) for g in gradients]
        return float(value), [*found, *[None] * missing]

    return call


_NEEDS_VALUES = (jax.errors.ConcretizationTypeError, jax.errors.TracerArrayConversionError)


def like(cotangent: Any, result: Any) -> Any:
    """A cotangent in the dtype of the result it belongs to (as it is, for what has none)."""
    return jnp.asarray(cotangent, result.dtype) if _is_differentiable(result) else cotangent


def tensor(value: Any) -> Any:
    """A leaf as an array."""
    return jnp.asarray(value)


def ones(result: Any) -> Any:
    """The cotangent of a result whose elements all count alike."""
    return jnp.ones_like(result)
