"""Branches, loops, declared gradients and library functions of a jaxpr as nodes.

A scan becomes a loop with a known number of rounds: its state is a counter, the constants, the
carry, the rows and the results so far. The values of a function with a gradient of the user's are
written out beside it, so that it is seen what the declared gradient stands in for.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax import numpy as jnp

from bevel.frontends.jax import kernels, names
from bevel.program import Program
from bevel.source import Frame, is_users
from bevel.vocabulary import VOCABULARY

# What is written into: a `bevel.frontends.jax.builder.Scope`.
Scope = Any


def file_of(closed: Any) -> str | None:
    """The file in which a traced function was defined, if JAX knows it."""
    return _source_of(closed).partition(" at ")[2].rpartition(":")[0] or None


def _called(closed: Any) -> str:
    return _source_of(closed).partition(" at ")[0] or "function"


def _source_of(closed: Any) -> str:
    info = getattr(getattr(closed, "jaxpr", closed), "debug_info", None)
    return getattr(info, "func_src_info", None) or ""


# Functions of JAX's library that are one word.


def _binary(word: str, run: Callable[..., Any]) -> Callable[..., Any]:
    def write(scope: Scope, eqn: Any, inputs: list[int], frames: Sequence[Frame]) -> Any:
        if len(inputs) != 2 or len(eqn.outvars) != 1:
            return None
        outputs = [scope.new(eqn.outvars[0].aval)]
        return scope.add(word, inputs, outputs, kernels.elementwise(word, run), frames)

    return write


def _searchsorted(scope: Scope, eqn: Any, inputs: list[int], frames: Sequence[Frame]) -> Any:
    if len(inputs) != 2 or len(eqn.invars[0].aval.shape) != 1:
        return None
    kernel = kernels.closed("searchsorted", eqn.params["jaxpr"])
    return scope.add("searchsorted", inputs, [scope.new(eqn.outvars[0].aval)], kernel, frames)


def _one_hot(scope: Scope, eqn: Any, inputs: list[int], frames: Sequence[Frame]) -> Any:
    inner = eqn.params["jaxpr"].jaxpr
    iota = next((e for e in inner.eqns if e.primitive.name == "iota"), None)
    out = eqn.outvars[0].aval
    if iota is None or len(inputs) != 1:
        return None
    axis = iota.params["dimension"]
    classes = iota.params["shape"][axis]
    axis += len(out.shape) - len(iota.params["shape"])  # what `vmap` adds stands in front
    if (*out.shape[:axis], *out.shape[axis + 1 :]) != eqn.invars[0].aval.shape:
        return None
    axis = -1 if axis == len(out.shape) - 1 else axis
    on, off = (scope.constant(v, out.dtype) for v in (1, 0))
    kernel = kernels.one_hot(classes, axis, out.dtype)
    params = {"num_classes": classes, "axis": axis}
    return scope.add("one_hot", [*inputs, on, off], [scope.new(out)], kernel, frames, params=params)


COMPOSITES: dict[str, Callable[..., Any]] = {
    "floor_divide": _binary("floor_divide", jnp.floor_divide),
    "remainder": _binary("remainder", jnp.remainder),
    "searchsorted": _searchsorted,
    "_one_hot": _one_hot,
}


# Branches, loops and declared gradients.


def _cond(scope: Scope, eqn: Any, inputs: list[int]) -> list[int]:
    frames, branches = scope.frames(eqn), eqn.params["branches"]
    index, *rest = inputs
    maker = scope.makers.get(index)
    asked = maker.inputs[0] if maker is not None and maker.op == "astype" else index
    is_truth = scope.values[asked].dtype == "bool" and len(branches) == 2
    shown = [f"branch {i}" for i in range(len(branches))]
    if is_truth:
        shown, branches, index = ["then", "else"], branches[::-1], asked
    programs = tuple(
        scope.nested(lambda inner, ids, b=b: inner.closed(b, ids), name, rest)
        for name, b in zip(shown, branches, strict=True)
    )
    return scope.add(
        "cond" if is_truth else "switch", [index, *rest], [scope.new(v.aval) for v in eqn.outvars],
        kernels.function("cond", _never), frames, programs=programs,
    )  # fmt: skip


def _while(scope: Scope, eqn: Any, inputs: list[int]) -> list[int]:
    params = eqn.params
    first, second = params["cond_nconsts"], params["body_nconsts"]
    held = first + second

    def condition(inner: Scope, state: list[int]) -> list[int]:
        return inner.closed(params["cond_jaxpr"], [*state[:first], *state[held:]])

    def body(inner: Scope, state: list[int]) -> list[int]:
        return [*state[:held], *inner.closed(params["body_jaxpr"], state[first:])]

    results = _loop(scope, eqn, inputs, condition, body)
    return results[held:]


def _scan(scope: Scope, eqn: Any, inputs: list[int]) -> list[int]:
    """A loop over the rows; the results so far are a part of its state."""
    params = eqn.params
    length, consts, carried = params["length"], params["num_consts"], params["num_carry"]
    held = consts + carried
    made = [v.aval for v in eqn.outvars[carried:]]
    counter = scope.constant(np.int32(0))
    stores: list[int] = []
    for aval in made:
        kernel = kernels.zeros(aval.shape, aval.dtype)
        stores += scope.add("native", (), [scope.new(aval)], kernel, nature="constant")

    def condition(inner: Scope, state: list[int]) -> list[int]:
        bound, goes_on = inner.constant(np.int32(length)), inner.value((), "bool")
        return inner.add("less", [state[0], bound], [goes_on], kernels.elementwise("lt", jnp.less))

    def body(inner: Scope, state: list[int]) -> list[int]:
        i = state[0]
        one = inner.constant(np.int32(1))
        (following,) = inner.add(
            "add", [i, one], [inner.value((), "int32")], kernels.elementwise("add", jnp.add)
        )
        place = i
        if params["reverse"]:
            (place,) = inner.add(
                "subtract", [inner.constant(np.int32(length - 1)), i],
                [inner.value((), "int32")], kernels.elementwise("sub", jnp.subtract),
            )  # fmt: skip
        rows = state[1 + held : 1 + len(inputs)]
        current = [_row(inner, row, place) for row in rows]
        results = inner.closed(params["jaxpr"], [*state[1 : 1 + held], *current])
        stored = [
            _stored(inner, store, place, result)
            for store, result in zip(state[1 + len(inputs) :], results[carried:], strict=True)
        ]
        return [following, *state[1 : 1 + consts], *results[:carried], *rows, *stored]

    state = [counter, *inputs, *stores]
    results = _loop(scope, eqn, state, condition, body, rounds=length)
    return [*results[1 + consts : 1 + held], *results[1 + len(inputs) :]]


def _row(scope: Scope, rows: int, place: int) -> int:
    kernel = kernels.take("scan", 0, jax.lax.GatherScatterMode.CLIP, None)
    value = scope.values[rows]
    made = scope.value(value.shape[1:], value.dtype)
    params = {"axis": 0, "batch_dims": 0}
    return scope.add("take", [rows, place], [made], kernel, params=params)[0]


def _stored(scope: Scope, store: int, place: int, result: int) -> int:
    def run(rows: Any, i: Any, row: Any) -> Any:
        return jax.lax.dynamic_update_index_in_dim(rows, row, i, 0)

    kernel = kernels.function("scan", run, "store", alike=(0, 2))
    value = scope.values[store]
    made = scope.value(value.shape, value.dtype)
    return scope.add("native", [store, place, result], [made], kernel, nature="smooth")[0]


def _loop(
    scope: Scope,
    eqn: Any,
    inputs: list[int],
    condition: Callable[[Scope, list[int]], list[int]],
    body: Callable[[Scope, list[int]], list[int]],
    rounds: int | None = None,
) -> list[int]:
    """A loop whose number of rounds is not known has no derivative on the way back in JAX."""
    programs = (
        scope.nested(condition, "condition", inputs),
        scope.nested(body, "body", inputs),
    )
    results = [scope.value(scope.values[i].shape, scope.values[i].dtype) for i in inputs]
    return scope.add(
        "while_loop", inputs, results, kernels.function(eqn.primitive.name, _never),
        scope.frames(eqn), programs=programs, params={} if rounds is None else {"rounds": rounds},
        nature="opaque" if rounds is None else "control",
    )  # fmt: skip


def _never(*operands: Any) -> Any:
    raise AssertionError("control flow is run by the executor")


def _declared(scope: Scope, eqn: Any, inputs: list[int]) -> list[int]:
    """A function with a declared derivative: the library's is an operation, the user's is shown."""
    inner = eqn.params.get("call_jaxpr") or eqn.params.get("fun_jaxpr")
    called = _called(inner)
    frames = scope.frames(eqn)
    outputs = [scope.new(v.aval) for v in eqn.outvars]
    if not is_users(file_of(inner) or "<unknown>"):
        word = names.DECLARED.get(called, "native")
        kernel = (
            kernels.elementwise(called, getattr(jax.nn, called))
            if word != "native"
            else kernels.declared(eqn, inner, called)
        )
        shapes = {v.aval.shape for v in (*eqn.invars, *eqn.outvars) if v.aval.shape}
        alone = len(eqn.outvars) == 1 and len(shapes) < 2
        nature = VOCABULARY.get(word, "elementwise" if alone else "smooth")
        return scope.add(word, inputs, outputs, kernel, frames, nature=nature)
    values = scope.closed(inner, inputs)
    whole = kernels.primitive(eqn)
    count = len(values)
    kernel = kernels.function(whole.name, lambda *xs: whole(xs[count:]), id(inner))
    flows = [names.dtype_of(v).startswith(("float", "bfloat", "complex")) for v in eqn.invars]
    program = Program(f"gradient of {called}", (), (), (), ())
    return scope.add(
        "custom_gradient", [*values, *inputs], outputs, kernel, frames, programs=(program,),
        params={"gradients": (*[False] * count, *flows)},
    )  # fmt: skip


CONTROL: dict[str, Callable[[Scope, Any, list[int]], list[int]]] = {
    "cond": _cond,
    "while": _while,
    "scan": _scan,
    "custom_jvp_call": _declared,
    "custom_vjp_call": _declared,
    "custom_vjp_call_jaxpr": _declared,
}
