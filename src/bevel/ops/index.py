"""Soft positions: an index is a distribution over the places it may point at.

`argmax` gives the weights w along one axis, which moves to the end; what is done with the index is
then an expectation, so `max` is the sum of w x. Two ways to weigh x_k against the largest value m,
with z_k = (m - x_k) / (temperature * scale):

    softmax   w_k = exp(-z_k) / sum of exp(-z)
    cauchy    w_k = h_k / sum of h,  h = 1 / (1 + z^2)

The tail of `cauchy` is heavy: a value far below the largest still gets a gradient. Equal values
share the soft weight equally, whereas the hard index is the first, as everywhere.
"""

from __future__ import annotations

from typing import Any

from keras import ops as K

from bevel.errors import BevelTypeError, BevelValueError
from bevel.ops.arguments import (
    FORWARDS,
    Width,
    bounded,
    choose,
    compute_dtype,
    dtype_of,
    floating,
    hardened,
    ratio,
    straight_through,
    width,
)

KERNELS = ("softmax", "cauchy")


def argmax(
    x: Any,
    axis: int | None = -1,
    *,
    temperature: Any = 0.1,
    kernel: str = "softmax",
    forward: str = "soft",
    scale: Any = 1.0,
) -> Any:
    """Where x is largest along `axis`, as a distribution over the axis.

    Args:
        x: Floating-point tensor.
        axis: The axis to search; None searches the flattened tensor.
        temperature: How soft: a number >= 0 or a scalar tensor; 0 puts the weight 1 on the first
            largest value.
        kernel: `softmax` or `cauchy`.
        forward: `soft` returns the weights, `hard` the one-hot index with the weights' gradient.
        scale: Positive number, or tensor that broadcasts to `x` with `axis` moved to the end.

    Returns:
        Weights in the shape of `x` with `axis` moved to the end, which sum to 1 along it. NaN for a
        row that holds NaN.

    Raises:
        BevelValueError: temperature, scale, kernel or forward cannot be used, or the axis is empty.
        BevelTypeError: `x` is not floating-point.

    Example:
        >>> [float(w) for w in argmax([1.0, 3.0, 3.0], forward="hard")]
        [0.0, 1.0, 0.0]
        >>> [float(w) for w in argmax([-9.0, 3.0, 3.0])]
        [0.0, 0.5, 0.5]
    """
    x, dtype, spread = _searched(x, axis, temperature, kernel, forward, scale)
    return K.cast(_weights(x, dtype, spread, kernel, forward), dtype)


def argmin(
    x: Any,
    axis: int | None = -1,
    *,
    temperature: Any = 0.1,
    kernel: str = "softmax",
    forward: str = "soft",
    scale: Any = 1.0,
) -> Any:
    """Where x is smallest along `axis`, as a distribution over the axis: argmax(-x).

    Arguments, results and errors are those of `argmax`.

    Example:
        >>> [float(w) for w in argmin([1.0, 3.0], temperature=0.0)]
        [1.0, 0.0]
    """
    x, dtype, spread = _searched(x, axis, temperature, kernel, forward, scale)
    return K.cast(_weights(-x, dtype, spread, kernel, forward), dtype)


def max(
    x: Any,
    axis: int | None = None,
    keepdims: bool = False,
    *,
    temperature: Any = 0.1,
    kernel: str = "softmax",
    forward: str = "soft",
    scale: Any = 1.0,
) -> Any:
    """The largest value along `axis`, softly the mean of x under the weights of `argmax`.

    Args:
        x: Floating-point tensor.
        axis: The axis to reduce; None reduces the flattened tensor.
        keepdims: Whether the reduced axis stays, with length 1.
        temperature: How soft; 0 is the hard maximum, whose gradient equal values share equally.
        kernel: `softmax` or `cauchy`.
        forward: `soft` returns the mean, `hard` the exact maximum with the mean's gradient.
        scale: Positive number, or tensor that broadcasts to `x` with `axis` moved to the end.

    Returns:
        A tensor without the axis, between the smallest and the largest value; NaN where x holds
        NaN.

    Raises:
        BevelValueError: temperature, scale, kernel or forward cannot be used, or the axis is empty.
        BevelTypeError: `x` is not floating-point.

    Example:
        >>> float(max([1.0, 9.0])), float(max([1.0, 2.0], forward="hard"))
        (9.0, 2.0)
    """
    return _extreme(x, axis, keepdims, 1.0, temperature, kernel, forward, scale)


def min(
    x: Any,
    axis: int | None = None,
    keepdims: bool = False,
    *,
    temperature: Any = 0.1,
    kernel: str = "softmax",
    forward: str = "soft",
    scale: Any = 1.0,
) -> Any:
    """The smallest value along `axis`, softly the mean of x under the weights of `argmin`.

    Arguments, results and errors are those of `max`.

    Example:
        >>> float(min([1.0, 9.0])), float(min([1.0, 2.0], forward="hard"))
        (1.0, 1.0)
    """
    return _extreme(x, axis, keepdims, -1.0, temperature, kernel, forward, scale)


def one_hot(index: Any, num_classes: int, dtype: str | None = None) -> Any:
    """The indicator of an index: of a soft index its own weights, of integers the usual 0 and 1.

    Args:
        index: Weights with the classes on the last axis, or integers of any shape.
        num_classes: How many classes to return. Weights over fewer are filled up with 0.
        dtype: Dtype of the result; by default that of the weights, or Keras's float for integers.

    Returns:
        A tensor with `num_classes` on the last axis.

    Raises:
        BevelValueError: the weights are over more than `num_classes` classes, or their number is
            not known when traced and so cannot be compared.
        BevelTypeError: `index` is neither floating-point nor integer.

    Example:
        >>> [float(w) for w in one_hot([0.25, 0.75], 3)]
        [0.25, 0.75, 0.0]
        >>> [float(w) for w in one_hot(1, 2)]
        [0.0, 1.0]
    """
    index = K.convert_to_tensor(index)
    kind = dtype_of(index)
    if "int" in kind:
        return K.one_hot(index, num_classes, dtype=dtype)
    if "float" not in kind:
        raise BevelTypeError(f"`index` must hold weights or integers; got dtype {kind}.")
    if len(index.shape) == 0 or index.shape[-1] is None:
        raise BevelValueError(
            "`index` must have a last axis of known length, the classes; "
            f"got weights of shape {tuple(index.shape)}."
        )
    missing = num_classes - index.shape[-1]
    if missing < 0:
        raise BevelValueError(
            f"`num_classes` must be at least {index.shape[-1]}, the length of the last axis of "
            f"`index`, whose shape is {tuple(index.shape)}; got {num_classes}."
        )
    if missing:
        index = K.pad(index, [(0, 0)] * (len(index.shape) - 1) + [(0, missing)])
    return index if dtype is None else K.cast(index, dtype)


def _searched(
    x: Any, axis: int | None, temperature: Any, kernel: str, forward: str, scale: Any
) -> tuple[Any, str, Width]:
    """x with the axis to search at the end, in the dtype to compute in."""
    choose("kernel", kernel, KERNELS)
    choose("forward", forward, FORWARDS)
    x = floating("x", x)
    dtype = dtype_of(x)
    x = K.cast(x, compute_dtype(dtype))
    x = K.reshape(x, (-1,)) if axis is None else K.moveaxis(x, axis, -1)
    if x.shape[-1] == 0:
        raise BevelValueError(
            f"`x` has no element to choose along axis {axis}; got shape {tuple(x.shape)} with that "
            "axis moved to the end."
        )
    return x, dtype, width(temperature, scale, dtype_of(x))


def _weights(x: Any, dtype: str, spread: Width, kernel: str, forward: str) -> Any:
    if spread.hard:
        return hardened(_first(x), 0 * _finite(x) + _missing(x))
    soft = _softmax(x, spread, dtype) if kernel == "softmax" else _cauchy(x, spread, dtype)
    return straight_through(_first(x), soft) if forward == "hard" else soft


def _first(x: Any) -> Any:
    """The one-hot index of the first largest value; to Keras, 0.0 is larger than -0.0."""
    x = K.where(x == 0, K.zeros_like(x), x)
    return K.one_hot(K.argmax(x, axis=-1), K.shape(x)[-1], dtype=dtype_of(x))


def _softmax(x: Any, spread: Width, dtype: str) -> Any:
    largest = K.stop_gradient(_largest(x))
    height = K.exp(ratio(_below(x, largest), spread, dtype))
    return height / K.sum(height, axis=-1, keepdims=True)


def _cauchy(x: Any, spread: Width, dtype: str) -> Any:
    limit = 1e18 if dtype_of(x) == "float32" else 1e150
    gap = _below(x, _largest(x))
    beyond = K.isinf(gap)
    gap = bounded(ratio(gap, spread, dtype), limit)
    height = K.where(beyond, K.zeros_like(gap), 1 / (1 + gap * gap))
    return height / K.sum(height, axis=-1, keepdims=True)


def _below(x: Any, largest: Any) -> Any:
    """x - largest, 0 where both are the same infinity."""
    same = K.logical_and(K.isinf(x), x == largest)
    return K.where(same, K.zeros_like(x), x - largest)


def _extreme(
    x: Any,
    axis: int | None,
    keepdims: bool,
    direction: float,
    temperature: Any,
    kernel: str,
    forward: str,
    scale: Any,
) -> Any:
    """The largest value times `direction`, of x times `direction`."""
    x = floating("x", x)
    rank = len(x.shape)
    x, dtype, spread = _searched(x, axis, temperature, kernel, forward, scale)
    x = direction * x
    hard = K.squeeze(_largest(x), -1)
    if spread.hard:
        ties = K.cast(x == _largest(x), dtype_of(x))
        weights = K.stop_gradient(ties / K.sum(ties, axis=-1, keepdims=True))
        value = straight_through(hard, _mean(weights, x)) + K.squeeze(_missing(x), -1)
    else:
        value = _mean(_weights(x, dtype, spread, kernel, "soft"), x)
        if forward == "hard":
            value = straight_through(hard, value)
    value = K.cast(direction * value, dtype)
    if not keepdims:
        return value
    if axis is not None:
        return K.expand_dims(value, axis)
    return K.reshape(value, (1,) * rank)


def _largest(x: Any) -> Any:
    """The maximum of each row, on an axis of length 1; of no rows, nothing."""
    if 0 in x.shape:
        return K.sum(x, axis=-1, keepdims=True)
    return K.amax(x, axis=-1, keepdims=True)


def _missing(x: Any) -> Any:
    """NaN for a row that holds NaN, which a compiled maximum does not always show, else 0."""
    return K.sum(0 * _finite(x), axis=-1, keepdims=True)


def _finite(x: Any) -> Any:
    return K.where(K.isinf(x), K.zeros_like(x), x)


def _mean(weights: Any, x: Any) -> Any:
    """The mean of x. A value of weight 0 does not count; an infinite one has no gradient."""
    x = K.where(weights == 0, K.zeros_like(x), x)
    infinite = K.stop_gradient(K.where(K.isinf(x), weights * x, K.zeros_like(x)))
    return K.sum(weights * _finite(x) + infinite, axis=-1)
