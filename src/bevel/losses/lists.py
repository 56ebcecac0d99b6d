"""Losses of ranked lists: each row is a query with its items, padded to one length.

Ranks are soft, within each list, by `bevel.ops.pairwise_sum`: O(L log L) for a list of L items. An
item whose label is negative, or whose weight is 0, is padding.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import keras
from keras import ops as K

from bevel.errors import BevelValueError
from bevel.losses.checks import aligned, floating
from bevel.losses.groups import packed, sources
from bevel.losses.ranking import average_precision
from bevel.losses.surrogate import (
    HINGES,
    Surrogate,
    full_weights,
    largest,
    present,
    ratio,
    standardised,
)
from bevel.ops import pairwise_sum, step
from bevel.ops.arguments import choose, compute_dtype

KERNELS = ("linear", "quadratic", "cubic", "logistic", "arctan", "algebraic", "gaussian")
GAINS = ("exponential", "linear")


class Lists(Surrogate):
    """A loss of lists of items, labels and scores of shape (lists, items)."""

    labels: ClassVar[str] = "real"
    in_spreads: ClassVar[bool] = True
    kernel: str

    def values(self, y_true: Any, y_pred: Any, weights: Any) -> tuple[Any, Any]:
        if len(y_pred.shape) != 2:
            raise BevelValueError(
                f"`{self.name}` needs scores of shape (lists, items); got {tuple(y_pred.shape)}."
            )
        w = full_weights(weights, y_pred)
        y = K.cast(y_true, y_pred.dtype)
        is_item = K.logical_and(y >= 0, w > 0)
        y, s = (K.where(is_item, t, K.zeros_like(t)) for t in (y, y_pred))
        here = K.cast(is_item, y_pred.dtype)
        if self.in_spreads:
            s = standardised(s, here, self.kernel)
        values, some = self.of_lists(y, s, here)
        # one weight for each list: the largest of its items
        return values, some * K.max(w * here, axis=-1, initial=0.0)

    def grouped(
        self,
        y_true: Any,
        y_pred: Any,
        group_ids: Any,
        sample_weight: Any = None,
        *,
        shape: tuple[int, int] | None = None,
    ) -> Any:
        """The loss of items in any order, each with the number of its list.

        Keras hands a loss labels and predictions only, so this is for training loops of one's own.
        Memory is that of the padded lists, so one list of very many items among many short ones is
        better split off.

        Args:
            y_true: Labels, shape (n,) or (n, 1).
            y_pred: Scores, likewise.
            group_ids: Integers, shape (n,): items with the same one are a list.
            sample_weight: None, or one for each item.
            shape: How many lists there are at most, and how many items in the longest; needed where
                the loss is compiled. With fewer than there are, compiled code gives NaN.

        Returns:
            What calling the loss with padded lists gives; with `reduction=None` one loss for each
            list, in the order of their ids.

        Raises:
            BevelValueError: shapes do not fit, or `shape` is needed or too small.
            BevelTypeError: y_pred are no floats or group_ids no integers.

        Example:
            >>> import numpy as np
            >>> labels = np.array([1, 0, 0, 1])
            >>> scores = np.array([2.0, 3.0, 1.0, 4.0], "float32")
            >>> loss = MRR(kernel="linear", temperature=1e-3, reduction=None)
            >>> [float(v) for v in loss.grouped(labels, scores, np.array([7, 5, 7, 5]))]
            [0.0, 0.0]
        """
        y_true, y_pred = aligned(K.convert_to_tensor(y_true), floating(y_pred))
        group_ids = K.convert_to_tensor(group_ids)
        table, is_short = sources(group_ids, shape)
        ids = tuple(group_ids.shape)
        given = {"y_true": y_true, "y_pred": y_pred}
        if sample_weight is not None:
            given["sample_weight"] = K.convert_to_tensor(sample_weight)
        for name, items in given.items():
            if tuple(items.shape) not in (ids, (*ids, 1)):
                raise BevelValueError(
                    f"`{name}` has shape {tuple(items.shape)} and `group_ids` {ids}; expected one "
                    "for each item."
                )
        labels = packed(K.cast(y_true, compute_dtype(self.dtype)), table, -1.0)
        weights = packed(given["sample_weight"], table, 0.0) if "sample_weight" in given else None
        loss = self(labels, packed(y_pred, table, 0.0), weights)
        return K.where(is_short, loss + float("nan"), loss)

    def of_lists(self, y: Any, scores: Any, here: Any) -> tuple[Any, Any]:
        """The loss of each list, and whether it has one.

        Args:
            y: Labels, shape (lists, items), 0 for padding.
            scores: In units of their spread where the loss wants that, likewise, 0 for padding.
            here: 1 for an item, 0 for padding.
        """
        raise NotImplementedError


# AutoGraph leaves alone what carries this attribute.
Lists.grouped.autograph_info__ = None  # pyright: ignore[reportFunctionMemberAccess]


@keras.saving.register_keras_serializable(package="bevel")
class NDCG(Lists):
    """1 - the normalised discounted cumulative gain of lists, over the first k ranks.

    DCG = sum over items of gain(label) / log2(1 + rank), with soft ranks from 1 for the largest
    score, over the DCG of the best order (Järvelin and Kekäläinen, TOIS 2002; soft ranks as in
    approximate NDCG, Qin, Liu and Li, Information Retrieval 2010). With k an item counts as far as
    its rank is likely to be within k. The default counts the items before another by squared
    hinges, which is at least the rank: the loss is then larger than 1 - NDCG and does not tend to
    it, but it drives NDCG itself to its optimum from random scores, where kernels from 0 to 1 end
    at 96 to 99 % of the way.

    Args:
        k: How many ranks count; None counts all.
        gain: `exponential`, 2^label - 1, or `linear`.
        temperature: The margin of a hinge, or how soft a step, in units of the spread of a list's
            scores.
        kernel: A kernel of `bevel.ops.pairwise_sum` that rises.
        reduction: Over the lists: `sum_over_batch_size` (their mean by weight; lists without any
            gain are left out), `sum`, or None for one loss each.
        name: Name of the loss.
        dtype: The dtype to compute in.

    Raises:
        BevelValueError: an argument cannot be used; shapes or weights do not fit when called.

    Call arguments: y_true, labels >= 0, negative for padding, and y_pred, scores, both of shape
    (lists, items); sample_weight of shape (lists,) or (lists, items), where 0 is padding too and a
    list weighs as much as the heaviest of its items. A Keras mask is such a weight.

    Example:
        >>> import numpy as np
        >>> labels = np.array([[2.0, 0.0, 1.0, -1.0]], "float32")
        >>> scores = np.array([[3.0, 1.0, 2.0, 0.0]], "float32")
        >>> round(float(NDCG(kernel="linear", temperature=1e-3)(labels, scores)), 4)
        0.0
    """

    def __init__(
        self,
        *,
        k: int | None = None,
        gain: str = "exponential",
        temperature: float = 1.0,
        kernel: str = "squared_hinge",
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        choose("kernel", kernel, (*KERNELS, *HINGES))
        choose("gain", gain, GAINS)
        _check_ranks(k)
        super().__init__(
            reduction, name, dtype, k=k, gain=gain, temperature=temperature, kernel=kernel
        )

    def of_lists(self, y: Any, scores: Any, here: Any) -> tuple[Any, Any]:
        gains = gains_of(y, here, self.gain)
        before = pairwise_sum(
            -scores, weights=here, kernel=self.kernel, temperature=self.temperature
        )
        rank = before + (0.0 if self.kernel in HINGES else 0.5)  # itself: K(0) is in the sum
        rank = K.where(here > 0, rank, K.ones_like(rank))
        counted = gains * math.log(2) / K.log1p(rank)
        if self.k is not None:
            counted = counted * _within(self.k, rank, here, self.temperature)
        ideal = best_gain(gains, self.k)
        some = present(ideal)
        return some - ratio(K.sum(counted, axis=-1), ideal), some


@keras.saving.register_keras_serializable(package="bevel")
class MeanAveragePrecision(Lists):
    """1 - the average precision of each list: `AveragePrecision` within lists instead of columns.

    Args:
        temperature: How soft, in units of the spread of a list's scores.
        kernel: A kernel of `bevel.ops.pairwise_sum` that rises from 0 to 1.
        reduction: Over the lists: `sum_over_batch_size` (their mean by weight; lists without a
            relevant item are left out), `sum`, or None for one loss each.
        name: Name of the loss.
        dtype: The dtype to compute in.

    Raises:
        BevelValueError: an argument cannot be used; shapes or weights do not fit when called.

    Call arguments: as of `NDCG`; every label above 0 is relevant.

    Example:
        >>> import numpy as np
        >>> labels = np.array([[0, 1, 0, 1]])
        >>> scores = np.array([[3.0, 2.0, 1.0, 0.0]], "float32")
        >>> round(float(MeanAveragePrecision(temperature=1e-3)(labels, scores)), 4)
        0.5
    """

    def __init__(
        self,
        *,
        temperature: float = 0.5,
        kernel: str = "quadratic",
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        choose("kernel", kernel, KERNELS)
        super().__init__(reduction, name, dtype, temperature=temperature, kernel=kernel)

    def of_lists(self, y: Any, scores: Any, here: Any) -> tuple[Any, Any]:
        relevant = K.cast(y > 0, y.dtype)
        return average_precision(relevant, scores, here, self.kernel, self.temperature)


@keras.saving.register_keras_serializable(package="bevel")
class MRR(Lists):
    """1 - the reciprocal rank of the first relevant item of each list.

    The rank of a relevant item counts the irrelevant ones before it, r_i = 1 + sum over irrelevant
    j of K((s_j - s_i) / temperature), and 1 / r_i is largest for the first. That largest one is
    taken softly, so that other relevant items are pulled along, as in CLiMF (Shi
    et al., RecSys 2012). With k an item counts as far as its rank is likely to be within k. The
    default counts by squared hinges, as in `NDCG`: the loss is then larger than 1 - MRR.

    Args:
        k: How many ranks count; None counts all.
        temperature: The margin of a hinge, or how soft a step, in units of the spread of a list's
            scores.
        kernel: A kernel of `bevel.ops.pairwise_sum` that rises.
        reduction: Over the lists: `sum_over_batch_size` (their mean by weight; lists without a
            relevant item are left out), `sum`, or None for one loss each.
        name: Name of the loss.
        dtype: The dtype to compute in.

    Raises:
        BevelValueError: an argument cannot be used; shapes or weights do not fit when called.

    Call arguments: as of `NDCG`; every label above 0 is relevant.

    Example:
        >>> import numpy as np
        >>> labels = np.array([[0, 1, 0, 1]])
        >>> scores = np.array([[3.0, 2.0, 1.0, 0.0]], "float32")
        >>> round(float(MRR(kernel="linear", temperature=1e-3)(labels, scores)), 4)
        0.5
    """

    k: int | None
    temperature: float
    kernel: str

    def __init__(
        self,
        *,
        k: int | None = None,
        temperature: float = 1.0,
        kernel: str = "squared_hinge",
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        choose("kernel", kernel, (*KERNELS, *HINGES))
        _check_ranks(k)
        super().__init__(reduction, name, dtype, k=k, temperature=temperature, kernel=kernel)

    def of_lists(self, y: Any, scores: Any, here: Any) -> tuple[Any, Any]:
        is_relevant = y > 0
        relevant = K.cast(is_relevant, y.dtype)
        rank = 1 + pairwise_sum(
            -scores, weights=here - relevant, kernel=self.kernel, temperature=self.temperature
        )
        reciprocal = 1 / rank
        if self.k is not None:
            reciprocal = reciprocal * _within(self.k, rank, relevant, self.temperature)
        some = present(K.sum(relevant, axis=-1))
        return some - largest(reciprocal, is_relevant, 0.1 * self.temperature), some


def gains_of(y: Any, here: Any, gain: str) -> Any:
    """The gain of each item, 0 for padding."""
    return here * (y if gain == "linear" else K.exp(y * math.log(2)) - 1)


def best_gain(gains: Any, k: int | None = None) -> Any:
    """The discounted cumulative gain of each list in its best order, over the first k ranks."""
    places = K.cast(1 + K.arange(K.shape(gains)[-1]), gains.dtype)
    best = K.flip(K.sort(gains, axis=-1), axis=-1) * math.log(2) / K.log1p(places)
    return K.sum(best if k is None else best * K.cast(places <= k, gains.dtype), axis=-1)


def _within(k: int, rank: Any, counted: Any, temperature: Any) -> Any:
    """How likely each rank is one of the first k.

    The step is as wide as ranks are apart, so that an item far below feels it too.
    """
    inside = k + 0.5 - rank
    scale = K.stop_gradient(ratio(K.sum(counted * K.abs(inside)), K.sum(counted)))
    return step(inside, temperature=temperature, kernel="algebraic", scale=K.maximum(scale, 1e-6))


def _check_ranks(k: int | None) -> None:
    if k is not None and k < 1:
        raise BevelValueError(f"`k` must be at least 1, or None for all ranks; got {k}.")
