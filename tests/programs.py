"""Small random programs, and inputs full of special values, for hypothesis to draw.

A `Recipe` is a list of steps on a stack of floats, integers and truth values: elementwise
operations, reductions, comparisons, casts, gathers, branches and loops. It can be called like a
metric, and its `repr` is all that is needed to see a failure again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf
from hypothesis import strategies as st

Tables = dict[str, tuple[dict[str, Any], int]]

SIZE = 5
SPECIALS = (0.0, -0.0, 0.5, 1.0, -1.0, 2.5, -3.5, 1e-3, 1e30, 1e-40, np.inf, -np.inf, np.nan)

UNARY: dict[str, Callable[[Any], Any]] = {
    "round": tf.round,
    "floor": tf.floor,
    "sign": tf.sign,
    "abs": tf.abs,
    "negative": tf.negative,
    "square": tf.square,
    "sqrt": tf.sqrt,
    "log": tf.math.log,
    "tanh": tf.tanh,
    "relu": tf.nn.relu,
    "reverse": lambda v: tf.reverse(v, [0]) if v.shape.rank else v,
    "clip": lambda v: tf.clip_by_value(v, -1, 1),
}
BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "add": tf.add,
    "subtract": tf.subtract,
    "multiply": tf.multiply,
    "divide": tf.divide,
    "maximum": tf.maximum,
    "minimum": tf.minimum,
}
REDUCTIONS: dict[str, Callable[[Any], Any]] = {
    "sum": tf.reduce_sum,
    "mean": tf.reduce_mean,
    "max": tf.reduce_max,
    "norm": tf.norm,
}
COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "greater": tf.greater,
    "less_equal": tf.less_equal,
    "equal": tf.equal,
}
LOGIC: dict[str, Callable[[Any, Any], Any]] = {
    "and": tf.logical_and,
    "or": tf.logical_or,
    "xor": tf.math.logical_xor,
}


@dataclass(frozen=True)
class Step:
    """One operation: its family, its name or names, and which values it takes."""

    family: str
    names: tuple[str, ...] = ()
    operands: tuple[int, ...] = (0, 0, 0)


@dataclass(frozen=True)
class Recipe:
    """A program to be called as `recipe(x, y, n)`: two float vectors and an integer vector."""

    steps: tuple[Step, ...]

    __name__ = "recipe"

    def __call__(self, x: Any, y: Any, n: Any) -> dict[str, Any]:
        values = {"float": [x, y], "int": [n], "bool": [n > 0]}
        for step in self.steps:
            kind, value = FAMILIES[step.family](values, step)
            values[kind].append(value)
        return {"last": values["float"][-1], "rest": (values["int"][-1], values["bool"][-1])}


def _pick(values: dict[str, list[Any]], kind: str, step: Step, position: int) -> Any:
    stack = values[kind]
    return stack[-1 - step.operands[position] % len(stack)]


def _unary(values, step):
    return "float", UNARY[step.names[0]](_pick(values, "float", step, 0))


def _binary(values, step):
    a, b = (_pick(values, "float", step, i) for i in (0, 1))
    return "float", BINARY[step.names[0]](a, b)


def _reduction(values, step):
    return "float", REDUCTIONS[step.names[0]](_pick(values, "float", step, 0))


def _comparison(values, step):
    a, b = (_pick(values, "float", step, i) for i in (0, 1))
    return "bool", COMPARISONS[step.names[0]](a, b)


def _logic(values, step):
    a, b = (_pick(values, "bool", step, i) for i in (0, 1))
    return "bool", LOGIC[step.names[0]](a, b)


def _where(values, step):
    truth = _pick(values, "bool", step, 0)
    a, b = (_pick(values, "float", step, i) for i in (1, 2))
    return "float", tf.where(truth, a, b)


def _from_bool(values, step):
    return "float", tf.cast(_pick(values, "bool", step, 0), values["float"][0].dtype)


def _from_int(values, step):
    return "float", tf.cast(_pick(values, "int", step, 0), values["float"][0].dtype)


def _to_int(values, step):
    """What is not finite has no integer; kernels differ in what they make of it."""
    value = _pick(values, "float", step, 0)
    safe = tf.where(tf.math.is_finite(value), value, tf.zeros_like(value))
    return "int", tf.cast(tf.clip_by_value(safe, -100.0, 100.0), tf.int32)


def _argmax(values, step):
    value = tf.reshape(_pick(values, "float", step, 0), [-1])
    safe = tf.where(tf.math.is_nan(value), tf.zeros_like(value), value)
    return "int", tf.argmax(safe, output_type=tf.int32)


def _gather(values, step):
    index = _pick(values, "int", step, 1)
    return "float", tf.gather(values["float"][step.operands[0] % 2], tf.math.floormod(index, SIZE))


def _cond(values, step):
    truth = tf.reduce_any(_pick(values, "bool", step, 0))
    value = _pick(values, "float", step, 1)
    then, other = (UNARY[name] for name in step.names)
    return "float", tf.cond(truth, lambda: then(value), lambda: other(value))


def _while(values, step):
    """A loop of up to three rounds that ends early by the value it carries."""
    value, once = _pick(values, "float", step, 0), UNARY[step.names[0]]
    _, final = tf.while_loop(
        lambda i, v: tf.logical_and(i < 3, tf.reduce_any(v > -2.0)),
        lambda i, v: (i + 1, once(v) - 1.0),
        (tf.constant(0), value),
    )
    return "float", final


FAMILIES: dict[str, Callable[[dict[str, list[Any]], Step], tuple[str, Any]]] = {
    "unary": _unary,
    "binary": _binary,
    "reduction": _reduction,
    "comparison": _comparison,
    "logic": _logic,
    "where": _where,
    "from_bool": _from_bool,
    "from_int": _from_int,
    "to_int": _to_int,
    "argmax": _argmax,
    "gather": _gather,
    "cond": _cond,
    "while": _while,
}
_TABLES: Tables = {
    "unary": (UNARY, 1),
    "binary": (BINARY, 1),
    "reduction": (REDUCTIONS, 1),
    "comparison": (COMPARISONS, 1),
    "logic": (LOGIC, 1),
    "cond": (UNARY, 2),
    "while": (UNARY, 1),
}


@st.composite
def steps(
    draw: st.DrawFn, families: Iterable[str] = FAMILIES, tables: Tables = _TABLES, furthest: int = 4
) -> Step:
    """One step of any family.

    Args:
        draw: Hypothesis's.
        families: Their names.
        tables: From which table, and how many names, the step of a family takes, if any.
        furthest: How far back an operand may lie.
    """
    family = draw(st.sampled_from(sorted(families)))
    table, count = tables.get(family, ({}, 0))
    names = tuple(draw(st.sampled_from(sorted(table))) for _ in range(count))
    operands = tuple(draw(st.integers(0, furthest)) for _ in range(3))
    return Step(family, names, operands)


def recipes(longest: int = 8) -> st.SearchStrategy[Recipe]:
    """Programs of a few steps."""
    return st.lists(steps(), min_size=1, max_size=longest).map(lambda s: Recipe(tuple(s)))


@st.composite
def inputs(
    draw: st.DrawFn, dtypes: tuple[str, ...] = ("float32", "float64"), special: bool = True
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Two float vectors of one dtype and an integer vector, with special values or without."""
    dtype = draw(st.sampled_from(dtypes))
    ordinary = st.floats(-4, 4, width=32)
    element = st.sampled_from(SPECIALS) | ordinary if special else ordinary
    floats = st.lists(element, min_size=SIZE, max_size=SIZE)
    integers = st.lists(st.integers(-3, 7), min_size=SIZE, max_size=SIZE)
    x, y = (tf.constant(draw(floats), dtype) for _ in range(2))
    return x, y, tf.constant(draw(integers), tf.int32)


def assert_same_bits(expected: Any, found: Any) -> None:
    """Two nests of tensors agree in structure, dtype, shape and every bit (any NaN is a NaN)."""
    tf.nest.assert_same_structure(expected, found)
    for a, b in zip(tf.nest.flatten(expected), tf.nest.flatten(found), strict=True):
        a, b = np.asarray(a), np.asarray(b)
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        np.testing.assert_array_equal(a, b)
        if np.issubdtype(a.dtype, np.floating):
            signed = ~np.isnan(a)
            np.testing.assert_array_equal(np.signbit(a)[signed], np.signbit(b)[signed])
