"""A metric object that adds up batches by `update`, `compute` and `reset`, as a function of one.

That is the protocol of torchmetrics and torcheval. Every call works on a copy, so the user's object
keeps its state, also where an error ends the call.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator
from typing import Any

from bevel import frontends
from bevel.roles import roles

_EITHER_WAY = inspect.Parameter.POSITIONAL_OR_KEYWORD

_PROTOCOL = ("update", "compute", "reset")


def is_accumulating(value: Any) -> bool:
    """Whether a value is a metric object of this protocol."""
    if inspect.isclass(value):
        return False
    return all(callable(getattr(value, name, None)) for name in _PROTOCOL)


def of_one_batch(metric: Any) -> Callable[..., Any]:
    """The metric's value of one batch, with the parameters of its `update`."""

    def computed(*args: Any, **kwargs: Any) -> Any:
        with frontends.executor().outside_graphs():
            own = _copied(metric)
        own.reset()
        if _has_forward(own):  # what the object itself gives for a batch, and with a gradient
            return own(*args, **kwargs)
        own.update(*args, **kwargs)
        return own.compute()

    computed.__name__ = type(metric).__name__
    computed.__doc__ = type(metric).__doc__
    computed.__dict__["__wrapped__"] = metric
    computed.__dict__["__signature__"] = inspect.signature(metric.update)
    return computed


def in_keras_order(metric: Any) -> Callable[..., Any]:
    """The same as a function (y_true, y_pred), whichever comes first in its `update`."""
    batch = of_one_batch(metric)
    label, prediction = roles(tuple(inspect.signature(metric.update).parameters))

    def value(y_true: Any, y_pred: Any) -> Any:
        given = {prediction: y_pred} if label is None else {prediction: y_pred, label: y_true}
        return batch(**given)

    value.__name__ = batch.__name__
    value.__dict__["__wrapped__"] = metric
    value.__dict__["__signature__"] = inspect.Signature(
        [inspect.Parameter(n, _EITHER_WAY) for n in ("y_true", "y_pred")]
    )
    return value


def _has_forward(metric: Any) -> bool:
    """Whether calling the object gives a value; PyTorch's modules have a `forward` in any case."""
    forward = getattr(type(metric), "forward", None)
    return callable(metric) and getattr(forward, "__name__", "") != "_forward_unimplemented"


def _copied(metric: Any) -> Any:
    """A deep copy; states that are still part of a graph cannot be copied, and are cut off."""
    memo = {id(t): t.detach().clone() for t in _tensors(vars(metric)) if not t.is_leaf}
    return copy.deepcopy(metric, memo)


def _tensors(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)
    elif hasattr(value, "is_leaf") and hasattr(value, "detach"):
        yield value
