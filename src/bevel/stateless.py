"""A Keras metric as two pure functions: from a batch to its state, and from a state to the result.

The user's object is copied, never changed. A copy is built once, outside of any graph, by an update
with harmless values, since a metric may make its variables only when it first sees shapes.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops as K

from bevel import frontends
from bevel.accumulating import is_accumulating, of_one_batch
from bevel.backend import to_numpy
from bevel.errors import BevelTypeError


def pure(fn: Any) -> Any:
    """A function of its arguments alone: a metric object becomes one, without touching it.

    Args:
        fn: Any callable; only a `keras.metrics.Metric`, or another object that adds up batches
            (`bevel.accumulating`), is changed.

    Returns:
        `fn`, or a function of one batch: (y_true, y_pred, sample_weight=None) of a metric of Keras.
    """
    if is_accumulating(fn):
        return of_one_batch(fn)
    if not isinstance(fn, keras.metrics.Metric):
        return fn
    stateless = Stateless(fn)

    def computed(y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        stateless.build(y_true, y_pred)
        return stateless.result(stateless.update(y_true, y_pred, sample_weight))

    computed.__name__ = stateless.name
    return computed


class Stateless:
    """A metric without its state.

    Attributes:
        initial: The state before any batch, numpy arrays; empty until it is built.
        is_built: Whether it is built.
    """

    def __init__(self, metric: keras.metrics.Metric) -> None:
        self.name = type(metric).__name__
        with frontends.executor().outside_graphs():
            own = _copied(metric)
        # without a copy the user's object is only asked for what leaves it as it is
        self._metric, self._is_own = (metric, False) if own is None else (own, True)
        self.initial: list[np.ndarray] = []
        self.is_built = False

    def build(self, y_true: Any, y_pred: Any) -> None:
        """Makes the metric's variables, for labels and predictions of these shapes and dtypes.

        Raises:
            BevelTypeError: The metric refuses arrays of these shapes.
        """
        if self.is_built:
            return
        with frontends.executor().outside_graphs():
            if self._is_own:
                self._see(y_true, y_pred)
            variables = self._metric.variables
            with keras.StatelessScope(state_mapping=[(v, K.copy(v)) for v in variables]) as scope:
                self._metric.reset_state()
            # copied: a variable may be changed in place under a tensor that was read from it
            self.initial = [to_numpy(scope.get_current_value(v)) for v in variables]
            self.is_built = True

    def _see(self, y_true: Any, y_pred: Any) -> None:
        """Lets the metric make the variables that it makes when it sees shapes."""
        try:
            self._metric.update_state(_harmless(y_true), _harmless(y_pred))
        except Exception as error:
            said = str(error).strip().split("\n")[0]
            raise BevelTypeError(
                f"{self.name} does not take y_true of shape {tuple(y_true.shape)} and dtype "
                f"{_name(y_true)} with y_pred of shape {tuple(y_pred.shape)} and dtype "
                f"{_name(y_pred)}: {said[:300]}"
            ) from error

    def update(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> list[Any]:
        """The state after one batch."""
        state = [K.convert_to_tensor(v) for v in self.initial]
        weights = {} if sample_weight is None else {"sample_weight": sample_weight}
        return list(self._metric.stateless_update_state(state, y_true, y_pred, **weights))

    def result(self, state: Sequence[Any]) -> Any:
        """The metric's value for a state."""
        variables = self._metric.variables
        state = [K.cast(s, v.dtype) for s, v in zip(state, variables, strict=True)]
        with keras.StatelessScope(state_mapping=list(zip(variables, state, strict=True))):
            # a metric may return a variable, which has this state only in here
            return keras.tree.map_structure(_value, self._metric.result())

    def is_additive(self, y_true: Any, y_pred: Any) -> bool:
        """Whether the state of two batches is the sum of theirs, tried on drawn numbers."""
        rng = np.random.default_rng(0)
        with frontends.executor().outside_graphs():
            first, second = ([_drawn(v, rng) for v in (y_true, y_pred)] for _ in range(2))
            start = [K.convert_to_tensor(v) for v in self.initial]
            one = self._metric.stateless_update_state(start, *first)
            both = self._metric.stateless_update_state(one, *second)
            two = self._metric.stateless_update_state(start, *second)
            return all(
                np.allclose(
                    *(to_numpy(v).astype("float64") for v in (b, x + y - s)),
                    rtol=1e-4,
                    atol=1e-5,
                )
                for b, x, y, s in zip(both, one, two, start, strict=True)
            )


def _copied(metric: keras.metrics.Metric) -> keras.metrics.Metric | None:
    """A metric like this one: by its configuration if it has one, else a deep copy; None if neither
    can be had.
    """
    if type(metric).get_config is not keras.metrics.Metric.get_config:
        return type(metric).from_config(metric.get_config())
    if metric.variables:  # Keras's variables cannot be copied
        return None
    return copy.deepcopy(metric)


def _value(result: Any) -> Any:
    return K.convert_to_tensor(result.value if isinstance(result, keras.Variable) else result)


def _name(tensor: Any) -> str:
    return keras.backend.standardize_dtype(tensor.dtype)


def _lengths(tensor: Any) -> tuple[int, ...]:
    first, *rest = (2 if n is None else n for n in tensor.shape)
    return (min(first, 2) or 2, *rest)


def _harmless(tensor: Any) -> Any:
    """Zeros for labels; equal shares for predictions, which any metric of probabilities takes."""
    shape, dtype = _lengths(tensor), _name(tensor)
    if "float" not in dtype:
        return K.zeros(shape, dtype=dtype)
    return K.full(shape, 1 / shape[-1] if len(shape) > 1 else 0.5, dtype=dtype)


def _drawn(tensor: Any, rng: np.random.Generator) -> Any:
    shape, dtype = _lengths(tensor), _name(tensor)
    values = rng.random(shape) if "float" in dtype else rng.integers(0, 2, shape)
    return K.convert_to_tensor(values, dtype=dtype)
