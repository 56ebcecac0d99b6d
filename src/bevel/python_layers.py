"""Plain Python functions as operations and Keras layers, with a gradient of one's own.

`activation` takes a function of one number and, if it is known, its derivative; `custom_gradient`
takes a function of any arrays and what turns the gradient that arrives into those of its arguments.
Both give a Keras layer that is called like a function. `bevel.check_gradient` tells whether the
gradient is right.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from statistics import NormalDist
from typing import Any

import keras
import numpy as np
from keras import ops as K

from bevel.errors import BevelTypeError, BevelValueError
from bevel.ops.arguments import compute_dtype, dtype_of
from bevel.plain_calls import Understood, call_python, understand
from bevel.saving import function_config, function_from

# Numbers that functions are tried on: around every scale, and the corners that people write.
_NUMBERS = np.concatenate([
    [0.0, 1.0, -1.0, 0.5, -0.5, 2.0, -2.0, 3.0, -3.0, 6.0, -6.0, 20.0, -20.0, 100.0, -100.0, 0.1],
    *(np.random.default_rng(0).normal(scale=s, size=24) for s in (0.01, 1.0, 4.0)),
]).astype("float32")  # fmt: skip

# Where a smoothed slope is measured: the middles of equally likely parts of a normal distribution.
_PLACES = np.array([NormalDist().inv_cdf((k + 0.5) / 16) for k in range(16)])


class _Python(keras.layers.Layer):
    """What the layers share: calls in at least float32, and functions kept by their names."""

    def __init__(self, **kwargs: Any) -> None:
        # a function may be given labels beside predictions: dtypes stay as they are
        super().__init__(**{"autocast": False} | kwargs)
        self._functions: dict[str, Any] = {}

    def explain(self) -> str:
        """How its functions are run and what that costs, one to a line."""
        return "\n".join(f"{name}: {understood}" for name, understood in self._functions.items())

    @property
    def compiles(self) -> bool:
        """Whether all of it becomes part of a graph; else Python is called for every batch."""
        return all(f.compiles for f in self._functions.values() if isinstance(f, Understood))

    def get_config(self) -> dict[str, Any]:
        """Everything needed to make the layer again: its functions by their names.

        Raises:
            BevelValueError: A function cannot be found by its name.
        """
        config = super().get_config()
        for name, function in self._functions.items():
            config[name] = function_config(getattr(function, "fn", None))
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Any:
        return cls(**{name: function_from(value) for name, value in config.items()})


@keras.saving.register_keras_serializable(package="bevel")
class PythonActivation(_Python):
    """The layer that `activation` makes."""

    def __init__(
        self,
        fn: Callable[..., Any],
        derivative: Callable[..., Any] | None = None,
        temperature: float = 0.1,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not temperature > 0 or not np.isfinite(temperature):
            raise BevelValueError(f"`temperature` must be positive; got {temperature}.")
        self.temperature = float(temperature)
        self._value = _elementwise("fn", fn)
        self._slope = None if derivative is None else _elementwise("derivative", derivative)
        self._functions = {"fn": self._value, "derivative": self._slope or self._how()}
        self.supports_jit = self.compiles

    def _how(self) -> str:
        if self._value.compiles:
            return "by the framework, through the array code"
        return (
            f"estimated by {len(_PLACES)} more calls, the mean slope under normal changes of "
            f"{self.temperature:g} of the inputs' spread"
        )

    def call(self, inputs: Any) -> Any:
        x = K.convert_to_tensor(inputs)
        dtype = dtype_of(x)
        if "float" not in dtype:
            raise BevelTypeError(f"`{self.name}` takes floats; got {dtype}.")
        wide = K.cast(x, compute_dtype(dtype))
        if self._slope is None and self._value.compiles:
            y = self._value(wide)
        else:
            y = K.custom_gradient(self._with_slope)(wide)
        return K.cast(K.where(K.isnan(wide), wide, y), dtype)

    def _with_slope(self, x: Any) -> tuple[Any, Callable[..., Any]]:
        def gradient(*args: Any, upstream: Any = None) -> Any:
            arriving = args[0] if upstream is None else upstream
            if self._slope is not None:
                return arriving * self._run(self._slope, x)
            return arriving * call_python(self._estimated, dtype_of(x), [x], [x.shape])[0]

        return self._run(self._value, x), gradient

    def _run(self, function: Understood, x: Any) -> Any:
        if function.compiles:
            return K.broadcast_to(K.cast(function(x), x.dtype), K.shape(x))
        return call_python(lambda a: [function.on_arrays(a)], dtype_of(x), [x], [x.shape])[0]

    def _estimated(self, x: np.ndarray) -> list[np.ndarray]:
        """The mean slope of the function near each element."""
        spread = np.mean(np.abs(x - np.mean(x))) if x.size else 1.0
        width = self.temperature * (spread if spread > 0 and np.isfinite(spread) else 1.0)
        at = x[..., None].astype("float64") + width * _PLACES
        values = self._value.on_arrays(at)
        slope = np.sum(values * _PLACES, axis=-1) / (width * np.sum(_PLACES**2))
        return [slope]

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"temperature": self.temperature}


@keras.saving.register_keras_serializable(package="bevel")
class PythonFunction(_Python):
    """The layer that `custom_gradient` makes."""

    def __init__(
        self, forward: Callable[..., Any], gradient: Callable[..., Any], **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        names = _parameters("forward", forward)
        if len(_parameters("gradient", gradient)) != len(names) + 1:
            raise BevelTypeError(
                "`gradient` must take the gradient that arrives and then what `forward` takes: "
                f"(upstream, {', '.join(names)})."
            )
        samples = [np.roll(_NUMBERS, n) for n in range(len(names) + 1)]
        self._value = understand(forward, samples[1:])
        self._slopes = understand(gradient, samples)
        self._trained = self._slopes.returns
        if len(self._trained) != len(names):
            raise BevelTypeError(
                f"`gradient` returns {len(self._trained)} result(s) for {len(names)} argument(s) "
                "of `forward`; return a tuple with one for each, None where there is none."
            )
        self._functions = {"forward": self._value, "gradient": self._slopes}
        self.supports_jit = self.compiles

    def call(self, *args: Any) -> Any:
        tensors = [K.convert_to_tensor(a) for a in args]
        floats = [d for d in map(dtype_of, tensors) if "float" in d]
        if len(tensors) != len(self._trained) or not floats:
            raise BevelTypeError(
                f"`{self.name}` takes {len(self._trained)} array(s), one of floats among them; "
                f"got {[f'{dtype_of(t)} of shape {tuple(t.shape)}' for t in tensors]}."
            )
        dtype = keras.backend.result_type(*floats)
        wide = compute_dtype(dtype)
        tensors = [K.cast(t, wide) if "float" in dtype_of(t) else t for t in tensors]
        if not self._value.takes_arrays:
            tensors = _of_one_shape(tensors)
        places = [n for n, t in enumerate(tensors) if self._trained[n] and "float" in dtype_of(t)]
        fixed = [K.stop_gradient(t) if "float" in dtype_of(t) else t for t in tensors]

        @K.custom_gradient
        def computed(*trained: Any) -> tuple[Any, Callable[..., Any]]:
            full = list(fixed)
            for place, tensor in zip(places, trained, strict=True):
                full[place] = tensor

            def gradient(*given: Any, upstream: Any = None) -> Any:
                arriving = given[0] if upstream is None else upstream
                found = self._gradients(K.cast(arriving, wide), full)
                shaped = [_shaped(found[n], full[n]) for n in places]
                return tuple(shaped) if len(shaped) > 1 else shaped[0]

            return self._forward(full), gradient

        return K.cast(computed(*(tensors[n] for n in places)), dtype)

    def _forward(self, tensors: Sequence[Any]) -> Any:
        if self._value.compiles:
            return self._value(*tensors)
        dtype = _float_of(tensors)
        return call_python(
            lambda *a: [self._value.on_arrays(*a)], dtype, tensors,
            [_shape_of_result(self._value, tensors)],
        )[0]  # fmt: skip

    def _gradients(self, upstream: Any, tensors: Sequence[Any]) -> Sequence[Any]:
        """For each argument its gradient, or None."""
        if self._slopes.compiles:
            found = self._slopes(upstream, *tensors)
            return found if isinstance(found, tuple) else (found,)
        wanted = [n for n, is_trained in enumerate(self._trained) if is_trained]
        dtype = _float_of(tensors)

        def called(*arrays: np.ndarray) -> list[np.ndarray]:
            found = self._slopes.on_arrays(*arrays)
            found = found if isinstance(found, tuple) else (found,)
            return [np.broadcast_to(found[n], arrays[1 + n].shape) for n in wanted]

        shapes = [tensors[n].shape for n in wanted]
        results = iter(call_python(called, dtype, [upstream, *tensors], shapes))
        return [next(results) if is_trained else None for is_trained in self._trained]


def activation(
    fn: Callable[..., Any],
    derivative: Callable[..., Any] | None = None,
    *,
    temperature: float = 0.1,
    **kwargs: Any,
) -> PythonActivation:
    """An activation from a plain Python function, with its derivative.

    The function may have branches (`if`/`elif`), use `math` or numpy, and take one number or an
    array. It is recorded as array code where that is possible, and compiles then; each way through
    its branches is computed for all elements. Loops that run until a condition holds, look-ups and
    the like are called in Python instead, batch by batch. `explain()` says which it is, and why.

    Values are computed in at least float32. A NaN stays NaN. Where Python raises ValueError,
    ZeroDivisionError or OverflowError for a number, the value is NaN or infinite. Names outside of
    the function are looked up once, here.

    Args:
        fn: Function of one number, or of an array elementwise.
        derivative: Its derivative, likewise; by default that of the recorded code. If `fn` cannot
            be recorded, it is the slope of the smoothed function: with 16 normal deviates z and the
            width w,  sum z f(x + w z) / (w sum z^2).
        temperature: w in units of the inputs' spread, the mean of |x - mean|. It matters to such an
            estimate only.
        **kwargs: `name` and the like, for the layer.

    Returns:
        A Keras layer: call it on a tensor, add it to a model, or pass it as `activation=`. It is
        saved with the model if the functions can be found by name.

    Raises:
        BevelTypeError: A function fails for numbers, arrays and tensors alike, or mixes elements.
        BevelValueError: `temperature` is not positive.

    Example:
        >>> def leaky(x):
        ...     if x > 0:
        ...         return x
        ...     return 0.1 * x
        >>> layer = activation(leaky)
        >>> layer(np.array([-1.0, 2.0], "float32")).numpy().tolist()
        [-0.10000000149011612, 2.0]
        >>> print(layer.explain())
        fn: recorded as array code, 2 ways through it, all computed for every element
        derivative: by the framework, through the array code
    """
    return PythonActivation(fn, derivative, temperature, **kwargs)


def custom_gradient(
    forward: Callable[..., Any], gradient: Callable[..., Any], **kwargs: Any
) -> PythonFunction:
    """An operation from two plain Python functions: its value, and its gradient.

    Both may be written for arrays or for numbers, with branches, `math` and numpy; see `activation`
    for how they are run.

    Args:
        forward: Function of one or more arrays that returns one array, or one number.
        gradient: Function (upstream, *arguments) -> gradient of the loss to each argument, a tuple
            where there are several; None where there is none. `upstream` is the gradient to the
            result of `forward` and has its shape.
        **kwargs: `name` and the like, for the layer.

    Returns:
        A Keras layer, called with what `forward` takes.

    Raises:
        BevelTypeError: A function fails for numbers, arrays and tensors alike, or the two do not
            match.

    Example:
        >>> def error(y_true, y_pred):
        ...     return np.mean((y_true - y_pred) ** 2)
        >>> def slope(upstream, y_true, y_pred):
        ...     return None, upstream * 2 * (y_pred - y_true) / 2
        >>> loss = custom_gradient(error, slope)
        >>> float(loss(np.array([0.0, 1.0], "float32"), np.array([1.0, 1.0], "float32")))
        0.5
    """
    return PythonFunction(forward, gradient, **kwargs)


def _elementwise(name: str, fn: Any) -> Understood:
    if len(_parameters(name, fn)) != 1:
        raise BevelTypeError(f"`{name}` must take one argument, x.")
    found = understand(fn, [_NUMBERS])
    if found.mixes:
        raise BevelTypeError(
            f"`{name}` gives other results for an array than for each of its elements, so it is no "
            "activation; make it a function of arrays with bevel.custom_gradient."
        )
    return found


def _parameters(name: str, fn: Any) -> list[str]:
    """The parameters of a function that have no default."""
    if not callable(fn):
        raise BevelTypeError(f"`{name}` must be a function; got {type(fn).__name__}.")
    try:
        parameters = inspect.signature(fn).parameters.values()
    except ValueError:  # numpy's own functions have none
        return ["x"] * getattr(fn, "nin", 1)
    plain = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [p.name for p in parameters if p.kind in plain and p.default is p.empty]


def _float_of(tensors: Sequence[Any]) -> str:
    return next(d for d in map(dtype_of, tensors) if "float" in d)


def _of_one_shape(tensors: Sequence[Any]) -> list[Any]:
    """Tensors repeated to their common shape: a function of numbers meets them one by one."""
    whole = K.zeros_like(tensors[0], dtype="float32")
    for tensor in tensors[1:]:
        whole = whole + K.zeros_like(tensor, dtype="float32")
    return [K.broadcast_to(t, K.shape(whole)) for t in tensors]


def _shape_of_result(function: Understood, tensors: Sequence[Any]) -> tuple[int | None, ...]:
    """The shape of what a function gives, by trying; lengths that are unknown stay so."""
    shapes = [tuple(t.shape) for t in tensors]
    first, second = (
        function.on_arrays(
            *(
                np.ones([free if n is None else n for n in shape], dtype_of(t))
                for shape, t in zip(shapes, tensors, strict=True)
            )
        ).shape
        for free in (2, 3)
    )
    return tuple(a if a == b else None for a, b in zip(first, second, strict=True))


def _shaped(gradient: Any, argument: Any) -> Any:
    """A gradient in the shape of its argument.

    Raises:
        BevelValueError: It has another one.
    """
    given, wanted = tuple(gradient.shape), tuple(argument.shape)
    ends = zip(reversed(given), reversed(wanted), strict=False)
    if len(given) > len(wanted) or any(g not in (1, w) for g, w in ends if g and w):
        raise BevelValueError(
            f"`gradient` returned shape {given} for an argument of shape {wanted}; expected the "
            "same shape."
        )
    return K.broadcast_to(K.cast(gradient, argument.dtype), K.shape(argument))
