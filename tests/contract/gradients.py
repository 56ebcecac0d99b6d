"""Values and gradients of a tensor function on whichever backend Keras runs.

Frameworks name the same event differently: a blocked gradient is `None` in TensorFlow, zeros in JAX
and an error in PyTorch. Here it is zeros everywhere. NaN stays NaN.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops as K

BACKEND = keras.backend.backend()
# PyTorch's compiler takes minutes for such a table, so there everything runs eagerly.
MODES = {"tensorflow": ("graph", "jit"), "jax": ("jit",), "torch": ()}[BACKEND]
# XLA takes seconds for what a graph of TensorFlow is made of in a tenth of that.
COMPILED = [
    pytest.param(m, marks=pytest.mark.slow) if (BACKEND, m) == ("tensorflow", "jit") else m
    for m in MODES
]
WAYS = ["eager", *COMPILED]


def installed(framework: str) -> bool:
    """Whether a framework can be imported, without importing it."""
    return importlib.util.find_spec(framework) is not None


def tensor(x: Any, dtype: str) -> Any:
    """`x` as a tensor of `dtype`, by way of NumPy where NumPy knows the dtype."""
    if dtype == "bfloat16":
        return K.cast(K.convert_to_tensor(np.asarray(x, "float32")), dtype)
    return K.convert_to_tensor(np.asarray(x).astype(dtype))


def array(x: Any) -> np.ndarray:
    """A tensor as a float64 array."""
    low = keras.backend.standardize_dtype(x.dtype) in ("float16", "bfloat16")
    x = K.cast(x, "float32") if low else x
    # Keras asks PyTorch for an array in a way that NumPy 2.4 deprecates.
    x = x.detach().numpy() if BACKEND == "torch" else K.convert_to_numpy(x)
    return np.asarray(x, "float64")


def value_and_gradient(
    function: Callable[..., Any], *inputs: Any, mode: str = "eager"
) -> tuple[np.ndarray, list[np.ndarray]]:
    """The value, and for each input the gradient of the sum of the value, as float64 arrays."""
    value, gradients = compiled(_with_gradients(function), mode)(*inputs)
    return array(value), [array(g) for g in gradients]


def gradient(function: Callable[..., Any], *inputs: Any) -> np.ndarray:
    """The gradient of the sum of the value with respect to the first input."""
    return value_and_gradient(function, *inputs)[1][0]


def second_derivative(function: Callable[[Any], Any], x: Any) -> np.ndarray:
    """The second derivative of an elementwise function at each element."""
    return gradient(_differentiated(function), x)


def compiled(function: Callable[..., Any], mode: str) -> Callable[..., Any]:
    """`function` as it is, or compiled the way `mode` says."""
    if mode == "eager":
        return function
    if BACKEND == "tensorflow":
        import tensorflow as tf

        return tf.function(function, jit_compile=mode == "jit")
    import jax

    return jax.jit(function)


def _with_gradients(function: Callable[..., Any]) -> Callable[..., tuple[Any, list[Any]]]:
    return {"tensorflow": _tensorflow, "jax": _jax, "torch": _torch}[BACKEND](function)


def _differentiated(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda x: _with_gradients(function)(x)[1][0]


def _tensorflow(function: Callable[..., Any]) -> Callable[..., tuple[Any, list[Any]]]:
    import tensorflow as tf

    def run(*inputs: Any) -> tuple[Any, list[Any]]:
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            value = function(*inputs)
        zero = tf.UnconnectedGradients.ZERO
        return value, tape.gradient(value, list(inputs), unconnected_gradients=zero)

    return run


def _jax(function: Callable[..., Any]) -> Callable[..., tuple[Any, list[Any]]]:
    import jax

    def summed(*inputs: Any) -> tuple[Any, Any]:
        value = function(*inputs)
        return K.sum(value), value

    def run(*inputs: Any) -> tuple[Any, list[Any]]:
        places = tuple(range(len(inputs)))
        (_, value), gradients = jax.value_and_grad(summed, places, has_aux=True)(*inputs)
        return value, list(gradients)

    return run


def _torch(function: Callable[..., Any]) -> Callable[..., tuple[Any, list[Any]]]:
    import torch

    def run(*inputs: Any) -> tuple[Any, list[Any]]:
        inputs = tuple(x if x.requires_grad else x.clone().requires_grad_() for x in inputs)
        value = function(*inputs)
        if not value.requires_grad:
            return value, [torch.zeros_like(x) for x in inputs]
        found = torch.autograd.grad(value.sum(), inputs, create_graph=True, allow_unused=True)
        return value.detach(), [
            torch.zeros_like(x) if g is None else g for x, g in zip(inputs, found, strict=True)
        ]

    return run
