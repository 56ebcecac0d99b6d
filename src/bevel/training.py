"""One small Keras network, trained again and again from chosen weights by a compiled step.

The network (16 ReLU units, then logits), its optimizer and one compiled step per objective are
built once; a seed or a method only changes weights and data, whose shapes stay the same, so nothing
is traced twice. Training is full-batch Adam. The weights of the best epoch on the validation rows
are kept, by the objective's own `rank`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from bevel.data import Part, Split

Weights = list[np.ndarray]
HIDDEN = 16
LEARNING_RATE = 0.01


@dataclass(frozen=True)
class Objective:
    """What a training run minimises, and by what it picks its best epoch.

    Attributes:
        name: For progress and figures.
        loss: (class numbers, logits) → scalar.
        rank: (class numbers, logits) → vector; the lexicographically smallest epoch is kept.
    """

    name: str
    loss: Callable[[Any, Any], Any]
    rank: Callable[[Any, Any], Any]


@dataclass(frozen=True)
class Fitted:
    """The outcome of one training run.

    Attributes:
        weights: Those of the best epoch.
        best_epoch: Its number; 0 is the start.
        curve: The watched value on the validation rows, before the first epoch and after each.
        finite: False if the loss became NaN or infinite, which ends the run.
    """

    weights: Weights
    best_epoch: int
    curve: tuple[float, ...]
    finite: bool


class Trainer:
    """Trains one network on objectives that it compiles once each.

    Args:
        features: The number of input features.
        outputs: The number of logits.
        watch: (class numbers, logits) → scalar that the curves record: the hard metric.
    """

    def __init__(self, features: int, outputs: int, watch: Callable[[Any, Any], Any]) -> None:
        self.model = keras.Sequential(
            [
                keras.Input((features,)),
                keras.layers.Dense(HIDDEN, activation="relu"),
                keras.layers.Dense(outputs),
            ]
        )
        self._optimizer = keras.optimizers.Adam(LEARNING_RATE)
        self._optimizer.build(self.model.trainable_variables)
        self._fresh = [v.numpy().copy() for v in self._optimizer.variables]
        self._watch = watch
        self._compiled: dict[str, tuple[Any, Any]] = {}

    def initial(self, seed: int) -> Weights:
        """Glorot-uniform weights and zero biases, drawn without any global generator."""
        rng = np.random.default_rng(seed)
        weights = []
        for variable in self.model.trainable_variables:
            shape = tuple(variable.shape)
            limit = np.sqrt(6.0 / sum(shape)) if len(shape) == 2 else 0.0
            weights.append(rng.uniform(-limit, limit, shape).astype("float32"))
        return weights

    def logits(self, weights: Weights, part: Part) -> np.ndarray:
        """The network's logits for some rows, shape (n, outputs)."""
        self.model.set_weights(weights)
        return np.asarray(self.model(tf.constant(part.features)))

    def fit(
        self,
        objective: Objective,
        start: Weights,
        rows: Split,
        epochs: int,
        after_epoch: Callable[[float], None],
    ) -> Fitted:
        """Minimise an objective from `start` and return the best epoch's weights.

        Args:
            objective: Compiled when first seen; later calls with its name reuse that.
            start: The weights to begin with; they compete as epoch 0.
            rows: Its training rows are fitted, its validation rows pick the epoch.
            epochs: The number of full-batch steps.
            after_epoch: Called with the watched value.
        """
        step, measure = self._compile(objective)
        self.model.set_weights(start)
        for variable, value in zip(self._optimizer.variables, self._fresh, strict=True):
            variable.assign(value)
        fitted = tf.constant(rows.train.features), tf.constant(rows.train.labels)
        chosen = tf.constant(rows.validation.features), tf.constant(rows.validation.labels)
        rank, watched = measure(*chosen)
        best, best_rank, best_epoch, finite = start, _key(rank), 0, True
        curve = [float(watched)]
        for epoch in range(1, epochs + 1):
            finite = bool(np.isfinite(float(step(*fitted))))
            if not finite:
                break
            rank, watched = measure(*chosen)
            curve.append(float(watched))
            if _key(rank) < best_rank:
                best, best_rank, best_epoch = self.model.get_weights(), _key(rank), epoch
            after_epoch(curve[-1])
        return Fitted(best, best_epoch, tuple(curve), finite)

    def _compile(self, objective: Objective) -> tuple[Any, Any]:
        if objective.name in self._compiled:
            return self._compiled[objective.name]
        variables = self.model.trainable_variables

        @tf.function(autograph=False)
        def step(features: Any, numbers: Any) -> Any:
            with tf.GradientTape() as tape:
                loss = objective.loss(numbers, self.model(features, training=True))
            gradients = tape.gradient(loss, [v.value for v in variables])
            self._optimizer.apply(gradients, variables)
            return loss

        @tf.function(autograph=False)
        def measure(features: Any, numbers: Any) -> Any:
            logits = self.model(features)
            return objective.rank(numbers, logits), self._watch(numbers, logits)

        self._compiled[objective.name] = step, measure
        return step, measure


def _key(rank: Any) -> tuple[float, ...]:
    """A rank as a tuple that compares; NaN is worse than anything."""
    return tuple(float("inf") if np.isnan(value) else float(value) for value in np.asarray(rank))
