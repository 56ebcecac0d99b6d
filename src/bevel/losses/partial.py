"""A part of the area under the ROC curve: pairs of the positives and negatives that it is made of.

The area to the left of a false positive rate is a sum over pairs with the negatives of largest
scores only, that above a true positive rate one with the positives of smallest scores. Of all
choices of so many rows these make the loss largest, so the choice is a maximum, and by Danskin's
theorem the gradient is that of the chosen pairs: no soft choice is needed.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops as K

from bevel.errors import BevelValueError
from bevel.losses.columns import Columns, averaging
from bevel.losses.ranking import RISING, wrong_pairs
from bevel.losses.surrogate import ratio, standardised
from bevel.ops import pairwise_sum
from bevel.ops.arguments import choose


@keras.saving.register_keras_serializable(package="bevel")
class PartialAUC(Columns):
    """1 - the area under the ROC curve where the false positive rate is small, as a share.

    One-way, min_tpr = 0: 1 - A / max_fpr, where A is the area under the curve from a false positive
    rate of 0 to max_fpr; that is not standardised as McClish does, which scikit-learn's
    roc_auc_score(max_fpr=) adds. Two-way: the same with the area above min_tpr only, over
    max_fpr (1 - min_tpr) (Yang, Lu, Lyu and Hu, 2019). Either is

        sum over i, j of a_i b_j K((s_j - s_i) / temperature) / (sum a_i sum b_j)

    with a the weights of the (1 - min_tpr) P positives of smallest scores and b those of the
    max_fpr N negatives of largest ones (Narasimhan and Agarwal, ICML 2013), the last of them in
    part, where equal scores share, and equal ones of both classes count half; s is in units of its
    spread. With a hinge it is convex. O(n log n).

    Args:
        max_fpr: The largest false positive rate, above 0 and at most 1.
        min_tpr: The smallest true positive rate, at least 0 and below 1.
        temperature: The margin of a hinge, or how soft a step, in units of the spread.
        kernel: A kernel of `bevel.ops.pairwise_sum` that rises; a hinge does not tend to the area,
            but pairs that are far off get a gradient from it.
        average: `macro` averages over columns, `weighted` by their positives, `micro` lays the
            columns end to end, `none` keeps them for `reduction=None`.
        class_weight: A weight for each column, or None.
        reduction: Over the columns: `sum_over_batch_size` (their mean; columns with one class only
            are left out), `sum`, or None for one loss each.
        name: Name of the loss.
        dtype: The dtype to compute in.

    Raises:
        BevelValueError: an argument cannot be used; labels or weights do not fit when called.

    Call arguments: as of `AUC`.

    Example:
        >>> import numpy as np
        >>> scores = np.array([0.1, 0.4, 0.35, 0.8], "float32")
        >>> soft = PartialAUC(0.5, kernel="linear", temperature=1e-3)
        >>> float(soft(np.array([0, 0, 1, 1]), scores))
        0.5
    """

    max_fpr: float
    min_tpr: float
    kernel: str
    temperature: float

    def __init__(
        self,
        max_fpr: float = 0.1,
        *,
        min_tpr: float = 0.0,
        temperature: float = 1.0,
        kernel: str = "squared_hinge",
        average: str = "macro",
        class_weight: Any = None,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        choose("kernel", kernel, RISING)
        if not 0 < max_fpr <= 1:
            raise BevelValueError(f"`max_fpr` must be above 0 and at most 1; got {max_fpr}.")
        if not 0 <= min_tpr < 1:
            raise BevelValueError(f"`min_tpr` must be at least 0 and below 1; got {min_tpr}.")
        super().__init__(
            reduction, name, dtype, max_fpr=max_fpr, min_tpr=min_tpr, temperature=temperature,
            kernel=kernel, **averaging(average, class_weight),
        )  # fmt: skip

    def of_columns(self, y: Any, scores: Any, weights: Any) -> tuple[Any, Any]:
        s = standardised(scores, weights, self.kernel)
        negative = _foremost(s, weights * (1 - y), self.max_fpr)
        positive = _foremost(-s, weights * y, 1 - self.min_tpr)
        return wrong_pairs(s, positive, negative, self.kernel, self.temperature)


def _foremost(scores: Any, weights: Any, share: float) -> Any:
    """The weights of the largest scores until they are this share of all; equal ones share."""
    if share == 1:
        return weights
    s = K.stop_gradient(scores)
    middle = pairwise_sum(-s, weights=weights, temperature=0)
    equal = pairwise_sum(s, weights=weights, kernel="triangular", temperature=0)
    left = share * K.sum(weights, axis=-1, keepdims=True) - (middle - 0.5 * equal)
    taken = K.clip(ratio(left, equal), 0.0, 1.0)
    return K.stop_gradient(weights * taken)
