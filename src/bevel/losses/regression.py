"""Losses of real numbers that Keras has not: quantiles, and the concordance correlation.

Both have a gradient as they are; they stand here on the contract of the others, with weights,
columns and masks.
"""

from __future__ import annotations

from typing import Any, ClassVar

import keras
from keras import ops as K

from bevel.errors import BevelValueError
from bevel.losses.surrogate import Surrogate, columns, full_weights, present, ratio


@keras.saving.register_keras_serializable(package="bevel")
class Quantile(Surrogate):
    """The pinball loss, whose best prediction is the q-quantile: mean of max(q e, (q - 1) e).

    With e = y_true - y_pred (Koenker and Bassett, Econometrica 1978); at e = 0 the slope is the
    mean of those beside it.

    Args:
        q: Between 0 and 1; 0.5 is half of the mean absolute error.
        reduction: Over the columns: `sum_over_batch_size` (their mean), `sum`, or None.
        name: Name of the loss.
        dtype: The dtype to compute in.

    Raises:
        BevelValueError: q lies outside of (0, 1); shapes or weights do not fit when called.

    Call arguments: y_true and y_pred of shape (n,) or (n, c); sample_weight likewise.

    Example:
        >>> import numpy as np
        >>> float(Quantile(0.75)(np.array([4.0, 0.0]), np.array([0.0, 4.0], "float32")))
        2.0
    """

    labels: ClassVar[str] = "real"
    q: float

    def __init__(
        self,
        q: float = 0.5,
        *,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        if not 0 < q < 1:
            raise BevelValueError(f"`q` must lie between 0 and 1; got {q}.")
        super().__init__(reduction, name, dtype, q=q)

    def values(self, y_true: Any, y_pred: Any, weights: Any) -> tuple[Any, Any]:
        w = columns(full_weights(weights, y_pred))
        error = columns(K.cast(y_true, y_pred.dtype) - y_pred)
        each = (self.q - 0.5) * error + 0.5 * error * K.stop_gradient(K.sign(error))
        total = K.sum(w, axis=-1)
        return ratio(K.sum(w * each, axis=-1), total), present(total)


@keras.saving.register_keras_serializable(package="bevel")
class ConcordanceCorrelation(Surrogate):
    """1 - Lin's concordance correlation: 2 cov / (var + var + (difference of means)^2).

    Unlike Pearson's it asks for the same scale and place (Lin, Biometrics 1989).

    Args:
        reduction: Over the columns: `sum_over_batch_size` (their mean; columns in which nothing
            differs are left out), `sum`, or None.
        name: Name of the loss.
        dtype: The dtype to compute in.

    Raises:
        BevelValueError: shapes or weights do not fit when called.

    Call arguments: y_true and y_pred of shape (n,) or (n, c); sample_weight likewise.

    Example:
        >>> import numpy as np
        >>> y = np.array([1.0, 2.0, 3.0], "float32")
        >>> round(float(ConcordanceCorrelation()(y, y + 1)), 4)
        0.4286
    """

    labels: ClassVar[str] = "real"

    def __init__(
        self,
        *,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(reduction, name, dtype)

    def values(self, y_true: Any, y_pred: Any, weights: Any) -> tuple[Any, Any]:
        w = columns(full_weights(weights, y_pred))
        share = ratio(w, K.sum(w, axis=-1, keepdims=True))
        y, s = columns(K.cast(y_true, y_pred.dtype)), columns(y_pred)
        means = [K.sum(share * t, axis=-1, keepdims=True) for t in (y, s)]
        a, b = y - means[0], s - means[1]
        apart = (means[0] - means[1])[..., 0] ** 2
        spread = K.sum(share * (a * a + b * b), axis=-1) + apart
        some = present(spread)
        return some - ratio(2 * K.sum(share * a * b, axis=-1), spread), some
