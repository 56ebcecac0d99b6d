"""Losses of a ranking of all rows: the area under the ROC curve, average precision, Spearman.

All three are pairwise sums over the scores of one column (`bevel.ops.pairwise_sum`), exact and in
O(n log n). Scores may be of any size: they are measured in units of their own spread.
"""

from __future__ import annotations

from typing import Any, ClassVar

import keras
from keras import ops as K

from bevel.losses.columns import Columns, averaging
from bevel.losses.surrogate import Surrogate, columns, full_weights, present, ratio, standardised
from bevel.ops import pairwise_sum
from bevel.ops.arguments import choose, dtype_of
from bevel.ops.pairwise import NAMES

RISING = tuple(n for n in NAMES if n not in ("triangular", "epanechnikov"))
"""The kernels that rise: steps, and the hinges above them."""


@keras.saving.register_keras_serializable(package="bevel")
class AUC(Columns):
    """Pairs of a positive and a negative in the wrong order: 1 - the area under the ROC curve.

    sum over positives i and negatives j of w_i w_j K((s_j - s_i) / temperature) / (P N), with s in
    units of their spread, P and N the weights of all positives and negatives. With the default, the
    squared hinge, it is convex and consistent with the area (Gao and Zhou, IJCAI 2015); with a
    kernel from 0 to 1 its value tends to 1 - the area as the temperature falls, but pairs that are
    far off get little gradient, from a compact kernel none.

    Args:
        temperature: The margin of a hinge, or how soft a step, in units of the spread.
        kernel: A kernel of `bevel.ops.pairwise_sum` that rises.
        average: `macro` averages over columns, `weighted` by their positives, `micro` lays the
            columns end to end, `none` keeps them for `reduction=None`.
        class_weight: A weight for each column, or None.
        reduction: Over the columns: `sum_over_batch_size` (their mean; columns with one class only
            are left out), `sum`, or None for one loss each.
        name: Name of the loss.
        dtype: The dtype to compute in.

    Raises:
        BevelValueError: an argument cannot be used; labels or weights do not fit when called.

    Call arguments: y_true, 0 and 1, or shares between, and y_pred, scores, both of shape (n,) or
    (n, c) for c labels each; sample_weight of shape (n,) or (n, c).

    Example:
        >>> import numpy as np
        >>> scores = np.array([0.1, 0.4, 0.35, 0.8], "float32")
        >>> soft = AUC(kernel="linear", temperature=1e-3)
        >>> float(soft(np.array([0, 0, 1, 1]), scores))
        0.25
    """

    def __init__(
        self,
        *,
        temperature: float = 1.0,
        kernel: str = "squared_hinge",
        average: str = "macro",
        class_weight: Any = None,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        choose("kernel", kernel, RISING)
        super().__init__(
            reduction, name, dtype, temperature=temperature, kernel=kernel,
            **averaging(average, class_weight),
        )  # fmt: skip

    def of_columns(self, y: Any, scores: Any, weights: Any) -> tuple[Any, Any]:
        s = standardised(scores, weights, self.kernel)
        return wrong_pairs(s, weights * y, weights * (1 - y), self.kernel, self.temperature)


def wrong_pairs(
    scores: Any, positive: Any, negative: Any, kernel: str, temperature: Any
) -> tuple[Any, Any]:
    """1 - the area of each row, as the share of pairs in the wrong order; and whether it has pairs.

    Args:
        scores: In units of their spread, shape (rows, n).
        positive: The weights of the rows as positives, likewise.
        negative: Likewise.
        kernel: A kernel that rises.
        temperature: How soft.
    """
    behind = pairwise_sum(-scores, weights=negative, kernel=kernel, temperature=temperature)
    pairs = K.sum(positive, axis=-1) * K.sum(negative, axis=-1)
    return ratio(K.sum(positive * behind, axis=-1), pairs), present(pairs)


@keras.saving.register_keras_serializable(package="bevel")
class AveragePrecision(Columns):
    """1 - the average precision: the precision at each positive, averaged.

    1 - sum over positives i of w_i (R+_i / R_i) / P. R_i is the soft rank of i among all, the
    largest score first, and R+_i that among the positives, both by weight; of equal scores half
    come before. Unlike the pair losses it cares most for the top of the ranking (smooth AP: Brown,
    Xie, Kalogeiton and Zisserman, ECCV 2020, here exact in O(n log n) instead of O(n^2)).

    Args:
        temperature: How soft, in units of the spread of the scores.
        kernel: A kernel of `bevel.ops.pairwise_sum` that rises from 0 to 1.
        average: `macro` averages over columns, `weighted` by their positives, `micro` lays the
            columns end to end, `none` keeps them for `reduction=None`.
        class_weight: A weight for each column, or None.
        reduction: Over the columns: `sum_over_batch_size` (their mean; columns without positives
            are left out), `sum`, or None for one loss each.
        name: Name of the loss.
        dtype: The dtype to compute in.

    Raises:
        BevelValueError: an argument cannot be used; labels or weights do not fit when called.

    Call arguments: as of `AUC`.

    Example:
        >>> import numpy as np
        >>> scores = np.array([0.1, 0.4, 0.35, 0.8], "float32")
        >>> soft = AveragePrecision(temperature=1e-3)
        >>> round(float(soft(np.array([0, 0, 1, 1]), scores)), 4)
        0.1667
    """

    def __init__(
        self,
        *,
        temperature: float = 0.5,
        kernel: str = "quadratic",
        average: str = "macro",
        class_weight: Any = None,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        choose("kernel", kernel, RISING[:3] + RISING[5:])
        super().__init__(
            reduction, name, dtype, temperature=temperature, kernel=kernel,
            **averaging(average, class_weight),
        )  # fmt: skip

    def of_columns(self, y: Any, scores: Any, weights: Any) -> tuple[Any, Any]:
        scores = standardised(scores, weights, self.kernel)
        return average_precision(y, scores, weights, self.kernel, self.temperature)


def average_precision(
    y: Any, scores: Any, weights: Any, kernel: str, temperature: Any
) -> tuple[Any, Any]:
    """1 - the average precision of each row, and whether it has positives.

    Args:
        y: Labels, shape (rows, n).
        scores: In units of their spread, likewise.
        weights: Likewise.
        kernel: A kernel that rises from 0 to 1.
        temperature: How soft.
    """
    positive = weights * y
    among = {"kernel": kernel, "temperature": temperature}
    # each element counts whole against itself: a half is in the sum
    both = pairwise_sum(-scores, weights=[weights, positive], **among)
    before, hits = both[0] + 0.5 * weights, both[1] + 0.5 * positive
    total = K.sum(positive, axis=-1)
    mean = ratio(K.sum(positive * ratio(hits, before), axis=-1), total)
    some = present(total)
    return some - mean, some


@keras.saving.register_keras_serializable(package="bevel")
class Spearman(Surrogate):
    """1 - Spearman's rank correlation: the correlation of the ranks of y_true and of y_pred.

    Ranks of predictions are soft; equal labels share their mean rank. Weights count as repetitions.

    Args:
        temperature: How soft, in units of the spread of the predictions.
        kernel: A kernel of `bevel.ops.pairwise_sum` that rises from 0 to 1.
        reduction: Over the columns: `sum_over_batch_size` (their mean; columns of equal labels are
            left out), `sum`, or None for one loss each.
        name: Name of the loss.
        dtype: The dtype to compute in.

    Raises:
        BevelValueError: an argument cannot be used; labels or weights do not fit when called.

    Call arguments: y_true and y_pred of shape (n,) or (n, c); sample_weight likewise.

    Example:
        >>> import numpy as np
        >>> y = np.array([1.0, 2.0, 3.0, 9.0], "float32")
        >>> round(float(Spearman(temperature=1e-3)(y, y**3)), 4)
        0.0
    """

    labels: ClassVar[str] = "real"

    def __init__(
        self,
        *,
        temperature: float = 0.5,
        kernel: str = "quadratic",
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        choose("kernel", kernel, RISING[:3] + RISING[5:])
        super().__init__(reduction, name, dtype, temperature=temperature, kernel=kernel)

    def values(self, y_true: Any, y_pred: Any, weights: Any) -> tuple[Any, Any]:
        w = columns(full_weights(weights, y_pred))
        if "int" in dtype_of(y_true):
            y_true = y_true - K.min(y_true, axis=0, keepdims=True)  # dates have too many digits
        y, s = columns(K.cast(y_true, y_pred.dtype)), standardised(columns(y_pred), w, self.kernel)
        soft = pairwise_sum(s, weights=w, kernel=self.kernel, temperature=self.temperature)
        hard = pairwise_sum(y, weights=w, temperature=0)
        correlation, some = correlated(hard, soft, w)
        return some - correlation, some


def correlated(a: Any, b: Any, weights: Any) -> tuple[Any, Any]:
    """Pearson's correlation along the last axis, 0 where one side is constant; and whether not."""
    total = K.sum(weights, axis=-1, keepdims=True)
    a, b = (t - ratio(K.sum(weights * t, axis=-1, keepdims=True), total) for t in (a, b))
    products = [K.sum(weights * t, axis=-1) for t in (a * b, a * a, b * b)]
    some = present(products[1]) * present(products[2])
    sizes = [K.sqrt(K.where(some > 0, p, K.ones_like(p))) for p in products[1:]]
    return some * products[0] / sizes[0] / sizes[1], some
