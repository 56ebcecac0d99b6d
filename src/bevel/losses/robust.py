"""Losses of real numbers that a few large errors do not move: their median, or how many are small.

Errors are measured in units of their own typical size, a constant for the gradient.
"""

from __future__ import annotations

from typing import Any, ClassVar

import keras
from keras import ops as K

from bevel.errors import BevelValueError
from bevel.losses.surrogate import Surrogate, columns, full_weights, present, ratio
from bevel.ops import greater
from bevel.ops.piecewise import KERNELS

# The steps of a bisection: more than float64 has digits.
_STEPS = 60
# Half of the span of weight whose middle is the median.
_NEAR = 1e-5


@keras.saving.register_keras_serializable(package="bevel")
class MedianAbsoluteError(Surrogate):
    """The median of abs(y_true - y_pred) in each column.

    Softly the t at which sum over i of w_i K((t - abs(e_i)) / temperature) is half of all weight,
    with the linear kernel K and e in units of its mean size: `bevel.ops.median`, with weights. Its
    derivative is a weighted mean of those of the errors near the median; all others get none, so
    with a low temperature few rows learn at a time. Between two values it is their mean.

    Args:
        temperature: How soft, in units of the mean absolute error.
        reduction: Over the columns: `sum_over_batch_size` (their mean), `sum`, or None.
        name: Name of the loss.
        dtype: The dtype to compute in.

    Raises:
        BevelValueError: an argument cannot be used; shapes or weights do not fit when called.

    Call arguments: y_true and y_pred of shape (n,) or (n, c); sample_weight likewise.

    Example:
        >>> import numpy as np
        >>> y, p = np.array([0.0, 0.0, 0.0]), np.array([1.0, 2.0, 99.0], "float32")
        >>> round(float(MedianAbsoluteError(temperature=1e-3)(y, p)), 3)
        2.0
    """

    labels: ClassVar[str] = "real"
    temperature: float

    def __init__(
        self,
        *,
        temperature: float = 0.5,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(reduction, name, dtype, temperature=temperature)

    def values(self, y_true: Any, y_pred: Any, weights: Any) -> tuple[Any, Any]:
        w = columns(full_weights(weights, y_pred))
        error = columns(K.cast(y_true, y_pred.dtype) - y_pred)
        error = error * K.stop_gradient(K.sign(error))  # no slope at 0, on all backends
        total = K.sum(w, axis=-1, keepdims=True)
        unit = K.stop_gradient(ratio(K.sum(w * error, axis=-1, keepdims=True), total))
        unit = K.where(unit > 0, unit, K.ones_like(unit))
        half = KERNELS["linear"].width * self.temperature
        found = unit[..., 0] * _median(error / unit, ratio(w, total), half)
        some = present(total[..., 0])
        return K.where(some > 0, found, K.zeros_like(found)), some


@keras.saving.register_keras_serializable(package="bevel")
class ToleranceAccuracy(Surrogate):
    """1 - the share of rows whose prediction lies within a tolerance of the label.

    Softly K((e + tolerance) / temperature) - K((e - tolerance) / temperature) for an error e, the
    chance to lie within, in units of the typical distance of abs(e) from the tolerance; K is
    heavy-tailed (`algebraic`), so that a prediction far off is drawn nearer. An error of exactly
    the tolerance counts half.

    Args:
        tolerance: The largest error that counts as right, > 0, in the unit of the labels.
        temperature: How soft.
        reduction: Over the columns: `sum_over_batch_size` (their mean), `sum`, or None.
        name: Name of the loss.
        dtype: The dtype to compute in.

    Raises:
        BevelValueError: an argument cannot be used; shapes or weights do not fit when called.

    Call arguments: y_true and y_pred of shape (n,) or (n, c); sample_weight likewise.

    Example:
        >>> import numpy as np
        >>> y, p = np.array([0.0, 0.0, 0.0, 0.0]), np.array([0.1, -0.4, 0.6, 9.0], "float32")
        >>> round(float(ToleranceAccuracy(0.5, temperature=1e-4)(y, p)), 3)
        0.5
    """

    labels: ClassVar[str] = "real"
    tolerance: float
    temperature: float

    def __init__(
        self,
        tolerance: float,
        *,
        temperature: float = 0.1,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        if not 0 < tolerance < float("inf"):
            raise BevelValueError(f"`tolerance` must be a finite number > 0; got {tolerance}.")
        super().__init__(reduction, name, dtype, tolerance=tolerance, temperature=temperature)

    def values(self, y_true: Any, y_pred: Any, weights: Any) -> tuple[Any, Any]:
        w = columns(full_weights(weights, y_pred))
        error = columns(K.cast(y_true, y_pred.dtype) - y_pred)
        total = K.sum(w, axis=-1, keepdims=True)
        distance = K.abs(K.abs(K.stop_gradient(error)) - self.tolerance)
        unit = ratio(K.sum(w * distance, axis=-1, keepdims=True), total)
        how = {
            "temperature": self.temperature,
            "kernel": "algebraic",
            "scale": K.where(unit > 0, unit, K.ones_like(unit)),
        }
        within = greater(error, -self.tolerance, **how) - greater(error, self.tolerance, **how)
        some = present(total[..., 0])
        return some - ratio(K.sum(w * within, axis=-1), total[..., 0]), some


def _median(x: Any, share: Any, half: float) -> Any:
    """Where the sum of shares times the linear kernel is 1/2, in the middle if that is a stretch.

    Args:
        x: Shape (rows, n).
        share: Weights that sum to 1 in each row, likewise.
        half: Half of the width of the kernel's slope.
    """
    fixed = K.stop_gradient(x)
    # rows of weight 0 are 0 and widen the search at most
    low = K.min(fixed, axis=-1, keepdims=True, initial=float("inf")) - half
    high = K.max(fixed, axis=-1, keepdims=True, initial=-float("inf")) + half
    ends = []
    for height in (0.5 - _NEAR, 0.5 + _NEAR):
        place = _crossing(fixed, share, half, height, low, high)
        near = share * K.cast(K.abs(fixed - place) <= half * (1 + 1e-3), x.dtype)
        moved = ratio(K.sum(near * (x - fixed), axis=-1), K.sum(near, axis=-1))
        ends.append(K.squeeze(place, -1) + moved)
    return 0.5 * (ends[0] + ends[1])


def _crossing(x: Any, share: Any, half: float, height: float, low: Any, high: Any) -> Any:
    """Where the rising curve has a height, by halving: it is a constant for the gradient."""

    def halved(_: Any, ends: tuple[Any, Any]) -> tuple[Any, Any]:
        middle = 0.5 * (ends[0] + ends[1])
        risen = K.clip(0.5 + 0.5 * (middle - x) / half, 0.0, 1.0)
        is_below = K.sum(share * risen, axis=-1, keepdims=True) < height
        return K.where(is_below, middle, ends[0]), K.where(is_below, ends[1], middle)

    low, high = K.fori_loop(0, _STEPS, halved, (low, high))
    return K.stop_gradient(0.5 * (low + high))
