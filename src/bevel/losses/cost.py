"""The expected cost of decisions, where mistakes have prices of their own.

It is linear in the probabilities, so it needs no temperature: it has a gradient as it is, and
stands here on the contract of the others.
"""

from __future__ import annotations

from typing import Any, ClassVar

import keras
import numpy as np
from keras import ops as K

from bevel.errors import BevelValueError
from bevel.losses.columns import averaging
from bevel.losses.surrogate import Surrogate, full_weights, present, ratio


@keras.saving.register_keras_serializable(package="bevel")
class ExpectedCost(Surrogate):
    """The mean over rows of sum over k of cost[y, k] p_k: the cost of a decision drawn from p.

    For a prediction of 0 and 1 it is the cost of the decision itself (Elkan, IJCAI 2001). Linear in
    p, it is least where all of p is on the cheapest decision of a row: it drives predictions to
    decisions and not to calibrated probabilities. Where those are wanted, train on cross-entropy
    and decide by cost. A weight of a class is a factor of its row of the matrix.

    Args:
        cost_matrix: Shape (classes, classes): what it costs to decide k, the column, where y, the
            row, is true. For labels 0 and 1 it is 2 x 2. Costs may be negative: gains.
        multi_label: Whether predictions (n, c) are c labels of their own, each with the costs of a
            2 x 2 matrix, instead of c classes.
        average: For labels of their own: `macro` averages over them, `weighted` by their positives,
            `micro` over all decisions, `none` keeps them for `reduction=None`.
        class_weight: For labels of their own: a weight for each, or None.
        from_logits: Whether predictions are logits: a softmax over classes, else a sigmoid.
        reduction: Over labels of their own: `sum_over_batch_size`, `sum`, or None.
        name: Name of the loss.
        dtype: The dtype to compute in.

    Raises:
        BevelValueError: the matrix is not square or not finite, or is of another number of classes
            than the predictions; shapes, labels, weights or probabilities do not fit when called.

    Call arguments: y_pred of shape (n,), (n, 1) or (n, c); y_true of that shape, or class numbers
    (n,); sample_weight of shape (n,).

    Example:
        >>> import numpy as np
        >>> loss = ExpectedCost([[0.0, 1.0], [10.0, 0.0]])
        >>> float(loss(np.array([0, 1]), np.array([0.5, 0.5], "float32")))
        2.75
    """

    class_numbers: ClassVar[bool] = True
    probabilities: ClassVar[bool] = True
    cost_matrix: list[list[float]]
    multi_label: bool
    average: str
    class_weight: list[float] | None
    from_logits: bool

    def __init__(
        self,
        cost_matrix: Any,
        *,
        multi_label: bool = False,
        average: str = "macro",
        class_weight: Any = None,
        from_logits: bool = False,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        costs = np.asarray(cost_matrix, "float64")
        if costs.ndim != 2 or costs.shape[0] != costs.shape[1] or len(costs) < 2:
            raise BevelValueError(
                f"`cost_matrix` must have a row and a column for each class; got shape "
                f"{costs.shape}."
            )
        if not np.isfinite(costs).all():
            raise BevelValueError(f"`cost_matrix` must hold finite numbers; got {costs.tolist()}.")
        if class_weight is not None and not multi_label:
            raise BevelValueError(
                "`class_weight` is for labels of their own; multiply the rows of `cost_matrix`."
            )
        super().__init__(
            reduction, name, dtype, cost_matrix=costs.tolist(), multi_label=multi_label,
            from_logits=from_logits, **averaging(average, class_weight),
        )  # fmt: skip

    def values(self, y_true: Any, y_pred: Any, weights: Any) -> tuple[Any, Any]:
        single = len(y_pred.shape) == 1 or y_pred.shape[-1] == 1
        binary = single or self.multi_label
        classes = 2 if binary else y_pred.shape[-1]
        if classes != len(self.cost_matrix):
            raise BevelValueError(
                f"`cost_matrix` is for {len(self.cost_matrix)} classes and y_pred of shape "
                f"{tuple(y_pred.shape)} is of {classes}."
            )
        if binary and tuple(y_true.shape[1:]) != tuple(y_pred.shape[1:]):
            raise BevelValueError(
                f"`{self.name}` of labels of their own needs y_true of the shape of y_pred, "
                f"{tuple(y_pred.shape)}; got {tuple(y_true.shape)}."
            )
        costs = K.convert_to_tensor(self.cost_matrix, dtype=y_pred.dtype)
        w = full_weights(weights, y_pred)
        if binary:
            return self._of_labels(K.cast(y_true, y_pred.dtype), y_pred, w, costs)
        if self.takes_numbers(y_true, y_pred):
            y_true = K.one_hot(K.cast(K.reshape(y_true, (-1,)), "int32"), classes, dtype=w.dtype)
        y = K.cast(K.reshape(y_true, (-1, classes)), w.dtype)
        p = K.reshape(K.softmax(y_pred) if self.from_logits else y_pred, (-1, classes))
        w = K.reshape(w, (-1, classes))[:, 0]
        total = K.sum(w, keepdims=True)
        cost = K.sum(K.matmul(y, costs) * p, axis=-1)
        return ratio(K.sum(w * cost, keepdims=True), total), present(total)

    def _of_labels(self, y: Any, p: Any, w: Any, costs: Any) -> tuple[Any, Any]:
        p = K.sigmoid(p) if self.from_logits else p
        cost = (1 - y) * ((1 - p) * costs[0, 0] + p * costs[0, 1])
        cost = cost + y * ((1 - p) * costs[1, 0] + p * costs[1, 1])
        labels = y.shape[-1] if len(y.shape) > 1 else 1
        y, cost, w = (K.reshape(t, (-1, labels)) for t in (y, cost, w))
        if self.class_weight is not None and len(self.class_weight) != labels:
            raise BevelValueError(
                f"`class_weight` holds {len(self.class_weight)} numbers and y_pred {labels} "
                "labels; give one for each."
            )
        by_label = K.convert_to_tensor(self.class_weight or [1.0] * labels, dtype=w.dtype)
        if self.average == "micro":
            total = K.sum(w * by_label, keepdims=True)
            return ratio(K.sum(w * by_label * cost, keepdims=True), total), present(total)
        total = K.sum(w, axis=0)
        share = K.sum(w * y, axis=0) if self.average == "weighted" else present(total)
        return ratio(K.sum(w * cost, axis=0), total), share * by_label
