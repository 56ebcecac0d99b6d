"""How a plain Python function is run on tensors: as array code if it can be, else as it is.

`understand` tries the ways in turn and holds each against the function itself, at drawn numbers:

recorded    all ways through it are written down and computed for whole arrays (`bevel.plain`)
tensors     it is framework code, and takes tensors as it is
called      Python is called, for each element or for the array, from inside the graph
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops as K

from bevel.errors import BevelTypeError
from bevel.plain import NotRecordable, Way, evaluate, record

# What Python raises where numpy gives NaN or infinity.
_NO_NUMBER = (ValueError, ZeroDivisionError, OverflowError)


@dataclass(frozen=True)
class Understood:
    """A function and the way to run it.

    Attributes:
        fn: The function as it was given.
        takes_arrays: Whether it works on whole numpy arrays; else it takes one number at a time.
        mixes: Whether it gives other results for an array than for each of its elements.
        ways: All ways through it, where it is recorded.
        takes_tensors: Whether it is run on tensors as it is.
        reason: Why it is neither recorded nor takes tensors.
        seconds: What one element costs where Python is called.
        returns: For each result whether there is one; None stands for no gradient.
    """

    fn: Callable[..., Any]
    takes_arrays: bool
    mixes: bool
    ways: tuple[Way, ...] | None
    takes_tensors: bool
    reason: str
    seconds: float
    returns: tuple[bool, ...]

    @property
    def compiles(self) -> bool:
        """Whether it becomes part of a graph."""
        return self.ways is not None or self.takes_tensors

    def __call__(self, *tensors: Any) -> Any:
        """The result for tensors, where it compiles."""
        return self.fn(*tensors) if self.ways is None else evaluate(self.ways, tensors)

    def on_arrays(self, *arrays: np.ndarray) -> Any:
        """The result for numpy arrays, by calling Python."""
        return _called(self.fn, self.takes_arrays, arrays)

    def __str__(self) -> str:
        if self.ways is not None:
            count = len(self.ways)
            return f"recorded as array code, {count} way{'s' * (count > 1)} through it" + (
                ", all computed for every element" if count > 1 else ""
            )
        if self.takes_tensors:
            return "framework code, run as it is"
        unit = "for whole arrays" if self.takes_arrays else "for each element"
        return (
            f"called in Python {unit} ({1e6 * self.seconds:.2g} µs per element, no XLA), since "
            f"{self.reason}"
        )


def understand(fn: Callable[..., Any], samples: Sequence[np.ndarray]) -> Understood:
    """Finds the way to run a function.

    Args:
        fn: The function.
        samples: Numbers to try it on, an array of one length for each of its arguments.

    Raises:
        BevelTypeError: It fails for numbers, for arrays and for tensors.
    """
    tried = _tried(fn, samples)
    ways, reason = _recorded(fn, tried)
    results = tried.results if ways is None else ways[0].result
    takes_tensors = False
    if ways is None:
        found = _on_tensors(fn, tried)
        takes_tensors = found is not None
        results = found if takes_tensors else results
    if tried.results is None and ways is None and not takes_tensors:
        failure = tried.failure
        raise BevelTypeError(
            f"`{_name(fn)}` fails for numbers, for numpy arrays and for tensors: "
            f"{type(failure).__name__}: {failure}"
        ) from failure
    returns = tuple(r is not None for r in (results if isinstance(results, tuple) else (results,)))
    return Understood(
        fn, tried.takes_arrays, tried.mixes, ways, takes_tensors, reason, tried.seconds, returns
    )


@dataclass(frozen=True)
class _Tried:
    """What calling a function with numbers and with arrays gave; no results if both failed."""

    takes_arrays: bool
    mixes: bool
    samples: Sequence[np.ndarray]
    results: Any
    seconds: float
    failure: Exception | None


def _tried(fn: Callable[..., Any], samples: Sequence[np.ndarray]) -> _Tried:
    tables = [s.reshape(-1, 2) for s in samples]
    found, failure = {}, None
    for takes_arrays, given in ((False, samples), (True, samples), (True, tables)):
        if takes_arrays in found:
            continue
        start = time.perf_counter()
        try:
            results = _called(fn, takes_arrays, given)
        except Exception as error:
            failure = failure or error
            continue
        seconds = (time.perf_counter() - start) / len(samples[0])
        found[takes_arrays] = given, results, seconds
    if not found:
        return _Tried(False, False, samples, None, 0.0, failure)
    mixes = len(found) == 2 and bool(_difference(found[True][1], found[False][1]))
    given, results, seconds = found[True in found]
    return _Tried(True in found, mixes, given, results, seconds, None)


def _recorded(fn: Callable[..., Any], tried: _Tried) -> tuple[tuple[Way, ...] | None, str]:
    """All ways through a function, or None and why not."""
    try:
        ways = record(fn, len(tried.samples))
        found = evaluate(ways, [K.convert_to_tensor(s) for s in tried.samples])
    except NotRecordable as error:
        return None, str(error)
    except Exception as error:  # a recorded operation that these tensors do not have
        return None, f"{type(error).__name__}: {error}"
    reason = "" if tried.results is None else _difference(found, tried.results)
    return (None if reason else ways), reason


def _called(fn: Callable[..., Any], takes_arrays: bool, arrays: Sequence[np.ndarray]) -> Any:
    if takes_arrays:
        with np.errstate(all="ignore"):
            # copied: a function may write into what it is given
            return _as_arrays(fn(*(a.copy() for a in arrays)))
    shape = np.broadcast_shapes(*(a.shape for a in arrays))
    rows = zip(*(a.ravel().tolist() for a in np.broadcast_arrays(*arrays)), strict=True)
    results = [_number(fn, row) for row in rows]
    several = next((len(r) for r in results if isinstance(r, tuple)), None)
    if several is None:
        return np.array(results, "float64").reshape(shape)
    results = [r if isinstance(r, tuple) else (r,) * several for r in results]
    return tuple(
        None if None in column else np.array(column, "float64").reshape(shape)
        for column in zip(*results, strict=True)
    )


def _number(fn: Callable[..., Any], row: Sequence[float]) -> Any:
    try:
        return fn(*row)
    except _NO_NUMBER:
        return float("nan")


def _as_arrays(result: Any) -> Any:
    if isinstance(result, tuple):
        return tuple(None if r is None else np.asarray(r) for r in result)
    return np.asarray(result)


def _difference(found: Any, expected: Any) -> str:
    """In words, where two results differ beyond rounding; empty if they do not.

    Where Python has no number, array code may say infinity.
    """
    pairs = zip(*(r if isinstance(r, tuple) else (r,) for r in (found, expected)), strict=True)
    for got, wanted in pairs:
        if (got is None) != (wanted is None):
            return "it returns None for some arguments only"
        if wanted is None:
            continue
        got = np.asarray(_numpy(got), "float64")
        wanted = np.asarray(wanted, got.dtype)
        if got.shape != wanted.shape:
            return f"as array code it gives shape {got.shape}, called it gives {wanted.shape}"
        known = ~np.isnan(wanted)
        if np.any(known & ~np.isclose(got, wanted, rtol=1e-4, atol=1e-5)):
            return "as array code it gives other numbers than called"
    return ""


def _on_tensors(fn: Callable[..., Any], tried: _Tried) -> Any:
    """What the function returns for tensors; None if it does not take them."""
    try:
        result = fn(*(K.convert_to_tensor(s) for s in tried.samples))
    except Exception:  # that it does not is what was asked
        return None
    parts = result if isinstance(result, tuple) else (result,)
    if not all(r is None or K.is_tensor(r) for r in parts):
        return None
    is_same = tried.results is None or not _difference(result, tried.results)
    return result if is_same else None


def _name(fn: Any) -> str:
    return getattr(fn, "__name__", type(fn).__name__)


def call_python(
    fn: Callable[..., Any],
    dtype: str,
    tensors: Sequence[Any],
    shapes: Sequence[Sequence[int | None]],
) -> list[Any]:
    """Calls a function of numpy arrays from eager code or from inside a graph.

    Args:
        fn: Takes arrays, gives a list of arrays.
        dtype: The dtype of all of these.
        tensors: What it is given.
        shapes: The shapes of its results; only TensorFlow takes unknown lengths.
    """

    def called(*arrays: Any) -> list[np.ndarray]:
        return [np.asarray(r, dtype) for r in fn(*map(np.asarray, arrays))]

    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        found = tf.numpy_function(called, list(tensors), [dtype] * len(shapes), stateful=False)
        results = tf.nest.flatten(found)  # eagerly, one result comes by itself
        for result, shape in zip(results, shapes, strict=True):
            result.set_shape(shape)
        return results
    if backend == "jax":
        import jax

        specs = [jax.ShapeDtypeStruct(tuple(shape), dtype) for shape in shapes]  # pyright: ignore
        return list(jax.pure_callback(called, specs, *tensors, vmap_method="sequential"))
    return [K.convert_to_tensor(r, dtype=dtype) for r in called(*map(_numpy, tensors))]


def _numpy(result: Any) -> np.ndarray:
    """A tensor or a number as an array."""
    if keras.backend.backend() == "torch" and K.is_tensor(result):
        return result.detach().cpu().numpy()
    return np.asarray(result)
