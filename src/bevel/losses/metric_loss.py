"""`MetricLoss`: any Keras metric, or any function of labels and predictions, as a Keras loss.

A metric is taken apart into the state of a batch and the result of a state
(`bevel.stateless`), both are relaxed by the same rules as everything else, and between the
two the states of all replicas, and of earlier batches if they are remembered, are added up:

    batch  = relaxed update(y_true, y_pred, sample_weight)
    state  = initial + memory * (earlier - initial) + sum over replicas of (batch - initial)
    loss   = relaxed result(state), negative where higher is better

The earlier state is a constant for the gradient: a stochastic compositional gradient (Wang, Fang
and Liu, Mathematical Programming 161, 2017), whose bias falls as the memory grows.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, ClassVar

import keras
from keras import ops as K

from bevel import frontends
from bevel.accumulating import in_keras_order, is_accumulating
from bevel.errors import BevelTypeError, BevelValueError
from bevel.frontends.running import along, as_one_replica
from bevel.losses.checks import (
    aligned,
    check_values,
    floating,
    is_invalid,
    weights_of,
    without_unweighted,
)
from bevel.losses.conventions import convention_of
from bevel.ops.arguments import check_temperature
from bevel.relaxation import relax
from bevel.saving import function_config, function_from
from bevel.stateless import Stateless

LINKS = {"sigmoid": K.sigmoid, "softmax": K.softmax}


@keras.saving.register_keras_serializable(package="bevel")
class MetricLoss(keras.losses.Loss):
    """A loss that is a metric, relaxed.

    Args:
        metric: A `keras.metrics.Metric`, a registered name such as `"AUC"`, a function
            `(y_true, y_pred)` that may also take `sample_weight`, or a metric object of
            torchmetrics, whose `update` has parameters that are named like labels and predictions.
            The object is not changed.
        maximize: Whether higher is better. Known for Keras's own metrics and where the object says
            `higher_is_better`, needed for all others.
        temperature: How soft, see `bevel.relax`; kept in a variable, so that a callback may change
            it without a new trace. 0 is the hard metric, which has no gradient.
        kernel: See `bevel.relax`.
        forward: `soft`, or `hard` for the metric's exact value with the surrogate's gradient.
        memory: From 0 to below 1: how much of the earlier batches' state is kept. With 0 the loss
            is the batch's metric, which differs from the whole data's where batches are small. A
            batch is remembered once the gradient is taken, so validation leaves no trace.
        from_logits: False, or the function that turns logits into what the metric takes: `sigmoid`,
            `softmax`, or True for softmax over several columns and else sigmoid.
        reduction: For a metric with several results, such as one F1 score for each class:
            `sum_over_batch_size` (their mean), `sum`, or None for one loss each.
        gather: Over replicas, whether each computes the loss of all their rows. Needed where there
            is no state to add up: for a function, whose value would be that of a replica's own
            rows, and for a metric that says so. In TensorFlow for the replicas of one process.
        axis_name: In JAX, the axis of `shard_map` or `pmap` that a batch is spread along. Sharded
            arrays under `jit` need none, nor do TensorFlow and PyTorch.
        name: Name of the loss.
        dtype: The dtype to compute in; float32 unless Keras is told otherwise.

    Raises:
        BevelValueError: An argument cannot be used, the direction is not known, or labels or
            weights are not what the metric takes (when called with concrete arrays; compiled, the
            loss is NaN then).
        BevelTypeError: The metric is none, or takes no weights and was given some.

    Example:
        >>> import numpy as np
        >>> loss = MetricLoss(keras.metrics.F1Score(average="macro", threshold=0.5))
        >>> y_true = np.array([[1.0], [0.0], [1.0], [0.0]], "float32")
        >>> good = loss(y_true, np.array([[0.9], [0.1], [0.8], [0.3]], "float32"))
        >>> bad = loss(y_true, np.array([[0.2], [0.7], [0.6], [0.8]], "float32"))
        >>> bool(good < bad)
        True
    """

    # AutoGraph leaves alone what carries this attribute.
    autograph_info__: ClassVar[None] = None

    def __init__(
        self,
        metric: Any,
        *,
        maximize: bool | None = None,
        temperature: float = 0.1,
        kernel: str = "algebraic",
        forward: str = "soft",
        memory: float = 0.0,
        from_logits: bool | str = False,
        reduction: str | None = "sum_over_batch_size",
        gather: bool = False,
        axis_name: str | None = None,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        self.metric = _found(metric)
        super().__init__(name or _name_of(self.metric), reduction, dtype)
        self.convention = convention_of(self.metric)
        if maximize is None:
            maximize = (
                self.convention.maximize
                if self.convention
                else getattr(self.metric, "higher_is_better", None)  # torchmetrics has it
            )
        if maximize is None:
            raise BevelValueError(
                f"is higher or lower better for `{self.name}`? It is not one of Keras's own "
                "metrics; pass maximize=True or maximize=False."
            )
        if not 0 <= memory < 1:
            raise BevelValueError(f"`memory` must be at least 0 and below 1; got {memory}.")
        if from_logits not in (True, False, *LINKS):
            raise BevelValueError(
                f"`from_logits` must be True, False, 'sigmoid' or 'softmax'; got {from_logits!r}."
            )
        self.maximize = bool(maximize)
        self.gather, self.axis_name = bool(gather), axis_name
        self.kernel, self.forward_mode = kernel, forward
        self.memory, self.from_logits = float(memory), from_logits
        self.initial_temperature = check_temperature(temperature)
        self._stateless: Stateless | None = None
        self._earlier: list[Any] | None = None
        settings = {"temperature": self._softness(), "kernel": kernel, "forward": forward}
        if isinstance(self.metric, keras.metrics.Metric):
            self._stateless = Stateless(self.metric)
            self._update = relax(self._stateless.update, wrt="y_pred", **settings)
            self._result = relax(self._stateless.result, wrt="state", **settings)
        else:
            if memory:
                raise BevelValueError(
                    "`memory` needs a metric with a state that adds up over batches, a "
                    "keras.metrics.Metric; a function has none."
                )
            function = in_keras_order(metric) if is_accumulating(metric) else self.metric
            self._relaxed = relax(function, wrt=1, **settings)

    def _softness(self) -> Any:
        """What the relaxation takes as its temperature: a variable, or 0 for the hard metric."""
        self._temperature: Any = 0.0
        if self.initial_temperature:
            self._temperature = keras.Variable(
                self.initial_temperature, dtype="float32", trainable=False, name="temperature"
            )
        return self._temperature

    @property
    def temperature(self) -> Any:
        """The temperature now: a variable, or 0.0 for the hard metric.

        Assign a positive number to change it, also between two steps of a compiled training.
        """
        return self._temperature

    @temperature.setter
    def temperature(self, value: float) -> None:
        value = check_temperature(value)
        if not value or not self.initial_temperature:
            raise BevelValueError(
                "`temperature` can only be changed from one positive number to another; make a new "
                f"loss to go between soft and hard. Got {value} for a loss of temperature "
                f"{self.initial_temperature}."
            )
        self._temperature.assign(value)

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """The loss of one batch, a scalar (or one for each result with `reduction=None`).

        Over replicas it is that of the global batch. Where the framework adds their gradients up
        (`tf.distribute`) each gives its share, 1/n of it, as Keras's own losses do; where it takes
        their mean (PyTorch's DDP, `lax.pmean`) each gives the whole.
        """
        with along(self.axis_name):
            return self._of_batch(y_true, y_pred, sample_weight)

    def _of_batch(self, y_true: Any, y_pred: Any, sample_weight: Any) -> Any:
        mask = getattr(y_pred, "_keras_mask", None)
        y_pred = K.cast(floating(y_pred), self.dtype)
        y_true = K.convert_to_tensor(y_true)
        weights = weights_of(sample_weight, mask, y_pred, self.dtype)
        y_true, y_pred = aligned(y_true, y_pred)
        check_values(self.convention, y_true, y_pred, weights, bool(self.from_logits))
        invalid = is_invalid(self.convention, y_true, y_pred)
        if weights is not None:
            y_true, y_pred = without_unweighted(y_true, y_pred, weights)
        if self.from_logits:
            y_pred = self._link(y_pred)(y_pred)
        loss = (self._of_all_rows if self.gather else self._loss)(y_true, y_pred, weights)
        loss = loss / self._shares()
        if invalid is not None:
            loss = K.where(invalid, K.full_like(loss, float("nan")), loss)
        return loss

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """As calling the loss itself, without weights."""
        return self(y_true, y_pred)

    def reset(self) -> None:
        """Forgets earlier batches."""
        if self._earlier is not None and self._stateless is not None:
            for variable, start in zip(self._earlier, self._stateless.initial, strict=True):
                variable.assign(start)

    def get_config(self) -> dict[str, Any]:
        """Everything needed to make the loss again; what it remembers of batches is not kept."""
        return {
            **super().get_config(),
            "metric": (
                function_config(self.metric)
                if self._stateless is None
                else keras.saving.serialize_keras_object(self.metric)
            ),
            "maximize": self.maximize,
            "temperature": float(K.convert_to_numpy(K.copy(self.temperature))),
            "kernel": self.kernel,
            "forward": self.forward_mode,
            "memory": self.memory,
            "from_logits": self.from_logits,
            "gather": self.gather,
            "axis_name": self.axis_name,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> MetricLoss:
        """The loss that `get_config` describes."""
        config = dict(config)
        metric = function_from(config.pop("metric"))
        if isinstance(metric, dict):
            metric = keras.saving.deserialize_keras_object(metric)
        return cls(metric, **config)

    # How a value comes about.

    def _loss(self, y_true: Any, y_pred: Any, weights: Any) -> Any:
        if self._stateless is None:
            return self._reduced(self._value_of_function(y_true, y_pred, weights))
        return self._reduced(self._value_of_metric(self._stateless, y_true, y_pred, weights))

    def _of_all_rows(self, *batch: Any) -> Any:
        """The loss of the rows of all replicas, which each of them computes."""
        executor = frontends.executor()
        whole = [None if part is None else executor.all_rows(part) for part in batch]
        with as_one_replica():
            return self._loss(*whole)

    def _shares(self) -> int:
        executor = frontends.executor()
        return executor.replicas() if executor.ADDS_GRADIENTS else 1

    def _link(self, y_pred: Any) -> Callable[[Any], Any]:
        if isinstance(self.from_logits, str):
            return LINKS[self.from_logits]
        several = len(y_pred.shape) > 1 and y_pred.shape[-1] != 1
        return LINKS["softmax" if several else "sigmoid"]

    def _value_of_function(self, y_true: Any, y_pred: Any, weights: Any) -> Any:
        if weights is None:
            return self._relaxed(y_true, y_pred)
        if "sample_weight" not in inspect.signature(self.metric).parameters:
            raise BevelTypeError(
                f"`{self.name}` takes no `sample_weight`, so a weight or a mask cannot be used; "
                "give the function a parameter of that name."
            )
        return self._relaxed(y_true, y_pred, sample_weight=weights)

    def _value_of_metric(self, stateless: Stateless, y_true: Any, y_pred: Any, weights: Any) -> Any:
        executor = frontends.executor()
        first = not stateless.is_built
        stateless.build(y_true, y_pred)
        replicas = executor.replicas()
        if first and (self.memory or replicas > 1) and not stateless.is_additive(y_true, y_pred):
            raise BevelValueError(
                f"the state of `{self.name}` does not add up over batches, so it can neither be "
                "remembered nor summed over replicas; use memory=0, and gather=True over replicas."
            )
        given = {} if weights is None else {"sample_weight": weights}
        state = self._update(y_true, y_pred, **given)
        initial = [K.convert_to_tensor(s) for s in stateless.initial]
        if replicas > 1:
            state = [
                executor.all_sum(new - K.cast(s, new.dtype)) + K.cast(s, new.dtype)
                for new, s in zip(state, initial, strict=True)
            ]
        if self.memory:
            state = self._remembered(stateless, state, initial)
        with as_one_replica():
            return self._result(state)

    def _remembered(self, stateless: Stateless, state: list[Any], initial: list[Any]) -> list[Any]:
        """The state with a share of the earlier one; once its gradient is taken, that is this one.

        A step that trains takes a gradient, validation does not: it leaves no trace.
        """
        if self._earlier is None:
            self._earlier = self._new_memory(stateless, state)
        total = [
            new + self.memory * (K.stop_gradient(K.convert_to_tensor(old)) - K.cast(s, new.dtype))
            for new, old, s in zip(state, self._earlier, initial, strict=True)
        ]
        return frontends.executor().assigned_by_gradient(self._earlier, total)

    def _new_memory(self, stateless: Stateless, state: list[Any]) -> list[Any]:
        """A variable for each part of the state, as it is before any batch."""
        executor = frontends.executor()
        if executor.replicas() > 1 and executor.in_graph():
            raise BevelValueError(
                f"the variables that `{self.name}` remembers in cannot be made by replicas in "
                "a compiled step; call the loss once on a few rows within strategy.scope(), "
                "before the first step (model.fit does so by itself)."
            )
        return [
            keras.Variable(
                # a function: within Keras's symbolic build a variable is filled afterwards
                lambda shape, dtype, start=start: K.convert_to_tensor(start, dtype=dtype),
                shape=start.shape,
                dtype=keras.backend.standardize_dtype(new.dtype),
                trainable=False,
                name="earlier",
            )
            for start, new in zip(stateless.initial, state, strict=True)
        ]

    def _reduced(self, value: Any) -> Any:
        sign = -1.0 if self.maximize else 1.0
        parts = [K.cast(v, self.dtype) for v in keras.tree.flatten(value)]
        if self.reduction in (None, "none"):
            return sign * (parts[0] if len(parts) == 1 else K.stack(parts))
        if self.reduction == "sum":
            return sign * sum(K.sum(p) for p in parts)
        return sign * sum(K.mean(p) for p in parts) / len(parts)


def _found(metric: Any) -> Any:
    """The metric that a name, a class or an object stands for.

    Raises:
        BevelTypeError: It is no metric and no function.
        BevelValueError: There is no metric of that name.
    """
    if isinstance(metric, str):
        try:
            return keras.metrics.get(metric)
        except ValueError:
            raise BevelValueError(
                f"Keras knows no metric called {metric!r}; pass a keras.metrics.Metric or a "
                "function (y_true, y_pred)."
            ) from None
    if inspect.isclass(metric) and issubclass(metric, keras.metrics.Metric):
        return metric()
    if not callable(metric) and not is_accumulating(metric):
        raise BevelTypeError(
            "`metric` must be a keras.metrics.Metric, the name of one, or a function "
            f"(y_true, y_pred); got {type(metric).__name__}."
        )
    return metric


def _name_of(metric: Any) -> str:
    return getattr(metric, "name", None) or getattr(metric, "__name__", type(metric).__name__)
