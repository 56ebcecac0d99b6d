"""The softmax loss of ranked lists: cross-entropy between labels and the softmax of scores."""

from __future__ import annotations

from typing import Any, ClassVar

import keras
from keras import ops as K

from bevel.losses.lists import Lists
from bevel.losses.surrogate import present, ratio
from bevel.ops.arguments import choose

TARGETS = ("shares", "softmax")


@keras.saving.register_keras_serializable(package="bevel")
class ListwiseSoftmax(Lists):
    """- sum over items of t_i log softmax(s / temperature)_i for each list.

    The targets t are y / sum y, the softmax cross-entropy of which Bruch, Wang, Bendersky and
    Najork (ICTIR 2019) show that it bounds the mean reciprocal rank, and for gains as labels NDCG;
    or softmax(y), as in ListNet (Cao, Qin, Liu, Tsai and Li, ICML 2007). It has a gradient as it
    is, and costs O(L). Its value is not that of a metric, and its minimum is the entropy of t.

    Args:
        targets: `shares` or `softmax`.
        temperature: What scores are divided by. They are taken as they are, not in units of their
            spread: the loss is convex in them.
        reduction: Over the lists: `sum_over_batch_size` (their mean by weight; with `shares`, lists
            without a label above 0 are left out), `sum`, or None for one loss each.
        name: Name of the loss.
        dtype: The dtype to compute in.

    Raises:
        BevelValueError: an argument cannot be used; shapes or weights do not fit when called.

    Call arguments: as of `NDCG`.

    Example:
        >>> import numpy as np
        >>> labels = np.array([[1.0, 0.0, -1.0]], "float32")
        >>> scores = np.array([[1.0, 1.0, 9.0]], "float32")
        >>> round(float(ListwiseSoftmax()(labels, scores)), 4)
        0.6931
    """

    in_spreads: ClassVar[bool] = False
    targets: str
    temperature: float

    def __init__(
        self,
        *,
        targets: str = "shares",
        temperature: float = 1.0,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        choose("targets", targets, TARGETS)
        super().__init__(reduction, name, dtype, targets=targets, temperature=temperature)

    def of_lists(self, y: Any, scores: Any, here: Any) -> tuple[Any, Any]:
        if self.targets == "shares":
            target = ratio(y, K.sum(y, axis=-1, keepdims=True))
        else:
            target = K.exp(_log_softmax(y, here)) * here
        logs = _log_softmax(scores / self.temperature, here)
        return -K.sum(target * logs, axis=-1), present(K.sum(target, axis=-1))


def _log_softmax(x: Any, here: Any) -> Any:
    """Its logarithm over the items, 0 for padding."""
    is_item = here > 0
    lowest = K.full_like(x, -float("inf"))
    top = K.max(K.where(is_item, x, lowest), axis=-1, keepdims=True, initial=-float("inf"))
    top = K.stop_gradient(K.where(K.isinf(top), K.zeros_like(top), top))
    below = K.where(is_item, x - top, K.zeros_like(x))
    total = K.sum(here * K.exp(below), axis=-1, keepdims=True)
    return here * (below - K.log(K.where(total > 0, total, K.ones_like(total))))
