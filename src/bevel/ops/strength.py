"""A temperature found from what it should do: how far soft ranks may be from the hard ones."""

from __future__ import annotations

from typing import Any

from keras import ops as K

from bevel.errors import BevelValueError
from bevel.ops.arguments import compute_dtype, constant, dtype_of, floating, is_scalar
from bevel.ops.pairwise import pairwise_sum

# The temperatures to choose from, over the range of the elements, and how often they are halved.
_LOWEST, _HIGHEST, _ROUNDS = 1e-8, 10.0, 14


def auto_temperature(
    x: Any, error: float = 0.01, axis: int = -1, *, kernel: str = "linear", scale: Any = 1.0
) -> Any:
    """The temperature at which soft ranks differ from the hard ones by a given share of n.

    The mean over all elements of abs(soft - hard) / n rises with the temperature, from 0 to 1/4, so
    the logarithm of the temperature is found by bisection: 14 soft ranks without their gradients.
    That is a price to pay once, or now and then, rather than at each step.

    Args:
        x: Floating-point tensor; a row with NaN does not count.
        error: What the mean of abs(soft - hard) / n should be, above 0 and below 1/4. Few elements
            reach the smallest ones only where the closest of them meet.
        axis: The axis that is ranked along. One temperature serves all rows.
        kernel: A kernel of `rank`.
        scale: The unit that the temperature is in: a positive number or a scalar tensor.

    Returns:
        A scalar tensor, float64 for float64 and else float32; a constant for the gradient.

    Raises:
        BevelValueError: the error lies outside of its range, or kernel or scale cannot be used.
        BevelTypeError: x is not floating-point.

    Example:
        >>> round(float(auto_temperature([float(i) for i in range(100)], 0.01)), 1) > 1
        True
    """
    if not is_scalar(error) or not 0 < error < 0.25:
        raise BevelValueError(f"`error` must be a number above 0 and below 1/4; got {error!r}.")
    x = K.stop_gradient(floating("x", x))
    dtype = compute_dtype(dtype_of(x))
    x = K.moveaxis(K.cast(x, dtype), axis, -1)
    n = x.shape[-1]
    if n == 0:
        return constant(1.0, dtype)
    nothing, one = constant(0.0, dtype), constant(1.0, dtype)
    is_finite = K.isfinite(x)
    extent = K.max(K.where(is_finite, x, nothing)) - K.min(K.where(is_finite, x, nothing))
    extent = K.where(extent > 0, extent, one)
    hard = pairwise_sum(x, temperature=0)

    def halved(step: Any, low: Any, high: Any) -> tuple[Any, Any, Any]:
        middle = (low + high) / 2
        soft = pairwise_sum(x, kernel=kernel, temperature=K.exp(middle) * extent)
        apart = K.abs(soft - hard)
        apart = K.mean(K.where(K.isnan(apart), nothing, apart)) / n
        is_soft = apart > error
        return step + 1, K.where(is_soft, low, middle), K.where(is_soft, middle, high)

    low, high = (K.log(constant(t, dtype)) for t in (_LOWEST, _HIGHEST))
    start = (K.convert_to_tensor(0, dtype="int32"), low, high)
    _, low, high = K.while_loop(lambda step, *_: step < _ROUNDS, halved, start)
    return K.stop_gradient(K.exp((low + high) / 2) * extent / scale)
