"""Sums over all pairs of which one comes first in a given order: two orders at once, by one sort.

A pairwise sum asks how far apart two scores are. Here only those pairs count whose keys differ, the
smaller first: r_i = sum over j with key_j < key_i of w_j K(x_i - x_j). Two whole numbers differ
first, from the top, in one binary digit; so each such pair is met at exactly one digit, among the
numbers that agree above it, between those that have a 1 there and those that have a 0. That is an
ordinary sum within segments for each digit, O(n log^2 n) together, and pairs of equal keys are met
nowhere.
"""

from __future__ import annotations

from typing import Any

from keras import ops as K

from bevel.ops import pairwise_sum
from bevel.ops.primitives import cumulated, search, taken

KERNELS = ("linear", "quadratic", "cubic", "hinge", "squared_hinge")
"""The kernels that end: for the others the sums are O(n^2) for each digit."""


def keys(values: Any) -> Any:
    """How many of its row are smaller than each value: whole numbers in the order of the values.

    Args:
        values: Shape (rows, n).
    """
    values = K.stop_gradient(values)
    return K.cast(search(K.sort(values, axis=-1), values), "int32")


def sum_before(x: Any, key: Any, weights: Any, kernel: str, temperature: Any) -> Any:
    """r_i = sum over j with key_j < key_i of w_j K((x_i - x_j) / temperature).

    Args:
        x: Shape (rows, n).
        key: Whole numbers from 0 to 2 n, likewise.
        weights: Likewise.
        kernel: One of `KERNELS`.
        temperature: A number > 0.

    Returns:
        A tensor like x.
    """
    digits = _digits(K.shape(x)[-1])
    shifts = 2 ** K.arange(digits, dtype="int32")[:, None, None]
    ahead = key[None] // shifts
    is_one = K.cast(ahead % 2, x.dtype)
    shape = (digits, *K.shape(x))
    found = pairwise_sum(
        K.broadcast_to(x[None], shape),
        weights=weights[None] * (1 - is_one),
        segment_ids=ahead // 2,
        kernel=kernel,
        temperature=temperature,
    )
    return K.sum(K.cast(is_one * found, x.dtype), axis=0)


def weight_before(key: Any, weights: Any) -> Any:
    """The sum of w_j over all j with key_j < key_i; exactly 0 where there is none.

    Args:
        key: Whole numbers, shape (rows, n).
        weights: Likewise.
    """
    order = K.argsort(key, axis=-1)
    ordered, w = (taken(t, order) for t in (key, weights))
    before = K.concatenate([K.zeros_like(w[:, :1]), cumulated(w, axis=-1)], axis=-1)
    return taken(before, search(ordered, key))


def _digits(n: Any) -> Any:
    """How many binary digits numbers up to 2 n have."""
    if isinstance(n, int):
        return (2 * n).bit_length()
    powers = 2 ** K.arange(30, dtype="int32")
    return K.sum(K.cast(powers <= 2 * n, "int32"))
