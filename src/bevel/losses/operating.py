"""Losses at one point of the precision-recall curve: the recall at a precision, and the reverse.

Scores are sorted, and every score is a threshold: tp_k, the weight of the positives that have been
found there, is a count of the order and constant between its changes; fp_k, the weight of the
negatives that lie above, is soft. So precision_k = tp_k / (tp_k + fp_k) is continuous in the
scores, exact in the limit, and O(n log n).
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops as K

from bevel.errors import BevelValueError
from bevel.losses.columns import Columns, averaging
from bevel.losses.ranking import RISING
from bevel.losses.surrogate import largest, present, ratio, standardised
from bevel.ops import greater, pairwise_sum
from bevel.ops.arguments import choose
from bevel.ops.primitives import cumulated, taken


class _Operating(Columns):
    """A loss at one point of the curve."""

    kernel: str
    temperature: float

    def of_columns(self, y: Any, scores: Any, weights: Any) -> tuple[Any, Any]:
        s = standardised(scores, weights, self.kernel)
        positive, negative = weights * y, weights * (1 - y)
        above = pairwise_sum(-s, weights=negative, kernel=self.kernel, temperature=self.temperature)
        # rows of weight 0 stand where they stand and find nothing
        order = K.argsort(-K.stop_gradient(s), axis=-1)
        positive, above = (taken(t, order) for t in (positive, above))
        found = cumulated(positive, axis=-1)
        precision = ratio(found, found + above)
        total = K.sum(positive, axis=-1, keepdims=True)
        some = present(total[..., 0])
        loss = self.of_curve(precision, ratio(positive, total), ratio(found, total))
        return K.where(some > 0, loss, K.zeros_like(loss)), some

    def of_curve(self, precision: Any, share: Any, recall: Any) -> Any:
        """The loss of each column.

        Args:
            precision: At each threshold, the largest score first, shape (columns, n).
            share: What the row at the threshold adds to the recall, likewise.
            recall: Likewise.
        """
        raise NotImplementedError


@keras.saving.register_keras_serializable(package="bevel")
class RecallAtPrecision(_Operating):
    """1 - the largest recall among all thresholds with at least a precision.

    That is the share of positives from which on no threshold is precise enough:

        sum over positives i of w_i K((precision - best_i) / temperature') / P,

    where best_i is the largest precision of the thresholds that find i, so that each positive that
    is not found yet pulls on the threshold nearest to finding it; K is heavy-tailed, and
    temperature' in units of the typical distance. It is the problem of Eban et al. (AISTATS 2017),
    here without multipliers. A precision of exactly `precision` counts half.

    Args:
        precision: What the precision must be, between 0 and 1.
        temperature: How soft, both in units of the spread of the scores and of the distances.
        kernel: A kernel of `bevel.ops.pairwise_sum` that rises, which counts the false positives. A
            hinge counts at least as many as there are, so that the loss does not tend to the
            metric.
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
        >>> soft = RecallAtPrecision(0.9, kernel="linear", temperature=1e-3)
        >>> round(float(soft(np.array([0, 0, 1, 1]), scores)), 3)
        0.5
    """

    precision: float

    def __init__(
        self,
        precision: float,
        *,
        temperature: float = 0.5,
        kernel: str = "squared_hinge",
        average: str = "macro",
        class_weight: Any = None,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        choose("kernel", kernel, RISING)
        if not 0 < precision < 1:
            raise BevelValueError(f"`precision` must lie between 0 and 1; got {precision}.")
        super().__init__(
            reduction, name, dtype, precision=precision, temperature=temperature, kernel=kernel,
            **averaging(average, class_weight),
        )  # fmt: skip

    def of_curve(self, precision: Any, share: Any, recall: Any) -> Any:
        best = K.take_along_axis(precision, _best_from(K.stop_gradient(precision)), axis=-1)
        distance = K.sum(share * K.abs(K.stop_gradient(best) - self.precision), -1, keepdims=True)
        reached = greater(
            best,
            self.precision,
            temperature=self.temperature,
            kernel="algebraic",
            scale=K.where(distance > 0, distance, K.ones_like(distance)),
        )
        return 1 - K.sum(share * reached, axis=-1)


@keras.saving.register_keras_serializable(package="bevel")
class PrecisionAtRecall(_Operating):
    """1 - the largest precision among all thresholds with at least a recall.

    The recall of a threshold is a count of the order, so it is known which thresholds are admitted;
    among these the largest precision is taken softly, so that those near to it
    are pulled along.

    Args:
        recall: What the recall must be, above 0 and at most 1.
        temperature: How soft, both in units of the spread of the scores and of the precisions.
        kernel: A kernel of `bevel.ops.pairwise_sum` that rises, which counts the false positives. A
            hinge counts at least as many as there are, so that the loss does not tend to the
            metric.
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
        >>> soft = PrecisionAtRecall(0.9, kernel="linear", temperature=1e-3)
        >>> round(float(soft(np.array([0, 0, 1, 1]), scores)), 3)
        0.333
    """

    recall: float

    def __init__(
        self,
        recall: float,
        *,
        temperature: float = 0.5,
        kernel: str = "squared_hinge",
        average: str = "macro",
        class_weight: Any = None,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        choose("kernel", kernel, RISING)
        if not 0 < recall <= 1:
            raise BevelValueError(f"`recall` must be above 0 and at most 1; got {recall}.")
        super().__init__(
            reduction, name, dtype, recall=recall, temperature=temperature, kernel=kernel,
            **averaging(average, class_weight),
        )  # fmt: skip

    def of_curve(self, precision: Any, share: Any, recall: Any) -> Any:
        # every positive is a threshold; rounding must not make 3 of 4 less than 0.75
        admitted = K.logical_and(share > 0, recall >= self.recall - 1e-5)
        w, fixed = K.where(admitted, share, K.zeros_like(share)), K.stop_gradient(precision)
        total = K.sum(w, axis=-1, keepdims=True)
        mean = ratio(K.sum(w * fixed, axis=-1, keepdims=True), total)
        distance = ratio(K.sum(w * K.abs(fixed - mean), axis=-1, keepdims=True), total)
        scale = K.where(distance > 0, distance, K.ones_like(distance))
        return 1 - largest(precision, admitted, self.temperature, scale)


def _best_from(x: Any) -> Any:
    """Where the largest of the elements from each one on stands, along the last axis."""
    n = K.shape(x)[-1]
    last = K.maximum(n - 1, 0)
    places = K.arange(n, dtype="int32")
    best = K.broadcast_to(places, K.shape(x))
    # each step looks twice as far; 2^30 elements at most where the length is not known
    for bit in range(n.bit_length() if isinstance(n, int) else 30):
        further = K.take(best, K.minimum(places + 2**bit, last), axis=-1)
        values = [K.take_along_axis(x, i, axis=-1) for i in (best, further)]
        best = K.where(values[1] > values[0], further, best)
    return best
