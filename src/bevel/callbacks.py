"""Keras callbacks: lower the temperature while a model trains, and watch whether gradients arrive.

`Anneal` changes the temperature of the model's `MetricLoss` and of its soft layers; nothing is
traced again. `GradientHealth` looks once an epoch at the gradient that the loss sends to the
predictions of one batch, and says in words when it stops.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
from keras import ops as K

from bevel import frontends
from bevel.errors import BevelValueError
from bevel.ops.arguments import check_temperature, choose

# The temperature after a share t of the epochs, from the one at the start to the one at the end.
SCHEDULES: dict[str, Callable[[float, float, float], float]] = {
    "linear": lambda a, b, t: a + (b - a) * t,
    "cosine": lambda a, b, t: b + (a - b) * (1 + math.cos(math.pi * t)) / 2,
    "exponential": lambda a, b, t: a * (b / a) ** t,
}


class GradientWarning(UserWarning):
    """The loss sends no useful gradient any more."""


class Anneal(keras.callbacks.Callback):
    """Changes the temperature of a model's losses and layers from epoch to epoch.

    Args:
        start: The temperature of the first epoch.
        end: That of the last one, or the lowest with `plateau`.
        schedule: `linear`, `cosine` or `exponential` over the epochs; or `plateau`, which lowers it
            by `factor` whenever the monitored value has not improved for `patience` epochs.
        epochs: Over how many epochs; by default all that `fit` runs.
        monitor: What `plateau` watches, a name in the logs; lower is better.
        factor: What `plateau` multiplies by, between 0 and 1.
        patience: How long `plateau` waits.

    Raises:
        BevelValueError: An argument cannot be used, or the model has nothing with a temperature.

    Example:
        >>> Anneal(0.2, 0.05, schedule="linear").at(0.5)
        0.125
    """

    def __init__(
        self,
        start: float = 0.2,
        end: float = 0.02,
        schedule: str = "exponential",
        *,
        epochs: int | None = None,
        monitor: str = "loss",
        factor: float = 0.5,
        patience: int = 3,
    ) -> None:
        super().__init__()
        self.schedule = choose("schedule", schedule, (*SCHEDULES, "plateau"))
        for name, value in (("start", start), ("end", end)):
            if not check_temperature(value):
                raise BevelValueError(f"`{name}` must be > 0; got 0, the hard function.")
        if not 0 < factor < 1:
            raise BevelValueError(f"`factor` must be between 0 and 1; got {factor}.")
        self.start, self.end, self.epochs = float(start), float(end), epochs
        self.monitor, self.factor, self.patience = monitor, factor, patience
        self.temperature = self.start
        self._best, self._waited = math.inf, 0

    def at(self, share: float) -> float:
        """The temperature after a share of the epochs, from 0 to 1; not for `plateau`."""
        return SCHEDULES[self.schedule](self.start, self.end, min(1.0, max(0.0, share)))

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        if not any(True for _ in tempered(self.model)):
            raise BevelValueError(
                "the model has nothing whose temperature could be changed; compile it with a "
                "bevel.losses.MetricLoss, or use a layer of bevel.layers."
            )
        self._best, self._waited = math.inf, 0
        self._set(self.start)

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        if self.schedule != "plateau":
            last = (self.epochs or self.params.get("epochs", 1)) - 1
            self._set(self.at(epoch / last if last > 0 else 1.0))

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        if logs is not None:
            logs["temperature"] = self.temperature
        if self.schedule != "plateau":
            return
        value = (logs or {}).get(self.monitor)
        if value is None:
            raise BevelValueError(
                f"`monitor` names {self.monitor!r}; the logs hold {', '.join(logs or {})}."
            )
        if value < self._best:
            self._best, self._waited = value, 0
            return
        self._waited += 1
        if self._waited >= self.patience:
            self._waited = 0
            self._set(max(self.end, self.temperature * self.factor))

    def _set(self, value: float) -> None:
        self.temperature = value
        for part in tempered(self.model):
            part.temperature = value


class GradientHealth(keras.callbacks.Callback):
    """Looks once an epoch at the gradient that reaches the predictions of one batch.

    The logs get `gradient_norm` and `dead_share`, the share of the predictions without a gradient;
    `keras.callbacks.TensorBoard`, named behind this callback, writes them as scalars.

    Args:
        x: Inputs of one batch.
        y: Their labels.
        least: The norm, as a share of the first epoch's, below which a warning is given.

    Raises:
        BevelValueError: The model was compiled without a single loss.
    """

    def __init__(self, x: Any, y: Any, *, least: float = 1e-6) -> None:
        super().__init__()
        self.x, self.y, self.least = x, y, least
        self._first: float | None = None

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        if isinstance(self.model.loss, dict | list | None):
            raise BevelValueError(
                "GradientHealth needs a model that is compiled with one loss; got "
                f"{type(self.model.loss).__name__}."
            )
        self._first = None

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        gradient = self.gradient()
        finite = bool(np.all(np.isfinite(gradient)))
        norm, dead = float(np.linalg.norm(gradient)), float(np.mean(gradient == 0))
        if logs is not None:
            logs.update(gradient_norm=norm, dead_share=dead)
        self._first = norm if self._first is None else self._first
        if not finite:
            said = "the gradient of the loss is not finite"
        elif dead == 1 or norm < self.least * self._first:
            said = f"the loss sends no gradient any more (norm {norm:.2g}, {dead:.0%} dead)"
        else:
            return
        warnings.warn(
            f"epoch {epoch + 1}: {said}; see bevel.audit(loss, y_true, y_pred), or raise the "
            "temperature.",
            GradientWarning,
            stacklevel=2,
        )

    def gradient(self) -> np.ndarray:
        """The gradient of the loss to the predictions of the batch, now."""
        loss = keras.losses.get(self.model.loss)
        predictions = self.model(self.x, training=False)
        labels = K.convert_to_tensor(self.y)
        run = frontends.executor().value_and_gradient(
            lambda p: loss(labels, p), (0,), compiled=False
        )
        (found,) = run([predictions])[1]
        return np.zeros(tuple(predictions.shape)) if found is None else np.asarray(found)


def tempered(model: keras.Model) -> Iterator[Any]:
    """Losses and layers of a model whose `temperature` can be changed."""
    losses = keras.tree.flatten(getattr(model, "loss", None))
    for part in (*losses, *model._flatten_layers(include_self=False)):
        if getattr(part, "initial_temperature", 0.0):
            yield part
