"""Free-prediction descent: does a relaxed metric drive the hard one to its optimum?

Predictions are free variables, seen through a sigmoid or a softmax where the metric wants
probabilities. Adam runs on the relaxed value; what counts is the hard value at the end.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

from tests.links import STEPS, Descent, link_of, logits_of

LINKS: dict[str, Callable[[Any], Any]] = {
    "identity": tf.identity,
    "sigmoid": tf.sigmoid,
    "softmax": tf.nn.softmax,
    "exp": tf.exp,
}


class Descender:
    """Runs Adam from predictions of one shape; compiled once for all of them."""

    def __init__(
        self,
        hard: Callable[..., Any],
        relaxed: Callable[..., Any],
        y_true: np.ndarray,
        prediction: np.ndarray,
        *,
        maximize: bool,
        link: str | None = None,
        learning_rate: float = 0.05,
    ) -> None:
        self.hard = hard
        self.maximize = maximize
        self.link = link or link_of(prediction)
        self.y = tf.Variable(y_true, trainable=False)
        self.z = tf.Variable(prediction)
        self.first, self.second = (
            tf.Variable(tf.zeros_like(self.z)),
            tf.Variable(tf.zeros_like(self.z)),
        )
        sign = -1.0 if maximize else 1.0

        @tf.function
        def run(begin: Any, end: Any) -> None:
            for i in tf.range(begin, end):
                with tf.GradientTape() as tape:
                    value = relaxed(self.y.read_value(), LINKS[self.link](self.z))
                    loss = sign * tf.cast(value, "float32")
                gradient = tf.cast(tape.gradient(loss, self.z), "float32")
                n = tf.cast(i, "float32")
                # the rate falls to zero, so that what oscillates around a kink settles
                rate = learning_rate * 0.5 * (1 + tf.cos(np.pi * n / STEPS))
                self.first.assign(0.9 * self.first + 0.1 * gradient)
                self.second.assign(0.999 * self.second + 0.001 * tf.square(gradient))
                first = self.first / (1 - 0.9 ** (n + 1))
                second = self.second / (1 - 0.999 ** (n + 1))
                self.z.assign_sub(rate * first / (tf.sqrt(second) + 1e-12))

        self._run = run

    def __call__(self, y_true: np.ndarray, prediction: np.ndarray) -> Descent:
        self.y.assign(y_true)
        self.z.assign(logits_of(prediction, self.link).astype("float32"))
        self.first.assign(tf.zeros_like(self.z))
        self.second.assign(tf.zeros_like(self.z))
        start = self._value()
        ends = []
        looks = [0, int(0.9 * STEPS), int(0.95 * STEPS), STEPS]
        for begin, end in itertools.pairwise(looks):
            self._run(tf.constant(begin), tf.constant(end))
            ends.append(self._value())
        return Descent(start, max(ends) if self.maximize else min(ends))

    def _value(self) -> float:
        return float(self.hard(tf.constant(self.y.numpy()), LINKS[self.link](self.z)))
