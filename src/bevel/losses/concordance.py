"""Losses that count pairs in the wrong order: Kendall's correlation, and survival data.

Which pairs count, and which of two should come first, is known from the labels; how far they are
from that, from the predictions. So both are sums over two orders (`bevel.losses.dominance`), exact
and in O(n log^2 n).
"""

from __future__ import annotations

from typing import Any, ClassVar

import keras
from keras import ops as K

from bevel.errors import BevelValueError
from bevel.losses.checks import check_survival
from bevel.losses.dominance import KERNELS, keys, sum_before, weight_before
from bevel.losses.surrogate import Surrogate, columns, full_weights, present, ratio, standardised
from bevel.ops.arguments import choose


@keras.saving.register_keras_serializable(package="bevel")
class Kendall(Surrogate):
    """1 - Kendall's rank correlation tau-b: (C - D) / sqrt(pairs with other labels * predictions).

    C are the pairs of rows in the same order, D those in the opposite one (Kendall, Biometrika
    1945). Softly C - D = N - 2 sum over pairs y_i > y_j of w_i w_j K((s_j - s_i) / temperature)
    with N pairs of different labels; how many predictions are equal is a constant. Where all of
    them are, the root is N, so that they still get a gradient. Weights count as repetitions.

    Args:
        temperature: The margin of a hinge, or how soft a step, in units of the spread of the
            predictions.
        kernel: `linear`, `quadratic` or `cubic`, whose value tends to that of the metric; `hinge`
            or `squared_hinge`, whose does not, but which reach pairs that are far off.
        reduction: Over the columns: `sum_over_batch_size` (their mean; columns of equal labels are
            left out), `sum`, or None for one loss each.
        name: Name of the loss.
        dtype: The dtype to compute in.

    Raises:
        BevelValueError: an argument cannot be used; shapes or weights do not fit when called.

    Call arguments: y_true and y_pred of shape (n,) or (n, c); sample_weight likewise.

    Example:
        >>> import numpy as np
        >>> y, s = np.array([1.0, 2.0, 3.0], "float32"), np.array([1.0, 3.0, 2.0], "float32")
        >>> round(float(Kendall(kernel="linear", temperature=1e-3)(y, s)), 4)
        0.6667
    """

    labels: ClassVar[str] = "real"
    temperature: float
    kernel: str

    def __init__(
        self,
        *,
        temperature: float = 1.0,
        kernel: str = "squared_hinge",
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        choose("kernel", kernel, KERNELS)
        super().__init__(reduction, name, dtype, temperature=temperature, kernel=kernel)

    def values(self, y_true: Any, y_pred: Any, weights: Any) -> tuple[Any, Any]:
        w = columns(full_weights(weights, y_pred))
        w = ratio(w, K.sum(w, axis=-1, keepdims=True))  # sums of squares stay near 1
        s = standardised(columns(y_pred), w, self.kernel)
        labels, order = keys(columns(y_true)), keys(s)
        wrong = sum_before(-s, labels, w, self.kernel, self.temperature)
        wrong = K.sum(w * wrong, axis=-1)
        pairs, apart = (K.sum(w * weight_before(key, w), axis=-1) for key in (labels, order))
        some = present(pairs)
        apart = K.stop_gradient(K.where(apart > 0, apart, pairs))
        root = K.sqrt(K.where(some > 0, pairs * apart, K.ones_like(pairs)))
        return some - (pairs - 2 * wrong) / root, some


@keras.saving.register_keras_serializable(package="bevel")
class ConcordanceIndex(Surrogate):
    """1 - Harrell's C: of the pairs whose order in time is known, those predicted the other way.

    A pair is known where the earlier of the two had its event; at equal times, where one had and
    the other is censored, and lived on. Pairs of events at the same time are not counted, equal
    predictions count half (Harrell, Lee and Mark, Statistics in Medicine 1996). sum over known
    pairs, i before j, of w_i w_j K((s_j - s_i) / temperature) over their weight.

    Args:
        risk: Whether a larger prediction means an earlier event (a hazard), or, if False, a later
            one (a time).
        temperature: The margin of a hinge, or how soft a step, in units of the spread of the
            predictions.
        kernel: `linear`, `quadratic` or `cubic`, whose value tends to that of the metric; `hinge`
            or `squared_hinge`, whose does not, but which reach pairs that are far off.
        reduction: `sum_over_batch_size`, `sum`, or None: there is one value.
        name: Name of the loss.
        dtype: The dtype to compute in.

    Raises:
        BevelValueError: an argument cannot be used; shapes, events or weights do not fit when
            called.

    Call arguments: y_true of shape (n, 2), in each row the time and whether there was an event, 1,
    or it was censored, 0; y_pred of shape (n,) or (n, 1); sample_weight likewise.

    Example:
        >>> import numpy as np
        >>> y = np.array([[1.0, 1], [2.0, 0], [3.0, 1]], "float32")
        >>> risks = np.array([2.0, 3.0, 1.0], "float32")
        >>> float(ConcordanceIndex(kernel="linear", temperature=1e-3)(y, risks))
        0.5
    """

    labels: ClassVar[str] = "real"
    risk: bool
    temperature: float
    kernel: str

    def __init__(
        self,
        *,
        risk: bool = True,
        temperature: float = 1.0,
        kernel: str = "squared_hinge",
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        choose("kernel", kernel, KERNELS)
        super().__init__(reduction, name, dtype, risk=risk, temperature=temperature, kernel=kernel)

    def aligned(self, y_true: Any, y_pred: Any) -> tuple[Any, Any]:
        """Labels of shape (n, 2) and predictions of shape (n, 1)."""
        a, b = tuple(y_true.shape), tuple(y_pred.shape)
        column = len(b) == 1 or (len(b) == 2 and b[1] == 1)
        fits = len(a) == 2 and a[1] == 2 and (a[0] == b[0] or None in (a[0], b[0]))
        if not column or not fits:
            raise BevelValueError(
                f"y_true has shape {a} and y_pred has shape {b}; expected (n, 2), a time and an "
                "event in each row, and one prediction for each row, (n,) or (n, 1)."
            )
        return y_true, K.reshape(y_pred, (-1, 1))

    def values(self, y_true: Any, y_pred: Any, weights: Any) -> tuple[Any, Any]:
        w = K.reshape(full_weights(weights, y_pred), (1, -1))
        w = ratio(w, K.sum(w, axis=-1, keepdims=True))
        times, events = K.transpose(y_true)[:1], K.cast(K.transpose(y_true)[1:], y_pred.dtype)
        check_survival(times, events)
        # a compiled function cannot raise
        events = K.where(events * (1 - events) == 0, events, events + float("nan"))
        censored = K.cast(events == 0, "int32")
        # at the same time events come first; 2 n at most
        key = 2 * keys(times) + censored
        s = standardised(K.reshape(y_pred, (1, -1)), w, self.kernel)
        first = w * events
        behind = sum_before(s if self.risk else -s, key, first, self.kernel, self.temperature)
        known = K.sum(w * weight_before(key, first), axis=-1)
        return ratio(K.sum(w * behind, axis=-1), known), present(known)
