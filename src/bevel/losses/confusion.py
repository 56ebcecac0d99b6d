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
from bevel.losses.columns import averaging, numbers_by_class, weighed
from bevel.losses.surrogate import Surrogate, full_weights, present, ratio
from bevel.ops import argmax, greater
from bevel.ops.arguments import choose
from bevel.ops.kernels import KERNELS

KAPPAS = ("none", "linear", "quadratic")


class _Confusion(Surrogate):
    """A loss computed from a confusion matrix; what its settings mean says `FBeta`.

    Predictions of shape (n, c) with `multi_label` are c decisions of their own, without it one
    among c classes; (n,) and (n, 1) are one decision.
    """

    class_numbers: ClassVar[bool] = True
    average: str
    class_weight: list[float] | None
    ignore_class: int | None
    threshold: float
    multi_label: bool
    from_logits: bool
    kernel: str
    temperature: float

    def __init__(
        self,
        own: dict[str, Any],
        *,
        average: str = "macro",
        class_weight: Any = None,
        ignore_class: int | None = None,
        threshold: float = 0.5,
        multi_label: bool = False,
        from_logits: bool = False,
        kernel: str = "algebraic",
        temperature: float = 0.1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        choose("kernel", kernel, KERNELS)
        super().__init__(
            reduction, name, dtype, **own, **averaging(average, class_weight),
            ignore_class=ignore_class, threshold=threshold, multi_label=multi_label,
            from_logits=from_logits, kernel=kernel, temperature=temperature,
        )  # fmt: skip

    def values(self, y_true: Any, y_pred: Any, weights: Any) -> tuple[Any, Any]:
        w = full_weights(weights, y_pred)
        columns = y_pred.shape[-1] if len(y_pred.shape) > 1 else 1
        by_class = numbers_by_class(self.class_weight, columns, w.dtype)
        if columns > 1 and not self.multi_label:
            return self.of_classes(self._matrix_of_classes(y_true, y_pred, w), by_class)
        matrices = self._matrices_of_labels(y_true, y_pred, w, columns)
        if self.average == "micro":
            matrices = matrices if by_class is None else matrices * by_class[:, None, None]
            return self.of_matrices(K.sum(matrices, axis=0, keepdims=True))
        values, shares = self.of_matrices(matrices)
        return values, weighed(self.average, shares, K.sum(matrices[:, 1], axis=-1), by_class)

    def of_matrices(self, matrices: Any) -> tuple[Any, Any]:
        """The value of each matrix, and 1 or 0: whether it has one.

        Args:
            matrices: Counts of shape (labels, true class, decided class). Of two classes the second
                is the one that is looked for.
        """
        raise NotImplementedError

    def of_classes(self, matrix: Any, by_class: Any) -> tuple[Any, Any]:
        """The values and their weights where no class is above the others.

        Args:
            matrix: Counts of shape (1, true class, decided class).
            by_class: A number for each class, or None. A factor of its rows, if the matrix has one
                value for all classes.
        """
        return self.of_matrices(matrix if by_class is None else matrix * by_class[:, None])

    def _matrices_of_labels(self, y_true: Any, y_pred: Any, w: Any, columns: int) -> Any:
        """A matrix for each label of its own."""
        if tuple(y_true.shape[1:]) != tuple(y_pred.shape[1:]):
            raise BevelValueError(
                f"`{self.name}` of labels of their own needs y_true of the shape of y_pred, "
                f"{tuple(y_pred.shape)}; got {tuple(y_true.shape)}."
            )
        if self.ignore_class is not None:
            y_true, w = _without(y_true == self.ignore_class, y_true, w)
        p = K.sigmoid(y_pred) if self.from_logits else y_pred
        scale = _typical(K.abs(K.stop_gradient(p) - self.threshold), w)
        decided = greater(
            p, self.threshold, temperature=self.temperature, kernel=self.kernel, scale=scale
        )
        y, d, w = (K.reshape(t, (-1, columns)) for t in (K.cast(y_true, p.dtype), decided, w))
        rows = [K.sum(w * a * b, axis=0) for a in (1 - y, y) for b in (1 - d, d)]
        return K.reshape(K.stack(rows, axis=-1), (-1, 2, 2))

    def _matrix_of_classes(self, y_true: Any, y_pred: Any, w: Any) -> Any:
        """One matrix of all classes."""
        classes = y_pred.shape[-1]
        w = K.reshape(w, (-1, classes))[:, :1]
        if self.takes_numbers(y_true, y_pred):
            numbers = K.reshape(y_true, (-1, 1))
            if self.ignore_class is not None:
                numbers, w = _without(numbers == self.ignore_class, numbers, w)
            y = K.one_hot(K.cast(numbers[:, 0], "int32"), classes, dtype=w.dtype)
        else:
            y = K.cast(K.reshape(y_true, (-1, classes)), w.dtype)
            if self.ignore_class is not None and 0 <= self.ignore_class < classes:
                w = w * (1 - y[:, self.ignore_class, None])
            elif self.ignore_class is not None:  # a label beyond the classes has no column
                w = w * K.cast(K.any(y != 0, axis=-1, keepdims=True), w.dtype)
        p = K.reshape(y_pred, (-1, classes))
        # logarithms keep the distance of a class that has lost from the others that have
        score = p if self.from_logits else K.log(K.maximum(p, 1e-30))
        scale = _typical(K.abs(K.stop_gradient(score - K.mean(score, -1, keepdims=True))), w)
        kernel = "softmax" if self.kernel == "logistic" else "cauchy"
        decided = argmax(score, temperature=self.temperature, kernel=kernel, scale=scale)
        return K.expand_dims(K.matmul(K.transpose(w * y), decided), 0)


@keras.saving.register_keras_serializable(package="bevel")
class FBeta(_Confusion):
    """1 - F_beta, (1 + beta^2) tp / ((1 + beta^2) tp + beta^2 fn + fp); F1 for beta = 1.

    For F1, cross-entropy with a tuned threshold does as well: see docs/training.md.

    Args:
        beta: How many times as much recall counts as precision, > 0.
        **settings: Those that all losses of a confusion matrix have:

            average: Over classes, or labels of their own: `macro` takes their mean (for one label
                there is one), `weighted` by how many rows have each, `micro` adds their counts
                first, `none` keeps them.
            class_weight: A number >= 0 for each class, or label of its own: how much it counts in
                the mean; with `micro` a factor of its counts. Or None.
            ignore_class: A label, such as 255 or -1, whose rows do not count, of labels 0 and 1
                those elements; or None.
            threshold: Where a prediction of labels 0 and 1 counts as 1, 0.5.
            multi_label: Whether predictions (n, c) are c labels of their own instead of c classes.
            from_logits: Whether predictions are logits.
            kernel: How a decision is soft. For labels 0 and 1 a kernel of `bevel.ops.greater`;
                among several classes `logistic` is a softmax, which leaves rows far off without a
                gradient unless the temperature is 0.3 or more, and all others are weights with
                heavy tails, `cauchy` of `bevel.ops.argmax`.
            temperature: How soft a decision is, in units of the typical distance to its threshold.
            reduction: `sum_over_batch_size`, `sum`, or None for one value for each class or label.
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

    def __init__(self, *, beta: float = 1.0, **settings: Any) -> None:
        if beta <= 0:
            raise BevelValueError(f"`beta` must be > 0; got {beta}.")
        super().__init__({"beta": beta}, **settings)

    def of_matrices(self, matrices: Any) -> tuple[Any, Any]:
        true, found = K.sum(matrices[:, 1], -1), K.sum(matrices[:, :, 1], -1)
        return self._of_counts(matrices[:, 1, 1], true, found)

    def of_classes(self, matrix: Any, by_class: Any) -> tuple[Any, Any]:
        tp = K.diagonal(matrix[0])
        true, found = K.sum(matrix[0], axis=1), K.sum(matrix[0], axis=0)
        if self.average == "micro":
            factor = K.ones_like(tp) if by_class is None else by_class
            tp, true, found = (K.sum(factor * t, axis=0, keepdims=True) for t in (tp, true, found))
            return self._of_counts(tp, true, found)
        values, shares = self._of_counts(tp, true, found)
        return values, weighed(self.average, shares, true, by_class)

    def _of_counts(self, tp: Any, true: Any, found: Any) -> tuple[Any, Any]:
        square = self.beta**2
        total = square * true + found
        some = present(total)
        return some - ratio((1 + square) * tp, total), some


@keras.saving.register_keras_serializable(package="bevel")
class MCC(_Confusion):
    """1 - Matthews's correlation coefficient, for several classes Gorodkin's R_K.

    R_K = (c s - sum t_k p_k) / sqrt((s^2 - sum p_k^2) (s^2 - sum t_k^2)) with s rows, c of them
    right, t_k of class k and p_k decided as k (Gorodkin, Computational Biology and Chemistry 2004).

    Args:
        **settings: Those of `FBeta` without beta. Several classes have one value, so that `average`
            has no effect on them, and a number of `class_weight` is a factor of the rows of a true
            class.

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

    def __init__(self, **settings: Any) -> None:
        super().__init__({}, **settings)

    def of_matrices(self, matrices: Any) -> tuple[Any, Any]:
        shares = _shares(matrices)
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
        **settings: Those of `FBeta` without beta. Several classes have one value, so that `average`
            has no effect on them, and a number of `class_weight` is a factor of the rows of a true
            class.

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

    def __init__(self, *, weights: str = "none", **settings: Any) -> None:
        choose("weights", weights, KAPPAS)
        super().__init__({"weights": weights}, **settings)

    def of_matrices(self, matrices: Any) -> tuple[Any, Any]:
        shares = _shares(matrices)
        places = K.arange(matrices.shape[-1], dtype=shares.dtype)
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
        **settings: Those of `FBeta` without beta. Several classes have one value, so that `average`
            has no effect on them, and `class_weight` weighs their recalls in it.

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

    def __init__(self, *, geometric: bool = False, **settings: Any) -> None:
        super().__init__({"geometric": geometric}, **settings)

    def of_matrices(self, matrices: Any) -> tuple[Any, Any]:
        return self.of_classes(matrices, None)

    def of_classes(self, matrix: Any, by_class: Any) -> tuple[Any, Any]:
        true = K.sum(matrix, axis=2)
        recall = ratio(K.diagonal(matrix, axis1=1, axis2=2), true)
        share = present(true) if by_class is None else present(true) * by_class
        total = K.sum(share, axis=-1)
        if self.geometric:
            logs = share * K.log(K.maximum(recall, 1e-12))
            mean = K.exp(ratio(K.sum(logs, axis=-1), total))
        else:
            mean = ratio(K.sum(share * recall, axis=-1), total)
        some = present(total)
        return some * (1 - mean), some


def _without(ignored: Any, labels: Any, weights: Any) -> tuple[Any, Any]:
    """Labels and weights with a 0 where one is ignored."""
    return tuple(K.where(ignored, K.zeros_like(t), t) for t in (labels, weights))


def _typical(distance: Any, w: Any) -> Any:
    """The mean distance, 1 where there is none."""
    mean = ratio(K.sum(w * distance), K.sum(w + 0 * distance))
    return K.where(mean > 0, mean, K.ones_like(mean))


def _shares(matrix: Any) -> Any:
    """Counts as shares of all rows."""
    return ratio(matrix, K.sum(matrix, axis=(1, 2), keepdims=True))
