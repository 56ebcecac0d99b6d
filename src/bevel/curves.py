"""Values and slopes of a function and of its relaxations over a range, for `bevel.plots` to draw.

An operation of `bevel.ops` and a function of one argument are evaluated element by element; a
metric of (y_true, y_pred) as all its predictions move together. Slopes come from the active Keras
backend.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from bevel.errors import BevelValueError

POINTS = 1201
METRIC_POINTS = 241
TEMPERATURES = (0.03, 0.1, 0.3)

# The range to show for each operation of `bevel.ops` that takes one argument, and the temperatures.
OPERATIONS: dict[str, tuple[tuple[float, float], tuple[float, ...]]] = {
    "qpwc": ((-0.25, 1.25), (0.01, 0.1, 1.0)),
    "step": ((-2.0, 2.0), (0.05, 0.2, 0.5)),
    "sign": ((-2.0, 2.0), (0.05, 0.2, 0.5)),
    "round": ((-2.5, 2.5), (0.03, 0.1, 0.3)),
    "floor": ((-2.5, 2.5), (0.03, 0.1, 0.3)),
    "ceil": ((-2.5, 2.5), (0.03, 0.1, 0.3)),
    "trunc": ((-2.5, 2.5), (0.03, 0.1, 0.3)),
    "relu": ((-2.0, 2.0), (0.05, 0.2, 0.5)),
    "abs": ((-2.0, 2.0), (0.05, 0.2, 0.5)),
}


@dataclass(frozen=True)
class Curve:
    """One line of a figure: its name, values and slopes at the figure's x, shape (points,) each."""

    name: str
    value: np.ndarray
    slope: np.ndarray


@dataclass(frozen=True)
class Curves:
    """A function and its relaxations over a range.

    Attributes:
        title: Of the figure.
        subtitle: What is shown, in words.
        label: Of the horizontal axis.
        x: Where it was evaluated, shape (points,).
        hard: The function itself.
        soft: Its relaxations, sharpest first.
    """

    title: str
    subtitle: str
    label: str
    x: np.ndarray
    hard: Curve
    soft: tuple[Curve, ...]


def operation_curves(name: str, limits: tuple[float, float] | None = None) -> Curves:
    """Evaluate an operation of `bevel.ops`, hard and at three temperatures.

    Args:
        name: One of `OPERATIONS`.
        limits: The range; by default one that shows its steps.

    Raises:
        BevelValueError: If the name is unknown or the range is empty or not finite.
    """
    from bevel import ops

    if name not in OPERATIONS:
        raise BevelValueError(
            f"`{name}` is no operation to plot; expected {', '.join(OPERATIONS)}."
        )
    own, temperatures = OPERATIONS[name]
    x = _points(limits or own)
    fn = getattr(ops, name)
    soft = (
        _curve(f"temperature {t:g}", lambda z, t=t: fn(z, temperature=t), x) for t in temperatures
    )
    return Curves(
        title=f"bevel.ops.{name}",
        subtitle="the function and its relaxations",
        label="z",
        x=x,
        hard=_curve("hard (temperature 0)", lambda z: fn(z, temperature=0.0), x),
        soft=tuple(soft),
    )


def function_curves(
    fn: Callable[..., Any],
    arguments: dict[str, np.ndarray],
    limits: tuple[float, float] | None = None,
    name: str = "function",
) -> Curves:
    """Evaluate a user's function and its relaxations over a range.

    A function of one argument is taken element by element. A metric is shown as all its predictions
    move together: probabilities by a shift of their logits (of the last class, where there are
    several), other predictions by a shift of their values.

    Args:
        fn: A function of the prediction, or of labels and prediction.
        arguments: Example inputs by parameter name, in order; one argument only gives the name.
        limits: The range; by default -2 to 2, for a shift -4 to 4.
        name: What to call the function.

    Raises:
        BevelValueError: If the range is empty or not finite, or a function of one argument does not
            return a value for each element.
        UnknownOperationError: If the function cannot be relaxed.
    """
    from bevel.relaxation import relax
    from bevel.roles import roles

    relaxed = {t: relax(fn, temperature=t) for t in TEMPERATURES}
    if len(arguments) == 1:
        x = _points(limits or (-2.0, 2.0))
        label, subtitle = (
            next(iter(arguments)),
            "the function and its relaxations, element by element",
        )

        def moved(f: Callable[..., Any]) -> Callable[[Any], Any]:
            return f

        curve = _curve
    else:
        x = _points(limits or (-4.0, 4.0), METRIC_POINTS)
        _, prediction = roles(tuple(arguments))
        label, subtitle, shift = _shift(arguments[prediction])

        def moved(f: Callable[..., Any]) -> Callable[[Any], Any]:
            return lambda s: f(*({**arguments, prediction: shift(s)}).values())

        curve = _metric_curve
    return Curves(
        title=name,
        subtitle=subtitle,
        label=label,
        x=x,
        hard=curve("hard", moved(fn), x),
        soft=tuple(curve(f"relaxed, temperature {t:g}", moved(r), x) for t, r in relaxed.items()),
    )


def value_and_slope(fn: Callable[[Any], Any], x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """fn(x), and the derivative of its sum by x, as the active Keras backend computes it.

    Args:
        fn: A function of one tensor.
        x: Where, float32, any shape.

    Returns:
        The value, float64, and the derivative, of the shape of x; 0 where the backend has none.
    """
    import keras

    name = keras.backend.backend()
    if name == "tensorflow":
        import tensorflow as tf

        variable = tf.constant(x)
        with tf.GradientTape() as tape:
            tape.watch(variable)
            value = fn(variable)
        slope = tape.gradient(value, variable)
    elif name == "jax":
        import jax

        variable = jax.numpy.asarray(x)
        value = fn(variable)
        slope = jax.grad(lambda z: fn(z).sum())(variable)
    else:
        import torch

        variable = torch.tensor(x, requires_grad=True)
        value = fn(variable)
        if value.requires_grad:
            value.sum().backward()
        slope = variable.grad
    found = np.zeros_like(x) if slope is None else keras.ops.convert_to_numpy(slope)
    return np.asarray(keras.ops.convert_to_numpy(value), "float64"), np.asarray(found)


def _curve(name: str, fn: Callable[[Any], Any], x: np.ndarray) -> Curve:
    """Evaluate a function that works element by element, at all of x at once."""
    value, slope = value_and_slope(fn, x)
    if value.shape != x.shape:
        raise BevelValueError(
            f"{name}: expected a value for each element, shape {x.shape}; got shape {value.shape}.",
            help="plot a function that works element by element, or one of (y_true, y_pred)",
        )
    return Curve(name, value, slope)


def _metric_curve(name: str, fn: Callable[[Any], Any], x: np.ndarray) -> Curve:
    """Evaluate a function that gives one number (or several, which are averaged), at each x."""
    from keras import ops

    pairs = [value_and_slope(lambda s: ops.mean(ops.cast(fn(s), "float32")), s) for s in x]
    value, slope = np.array(pairs, "float64").T
    return Curve(name, value, slope)


def _shift(prediction: np.ndarray) -> tuple[str, str, Callable[[Any], Any]]:
    """How predictions move together: the axis label, the words, and the moved tensor."""
    from keras import ops

    base = ops.convert_to_tensor(prediction)
    inside = bool(np.all((prediction > 0) & (prediction < 1)))
    rows = prediction.sum(axis=-1) if prediction.ndim > 1 else np.zeros(1)
    if inside and prediction.shape[-1:] != (1,) and np.allclose(rows, 1.0, atol=1e-3):
        last = np.eye(prediction.shape[-1], dtype=prediction.dtype)[-1]
        logits = ops.log(base)
        words = "all predictions moved together: a shift of the last class's logits"
        return "shift", words, lambda s: ops.softmax(logits + s * last, axis=-1)
    if inside:
        logits = ops.log(base) - ops.log1p(-base)
        words = "all predictions moved together: a shift of their logits"
        return "shift", words, lambda s: ops.sigmoid(logits + s)
    return "shift", "all predictions moved together: a shift of their values", lambda s: base + s


def _points(limits: tuple[float, float], count: int = POINTS) -> np.ndarray:
    low, high = limits
    if not (np.isfinite([low, high]).all() and low < high):
        raise BevelValueError(
            f"the range must be two finite numbers, low < high; got {low}, {high}."
        )
    return np.linspace(low, high, count, dtype="float32")
