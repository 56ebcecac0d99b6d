"""The names Bevel gives to the operations that matter to a gradient, and how a gradient meets them.

The names are those of the Python array API standard, plus the field's usual ones where the standard
has none (`top_k`, `one_hot`, `scatter`, `cond` ...). The table below is the whole vocabulary: an
operation outside it stays native, and its framework says whether it has a derivative.
"""

from __future__ import annotations

from typing import Any

NATURES = {
    "smooth": "has a derivative and passes it on",
    "kink": "has a derivative almost everywhere; a subgradient is used at the corner",
    "singular": "smooth, but its derivative is infinite or undefined at a point",
    "elementwise": "smooth, and acts on each element by itself",
    "structural": "moves elements without changing them",
    "step": "piecewise constant: its derivative is 0 wherever it exists",
    "wrap": "has a derivative between its jumps, and may jump",
    "index": "picks a position: integers have no derivative",
    "position": "uses values only as positions, counts or lengths",
    "cast": "changes the dtype; to an integer or a bool it is a step",
    "shape": "depends on the shape alone",
    "constant": "depends on nothing",
    "random": "draws numbers; how they depend on the operands is not followed",
    "control": "runs a nested program",
    "stop": "declared to pass no gradient",
    "state": "keeps a value in a variable: what is read back has no gradient to it",
    "custom": "carries a gradient declared by the user",
    "python": "leaves the graph: runs Python code",
    "opaque": "has no registered gradient",
    "effect": "is run for what it does, not for its value",
}

VOCABULARY: dict[str, str] = {
    # comparisons and other steps
    "greater": "step",
    "greater_equal": "step",
    "less": "step",
    "less_equal": "step",
    "equal": "step",
    "not_equal": "step",
    "sign": "step",
    "round": "step",
    "floor": "step",
    "ceil": "step",
    "trunc": "step",
    "floor_divide": "step",
    "remainder": "wrap",
    "isnan": "step",
    "isfinite": "step",
    "isinf": "step",
    # logic
    "logical_and": "step",
    "logical_or": "step",
    "logical_not": "step",
    "logical_xor": "step",
    "all": "step",
    "any": "step",
    "bitcast": "step",
    "bitwise_and": "step",
    "where": "kink",
    "astype": "cast",
    # kinks
    "abs": "kink",
    "relu": "kink",
    "relu6": "kink",
    "leaky_relu": "kink",
    "maximum": "kink",
    "minimum": "kink",
    "clip": "kink",
    "max": "kink",
    "min": "kink",
    # sums that hold for soft values of every kind
    "sum": "smooth",
    "mean": "smooth",
    "prod": "smooth",
    "variance": "smooth",
    "median": "kink",
    "cumulative_sum": "smooth",
    "softmax": "smooth",
    "log_softmax": "smooth",
    "logsumexp": "smooth",
    "vector_norm": "smooth",
    "count_nonzero": "step",
    # singular points
    "sqrt": "singular",
    "rsqrt": "singular",
    "reciprocal": "singular",
    "divide": "singular",
    "log": "singular",
    "log1p": "singular",
    "pow": "singular",
    "atan2": "singular",
    "acos": "singular",
    "asin": "singular",
    "atanh": "singular",
    "acosh": "singular",
    # elementwise arithmetic that is linear in each operand
    "add": "elementwise",
    "subtract": "elementwise",
    "multiply": "elementwise",
    "negative": "elementwise",
    # positions
    "argmax": "index",
    "argmin": "index",
    "top_k": "index",
    "sort": "index",
    "in_top_k": "step",
    "searchsorted": "index",
    "bucketize": "index",
    "unique_values": "index",
    "nonzero": "index",
    "unravel_index": "index",
    "invert_permutation": "index",
    "one_hot": "position",
    "take": "position",
    "gather_nd": "position",
    "scatter": "position",
    "scatter_add": "position",
    "scatter_update": "position",
    "segment_sum": "position",
    "dynamic_partition": "position",
    "bincount": "position",
    "histogram": "position",
    "sparse_cross_entropy": "position",
    "set_operation": "position",
    "set_size": "position",
    "identity": "elementwise",
    "wrap_index": "elementwise",
    "stack": "structural",
    "concat": "structural",
    "slice": "structural",
    # control and declared gradients
    "cond": "control",
    "switch": "control",
    "while_loop": "control",
    "call": "control",
    "stop_gradient": "stop",
    "assign": "state",
    "custom_gradient": "custom",
    "py_call": "python",
    "constant": "constant",
    "capture": "constant",
    "assert": "effect",
}

# Operations whose every output is a float that a gradient may pass through.
TRANSPARENT = frozenset({"smooth", "kink", "singular", "elementwise", "structural", "wrap"})

# Operations that cut a gradient where a differentiable value goes in.
CUTS = frozenset(
    {"step", "index", "position", "cast", "stop", "state", "python", "opaque", "random"}
)

# The operands that a gradient may enter by, where not all of them may; positions in the
# vocabulary's order. The others are positions or counts.
ENTRIES = {
    "take": (0,),
    "gather_nd": (0,),
    "scatter": (1,),
    "scatter_add": (0, 2),
    "scatter_update": (0, 2),
    "segment_sum": (0,),
    "dynamic_partition": (0,),
    "where": (1, 2),
    "one_hot": (1, 2),
    "sparse_cross_entropy": (0,),
}


def entries_of(node: Any) -> tuple[int, ...] | None:
    """The operands of a node that a gradient may enter by; None where there is no such list.

    A look-up that stays native says it by itself.
    """
    return node.param("entries", ENTRIES.get(node.op))


# What `relax` has no rule for when it depends on the prediction, and why. Each is an error that
# names the line; `on_unknown="keep"` runs it hard instead.
NOT_RELAXED: dict[str, str] = {
    "bitwise_and": "bits of a number that depends smoothly on the prediction",
    "py_call": "`tf.py_function`, `jax.pure_callback`, `.numpy()` run code that Bevel does not see",
    "strings": "`tf.edit_distance`, strings and hashing have no soft counterpart here",
    "random": "draws whose probabilities depend on the prediction",
}
