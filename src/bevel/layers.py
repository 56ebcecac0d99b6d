"""Keras layers with steps in them: soft, straight-through or hard, at a changeable temperature.

Each layer calls the function of the same name in `bevel.ops`. Its temperature is a weight, so that
it can be lowered while a model trains, and be trained itself where that is asked for; it is kept as
a logarithm, which keeps it positive. With `temperature=0` the layer is the hard function and has no
such weight.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops as K

from bevel import ops
from bevel.errors import BevelValueError
from bevel.ops.arguments import FORWARDS, check_temperature, choose
from bevel.ops.kernels import KERNELS


class Tempered(keras.layers.Layer):
    """What the layers share: temperature, kernel, forward and their part of the configuration."""

    def __init__(
        self,
        temperature: float = 0.1,
        kernel: str = "logistic",
        forward: str = "soft",
        train_temperature: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.kernel = choose("kernel", kernel, KERNELS)
        # `forward` is what a PyTorch module calls.
        self.forward_mode = choose("forward", forward, FORWARDS)
        self.train_temperature = train_temperature
        self.initial_temperature = check_temperature(temperature)
        if train_temperature and not self.initial_temperature:
            raise BevelValueError(
                "`temperature` must be > 0 to be trained; got 0, the hard function."
            )
        self._log_temperature = None
        if self.initial_temperature:
            self._log_temperature = self.add_weight(
                name="log_temperature",
                shape=(),
                initializer=keras.initializers.Constant(math.log(self.initial_temperature)),
                trainable=train_temperature,
                dtype="float32",
                autocast=False,
            )

    @property
    def temperature(self) -> Any:
        """The temperature now: a scalar tensor, or 0.0 for the hard function.

        Assign a positive number to change it, also between two steps of a compiled training.
        """
        if self._log_temperature is None:
            return 0.0
        return K.exp(K.convert_to_tensor(self._log_temperature))

    @temperature.setter
    def temperature(self, value: float) -> None:
        value = check_temperature(value)
        if not value or self._log_temperature is None:
            raise BevelValueError(
                "`temperature` can only be changed from one positive number to another; make a new "
                f"layer to go between soft and hard. Got {value} for a layer of temperature "
                f"{self.initial_temperature}."
            )
        self._log_temperature.assign(math.log(value))

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "temperature": self.initial_temperature,
            "kernel": self.kernel,
            "forward": self.forward_mode,
            "train_temperature": self.train_temperature,
        }


@keras.saving.register_keras_serializable(package="bevel")
class Step(Tempered):
    """The step x >= threshold, elementwise, as in `bevel.ops.step`.

    Args:
        threshold: Where the step is.
        temperature: How soft, at first; 0 is the hard step, whose gradient is zero.
        kernel: See `bevel.ops.step`.
        forward: `soft`, or `hard` for the exact step with the soft one's gradient.
        train_threshold: Whether the threshold is a trainable weight.
        train_temperature: Whether the temperature is a trainable weight.
        **kwargs: `name`, `dtype` and the like.

    Raises:
        BevelValueError: temperature, kernel or forward cannot be used.

    Example:
        >>> [float(y) for y in Step(forward="hard")(np.array([-1.0, 2.0], "float32"))]
        [0.0, 1.0]
    """

    def __init__(
        self,
        threshold: float = 0.0,
        temperature: float = 0.1,
        kernel: str = "logistic",
        forward: str = "soft",
        train_threshold: bool = False,
        train_temperature: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(temperature, kernel, forward, train_temperature, **kwargs)
        self.initial_threshold = float(threshold)
        self.train_threshold = train_threshold
        self.threshold = self.add_weight(
            name="threshold",
            shape=(),
            initializer=keras.initializers.Constant(self.initial_threshold),
            trainable=train_threshold,
        )

    def call(self, inputs: Any) -> Any:
        inputs = K.convert_to_tensor(inputs)
        return ops.step(
            inputs - K.cast(self.threshold, inputs.dtype),
            temperature=self.temperature,
            kernel=self.kernel,
            forward=self.forward_mode,
        )

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "threshold": self.initial_threshold,
            "train_threshold": self.train_threshold,
        }


@keras.saving.register_keras_serializable(package="bevel")
class Sign(Tempered):
    """The sign, elementwise, as in `bevel.ops.sign`.

    Args:
        temperature: How soft, at first; 0 is the hard sign, whose gradient is zero.
        kernel: See `bevel.ops.step`.
        forward: `soft`, or `hard` for the exact sign with the soft one's gradient.
        train_temperature: Whether the temperature is a trainable weight.
        **kwargs: `name`, `dtype` and the like.

    Raises:
        BevelValueError: temperature, kernel or forward cannot be used.

    Example:
        >>> [float(y) for y in Sign(temperature=0.0)(np.array([-0.5, 2.0], "float32"))]
        [-1.0, 1.0]
    """

    def call(self, inputs: Any) -> Any:
        return ops.sign(
            inputs, temperature=self.temperature, kernel=self.kernel, forward=self.forward_mode
        )


@keras.saving.register_keras_serializable(package="bevel")
class Round(Tempered):
    """Rounding to a multiple of `unit`, elementwise, as in `bevel.ops.round`.

    Args:
        unit: The distance between neighbouring values, positive.
        temperature: How soft, at first, relative to the unit; 0 is the hard function.
        kernel: See `bevel.ops.step`.
        forward: `soft`, or `hard` for the exact value with the soft one's gradient.
        train_temperature: Whether the temperature is a trainable weight.
        **kwargs: `name`, `dtype` and the like.

    Raises:
        BevelValueError: unit, temperature, kernel or forward cannot be used.

    Example:
        >>> [float(y) for y in Round(unit=0.5, forward="hard")(np.array([0.3, 2.1], "float32"))]
        [0.5, 2.0]
    """

    def __init__(
        self,
        unit: float = 1.0,
        temperature: float = 0.1,
        kernel: str = "logistic",
        forward: str = "soft",
        train_temperature: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(temperature, kernel, forward, train_temperature, **kwargs)
        if not 0 < unit < math.inf:
            raise BevelValueError(f"`unit` must be a finite number > 0; got {unit}.")
        self.unit = float(unit)

    def call(self, inputs: Any) -> Any:
        rounded = ops.round(
            inputs / self.unit,
            temperature=self.temperature,
            kernel=self.kernel,
            forward=self.forward_mode,
        )
        return rounded * self.unit

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"unit": self.unit}


@keras.saving.register_keras_serializable(package="bevel")
class Staircase(Tempered):
    """Many steps, elementwise, as in `bevel.ops.staircase` with blend="sum".

    Trainable thresholds are kept as the first one and the logarithms of the gaps between them, so
    they stay in order.

    Args:
        thresholds: Rising numbers, where the steps are.
        levels: One number more, the values between them; by default 0, 1, 2 and so on.
        temperature: How soft, at first; 0 is the hard staircase, whose gradient is zero.
        kernel: See `bevel.ops.step`.
        forward: `soft`, or `hard` for the exact value with the soft one's gradient.
        train_thresholds: Whether the thresholds are trainable weights.
        train_temperature: Whether the temperature is a trainable weight.
        **kwargs: `name`, `dtype` and the like.

    Raises:
        BevelValueError: thresholds do not rise, there is not one level more, or temperature, kernel
            or forward cannot be used.

    Example:
        >>> layer = Staircase([1.0, 2.0], levels=[0.0, 10.0, 30.0], temperature=0.0)
        >>> [float(y) for y in layer(np.array([0.5, 1.5, 9.0], "float32"))]
        [0.0, 10.0, 30.0]
    """

    def __init__(
        self,
        thresholds: Sequence[float],
        levels: Sequence[float] | None = None,
        temperature: float = 0.1,
        kernel: str = "logistic",
        forward: str = "soft",
        train_thresholds: bool = False,
        train_temperature: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(temperature, kernel, forward, train_temperature, **kwargs)
        self.initial_thresholds = [float(t) for t in thresholds]
        count = len(self.initial_thresholds)
        self.levels = [float(x) for x in (range(count + 1) if levels is None else levels)]
        self.train_thresholds = train_thresholds
        ops.staircase(0.0, self.initial_thresholds, self.levels)  # refuses what does not fit
        if train_thresholds:
            gaps = np.diff(self.initial_thresholds)
            self._first = self._vector_weight("first_threshold", self.initial_thresholds[:1])
            self._log_gaps = self._vector_weight("log_gaps", np.log(gaps))

    @property
    def thresholds(self) -> Any:
        """The thresholds now: the given numbers, or a rising vector of trained ones."""
        if not self.train_thresholds:
            return self.initial_thresholds
        first, gaps = (K.convert_to_tensor(x) for x in (self._first, self._log_gaps))
        return K.concatenate([first, first + K.cumsum(K.exp(gaps))])

    def call(self, inputs: Any) -> Any:
        return ops.staircase(
            inputs,
            self.thresholds,
            self.levels,
            temperature=self.temperature,
            kernel=self.kernel,
            forward=self.forward_mode,
        )

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {
            "thresholds": self.initial_thresholds,
            "levels": self.levels,
            "train_thresholds": self.train_thresholds,
        }

    def _vector_weight(self, name: str, values: Any) -> Any:
        weight = self.add_weight(
            name=name, shape=(len(values),), initializer="zeros", autocast=False
        )
        weight.assign(np.asarray(values, weight.dtype))
        return weight
