"""What every free-prediction descent needs, whatever the framework: links, and how it ended."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

STEPS = 500


@dataclass(frozen=True)
class Descent:
    """Hard values at the start and the end (the best of the last few looks)."""

    start: float
    end: float

    def share(self, optimum: float) -> float:
        """How much of the attainable improvement was reached; 1 where there is none."""
        gap = optimum - self.start
        return 1.0 if abs(gap) < 1e-9 else min(1.0, (self.end - self.start) / gap)


def link_of(prediction: np.ndarray) -> str:
    """The link that a prediction looks like the output of."""
    if prediction.min() < 0 or prediction.max() > 1:
        return "identity"
    rows = prediction.ndim > 1 and np.allclose(prediction.sum(-1), 1, atol=1e-4)
    return "softmax" if rows else "sigmoid"


def logits_of(prediction: np.ndarray, link: str) -> np.ndarray:
    """What the link turns into the prediction."""
    if link == "identity":
        return prediction
    if link == "exp":
        return np.log(prediction)
    p = np.clip(prediction, 1e-3, 1 - 1e-3)
    return np.log(p) if link == "softmax" else np.log(p / (1 - p))


def linked(z: np.ndarray, link: str) -> np.ndarray:
    """What the link turns free values into."""
    if link == "identity":
        return z
    if link == "sigmoid":
        return 1 / (1 + np.exp(-z))
    shares = np.exp(z)
    return shares / shares.sum(-1, keepdims=True) if link == "softmax" else shares
