"""What Keras's own metrics want: which way is better, and what labels and predictions look like.

Facts from Keras's documentation, one line for each way of writing labels. A metric that a user
wrote is in no table: its direction is asked for, and its labels are taken as they are.
"""

from __future__ import annotations

from dataclasses import dataclass

import keras


@dataclass(frozen=True)
class Convention:
    """What a metric wants.

    Attributes:
        maximize: Whether higher is better.
        labels: `binary` for 0 and 1, `shares` for what lies between too, `signed` for -1 and 1 (0
            and 1 too), `real` for any number, `classes` for class numbers, `one_hot` for rows of 0
            and 1.
        probabilities: Whether predictions are between 0 and 1.
    """

    maximize: bool
    labels: str
    probabilities: bool


_UP = {
    ("binary", True): """AUC BinaryAccuracy BinaryIoU Precision PrecisionAtRecall Recall
        RecallAtPrecision SensitivityAtSpecificity SpecificityAtSensitivity TrueNegatives
        TruePositives F1Score FBetaScore""",
    ("real", False): "Accuracy ConcordanceCorrelation CosineSimilarity PearsonCorrelation R2Score",
    ("one_hot", False): "CategoricalAccuracy OneHotIoU OneHotMeanIoU TopKCategoricalAccuracy",
    ("classes", False): "IoU MeanIoU SparseCategoricalAccuracy SparseTopKCategoricalAccuracy",
}
_DOWN = {
    ("binary", True): "BinaryCrossentropy FalseNegatives FalsePositives",
    ("real", False): """LogCoshError MeanAbsoluteError MeanAbsolutePercentageError MeanSquaredError
        MeanSquaredLogarithmicError Poisson RootMeanSquaredError""",
    ("signed", False): "Hinge SquaredHinge",
    ("one_hot", False): "CategoricalCrossentropy CategoricalHinge KLDivergence",
    ("classes", False): "SparseCategoricalCrossentropy",
}

CONVENTIONS: dict[str, Convention] = {
    name: Convention(maximize, labels, probabilities)
    for maximize, table in ((True, _UP), (False, _DOWN))
    for (labels, probabilities), names in table.items()
    for name in names.split()
}


def convention_of(metric: object) -> Convention | None:
    """The convention of one of Keras's own metrics; None for any other, a subclass included.

    Example:
        >>> convention_of(keras.metrics.F1Score()).maximize
        True
    """
    cls = type(metric)
    if getattr(keras.metrics, cls.__name__, None) is not cls:
        return None
    found = CONVENTIONS.get(cls.__name__)
    if found and getattr(metric, "from_logits", False):
        return Convention(found.maximize, found.labels, False)
    return found
