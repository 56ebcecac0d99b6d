"""Losses of the k best rows: precision and recall among those with the largest scores.

How far a row belongs to the k best is a share between 0 and 1, and all shares sum to k
(`bevel.ops.top_k_mask`): no threshold to set, and O(n log n).
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops as K

from bevel.errors import BevelValueError
from bevel.losses.surrogate import Surrogate, columns, full_weights, present, ratio, standardised
from bevel.ops import top_k_mask

# Rows of weight 0 stand so many spreads below all others.
_FAR = 1e3


class _Top(Surrogate):
    """A loss of the k rows with the largest scores of each column."""

    k: int | float

    def __init__(
        self,
        k: int | float,
        *,
        temperature: float = 1.0,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        is_share = isinstance(k, float) and 0 < k < 1
        if not is_share and (k < 1 or k != int(k)):
            raise BevelValueError(
                f"`k` must be a number of rows, at least 1, or a share between 0 and 1; got {k}."
            )
        super().__init__(reduction, name, dtype, k=k, temperature=temperature)

    def values(self, y_true: Any, y_pred: Any, weights: Any) -> tuple[Any, Any]:
        w = columns(full_weights(weights, y_pred))
        y, s = columns(K.cast(y_true, y_pred.dtype)), columns(y_pred)
        n = s.shape[-1]
        if n is None:
            raise BevelValueError(
                f"`{self.name}` needs to know the number of rows when it is traced; got a batch of "
                "unknown size."
            )
        k = min(max(round(self.k * n), 1) if self.k < 1 else int(self.k), n)
        scores = K.where(w > 0, standardised(s, w, "linear"), K.full_like(s, -_FAR))
        among = w * top_k_mask(scores, k, temperature=self.temperature)
        return self.of_hits(K.sum(among * y, -1), K.sum(among, -1), K.sum(w * y, -1))

    def of_hits(self, hits: Any, chosen: Any, positives: Any) -> tuple[Any, Any]:
        """The loss of each column and its weight."""
        raise NotImplementedError


@keras.saving.register_keras_serializable(package="bevel")
class PrecisionAtK(_Top):
    """1 - the share of positives among the k rows with the largest scores.

    Args:
        k: How many rows, or their share of the batch between 0 and 1.
        temperature: How soft, in units of the spread of the scores.
        reduction: Over the columns: `sum_over_batch_size` (their mean), `sum`, or None.
        name: Name of the loss.
        dtype: The dtype to compute in.

    Raises:
        BevelValueError: an argument cannot be used; labels or weights do not fit when called, or
            the number of rows is not known when traced.

    Call arguments: as of `AUC`.

    Example:
        >>> import numpy as np
        >>> scores = np.array([0.1, 0.4, 0.35, 0.8], "float32")
        >>> round(float(PrecisionAtK(2, temperature=1e-3)(np.array([0, 0, 1, 1]), scores)), 3)
        0.5
    """

    def of_hits(self, hits: Any, chosen: Any, positives: Any) -> tuple[Any, Any]:
        some = present(chosen)
        return some - ratio(hits, chosen), some


@keras.saving.register_keras_serializable(package="bevel")
class RecallAtK(_Top):
    """1 - the share of all positives that is among the k rows with the largest scores.

    Args:
        k: How many rows, or their share of the batch between 0 and 1.
        temperature: How soft, in units of the spread of the scores.
        reduction: Over the columns: `sum_over_batch_size` (their mean; columns without positives
            are left out), `sum`, or None.
        name: Name of the loss.
        dtype: The dtype to compute in.

    Raises:
        BevelValueError: an argument cannot be used; labels or weights do not fit when called, or
            the number of rows is not known when traced.

    Call arguments: as of `AUC`.

    Example:
        >>> import numpy as np
        >>> scores = np.array([0.1, 0.4, 0.35, 0.8], "float32")
        >>> round(float(RecallAtK(0.25, temperature=1e-3)(np.array([0, 0, 1, 1]), scores)), 3)
        0.5
    """

    def of_hits(self, hits: Any, chosen: Any, positives: Any) -> tuple[Any, Any]:
        some = present(positives)
        return some - ratio(hits, positives), some
