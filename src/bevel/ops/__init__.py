"""Soft primitives on `keras.ops`: the functions whose gradient is zero, with one that is not.

Every function keeps the name, the shapes and the hard limit of the one it stands for, and works on
TensorFlow, JAX and PyTorch tensors, eagerly and compiled. The modules hold one family each: `steps`
compares, `rounding` rounds, `logic` combines probabilities, `index` points at places, `smooth`
rounds off kinks, `running` is a running maximum, `staircase` has many steps, and `kernels` is the
curve under all of them. `pairwise` adds up over all pairs, and by it `order` ranks and sorts and
`binning` counts; `isotonic` does the former another way; `dense_order` weighs every element for
every rank.
"""

from bevel.ops.binning import bincount, histogram, searchsorted, unique_counts
from bevel.ops.dense_order import argsort
from bevel.ops.index import argmax, argmin, max, min, one_hot
from bevel.ops.kernels import bump, cdf
from bevel.ops.logic import all, any, logical_and, logical_not, logical_or, logical_xor, where
from bevel.ops.order import median, quantile, rank, sort, top_k, top_k_mask
from bevel.ops.pairwise import pairwise_sum
from bevel.ops.rounding import ceil, floor, nearest_step, round, trunc
from bevel.ops.running import cumulative_max
from bevel.ops.smooth import abs, clip, relu
from bevel.ops.staircase import qpwc, staircase
from bevel.ops.steps import (
    equal,
    greater,
    greater_equal,
    less,
    less_equal,
    not_equal,
    sign,
    step,
)
from bevel.ops.strength import auto_temperature

__all__ = [
    "abs",
    "all",
    "any",
    "argmax",
    "argmin",
    "argsort",
    "auto_temperature",
    "bincount",
    "bump",
    "cdf",
    "ceil",
    "clip",
    "cumulative_max",
    "equal",
    "floor",
    "greater",
    "greater_equal",
    "histogram",
    "less",
    "less_equal",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "max",
    "median",
    "min",
    "nearest_step",
    "not_equal",
    "one_hot",
    "pairwise_sum",
    "qpwc",
    "quantile",
    "rank",
    "relu",
    "round",
    "searchsorted",
    "sign",
    "sort",
    "staircase",
    "step",
    "top_k",
    "top_k_mask",
    "trunc",
    "unique_counts",
    "where",
]
