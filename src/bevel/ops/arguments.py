"""What every soft primitive does with its arguments before any arithmetic.

Tensors are brought to one floating dtype, low precision is computed in float32, and the numbers
that only a Python caller can get wrong (temperature, scale, names of choices) are checked here,
once. Precision is chosen here and not left to Keras: several `keras.ops` functions turn float64
into float32 on JAX and PyTorch.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from keras import ops as K
from keras.backend import backend, floatx, standardize_dtype

from bevel.errors import BevelTypeError, BevelValueError

FORWARDS = ("soft", "hard")
_FLOATS = ("float16", "bfloat16", "float32", "float64")
_RANGE = {
    "float32": (float(np.finfo("float32").tiny), float(np.finfo("float32").max)),
    "float64": (float(np.finfo("float64").tiny), float(np.finfo("float64").max)),
}


def dtype_of(x: Any) -> str:
    """The dtype of a tensor as Keras spells it."""
    return standardize_dtype(x.dtype)


def compute_dtype(dtype: str) -> str:
    """The dtype to calculate in: float64 stays, everything else is float32."""
    return "float64" if dtype == "float64" else "float32"


def constant(value: float, dtype: str) -> Any:
    """A scalar tensor which keeps all digits of `value` that `dtype` can hold."""
    return K.convert_to_tensor(value, dtype=dtype)


def bounded(x: Any, limit: float) -> Any:
    """x between -limit and limit; in PyTorch, Keras takes a plain number for a float32, and takes
    three times as long.
    """
    if backend() == "torch":
        return x.clamp(-limit, limit)
    return K.clip(x, constant(-limit, dtype_of(x)), constant(limit, dtype_of(x)))


def smallest_normal(dtype: str) -> float:
    """The smallest positive number of a dtype to compute in that has all its digits."""
    return _RANGE[dtype][0]


def is_scalar(x: Any) -> bool:
    """Whether `x` is a plain Python (or NumPy) number, which takes the dtype of its company."""
    return isinstance(x, numbers.Number) or (isinstance(x, np.ndarray) and x.ndim == 0)


def floating(name: str, x: Any) -> Any:
    """Return `x` as a floating-point tensor; a Python number gets the default dtype.

    Raises:
        BevelTypeError: `x` holds integers, booleans or complex numbers.
    """
    if is_scalar(x):
        return K.convert_to_tensor(x, dtype=floatx())
    x = K.convert_to_tensor(x)
    if dtype_of(x) not in _FLOATS:
        raise BevelTypeError(
            f"`{name}` must be a floating-point tensor, because a relaxation needs a derivative; "
            f"got dtype {dtype_of(x)} and shape {tuple(x.shape)}. "
            "Cast it, or pass it as the second operand."
        )
    return x


def operands(x: Any, y: Any) -> tuple[Any, Any, str]:
    """Bring two operands to one dtype to compute in, and name the dtype to return.

    `y` may hold integers or booleans. A Python number takes the dtype of the other operand.
    """
    if is_scalar(x) and not is_scalar(y):
        y = K.convert_to_tensor(y)
        dtype = dtype_of(y) if dtype_of(y) in _FLOATS else floatx()
        compute = compute_dtype(dtype)
        return K.convert_to_tensor(x, dtype=compute), K.cast(y, compute), dtype
    x = floating("x", x)
    if is_scalar(y):
        dtype = dtype_of(x)
        compute = compute_dtype(dtype)
        return K.cast(x, compute), K.convert_to_tensor(y, dtype=compute), dtype
    y = K.convert_to_tensor(y)
    dtype = promoted([dtype_of(x), dtype_of(y)])
    compute = compute_dtype(dtype)
    return K.cast(x, compute), K.cast(y, compute), dtype


def promoted(dtypes: Iterable[str]) -> str:
    """The floating dtype that holds all of `dtypes`; integers and booleans do not count."""
    floats = {dtype for dtype in dtypes if dtype in _FLOATS}
    if not floats:
        return floatx()
    if "float64" in floats:
        return "float64"
    return floats.pop() if len(floats) == 1 else "float32"


def choose(name: str, value: str, choices: Iterable[str]) -> str:
    """Return `value`, or say what could have been chosen.

    Raises:
        BevelValueError: `value` is not one of `choices`.
    """
    choices = tuple(choices)
    if not isinstance(value, str) or value not in choices:
        listed = ", ".join(map(repr, choices))
        raise BevelValueError(f"`{name}` must be one of {listed}; got {value!r}.")
    return value


def check_temperature(temperature: Any) -> Any:
    """Return a number as a Python float and a tensor as it is.

    Raises:
        BevelValueError: a number is negative or not finite, or it is not a number at all.
    """
    if isinstance(temperature, str | bool) or temperature is None:
        raise BevelValueError(f"`temperature` must be a finite number >= 0; got {temperature!r}.")
    if not is_scalar(temperature):
        return temperature
    if isinstance(temperature, complex) or not 0 <= temperature < math.inf:
        raise BevelValueError(f"`temperature` must be a finite number >= 0; got {temperature}.")
    return float(temperature)


def check_scale(scale: Any) -> Any:
    """Return a number as a Python float and a tensor as it is.

    Raises:
        BevelValueError: a number is not positive or not finite.
    """
    if not is_scalar(scale):
        return scale
    if not 0 < scale < math.inf:
        raise BevelValueError(f"`scale` must be a finite number > 0, or a tensor; got {scale}.")
    return float(scale)


class Width(NamedTuple):
    """Temperature times scale: what a difference is divided by before it enters a kernel.

    `value` is a positive constant for the gradient, or the Python float 0.0 for the hard function.
    `unit` is 1 where the temperature is a tensor, and carries its relative gradient.
    """

    value: Any
    unit: Any = None

    @property
    def hard(self) -> bool:
        return is_scalar(self.value) and self.value == 0

    def times(self, x: Any) -> Any:
        """`x` times this width."""
        x = x * self.value
        return x if self.unit is None else x * self.unit


def width(temperature: Any, scale: Any, dtype: str) -> Width:
    """Temperature times scale, kept where it and its reciprocal are normal numbers of `dtype`.

    A tensor temperature of 0 is the smallest width, not the hard function.
    """
    temperature, scale = check_temperature(temperature), check_scale(scale)
    low, high = _RANGE[dtype]
    if is_scalar(temperature) and is_scalar(scale):
        return Width(min(max(temperature * scale, low), high) if temperature else 0.0)
    if is_scalar(temperature) and temperature == 0:
        return Width(0.0)
    if not is_scalar(scale):
        scale = K.stop_gradient(K.cast(K.convert_to_tensor(scale), dtype))
    if is_scalar(temperature):
        return Width(_at_least(low, temperature * scale, dtype))
    temperature = _at_least(low, K.cast(K.convert_to_tensor(temperature), dtype), dtype)
    logarithm = K.log(temperature)
    unit = K.exp(logarithm - K.stop_gradient(logarithm))
    return Width(_at_least(low, K.stop_gradient(temperature) * scale, dtype), unit)


def ratio(d: Any, width: Width, dtype: str) -> Any:
    """`d / width` with a finite gradient in both, however small the width.

    Args:
        d: Tensor in the dtype to compute in.
        width: What `width` returned, not the hard one.
        dtype: The caller's dtype. In float16 the slope is limited so that it can be represented.
    """
    if dtype == "float16":
        d = _limited_slope(d, width.value)
    if width.unit is None:
        return d / width.value
    bound = math.sqrt(_RANGE[dtype_of(d)][1])
    return bounded(d / width.value, bound) / width.unit


def _at_least(low: float, x: Any, dtype: str) -> Any:
    return K.where(x < low, constant(low, dtype), x)


def _limited_slope(d: Any, width: Any) -> Any:
    """The same value, its gradient scaled down where 1/width is beyond the range of float16."""
    steepest = 16000.0
    if is_scalar(width):
        share = min(1.0, width * steepest)
        if share == 1.0:
            return d
    else:
        share = K.stop_gradient(K.clip(width * steepest, 0.0, 1.0))
    fixed = K.stop_gradient(d)
    return K.where(K.isinf(fixed), fixed, fixed + share * (d - fixed))


def hardened(hard: Any, *sources: Any) -> Any:
    """The hard value with a zero gradient to every source, and NaN where a source is NaN."""
    total = sources[0]
    for source in sources[1:]:
        total = total + source
    missing = K.isnan(sources[0])
    for source in sources[1:]:
        missing = K.logical_or(missing, K.isnan(source))
    return K.where(missing, total, K.stop_gradient(hard))


def straight_through(hard: Any, soft: Any) -> Any:
    """The value of `hard` with the gradient of `soft`, and none where `soft` is infinite."""
    soft = K.where(K.isinf(soft), K.zeros_like(soft), soft)
    return K.stop_gradient(hard) + (soft - K.stop_gradient(soft))
