"""Random programs over everything that `relax` has a rule for, for hypothesis to draw.

A `SoftRecipe` is a list of steps on stacks of floats, integers and truth values (vectors of `SIZE`
and scalars). Each step says how near it came to a tie: a relaxation gives the hard value in the
limit only away from those. The `repr` of a recipe is all that is needed to see a failure again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tensorflow as tf
from hypothesis import strategies as st

from tests.programs import SIZE, Step, Tables, steps

EDGES = (-2.0, -0.6, 0.7, 1.9)
TABLE = (3.0, -1.0, 0.5, 2.0, -4.0)


@dataclass
class Values:
    """What a running recipe has computed, and how near to a tie it came on the way."""

    float: list[Any]
    int: list[Any]
    bool: list[Any]
    gaps: list[Any] = field(default_factory=list)
    measured: bool = False

    def pick(self, kind: str, step: Step, position: int) -> Any:
        stack = getattr(self, kind)
        return stack[-1 - step.operands[position] % len(stack)]

    def vector(self, kind: str, step: Step, position: int) -> Any:
        value = self.pick(kind, step, position)
        return value if value.shape.rank else tf.broadcast_to(value, [SIZE])

    def places(self, step: Step) -> Any:
        """Positions within a vector, as TensorFlow wants them on a CPU."""
        return tf.math.floormod(self.vector("int", step, 0), SIZE)

    def scalar(self, kind: str, step: Step, position: int) -> Any:
        value = self.pick(kind, step, position)
        return value[1] if value.shape.rank else value

    def number(self, value: float) -> Any:
        return tf.constant(value, self.float[0].dtype)

    def cast(self, value: Any) -> Any:
        return tf.cast(value, self.float[0].dtype)

    def apart(self, difference: Any, size: Any = 1.0) -> None:
        """Notes the least of some differences, in units of the size of what was compared."""
        if self.measured:
            size = tf.maximum(tf.reduce_max(tf.abs(tf.cast(size, "float64"))), 1.0)
            self.gaps.append(tf.reduce_min(tf.abs(tf.cast(difference, "float64"))) / size)

    def compared(self, a: Any, b: Any) -> None:
        """Notes how near two operands of a comparison are."""
        self.apart(a - b, tf.maximum(tf.abs(a), tf.abs(b)))

    def ranked(self, rows: Any) -> None:
        """Notes how near two neighbours in the order of a row are."""
        self.apart(tf.experimental.numpy.diff(tf.sort(rows, axis=-1), axis=-1), rows)


@dataclass(frozen=True)
class SoftRecipe:
    """A program to be called as `recipe(x, y, n)`: two float vectors and an integer vector."""

    steps: tuple[Step, ...]

    __name__ = "recipe"

    def __str__(self) -> str:
        return ",".join("-".join((step.family, *step.names)) for step in self.steps)

    def __call__(self, x: Any, y: Any, n: Any) -> list[Any]:
        values = self._run(Values([x, y], [n], [n > 0]))
        return [values.float[-1], values.int[-1], values.bool[-1], *values.float[2:-1]]

    def gap(self, x: Any, y: Any, n: Any) -> float:
        """How near this run came to a tie."""
        gaps = self._run(Values([x, y], [n], [n > 0], measured=True)).gaps
        return min([float(g) for g in gaps], default=np.inf)

    def _run(self, values: Values) -> Values:
        for step in self.steps:
            kind, value = FAMILIES[step.family](values, step)
            getattr(values, kind).append(value)
        return values


# What a step may do. Each gives a kind and a value.


def _unary(v: Values, step: Step):
    return "float", UNARY[step.names[0]](v.pick("float", step, 0))


def _binary(v: Values, step: Step):
    a, b = (v.pick("float", step, i) for i in (0, 1))
    return "float", BINARY[step.names[0]](a, b)


def _staircase(v: Values, step: Step):
    name, a = step.names[0], v.pick("float", step, 0)
    shift = 0.5 if name == "round" else 0.0
    v.apart(a + shift - tf.round(a + shift))
    return "float", STAIRCASES[name](a)


def _divided(v: Values, step: Step):
    a, by = v.pick("float", step, 0), (0.7, 2.0)[step.operands[1] % 2]
    v.apart(a / by - tf.round(a / by))
    return "float", DIVISIONS[step.names[0]](a, v.number(by))


def _sign(v: Values, step: Step):
    a = v.pick("float", step, 0)
    v.apart(a, a)
    return "float", tf.sign(a)


def _reduction(v: Values, step: Step):
    return "float", REDUCTIONS[step.names[0]](v.pick("float", step, 0))


def _comparison(v: Values, step: Step):
    a, b = (v.pick("float", step, i) for i in (0, 1))
    if step.names[0] not in ("equal", "not_equal"):
        v.compared(a, b)
    else:  # to be equal is no tie for a question about equality
        v.compared(a, tf.where(a == b, 2.0 * tf.abs(b) + 1.0, b))
    return "bool", COMPARISONS[step.names[0]](a, b)


def _integer_comparison(v: Values, step: Step):
    a, b = (v.pick("int", step, i) for i in (0, 1))
    return "bool", COMPARISONS[step.names[0]](a, b)


def _integer_binary(v: Values, step: Step):
    a, b = (v.pick("int", step, i) for i in (0, 1))
    return "int", INTEGER_BINARY[step.names[0]](a, b)


def _logic(v: Values, step: Step):
    a, b = (v.pick("bool", step, i) for i in (0, 1))
    return "bool", LOGIC[step.names[0]](a, b)


def _truth_reduction(v: Values, step: Step):
    return "bool", TRUTH_REDUCTIONS[step.names[0]](v.pick("bool", step, 0))


def _count(v: Values, step: Step):
    a = v.pick("bool", step, 0)
    return "int", tf.math.count_nonzero(a, dtype=tf.int32)


def _where(v: Values, step: Step):
    a, b = (v.pick("float", step, i) for i in (1, 2))
    return "float", tf.where(v.pick("bool", step, 0), a, b)


def _guarded(v: Values, step: Step):
    """The `where` trap: the branch that is not taken is infinite or NaN."""
    a = v.pick("float", step, 0)
    v.apart(a, a)
    return "float", tf.where(a > 0, GUARDED[step.names[0]](a), v.number(0.5))


def _absent(v: Values, step: Step):
    """The largest, or the shares, of what is there: the rest stands for nothing."""
    a = v.vector("float", step, 0)
    v.ranked(a)
    is_there = v.vector("bool", step, 1)
    v.apart(tf.reduce_max(v.cast(is_there)) - 0.5)
    return "float", ABSENT[step.names[0]](a, is_there, v.number(1e9))


def _known(a: Any) -> Any:
    return tf.where(tf.math.is_nan(a), tf.zeros_like(a), a)


def _not_a_number(v: Values, step: Step):
    a = v.pick("float", step, 0)
    return "float", tf.where(GUARDS[step.names[0]](a), tf.zeros_like(a), a)


def _cast(v: Values, step: Step):
    return "float", v.cast(v.pick(("bool", "int")[step.operands[1] % 2], step, 0))


def _to_int(v: Values, step: Step):
    a = tf.clip_by_value(v.pick("float", step, 0), v.number(-50.5), v.number(50.5))
    v.apart(tf.where(tf.abs(a) < 0.5, tf.ones_like(a), a - tf.round(a)))
    return "int", tf.cast(a, tf.int32)


def _to_bool(v: Values, step: Step):
    a = v.pick("float", step, 0)
    v.apart(tf.where(a == 0, tf.ones_like(a), a), a)
    return "bool", tf.cast(a, tf.bool)


def _rows(v: Values, step: Step) -> Any:
    """A matrix whose rows favour different columns."""
    a, b = (v.vector("float", step, i) for i in (0, 1))
    return a[:, None] * tf.constant([1.0, -0.5, 0.3, 0.8], a.dtype) + b[:, None] * tf.constant(
        [0.2, 1.0, -0.7, 0.4], a.dtype
    )


def _argmax(v: Values, step: Step):
    rows = _rows(v, step)
    v.ranked(rows)
    return "int", POSITIONS[step.names[0]](rows, axis=1, output_type=tf.int32)


def _argmax_of_all(v: Values, step: Step):
    a = v.vector("float", step, 0)
    v.ranked(a)
    return "int", POSITIONS[step.names[0]](a, axis=0, output_type=tf.int32)


def _in_top_k(v: Values, step: Step):
    rows = _rows(v, step)
    v.ranked(rows)
    targets = tf.math.floormod(v.int[0], 4)
    return "bool", tf.math.in_top_k(targets, tf.cast(rows, tf.float32), 1 + step.operands[2] % 3)


def _sets(v: Values, step: Step):
    a = v.vector("float", step, 0)
    v.ranked(a)
    largest = tf.math.top_k(a, 3).indices
    return "int", tf.sets.size(SETS[step.names[0]](largest[None], v.int[0][None]))[0]


def _distinct(v: Values, step: Step):
    a = v.vector("float", step, 0)
    v.ranked(a)
    return "int", tf.size(tf.unique(tf.math.top_k(a, 3).indices // 2)[0])


def _order(v: Values, step: Step):
    a = v.vector("float", step, 0)
    v.ranked(a)
    return "int", ORDERS[step.names[0]](a)


def _sorted(v: Values, step: Step):
    a = v.vector("float", step, 0)
    return "float", SORTS[step.names[0]](a)


def _one_hot(v: Values, step: Step):
    code = tf.one_hot(v.places(step), SIZE, dtype=v.float[0].dtype)
    return "float", tf.linalg.matvec(code, v.vector("float", step, 1))


def _gather(v: Values, step: Step):
    position = v.places(step)
    table = (v.vector("float", step, 1), v.cast(TABLE))[step.operands[2] % 2]
    return "float", GATHERS[step.names[0]](table, position)


def _scatter(v: Values, step: Step):
    position = v.places(step)[:, None]
    return "float", SCATTERS[step.names[0]](
        position, v.vector("float", step, 1), v.vector("float", step, 2)
    )


def _segments(v: Values, step: Step):
    return "float", tf.math.unsorted_segment_sum(v.vector("float", step, 1), v.places(step), SIZE)


def _bins(v: Values, step: Step):
    a = v.vector("float", step, 0)
    v.apart(a[:, None] - v.cast(EDGES), a)
    return "int", BINS[step.names[0]](a)


def _histogram(v: Values, step: Step):
    a = v.vector("float", step, 0)
    position = (a + 2.0) / 0.8
    v.apart(position - tf.round(position))
    bounds = v.cast([-2.0, 2.0])
    return "int", tf.histogram_fixed_width(a, bounds, nbins=SIZE)


def _bincount(v: Values, step: Step):
    return "int", tf.math.bincount(v.places(step), minlength=SIZE, maxlength=SIZE)


def _selected(v: Values, step: Step):
    """The rows that a mask picks; how many there are is known only when it runs."""
    mask, a = v.vector("bool", step, 0), v.vector("float", step, 1)
    return "float", tf.reduce_sum(SELECTIONS[step.names[0]](a, mask))


def _stacked(v: Values, step: Step):
    parts = [v.scalar("float", step, i % 3) for i in range(SIZE)]
    return "float", tf.stack(parts)


def _concatenated(v: Values, step: Step):
    a, b = (v.vector("float", step, i) for i in (0, 1))
    return "float", tf.concat([a[2:], b[:2]], axis=0)


def _cond(v: Values, step: Step):
    truth, a = v.scalar("bool", step, 0), v.pick("float", step, 1)
    then, other = (UNARY[name] for name in step.names)
    return "float", tf.cond(truth, lambda: then(a), lambda: other(a))


def _switch(v: Values, step: Step):
    index, a = tf.math.floormod(v.scalar("int", step, 0), 3), v.pick("float", step, 1)
    branches = [lambda: tf.tanh(a), lambda: a - 1.0, lambda: 0.5 * a]
    return "float", tf.switch_case(index, branches)


def _while(v: Values, step: Step):
    a, once = v.pick("float", step, 0), UNARY[step.names[0]]
    bound = v.scalar("float", step, 1)
    v.compared(a, bound)
    _, final = tf.while_loop(
        lambda i, t: i < 2,
        lambda i, t: (i + 1, tf.where(a > bound, once(t), t - 1.0)),
        (tf.constant(0), a),
        maximum_iterations=2,  # XLA wants to know
    )
    return "float", final


def _mapped(v: Values, step: Step):
    a, bound = v.vector("float", step, 0), v.scalar("float", step, 1)
    v.compared(a, bound)
    return "float", MAPS[step.names[0]](lambda t: tf.where(t > bound, t, 2.0 * bound - t), a)


def _stopped(v: Values, step: Step):
    return "float", tf.stop_gradient(v.pick("float", step, 0))


@tf.custom_gradient
def _declared(a: Any):
    return 2.0 * a, lambda upstream: upstream * tf.cos(a)


UNARY: dict[str, Callable[[Any], Any]] = {
    "abs": tf.abs,
    "negative": tf.negative,
    "square": tf.square,
    "tanh": tf.tanh,
    "sigmoid": tf.sigmoid,
    "relu": tf.nn.relu,
    "relu6": tf.nn.relu6,
    "leaky_relu": tf.nn.leaky_relu,
    "clip": lambda a: tf.clip_by_value(a, -1, 1),
    "root": lambda a: tf.sqrt(tf.abs(a)),
    "log1p": lambda a: tf.math.log1p(tf.abs(a)),
    "acos": lambda a: tf.acos(tf.clip_by_value(a, -1, 1)),
    "asin": lambda a: tf.asin(tf.clip_by_value(a, -1, 1)),
    "atanh": lambda a: tf.atanh(tf.clip_by_value(a, -0.9, 0.9)),
    "acosh": lambda a: tf.acosh(1.0 + tf.abs(a)),
    "reverse": lambda a: tf.reverse(a, [0]) if a.shape.rank else a,
    "running": lambda a: tf.cumsum(a) if a.shape.rank else a,
    "custom_gradient": lambda a: _declared(a),
}
BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "add": tf.add,
    "subtract": tf.subtract,
    "multiply": tf.multiply,
    "divide": lambda a, b: a / (1.0 + tf.abs(b)),
    "divide_no_nan": lambda a, b: tf.math.divide_no_nan(a, tf.nn.relu(b) + tf.abs(a)),
    "maximum": tf.maximum,
    "minimum": tf.minimum,
    "atan2": lambda a, b: tf.atan2(a, 1.0 + tf.abs(b)),
    "pow": lambda a, b: tf.pow(0.1 + tf.abs(a), tf.tanh(b)),
}
STAIRCASES: dict[str, Callable[[Any], Any]] = {
    "round": tf.round,
    "floor": tf.floor,
    "ceil": tf.math.ceil,
}
DIVISIONS: dict[str, Callable[[Any, Any], Any]] = {
    "floor_divide": tf.math.floordiv,
    "remainder": tf.math.floormod,
}
REDUCTIONS: dict[str, Callable[[Any], Any]] = {
    "sum": tf.reduce_sum,
    "mean": tf.reduce_mean,
    "max": tf.reduce_max,
    "min": tf.reduce_min,
    "norm": tf.norm,
    "std": tf.math.reduce_std,
    "logsumexp": tf.reduce_logsumexp,
}
COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "greater": tf.greater,
    "greater_equal": tf.greater_equal,
    "less": tf.less,
    "less_equal": tf.less_equal,
    "equal": tf.equal,
    "not_equal": tf.not_equal,
}
INTEGER_BINARY: dict[str, Callable[[Any, Any], Any]] = {
    "add": tf.add,
    "subtract": tf.subtract,
    "maximum": tf.maximum,
    "minimum": tf.minimum,
    "multiply": lambda a, b: tf.math.floormod(a * b, 7),
    "floor_divide": lambda a, b: a // (1 + tf.abs(b)),
    "remainder": lambda a, b: tf.math.floormod(a, 3),
    "where": lambda a, b: tf.where(a > b, a - b, 2),
}
LOGIC: dict[str, Callable[[Any, Any], Any]] = {
    "and": tf.logical_and,
    "or": tf.logical_or,
    "xor": tf.math.logical_xor,
    "and_not": lambda a, b: tf.logical_and(a, tf.logical_not(b)),
}
TRUTH_REDUCTIONS: dict[str, Callable[[Any], Any]] = {
    "all": tf.reduce_all,
    "any": tf.reduce_any,
}
GUARDED: dict[str, Callable[[Any], Any]] = {
    "sqrt": tf.sqrt,
    "log": tf.math.log,
    "rsqrt": tf.math.rsqrt,
    "reciprocal": tf.math.reciprocal,
    "exp": lambda a: tf.math.log(a) * tf.exp(-a),
}
GUARDS: dict[str, Callable[[Any], Any]] = {
    "isnan": tf.math.is_nan,
    "isinf": tf.math.is_inf,
    "not_finite": lambda a: tf.logical_not(tf.math.is_finite(a)),
    "bits": lambda a: tf.bitcast(tf.cast(a, tf.float32), tf.int32) == 2**31 - 1,
}
POSITIONS: dict[str, Callable[..., Any]] = {"argmax": tf.argmax, "argmin": tf.argmin}
ORDERS: dict[str, Callable[[Any], Any]] = {
    "argsort": lambda a: tf.argsort(a),
    "descending": lambda a: tf.argsort(a, direction="DESCENDING"),
    "ranks": lambda a: tf.argsort(tf.argsort(a)),
    "inverted": lambda a: tf.math.invert_permutation(tf.argsort(a)),
    "top_k": lambda a: tf.tile(tf.math.top_k(a, 3).indices, [2])[:SIZE],
}
SORTS: dict[str, Callable[[Any], Any]] = {
    "sort": lambda a: tf.sort(a),
    "top_k": lambda a: tf.reduce_sum(tf.math.top_k(a, 3).values) * a,
}
GATHERS: dict[str, Callable[[Any, Any], Any]] = {
    "gather": tf.gather,
    "gather_nd": lambda table, position: tf.gather_nd(table, position[..., None]),
    "unravel_index": lambda table, position: tf.gather_nd(
        table[:, None], tf.transpose(tf.unravel_index(position, [SIZE, 1]))
    ),
    "cross_entropy": lambda table, position: tf.nn.sparse_softmax_cross_entropy_with_logits(
        position, table + tf.linalg.diag(table)
    ),
}
SCATTERS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "scatter": lambda position, a, b: tf.scatter_nd(position, a, [SIZE]),
    "scatter_add": lambda position, a, b: tf.tensor_scatter_nd_add(b, position, a),
    "scatter_update": lambda position, a, b: tf.tensor_scatter_nd_update(b, position[:1], a[:1]),
}
SETS: dict[str, Callable[[Any, Any], Any]] = {
    "intersection": tf.sets.intersection,
    "union": tf.sets.union,
    "difference": tf.sets.difference,
}
BINS: dict[str, Callable[[Any], Any]] = {
    "searchsorted": lambda a: tf.searchsorted(tf.constant(EDGES, a.dtype), a, out_type=tf.int32),
    "bucketize": lambda a: tf.raw_ops.Bucketize(input=a, boundaries=list(EDGES)),
}
SELECTIONS: dict[str, Callable[[Any, Any], Any]] = {
    "boolean_mask": lambda a, mask: tf.reduce_sum(tf.boolean_mask(a, mask)),
    "partition": lambda a, mask: tf.reduce_sum(
        tf.dynamic_partition(a, tf.cast(mask, "int32"), 2)[1]
    ),
    "rows_where": lambda a, mask: tf.reduce_sum(tf.gather_nd(a, tf.where(mask))),
    "sorted_rows": lambda a, mask: tf.reduce_sum(tf.sort(tf.boolean_mask(a, mask))),
    "product": lambda a, mask: tf.reduce_prod(1.0 + 0.1 * tf.tanh(tf.boolean_mask(a, mask))),
    "span": lambda a, mask: tf.reduce_sum(tf.boolean_mask(a, mask)[1:3]),
    "running": lambda a, mask: tf.reduce_sum(tf.cumsum(tf.boolean_mask(a, mask))),
    "neighbours": lambda a, mask: tf.reduce_sum(
        tf.abs(tf.boolean_mask(a, mask)[1:] - tf.boolean_mask(a, mask)[:-1])
    ),
    "one_after_other": lambda a, mask: tf.reduce_sum(
        tf.square(tf.concat([tf.boolean_mask(a, mask), tf.boolean_mask(a, ~mask), a], 0))
    ),
    "put": lambda a, mask: tf.tensor_scatter_nd_update(
        a, tf.where(mask), tf.ones(tf.shape(tf.where(mask))[:1], a.dtype)
    ),
}
ABSENT: dict[str, Callable[[Any, Any, Any], Any]] = {
    "max": lambda a, there, huge: tf.reduce_max(tf.where(there, a, -huge)),
    "min": lambda a, there, huge: tf.reduce_min(tf.where(there, a, huge)),
    "softmax": lambda a, there, huge: tf.nn.softmax(tf.where(there, a, -huge)),
    "log_softmax": lambda a, there, huge: tf.reduce_max(
        tf.nn.log_softmax(tf.where(there, a, -huge))
    ),
    "nansum": lambda a, there, huge: tf.reduce_sum(_known(tf.where(there, a, huge * np.nan))),
}
MAPS: dict[str, Callable[[Any, Any], Any]] = {
    "map_fn": tf.map_fn,
    "vectorized_map": tf.vectorized_map,
}
FAMILIES: dict[str, Callable[[Values, Step], tuple[str, Any]]] = {
    "unary": _unary,
    "binary": _binary,
    "staircase": _staircase,
    "divided": _divided,
    "sign": _sign,
    "reduction": _reduction,
    "comparison": _comparison,
    "integer_comparison": _integer_comparison,
    "integer_binary": _integer_binary,
    "logic": _logic,
    "truth_reduction": _truth_reduction,
    "count": _count,
    "where": _where,
    "guarded": _guarded,
    "absent": _absent,
    "not_a_number": _not_a_number,
    "cast": _cast,
    "to_int": _to_int,
    "to_bool": _to_bool,
    "argmax": _argmax,
    "argmax_of_all": _argmax_of_all,
    "in_top_k": _in_top_k,
    "sets": _sets,
    "distinct": _distinct,
    "order": _order,
    "sorted": _sorted,
    "one_hot": _one_hot,
    "gather": _gather,
    "scatter": _scatter,
    "segments": _segments,
    "bins": _bins,
    "histogram": _histogram,
    "bincount": _bincount,
    "selected": _selected,
    "stacked": _stacked,
    "concatenated": _concatenated,
    "cond": _cond,
    "switch": _switch,
    "while": _while,
    "mapped": _mapped,
    "stopped": _stopped,
}

# The names that a step of a family takes: from which table, and how many.
_TABLES: Tables = {
    "unary": (UNARY, 1),
    "binary": (BINARY, 1),
    "staircase": (STAIRCASES, 1),
    "divided": (DIVISIONS, 1),
    "reduction": (REDUCTIONS, 1),
    "comparison": (COMPARISONS, 1),
    "integer_comparison": (COMPARISONS, 1),
    "integer_binary": (INTEGER_BINARY, 1),
    "logic": (LOGIC, 1),
    "truth_reduction": (TRUTH_REDUCTIONS, 1),
    "guarded": (GUARDED, 1),
    "absent": (ABSENT, 1),
    "not_a_number": (GUARDS, 1),
    "argmax": (POSITIONS, 1),
    "argmax_of_all": (POSITIONS, 1),
    "sets": (SETS, 1),
    "order": (ORDERS, 1),
    "sorted": (SORTS, 1),
    "gather": (GATHERS, 1),
    "scatter": (SCATTERS, 1),
    "bins": (BINS, 1),
    "selected": (SELECTIONS, 1),
    "cond": (UNARY, 2),
    "while": (UNARY, 1),
    "mapped": (MAPS, 1),
}


def soft_recipes(longest: int = 8) -> st.SearchStrategy[SoftRecipe]:
    """Programs of a few steps."""
    step = steps(FAMILIES, _TABLES, furthest=3)
    return st.lists(step, min_size=1, max_size=longest).map(lambda s: SoftRecipe(tuple(s)))


def one_of_each() -> list[SoftRecipe]:
    """A program of one step for every name of every family."""
    recipes = []
    for family in FAMILIES:
        table, count = _TABLES.get(family, ({"": None}, 0))
        recipes += [SoftRecipe((Step(family, (name,) * count, (0, 1, 2)),)) for name in table]
    return recipes


@st.composite
def numbers(draw: st.DrawFn, dtype: str = "float64") -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Two float vectors without ties between their elements, and an integer vector."""
    hundredths = st.lists(st.integers(-400, 400), min_size=2 * SIZE, max_size=2 * SIZE, unique=True)
    drawn = (np.array(draw(hundredths)) + 0.37) / 100
    integers = draw(st.lists(st.integers(-3, 7), min_size=SIZE, max_size=SIZE))
    x, y = (tf.constant(part, dtype) for part in (drawn[:SIZE], drawn[SIZE:]))
    return x, y, tf.constant(integers, tf.int32)
