"""Tune the decision of a classifier for a metric that decides by itself.

A metric f(y_true, y_pred) with its own `y_pred > 0.5` cannot be given a threshold t, but its input
can be moved: adding −logit(t) to every logit makes it decide at t. With c > 2 classes each class's
logit gets an offset of its own, found one class after the other, twice round. Candidates are the
midpoints between neighbouring scores of the validation rows, thinned to 200 evenly spaced ones: no
other offset decides differently (up to the thinning).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

MOST_CANDIDATES = 200
_ROUNDS = 2


class DecisionTuner:
    """Finds the offset to the logits for which a metric is best.

    Args:
        metric: (class numbers, logits) → scalar.
        maximize: Whether higher is better.
    """

    def __init__(self, metric: Callable[[Any, Any], Any], maximize: bool) -> None:
        self._sign = 1.0 if maximize else -1.0

        @tf.function(autograph=False)
        def rate(numbers: Any, logits: Any, offsets: Any) -> Any:
            return tf.map_fn(lambda offset: metric(numbers, logits + offset), offsets)

        self._rate = rate

    def tune(self, numbers: np.ndarray, logits: np.ndarray) -> np.ndarray:
        """Return the offset to add to `logits`, shape (outputs,); of equals the smallest.

        Args:
            numbers: Class numbers of the validation rows, shape (n,).
            logits: Their logits, shape (n, outputs).
        """
        outputs = logits.shape[1]
        offset = np.zeros(outputs, "float32")
        for _ in range(1 if outputs == 1 else _ROUNDS):
            for column in range(outputs):
                trials = np.tile(offset, (MOST_CANDIDATES, 1))
                trials[:, column] = candidates(_margin(logits + offset, column)) + offset[column]
                rated = self._rate(tf.constant(numbers), tf.constant(logits), tf.constant(trials))
                merit = self._sign * np.nan_to_num(rated, nan=-np.inf * self._sign)
                best = trials[merit == merit.max()]
                offset = best[np.argmin(np.abs(best[:, column]))]
        return offset


def candidates(margins: np.ndarray) -> np.ndarray:
    """Return 200 offsets which move the decision to between neighbouring margins, and 0 among them.

    Args:
        margins: How far each row is on the positive side, shape (n,).

    Returns:
        float32, shape (200,), repeated where there are fewer.

    Example:
        >>> sorted(set(candidates(np.array([-1.0, 0.5, 2.0])).tolist()))
        [-3.0, -1.25, 0.0, 0.25, 2.0]
    """
    levels = np.unique(margins.astype("float64"))
    middles = 0.5 * (levels[1:] + levels[:-1])
    cuts = np.concatenate([[levels[0] - 1.0], middles, [levels[-1] + 1.0]])
    kept = np.linspace(0, len(cuts) - 1, MOST_CANDIDATES - 1).round().astype(int)
    return np.append(-cuts[kept], 0.0).astype("float32")


def _margin(logits: np.ndarray, column: int) -> np.ndarray:
    """How far the class of `column` is ahead of the best other one."""
    if logits.shape[1] == 1:
        return logits[:, 0]
    return logits[:, column] - np.delete(logits, column, axis=1).max(axis=1)
