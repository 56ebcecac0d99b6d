"""Losses of labels: predictions of shape (n, c) are c columns, each with a metric of its own.

How the columns become one number is the same for all of them: averaged, weighed by class, or laid
end to end.
"""

from __future__ import annotations

from typing import Any

from keras import ops as K

from bevel.errors import BevelValueError
from bevel.losses.surrogate import Surrogate, columns, full_weights
from bevel.ops.arguments import choose

AVERAGES = ("micro", "macro", "weighted", "none")


class Columns(Surrogate):
    """A loss with one value for each column of the predictions.

    Its settings hold `average` and `class_weight`.
    """

    average: str
    class_weight: list[float] | None

    def values(self, y_true: Any, y_pred: Any, weights: Any) -> tuple[Any, Any]:
        w = columns(full_weights(weights, y_pred))
        y, s = columns(K.cast(y_true, y_pred.dtype)), columns(y_pred)
        by_class = numbers_by_class(self.class_weight, s.shape[0], s.dtype)
        if self.average == "micro":
            w = w if by_class is None else w * by_class[:, None]
            y, s, w = (K.reshape(t, (1, -1)) for t in (y, s, w))
            return self.of_columns(y, s, w)
        values, shares = self.of_columns(y, s, w)
        return values, weighed(self.average, shares, K.sum(w * y, axis=-1), by_class)

    def of_columns(self, y: Any, scores: Any, weights: Any) -> tuple[Any, Any]:
        """The loss of each column, and 1 or 0: whether it has one.

        Args:
            y: Labels, shape (columns, n).
            scores: Likewise.
            weights: Likewise.
        """
        raise NotImplementedError


def weighed(average: str, shares: Any, positives: Any, by_class: Any) -> Any:
    """How much the value of each class counts: if it has one, by its positives and its weight."""
    if average == "weighted":
        shares = shares * positives
    return shares if by_class is None else shares * by_class


def numbers_by_class(class_weight: list[float] | None, count: Any, dtype: Any) -> Any:
    """The numbers as a tensor, or None.

    Raises:
        BevelValueError: There is not one for each column.
    """
    if class_weight is None:
        return None
    if count is not None and len(class_weight) != count:
        raise BevelValueError(
            f"`class_weight` holds {len(class_weight)} numbers and y_pred {count} columns; give "
            "one for each."
        )
    return K.convert_to_tensor(class_weight, dtype=dtype)


def averaging(average: str, class_weight: Any) -> dict[str, Any]:
    """The two settings of `Columns`, checked.

    Raises:
        BevelValueError: The average is unknown, or a weight is negative.
    """
    choose("average", average, AVERAGES)
    return {"average": average, "class_weight": weights_of_classes(class_weight)}


def weights_of_classes(class_weight: Any) -> list[float] | None:
    """A number for each class, from a list, or from a dictionary as `Model.fit` takes it.

    Raises:
        BevelValueError: They are no numbers >= 0, or a class has none.
    """
    if class_weight is None:
        return None
    given: Any = class_weight
    if isinstance(class_weight, dict):
        given = [class_weight.get(n, "missing") for n in range(len(class_weight))]
    try:
        weights = [float(c) for c in given]
    except (TypeError, ValueError):
        weights = [float("nan")]
    if not all(0 <= c < float("inf") for c in weights):
        raise BevelValueError(
            "`class_weight` must hold a number >= 0 for each class, in a list or under 0, 1, ... "
            f"in a dictionary; got {class_weight!r}."
        )
    return weights
