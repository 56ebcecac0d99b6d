"""Losses of a confusion matrix: what is decided is soft, what is counted is exact.

For labels 0 and 1 a decision is the chance that the prediction lies above the threshold; for
several classes it is a weight for each class, by how far its score lies behind the largest. The
matrix is the sum of labels times decisions, and the metric is computed from it as it is.
"""

from __future__ import annotations

from typing import Any, ClassVar

import keras
from keras import ops as K

from bevel.errors import BevelValueError
from bevel.losses.surrogate import Surrogate, full_weights, present, ratio
from bevel.ops import argmax, greater
from bevel.ops.arguments import choose

AVERAGES = ("micro", "macro", "weighted", "none")
KAPPAS = ("none", "linear", "quadratic")


class _Confusion(Surrogate):
    """A loss computed from a confusion matrix.

    Predictions of shape (n, c) with `multi_label` are c decisions of their own, without it one
    among c classes; (n,) and (n, 1) are one decision.
    """

    class_numbers: ClassVar[bool] = True
    from_logits: bool
    multi_label: bool
    threshold: float
    temperature: float

    def values(self, y_true: Any, y_pred: Any, weights: Any) -> tuple[Any, Any]:
        w = full_weights(weights, y_pred)
        single = len(y_pred.shape) == 1 or y_pred.shape[-1] == 1
        if single or self.multi_label:
            y, decided = K.cast(y_true, y_pred.dtype), self._above(y_pred, w)
            y, decided, w = (K.reshape(t, (-1, 1) if single else (-1, y_pred.shape[-1]))
                             for t in (y, decided, w))  # fmt: skip
            return self.of_matrix(self._of_labels(y, decided, w), positive_only=True)
        return self.of_matrix(self._of_classes(y_true, y_pred, w), positive_only=False)

    def of_matrix(self, matrix: Any, positive_only: bool) -> tuple[Any, Any]:
        """The values and their weights, from counts of shape (labels, true class, decided class).

        For c labels of their own there are c matrices of two classes, of which the second is the
        one that is looked for; else there is one matrix, and no class is above the others.
        """
        raise NotImplementedError

    def _above(self, y_pred: Any, w: Any) -> Any:
        """How likely each prediction lies above the threshold."""
        cut = self.threshold
        if self.from_logits:
            y_pred = K.sigmoid(y_pred)
        scale = _typical(K.abs(K.stop_gradient(y_pred) - cut), w)
        return greater(y_pred, cut, temperature=self.temperature, kernel="algebraic", scale=scale)

    def _of_labels(self, y: Any, decided: Any, w: Any) -> Any:
        rows = [K.sum(w * a * b, axis=0) for a in (1 - y, y) for b in (1 - decided, decided)]
        return K.reshape(K.stack(rows, axis=-1), (-1, 2, 2))

    def _of_classes(self, y_true: Any, y_pred: Any, w: Any) -> Any:
        classes = y_pred.shape[-1]
        if len(y_true.shape) < len(y_pred.shape) or y_true.shape[-1] == 1:
            y_true = K.one_hot(K.cast(K.reshape(y_true, (-1,)), "int32"), classes, dtype=w.dtype)
        y = K.cast(K.reshape(y_true, (-1, classes)), w.dtype)
        p = K.reshape(y_pred, (-1, classes))
        # logarithms keep the distance of a class that has lost from the others that have
        score = p if self.from_logits else K.log(K.maximum(p, 1e-30))
        w = K.reshape(w, (-1, classes))[:, :1]
        scale = _typical(K.abs(K.stop_gradient(score - K.mean(score, -1, keepdims=True))), w)
        decided = argmax(score, temperature=self.temperature, kernel="cauchy", scale=scale)
        return K.expand_dims(K.matmul(K.transpose(w * y), decided), 0)


@keras.saving.register_keras_serializable(package="bevel")
class FBeta(_Confusion):
    """1 - F_beta, (1 + beta^2) tp / ((1 + beta^2) tp + beta^2 fn + fp); F1 for beta = 1.

    For F1, cross-entropy with a tuned threshold does as well: see docs/training.md.

    Args:
        beta: How many times as much recall counts as precision, > 0.
        average: `macro` averages over classes (for one label there is one), `weighted` by how many
            rows have each, `micro` adds their counts first, `none` keeps them.
        threshold: Where a prediction of labels 0 and 1 counts as 1.
        multi_label: Whether predictions (n, c) are c labels of their own instead of c classes.
        from_logits: Whether predictions are logits.
        temperature: How soft a decision is, in units of the typical distance to its threshold.
        reduction: `sum_over_batch_size`, `sum`, or None for one value for each class.
        name: Name of the loss.
        dtype: The dtype to compute in.

    Raises:
        BevelValueError: an argument cannot be used; shapes, labels or weights do not fit when
            called.

    Call arguments: y_pred of shape (n,), (n, 1) or (n, c); y_true of that shape, or class numbers
    (n,); sample_weight of shape (n,).

    Example:
        >>> import numpy as np
        >>> y, p = np.array([1, 0, 1, 0]), np.array([0.9, 0.8, 0.7, 0.1], "float32")
        >>> round(float(FBeta(temperature=1e-3)(y, p)), 3)
        0.2
    """

    def __init__(
        self,
        *,
        beta: float = 1.0,
        average: str = "macro",
        threshold: float = 0.5,
        multi_label: bool = False,
        from_logits: bool = False,
        temperature: float = 0.1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        choose("average", average, AVERAGES)
        if beta <= 0:
            raise BevelValueError(f"`beta` must be > 0; got {beta}.")
        super().__init__(
            reduction, name, dtype, beta=beta, average=average, threshold=threshold,
            multi_label=multi_label, from_logits=from_logits, temperature=temperature,
        )  # fmt: skip

    def of_matrix(self, matrix: Any, positive_only: bool) -> tuple[Any, Any]:
        if positive_only:
            tp, true, found = matrix[:, 1, 1], K.sum(matrix[:, 1], -1), K.sum(matrix[:, :, 1], -1)
        else:
            tp = K.diagonal(matrix[0])
            true, found = K.sum(matrix[0], axis=1), K.sum(matrix[0], axis=0)
        if self.average == "micro":
            tp, true, found = (K.sum(t, keepdims=True) for t in (tp, true, found))
        square = self.beta**2
        total = square * true + found
        some = present(total)
        loss = some - ratio((1 + square) * tp, total)
        return loss, true if self.average == "weighted" else some


@keras.saving.register_keras_serializable(package="bevel")
class MCC(_Confusion):
    """1 - Matthews's correlation coefficient, for several classes Gorodkin's R_K.

    R_K = (c s - sum t_k p_k) / sqrt((s^2 - sum p_k^2) (s^2 - sum t_k^2)) with s rows, c of them
    right, t_k of class k and p_k decided as k (Gorodkin, Computational Biology and Chemistry 2004).

    Args:
        threshold: Where a prediction of labels 0 and 1 counts as 1.
        multi_label: Whether predictions (n, c) are c labels of their own instead of c classes.
        from_logits: Whether predictions are logits.
        temperature: How soft a decision is, in units of the typical distance to its threshold.
        reduction: Over labels of their own: `sum_over_batch_size`, `sum`, or None.
        name: Name of the loss.
        dtype: The dtype to compute in.

    Raises:
        BevelValueError: an argument cannot be used; shapes, labels or weights do not fit when
            called.

    Call arguments: as of `FBeta`. The value is 0 where there is one class only.

    Example:
        >>> import numpy as np
        >>> y, p = np.array([1, 0, 1, 0]), np.array([0.9, 0.8, 0.7, 0.1], "float32")
        >>> round(float(MCC(temperature=1e-3)(y, p)), 3)
        0.423
    """

    def __init__(
        self,
        *,
        threshold: float = 0.5,
        multi_label: bool = False,
        from_logits: bool = False,
        temperature: float = 0.1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            reduction, name, dtype, threshold=threshold, multi_label=multi_label,
            from_logits=from_logits, temperature=temperature,
        )  # fmt: skip

    def of_matrix(self, matrix: Any, positive_only: bool) -> tuple[Any, Any]:
        shares = _shares(matrix)
        true, found = K.sum(shares, axis=2), K.sum(shares, axis=1)
        right = K.sum(K.diagonal(shares, axis1=1, axis2=2), axis=-1)
        covariance = right - K.sum(true * found, axis=-1)
        # s^2 - sum t_k^2 as a sum of products, which is exactly 0 for one class
        products = [t * (K.sum(t, axis=-1, keepdims=True) - t) for t in (true, found)]
        spread = K.sum(products[0], axis=-1) * K.sum(products[1], axis=-1)
        some = present(spread)
        root = K.sqrt(K.where(some > 0, spread, K.ones_like(spread)))
        return some - some * covariance / root, some


@keras.saving.register_keras_serializable(package="bevel")
class CohenKappa(_Confusion):
    """1 - Cohen's kappa: disagreement over what chance would give, sum w C / sum w E.

    w_kl is 1 off the diagonal, or abs(k - l) or (k - l)^2 for ordered classes (Cohen, Psychological
    Bulletin 1968); E are the counts of independent labels and decisions.

    Args:
        weights: `none`, `linear` or `quadratic`.
        threshold: Where a prediction of labels 0 and 1 counts as 1.
        multi_label: Whether predictions (n, c) are c labels of their own instead of c classes.
        from_logits: Whether predictions are logits.
        temperature: How soft a decision is, in units of the typical distance to its threshold.
        reduction: Over labels of their own: `sum_over_batch_size`, `sum`, or None.
        name: Name of the loss.
        dtype: The dtype to compute in.

    Raises:
        BevelValueError: an argument cannot be used; shapes, labels or weights do not fit when
            called.

    Call arguments: as of `FBeta`. The value is 0 where chance cannot disagree.

    Example:
        >>> import numpy as np
        >>> y, p = np.array([1, 0, 1, 0]), np.array([0.9, 0.8, 0.7, 0.1], "float32")
        >>> round(float(CohenKappa(temperature=1e-3)(y, p)), 3)
        0.5
    """

    def __init__(
        self,
        *,
        weights: str = "none",
        threshold: float = 0.5,
        multi_label: bool = False,
        from_logits: bool = False,
        temperature: float = 0.1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        choose("weights", weights, KAPPAS)
        super().__init__(
            reduction, name, dtype, weights=weights, threshold=threshold, multi_label=multi_label,
            from_logits=from_logits, temperature=temperature,
        )  # fmt: skip

    def of_matrix(self, matrix: Any, positive_only: bool) -> tuple[Any, Any]:
        shares = _shares(matrix)
        places = K.arange(matrix.shape[-1], dtype=shares.dtype)
        distance = K.abs(places[:, None] - places[None, :])
        power = {"none": 0, "linear": 1, "quadratic": 2}[self.weights]
        cost = K.cast(distance > 0, shares.dtype) if power == 0 else distance**power
        true, found = K.sum(shares, axis=2), K.sum(shares, axis=1)
        chance = K.sum(cost * true[:, :, None] * found[:, None, :], axis=(1, 2))
        return ratio(K.sum(cost * shares, axis=(1, 2)), chance), present(chance)


@keras.saving.register_keras_serializable(package="bevel")
class BalancedAccuracy(_Confusion):
    """1 - the mean recall of the classes that have rows; 1 - their geometric mean if `geometric`.

    Args:
        geometric: Whether to take the geometric mean of the recalls (G-mean).
        threshold: Where a prediction of labels 0 and 1 counts as 1.
        multi_label: Whether predictions (n, c) are c labels of their own instead of c classes.
        from_logits: Whether predictions are logits.
        temperature: How soft a decision is, in units of the typical distance to its threshold.
        reduction: Over labels of their own: `sum_over_batch_size`, `sum`, or None.
        name: Name of the loss.
        dtype: The dtype to compute in.

    Raises:
        BevelValueError: an argument cannot be used; shapes, labels or weights do not fit when
            called.

    Call arguments: as of `FBeta`.

    Example:
        >>> import numpy as np
        >>> y, p = np.array([1, 0, 1, 0]), np.array([0.9, 0.8, 0.7, 0.1], "float32")
        >>> round(float(BalancedAccuracy(temperature=1e-3)(y, p)), 3)
        0.25
    """

    def __init__(
        self,
        *,
        geometric: bool = False,
        threshold: float = 0.5,
        multi_label: bool = False,
        from_logits: bool = False,
        temperature: float = 0.1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            reduction, name, dtype, geometric=geometric, threshold=threshold,
            multi_label=multi_label, from_logits=from_logits, temperature=temperature,
        )  # fmt: skip

    def of_matrix(self, matrix: Any, positive_only: bool) -> tuple[Any, Any]:
        true = K.sum(matrix, axis=2)
        recall = ratio(K.diagonal(matrix, axis1=1, axis2=2), true)
        some = present(true)
        count = K.sum(some, axis=-1)
        if self.geometric:
            logs = some * K.log(K.maximum(recall, 1e-12))
            mean = K.exp(ratio(K.sum(logs, axis=-1), count))
        else:
            mean = ratio(K.sum(some * recall, axis=-1), count)
        rows = present(count)
        return rows * (1 - mean), rows


def _typical(distance: Any, w: Any) -> Any:
    """The mean distance, 1 where there is none."""
    mean = ratio(K.sum(w * distance), K.sum(w + 0 * distance))
    return K.where(mean > 0, mean, K.ones_like(mean))


def _shares(matrix: Any) -> Any:
    """Counts as shares of all rows."""
    return ratio(matrix, K.sum(matrix, axis=(1, 2), keepdims=True))
