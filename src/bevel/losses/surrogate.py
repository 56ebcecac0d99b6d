"""What the losses written by hand have in common: arguments, checks, weights and the reduction.

A loss gives one value for each thing that has a metric of its own (a class, a list, an image) and a
weight for each; those are then averaged. Where a metric has no meaning, as an area under a curve
without positives, the value and the weight are 0, and so is the gradient.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import keras
from keras import ops as K

from bevel.errors import BevelValueError
from bevel.losses.checks import (
    aligned,
    check_values,
    floating,
    is_invalid,
    weights_of,
    without_unweighted,
)
from bevel.losses.conventions import Convention
from bevel.ops import max as soft_max
from bevel.ops.arguments import check_temperature, compute_dtype

REDUCTIONS = ("sum_over_batch_size", "sum", "none", None)
HINGES = ("hinge", "squared_hinge")
"""The kernels that rise without an end."""


class Surrogate(keras.losses.Loss):
    """A loss that takes labels and predictions of one shape.

    Subclasses set what labels look like, implement `values`, and hand all of their settings to
    `__init__`, which keeps each in an attribute: that is how a loss is saved.
    """

    labels: ClassVar[str] = "shares"
    probabilities: ClassVar[bool] = False
    class_numbers: ClassVar[bool] = False

    # AutoGraph leaves alone what carries this attribute.
    autograph_info__: ClassVar[None] = None

    def __init__(
        self, reduction: str | None, name: str | None, dtype: Any, **settings: Any
    ) -> None:
        if reduction not in REDUCTIONS:
            raise BevelValueError(f"`reduction` must be one of {REDUCTIONS}; got {reduction!r}.")
        super().__init__(name or type(self).__name__, reduction, dtype)
        if "temperature" in settings and not check_temperature(settings["temperature"]):
            raise BevelValueError("`temperature` must be > 0; at 0 there is no gradient. Got 0.")
        self._settings = tuple(settings)
        for key, value in settings.items():
            setattr(self, key, value)

    def values(self, y_true: Any, y_pred: Any, weights: Any) -> tuple[Any, Any]:
        """The values and a weight for each.

        Args:
            y_true: Labels in the dtype of the loss, of the shape of y_pred (or of one axis less,
                where the loss takes class numbers).
            y_pred: Predictions.
            weights: None, or a tensor that broadcasts from the left: one for each row, or more.
        """
        raise NotImplementedError

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """The loss of a batch: a scalar, or with `reduction=None` one for each value."""
        mask = getattr(y_pred, "_keras_mask", None)
        dtype = compute_dtype(self.dtype)  # half precision has no digits for sums over a batch
        y_pred = K.cast(floating(y_pred), dtype)
        y_true = K.convert_to_tensor(y_true)
        weights = weights_of(sample_weight, mask, y_pred, dtype)
        y_true, y_pred = self.aligned(y_true, y_pred)
        if not self.class_numbers and len(y_true.shape) != len(y_pred.shape):
            raise BevelValueError(
                f"`{self.name}` needs labels of the shape of y_pred, {tuple(y_pred.shape)}; got "
                f"{tuple(y_true.shape)}. Class numbers can be written as keras.ops.one_hot."
            )
        ignored = getattr(self, "ignore_class", None)
        known = y_true
        if ignored is not None:
            known = K.where(y_true == ignored, K.zeros_like(y_true), y_true)
        if weights is not None:
            known, _ = without_unweighted(known, y_pred, weights)
            y_true, y_pred = without_unweighted(y_true, y_pred, weights)
        labels = "classes" if self.takes_numbers(y_true, y_pred) else self.labels
        convention = Convention(False, labels, self.probabilities)
        check_values(convention, known, y_pred, weights, getattr(self, "from_logits", False))
        invalid = is_invalid(convention, known, y_pred)
        if "int" not in keras.backend.standardize_dtype(y_true.dtype):
            y_true = K.cast(y_true, dtype)
        values, shares = self.values(y_true, y_pred, weights)
        if self.reduction == "sum":
            values = K.sum(values * shares)
        elif self.reduction == "sum_over_batch_size":
            values = ratio(K.sum(values * shares), K.sum(shares))
        if invalid is not None:
            values = K.where(invalid, values + float("nan"), values)
        return K.cast(values, self.dtype)

    def aligned(self, y_true: Any, y_pred: Any) -> tuple[Any, Any]:
        """Labels and predictions in shapes that belong together, else an error."""
        return aligned(y_true, y_pred)

    def takes_numbers(self, y_true: Any, y_pred: Any) -> bool:
        """Whether labels are class numbers, for a loss that takes them."""
        classes = y_pred.shape[-1] if len(y_pred.shape) > 1 else 1
        short = len(y_true.shape) < len(y_pred.shape) or (y_true.shape[-1] == 1 and classes > 1)
        return self.class_numbers and short

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """As calling the loss itself, without weights."""
        return self(y_true, y_pred)

    def get_config(self) -> dict[str, Any]:
        """Everything needed to make the loss again."""
        return {**super().get_config(), **{n: getattr(self, n) for n in self._settings}}


def ratio(a: Any, b: Any) -> Any:
    """a / b, and 0 with no gradient where b is 0."""
    some = b != 0
    return K.where(some, a, K.zeros_like(a)) / K.where(some, b, K.ones_like(b))


def present(total: Any) -> Any:
    """1 where there is something to count, also where that is NaN; 0 where there is nothing."""
    return K.cast(total != 0, total.dtype)


def largest(values: Any, among: Any, temperature: Any, scale: Any = 1.0) -> Any:
    """Softly the largest of the values along the last axis that are in; 0 where none is.

    The weights have heavy tails, so that the value is pulled up by all of them.
    """
    if values.shape[-1] == 0:
        return K.sum(values, axis=-1)
    some = K.any(among, axis=-1)
    inside = K.where(
        K.logical_or(among, K.logical_not(some)[..., None]),
        values,
        K.full_like(values, -float("inf")),
    )
    found = soft_max(inside, axis=-1, temperature=temperature, kernel="cauchy", scale=scale)
    return K.where(some, found, K.zeros_like(found))


def full_weights(weights: Any, like: Any) -> Any:
    """A weight for each element, from weights that broadcast from the left."""
    if weights is None:
        return K.ones_like(like)
    missing = len(like.shape) - len(weights.shape)
    weights = K.reshape(weights, (*K.shape(weights), *(1,) * missing))
    return K.broadcast_to(weights, K.shape(like))


def columns(x: Any) -> Any:
    """Shape (n, ..., c) as (c, elements); (n,) as (1, n)."""
    if len(x.shape) == 1:
        return K.expand_dims(x, 0)
    return K.transpose(K.reshape(x, (-1, x.shape[-1])))


def standardised(scores: Any, weights: Any, kernel: str) -> Any:
    """Scores in units of a typical difference along the last axis.

    For a normal distribution that unit is the mean distance of two draws. It is 1 where all scores
    are equal. For a hinge it is a constant for the gradient: pairs in the wrong order keep scores
    from growing. By a kernel from 0 to 1 all would gain by mere growth, without end and without a
    change of their order; there center and unit have their gradients, so that the loss, which
    growth does not change, has none in that direction.

    Args:
        scores: Shape (rows, n).
        weights: Likewise.
        kernel: What the differences are to be counted by.
    """
    scores = _in_units(scores, K.stop_gradient(scores), weights)
    # in two steps, so that the squares of very small and very large units never occur
    return scores if kernel in HINGES else _in_units(scores, scores, weights)


def _in_units(scores: Any, measured: Any, weights: Any) -> Any:
    """Scores, from the center and in the unit of those that are measured."""
    total = K.sum(weights, axis=-1, keepdims=True)
    center = ratio(K.sum(weights * measured, axis=-1, keepdims=True), total)
    distance = K.abs(measured - center)
    unit = math.sqrt(2) * ratio(K.sum(weights * distance, axis=-1, keepdims=True), total)
    usable = K.logical_and(K.isfinite(unit), unit > 0)
    return (scores - center) / K.where(usable, unit, K.ones_like(unit))
