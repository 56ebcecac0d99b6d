"""The rule table: what each operation becomes when an operand is soft. One line a rule.

A rule takes the context, the call and the operands the vocabulary speaks of; it gives a result (or
a list of them), or NotImplemented where it has nothing to say about these kinds of operand. Then an
elementwise operation is lifted over the possible values (`bevel.rules.lifting`), a structural one
moves them (`bevel.rules.structural`), and a smooth one acts on the expectation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from bevel.rules import (
    absent,
    bins,
    comparison,
    index,
    logic,
    order,
    rounding,
    scatter,
    selection,
    sets,
    singular,
    slices,
)
from bevel.rules.lifting import ELEMENTWISE

__all__ = ["ELEMENTWISE", "GUARDS", "LOOK_UPS", "RULES", "Rule"]


@dataclass(frozen=True)
class Rule:
    """A rule and how it is explained to the user; rules without words only keep things together."""

    apply: Callable[..., Any]
    says: str = ""


RULES: dict[str, Rule] = {
    "greater": Rule(comparison.inequality, "K((x - y) / (temperature * spread))"),
    "greater_equal": Rule(comparison.inequality, "K((x - y) / (temperature * spread))"),
    "less": Rule(comparison.inequality, "K((y - x) / (temperature * spread))"),
    "less_equal": Rule(comparison.inequality, "K((y - x) / (temperature * spread))"),
    "equal": Rule(comparison.equality, "the chance of being equal: a window around 0"),
    "not_equal": Rule(comparison.equality, "1 - the chance of being equal"),
    "sign": Rule(rounding.sign, "1 with chance p = K(x / (temperature * spread)), else -1"),
    "floor": Rule(rounding.floor, "a soft staircase with a step at each integer"),
    "round": Rule(rounding.round_half, "a soft staircase with a step half-way between integers"),
    "ceil": Rule(rounding.ceil, "a soft staircase with a step at each integer"),
    "floor_divide": Rule(rounding.floor_divide, "a soft staircase of the quotient"),
    "remainder": Rule(rounding.remainder),
    "astype": Rule(rounding.astype),
    "identity": Rule(logic.identity),
    "isnan": Rule(logic.missing),
    "isfinite": Rule(logic.missing),
    "isinf": Rule(logic.missing),
    "logical_and": Rule(logic.binary, "p q"),
    "logical_or": Rule(logic.binary, "p + q - p q"),
    "logical_xor": Rule(logic.binary, "p + q - 2 p q"),
    "logical_not": Rule(logic.negation, "1 - p"),
    "all": Rule(logic.every, "the product of the chances"),
    "any": Rule(logic.some, "1 - the product of (1 - p)"),
    "max": Rule(logic.some),
    "min": Rule(logic.every),
    "where": Rule(logic.where, "p x + (1 - p) y"),
    "argmax": Rule(index.argmax, "weights over the axis"),
    "argmin": Rule(index.argmin, "weights over the axis"),
    "unravel_index": Rule(index.unraveled, "the coordinates, by the weights of the position"),
    "invert_permutation": Rule(order.inverted, "the place of each element, by its weights"),
    "one_hot": Rule(index.one_hot, "the weights of the index"),
    "sparse_cross_entropy": Rule(
        index.sparse_cross_entropy, "the loss of every class, by the weights of the label"
    ),
    "take": Rule(index.take, "the expected entry"),
    "gather_nd": Rule(index.gather_nd, "the expected entry"),
    "scatter": Rule(scatter.scatter, "each update in shares, by the weights of its index"),
    "scatter_add": Rule(scatter.scatter_add, "each update in shares, by the weights of its index"),
    "scatter_update": Rule(scatter.scatter_update, "the old value, as far as no update meets it"),
    "segment_sum": Rule(scatter.segment_sum, "each entry in shares, by the weights of its segment"),
    "bincount": Rule(scatter.bincount, "each bin gets the weight of its position"),
    "nonzero": Rule(selection.nonzero, "every position, with the chance that it is picked"),
    "dynamic_partition": Rule(selection.partition, "every row in each part, with its chance"),
    "set_operation": Rule(sets.operation, "every value that may be in it, with its chance"),
    "unique_values": Rule(sets.unique, "every value, with the chance that it is there"),
    "searchsorted": Rule(bins.searchsorted, "weights over the positions among the edges"),
    "bucketize": Rule(bins.bucketize, "weights over the positions among the boundaries"),
    "histogram": Rule(bins.histogram, "each bin gets the weight of its values"),
    "in_top_k": Rule(index.in_top_k, "K(k - 1/2 - the soft number of larger scores)"),
    "top_k": Rule(order.top_k, "weights over the elements, for each rank"),
    "sort": Rule(order.sort, "weights over the elements, for each rank"),
    "sum": Rule(order.total),
    "mean": Rule(order.total),
    "negative": Rule(order.negative),
    "softmax": Rule(absent.softmax),
    "log_softmax": Rule(absent.log_softmax),
    "logsumexp": Rule(absent.logsumexp),
    "wrap_index": Rule(index.wrapped),
    "stack": Rule(index.stack),
    "concat": Rule(index.concat),
    "slice": Rule(slices.sliced),
    "sqrt": Rule(singular.unary),
    "rsqrt": Rule(singular.unary),
    "log": Rule(singular.unary),
    "log1p": Rule(singular.unary),
    "reciprocal": Rule(singular.unary),
    "acos": Rule(singular.unary),
    "asin": Rule(singular.unary),
    "atanh": Rule(singular.unary),
    "acosh": Rule(singular.unary),
    "atan2": Rule(singular.angle),
    "divide": Rule(singular.divide),
    "pow": Rule(singular.power),
}

# Look-ups by a hard position only move elements.
LOOK_UPS = frozenset({"take", "gather_nd"})

# Questions about a float's bits that are answered hard: they guard, they do not measure.
GUARDS = frozenset({"isnan", "isfinite", "isinf", "bitcast"})
