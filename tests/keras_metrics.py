"""The 42 task metrics of Keras, each with labels and predictions that it is written for.

Used by the tests of `MetricLoss` and by the script that writes the table in the docs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from keras import metrics as M
from keras import ops as K

from bevel.losses import MetricLoss
from bevel.losses.conventions import CONVENTIONS
from bevel.stateless import pure

BASES = frozenset({"Metric", "Mean", "Sum", "MeanMetricWrapper"})
NAMES = tuple(
    n for n in dir(M) if isinstance(getattr(M, n), type) and n not in BASES
)  # fmt: skip

# Those that need arguments.
_MADE: dict[str, Callable[[], Any]] = {
    "IoU": lambda: M.IoU(3, [0, 1, 2]),
    "MeanIoU": lambda: M.MeanIoU(3),
    "OneHotIoU": lambda: M.OneHotIoU(3, [0, 1, 2]),
    "OneHotMeanIoU": lambda: M.OneHotMeanIoU(3),
    "PrecisionAtRecall": lambda: M.PrecisionAtRecall(0.5),
    "RecallAtPrecision": lambda: M.RecallAtPrecision(0.8),
    "SensitivityAtSpecificity": lambda: M.SensitivityAtSpecificity(0.8),
    "SpecificityAtSensitivity": lambda: M.SpecificityAtSensitivity(0.8),
    "TopKCategoricalAccuracy": lambda: M.TopKCategoricalAccuracy(k=2),
    "SparseTopKCategoricalAccuracy": lambda: M.SparseTopKCategoricalAccuracy(k=2),
}

_KINDS = {
    "numbers": "IoU MeanIoU",
    "one-hot": """OneHotIoU OneHotMeanIoU CategoricalAccuracy CategoricalCrossentropy
        TopKCategoricalAccuracy F1Score FBetaScore KLDivergence CategoricalHinge""",
    "classes": """SparseCategoricalAccuracy SparseCategoricalCrossentropy
        SparseTopKCategoricalAccuracy""",
    "signed": "Hinge SquaredHinge",
    "real": """R2Score CosineSimilarity PearsonCorrelation ConcordanceCorrelation MeanSquaredError
        MeanAbsoluteError RootMeanSquaredError LogCoshError""",
    "positive": "MeanAbsolutePercentageError MeanSquaredLogarithmicError Poisson",
    "exact": "Accuracy",
}
KIND = {name: kind for kind, names in _KINDS.items() for name in names.split()}
LINK = {
    "numbers": "identity",
    "one-hot": "softmax",
    "classes": "softmax",
    "signed": "identity",
    "real": "identity",
    "positive": "exp",
    "exact": "sigmoid",
    "binary": "sigmoid",
}


def make(name: str) -> Any:
    """A fresh metric."""
    return _MADE.get(name, getattr(M, name))()


@dataclass(frozen=True)
class Drawn:
    """Labels, free values, and what turns these into predictions.

    Attributes:
        y_true: Labels.
        z: Free values, float32.
        link: `identity`, `sigmoid`, `softmax` or `exp`.
        perfect: The predictions that rate best.
    """

    y_true: np.ndarray
    z: np.ndarray
    link: str
    perfect: np.ndarray


def draw(name: str, seed: int, rows: int = 64, positives: float = 0.4) -> Drawn:
    """Labels with 3 classes (or the given share of positives) and random predictions."""
    rng = np.random.default_rng(seed)
    kind = KIND.get(name, "binary")
    link = LINK[kind]
    numbers = rng.integers(0, 3, rows)
    truth = np.zeros(rows, "float32")
    truth[rng.permutation(rows)[: max(2, round(positives * rows))]] = 1
    if kind == "numbers":
        z = rng.uniform(0, 2, rows).astype("float32")
        return Drawn(numbers, z, link, numbers.astype("float32"))
    if kind in ("one-hot", "classes"):
        codes = np.eye(3, dtype="float32")[numbers]
        z = rng.normal(size=(rows, 3)).astype("float32")
        return Drawn(codes if kind == "one-hot" else numbers, z, link, codes)
    if kind in ("real", "positive"):
        y = rng.normal(size=(rows, 3)) if kind == "real" else rng.uniform(0.5, 3, (rows, 3))
        y = y.astype("float32")
        return Drawn(y, rng.normal(size=(rows, 3)).astype("float32"), link, y)
    if kind == "signed":
        y = 2 * truth - 1
        return Drawn(y, rng.normal(size=rows).astype("float32"), link, y)
    if kind == "exact":
        return Drawn(truth, rng.normal(size=rows).astype("float32"), link, truth)
    z = rng.normal(size=(rows, 1)).astype("float32")
    return Drawn(truth[:, None], z, link, truth[:, None])


class Largest(M.Metric):
    """A metric whose state does not add up."""

    def __init__(self):
        super().__init__(name="largest")
        self.seen = self.add_weight(name="seen", initializer="zeros")

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.seen.assign(K.maximum(self.seen, K.max(y_pred)))

    def result(self):
        return self.seen


def descents(name: str, seeds: Iterable[int], **kind: Any) -> Iterator[tuple[float, float]]:
    """From each random start: the share of the attainable improvement that the hard metric reaches
    by descent on the relaxed one, and how far the soft value lies from the hard one at the start.
    """
    import tensorflow as tf

    from tests.descent import LINKS, Descender

    maximize = CONVENTIONS[name].maximize
    sign = -1.0 if maximize else 1.0
    loss, metric = MetricLoss(make(name)), pure(make(name))
    hard = tf.function(lambda y, p: tf.reduce_mean(metric(y, p)), autograph=False)
    descender = None
    for seed in seeds:
        drawn = draw(name, seed, **kind)
        p = LINKS[drawn.link](tf.constant(drawn.z)).numpy()
        if descender is None:
            descender = Descender(
                hard, lambda y, q: sign * loss(y, q), drawn.y_true, p,
                maximize=maximize, link=drawn.link,
            )  # fmt: skip
        optimum = float(hard(tf.constant(drawn.y_true), tf.constant(drawn.perfect)))
        share = descender(drawn.y_true, p).share(optimum)
        soft = sign * float(loss(drawn.y_true, p))
        yield share, abs(soft - float(hard(tf.constant(drawn.y_true), tf.constant(p))))
