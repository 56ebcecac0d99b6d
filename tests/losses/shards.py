"""Batches that are split over replicas as unevenly as can be, the same for every framework."""

from __future__ import annotations

import json

import numpy as np
from keras import ops as K

from bevel.losses import MetricLoss
from tests.keras_metrics import Largest, draw, make
from tests.links import linked

# How many rows the first replica gets: as many, few, one, none; and all positives by themselves.
CASES = {
    "F1Score": 32,
    "BinaryAccuracy": 3,
    "Precision": 63,
    "Recall": 0,
    "AUC": 20,
    "MeanIoU": 40,
    "SensitivityAtSpecificity": 1,
    "R2Score": 0,
    "TopKCategoricalAccuracy": 30,
    "MeanSquaredError": 7,
}

# What has no state that adds up: a function, and a metric whose state is a maximum.
GATHERED = {"f1": 21, "Largest": 5}


def f1(y_true, y_pred, sample_weight=None):
    """F1 of some rows: of shards, it is no mean of theirs."""
    hit = K.cast(y_pred > 0.5, "float32")
    weights = 1.0 if sample_weight is None else K.reshape(sample_weight, (-1, 1))
    both = K.sum(weights * hit * y_true)
    return 2 * both / (K.sum(weights * hit) + K.sum(weights * y_true))


def rows(name: str) -> tuple[np.ndarray, np.ndarray, str]:
    """Labels, free values and the link that makes predictions of them."""
    drawn = draw({"f1": "Recall", "Largest": "Recall"}.get(name, name), 0)
    labels, z = drawn.y_true, drawn.z
    if name in ("Recall", "AUC", "f1"):  # shards of one class only
        order = np.argsort(-labels[:, 0], kind="stable")
        labels, z = labels[order], z[order]
    return labels, z, drawn.link


def weights(name: str) -> np.ndarray | None:
    """Sample weights, for the function that takes them."""
    if name != "f1":
        return None
    return np.random.default_rng(1).uniform(0.5, 2, 64).astype("float32")


def predictions(name: str) -> np.ndarray:
    """What the link makes of the free values."""
    _, z, link = rows(name)
    return linked(z, link)


def loss_of(name: str, **options) -> MetricLoss:
    """The loss of a case; one that gathers where it has to."""
    gather = name in GATHERED
    metric = {"f1": f1, "Largest": Largest}.get(name)
    metric = make(name) if metric is None else metric
    known = {"maximize": True} if gather else {}
    return MetricLoss(metric, gather=gather, **known, **options)


def tell(name: str, value: list[float], expected: float, found, here, whole=None) -> None:
    """Prints how far values and gradients are from those of the whole batch, as JSON.

    Here may be some rows of the whole batch only, or none.
    """
    size = np.abs(here if whole is None else whole).max()
    gap = float(np.abs(np.asarray(found) - here).max(initial=0.0) / size)
    line = {"name": name, "value": value, "expected": expected, "gap": gap, "size": float(size)}
    print(json.dumps(line), flush=True)
