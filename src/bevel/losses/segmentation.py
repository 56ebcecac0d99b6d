"""Losses of regions: Tversky's index with Dice and Jaccard in it, and Lovász's form of Jaccard.

The counts of a soft region are sums of probabilities, which needs no temperature: tp = sum y p,
fp = sum (1 - y) p, fn = sum y (1 - p). They are taken over each image, or over the batch, for each
class.
"""

from __future__ import annotations

from typing import Any, ClassVar

import keras
from keras import ops as K

from bevel.errors import BevelValueError
from bevel.losses.columns import weights_of_classes
from bevel.losses.surrogate import Surrogate, full_weights, present, ratio
from bevel.ops.arguments import choose
from bevel.ops.primitives import cumulated, taken

OVER = ("batch", "image")


class _Regions(Surrogate):
    """A loss of regions: labels of the shape of y_pred, or class numbers without its last axis."""

    class_numbers: ClassVar[bool] = True
    over: str
    ignore_class: int | None
    from_logits: bool

    def values(self, y_true: Any, y_pred: Any, weights: Any) -> tuple[Any, Any]:
        classes = y_pred.shape[-1]
        w = full_weights(weights, y_pred)
        is_numbers = self.takes_numbers(y_true, y_pred)
        if len(y_true.shape) == len(y_pred.shape) and is_numbers:
            y_true = y_true[..., 0]
        if self.ignore_class is not None and (is_numbers or classes == 1):
            counts = y_true != self.ignore_class
            y_true = K.where(counts, y_true, K.zeros_like(y_true))
            counts = K.cast(counts, w.dtype)
            w = w * (K.expand_dims(counts, -1) if is_numbers else counts)
        elif self.ignore_class is not None and 0 <= self.ignore_class < classes:
            w = w * (1 - K.cast(y_true, w.dtype)[..., self.ignore_class, None])
        if is_numbers:
            y_true = K.one_hot(K.cast(y_true, "int32"), classes, dtype=w.dtype)
        y = K.cast(y_true, y_pred.dtype)
        return self.of_regions(*(self._regions(t) for t in (y, y_pred, w)))

    def of_regions(self, y: Any, y_pred: Any, w: Any) -> tuple[Any, Any]:
        """The loss of each region and its weight, from arrays (images, pixels, classes)."""
        raise NotImplementedError

    def _regions(self, t: Any) -> Any:
        regions = K.shape(t)[0] if self.over == "image" else 1
        return K.reshape(t, (regions, -1, t.shape[-1]))


@keras.saving.register_keras_serializable(package="bevel")
class Tversky(_Regions):
    """1 - Tversky's index, tp / (tp + alpha fp + beta fn), to the power gamma.

    alpha weighs false positives and beta false negatives, as in Salehi, Erdogmus and Gholipour
    (MLMI 2017); gamma is the exponent of the focal form (Abraham and Khan, ISBI 2019). `Dice` is
    alpha = beta = 1/2, `Jaccard` (IoU) is alpha = beta = 1.

    Args:
        alpha: Weight of false positives, >= 0.
        beta: Weight of false negatives, >= 0.
        gamma: Exponent of the loss, > 0.
        from_logits: Whether predictions are logits: a softmax over several classes, else a sigmoid.
        over: `batch` counts over the whole batch, `image` over each row.
        class_weight: A weight for each class, or None.
        ignore_class: A class whose pixels do not count, by its label, or None.
        smooth: Added above and below the line. With 0 a class that has no labels in a region is
            left out of the mean and gets no gradient; above 0 it is pushed to none.
        reduction: Over regions and classes: `sum_over_batch_size` (their mean by weight), `sum`, or
            None for one loss each.
        name: Name of the loss.
        dtype: The dtype to compute in.

    Raises:
        BevelValueError: an argument cannot be used; shapes, labels, weights or probabilities do not
            fit when called.

    Call arguments: y_pred of shape (n, ..., classes); y_true of that shape, or class numbers (n,
    ...); sample_weight of shape (n,), (n, ...) or that of y_pred.

    Example:
        >>> import numpy as np
        >>> y = np.array([[1.0, 1.0, 0.0, 0.0]], "float32")[..., None]
        >>> p = np.array([[1.0, 0.5, 0.5, 0.0]], "float32")[..., None]
        >>> float(Tversky(alpha=0.0, beta=1.0)(y, p))
        0.25
    """

    probabilities: ClassVar[bool] = True

    def __init__(
        self,
        *,
        alpha: float = 0.5,
        beta: float = 0.5,
        gamma: float = 1.0,
        from_logits: bool = False,
        over: str = "batch",
        class_weight: Any = None,
        ignore_class: int | None = None,
        smooth: float = 0.0,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        choose("over", over, OVER)
        for key, value in (("alpha", alpha), ("beta", beta), ("smooth", smooth)):
            if value < 0:
                raise BevelValueError(f"`{key}` must be >= 0; got {value}.")
        if gamma <= 0:
            raise BevelValueError(f"`gamma` must be > 0; got {gamma}.")
        super().__init__(
            reduction, name, dtype, alpha=alpha, beta=beta, gamma=gamma, from_logits=from_logits,
            over=over, class_weight=weights_of_classes(class_weight), ignore_class=ignore_class,
            smooth=smooth,
        )  # fmt: skip

    def of_regions(self, y: Any, y_pred: Any, w: Any) -> tuple[Any, Any]:
        p = y_pred
        if self.from_logits:
            p = K.softmax(p) if p.shape[-1] > 1 else K.sigmoid(p)
        true, found = K.sum(w * y, axis=1), K.sum(w * p, axis=1)
        both = K.sum(w * y * p, axis=1)
        missed = self.alpha * (found - both) + self.beta * (true - both)
        loss = ratio(missed, both + missed + self.smooth)
        if self.gamma != 1:
            some = loss > 0  # a power has no slope at 0
            loss = K.where(some, K.where(some, loss, K.ones_like(loss)) ** self.gamma, 0 * loss)
        share = K.ones_like(loss) if self.smooth else present(true)
        if self.class_weight is not None:
            share = share * K.convert_to_tensor(self.class_weight, dtype=loss.dtype)
        return loss, share


@keras.saving.register_keras_serializable(package="bevel")
class Dice(Tversky):
    """1 - Dice's coefficient, 2 tp / (2 tp + fp + fn): `Tversky` with 1/2 and 1/2.

    Args:
        **settings: Those of `Tversky` without alpha and beta.

    Example:
        >>> import numpy as np
        >>> y, p = np.array([[1], [0]], "float32"), np.array([[1.0], [1.0]], "float32")
        >>> round(float(Dice()(y, p)), 4)
        0.3333
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{**settings, "alpha": 0.5, "beta": 0.5})

    def get_config(self) -> dict[str, Any]:
        """Everything needed to make the loss again."""
        return {k: v for k, v in super().get_config().items() if k not in ("alpha", "beta")}


@keras.saving.register_keras_serializable(package="bevel")
class Jaccard(Tversky):
    """1 - Jaccard's index (IoU), tp / (tp + fp + fn): `Tversky` with 1 and 1.

    Args:
        **settings: Those of `Tversky` without alpha and beta.

    Example:
        >>> import numpy as np
        >>> y, p = np.array([[1], [0]], "float32"), np.array([[1.0], [1.0]], "float32")
        >>> float(Jaccard()(y, p))
        0.5
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{**settings, "alpha": 1.0, "beta": 1.0})

    def get_config(self) -> dict[str, Any]:
        """Everything needed to make the loss again."""
        return {k: v for k, v in super().get_config().items() if k not in ("alpha", "beta")}


@keras.saving.register_keras_serializable(package="bevel")
class Lovasz(_Regions):
    """Lovász's extension of 1 - Jaccard's index: the convex closure of the set function.

    Errors are sorted, the largest first, and each is weighed by what the index loses when its pixel
    is added to the wrong ones (Berman, Rannen Triki and Blaschko, CVPR 2018): exact, O(n log n).
    Errors are 1 - s (2 y - 1) for logits s of one class, cut off at 0 (the Lovász hinge), and abs(y
    - p) for probabilities (the Lovász softmax).

    Args:
        hinge: Whether predictions are scores of any size for a binary label (or several
            independent ones), instead of probabilities.
        from_logits: Whether predictions are logits that a softmax over several classes, else a
            sigmoid, makes probabilities of; not with `hinge`.
        over: `batch` sorts the whole batch, `image` each row.
        ignore_class: A class whose pixels do not count, by its label, or None.
        reduction: Over regions and classes: `sum_over_batch_size` (their mean; for probabilities,
            classes without labels in a region are left out), `sum`, or None for one loss each.
        name: Name of the loss.
        dtype: The dtype to compute in.

    Raises:
        BevelValueError: an argument cannot be used; shapes, labels or weights do not fit when
            called.

    Call arguments: as of `Tversky`, except that a weight only says whether a pixel counts.

    Example:
        >>> import numpy as np
        >>> y, s = np.array([[1], [0], [0]], "float32"), np.array([[2.0], [-2.0], [0.5]], "float32")
        >>> float(Lovasz(hinge=True)(y, s))
        0.75
    """

    def __init__(
        self,
        *,
        hinge: bool = False,
        from_logits: bool = False,
        over: str = "batch",
        ignore_class: int | None = None,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        choose("over", over, OVER)
        if hinge and from_logits:
            raise BevelValueError("`hinge` takes scores as they are; leave out `from_logits`.")
        super().__init__(
            reduction, name, dtype, hinge=hinge, from_logits=from_logits, over=over,
            ignore_class=ignore_class,
        )  # fmt: skip

    def of_regions(self, y: Any, y_pred: Any, w: Any) -> tuple[Any, Any]:
        if self.hinge:
            error = K.relu(1 - y_pred * (2 * y - 1))
        else:
            p = y_pred
            if self.from_logits:
                p = K.softmax(p) if p.shape[-1] > 1 else K.sigmoid(p)
            error = K.abs(y - p)
        counts = w > 0
        error = K.where(counts, error, K.zeros_like(error))
        y = K.where(counts, y, K.zeros_like(y))
        error, y = K.transpose(error, (0, 2, 1)), K.transpose(y, (0, 2, 1))
        # ignored pixels have no error and stand at the end, where they change nothing before
        order = K.argsort(-K.stop_gradient(error), axis=-1)
        ordered = taken(y, order)
        true = K.sum(ordered, axis=-1, keepdims=True)
        found = cumulated(ordered, axis=-1)
        place = K.cast(1 + K.arange(K.shape(y)[-1]), y.dtype)
        index = 1 - ratio(true - found, true + place - found)
        gain = K.concatenate([index[..., :1], index[..., 1:] - index[..., :-1]], axis=-1)
        loss = K.sum(taken(error, order) * K.stop_gradient(gain), axis=-1)
        some = K.ones_like(loss) if self.hinge else present(true[..., 0])
        return loss, some
