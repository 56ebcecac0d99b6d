"""Front ends: from a function of one framework to a `Program`. Frameworks are imported only here.

The framework is the one that Keras runs on; a front end is a module that traces, beside one that
runs what was traced.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from keras.backend import backend

from bevel.backend import require
from bevel.errors import BevelTypeError
from bevel.program import Program

_MODULES = {
    "tensorflow": ("from_tensorflow", "tensorflow.executor"),
    "jax": ("from_jax", "jax.executor"),
    "torch": ("from_torch", "torch.executor"),
}


def frontend() -> Any:
    """The front end of the framework that Keras runs on.

    Raises:
        MissingFrameworkError: The framework is not installed.
        BevelTypeError: There is no front end for it.
    """
    return _module(0)


def executor() -> Any:
    """What runs the nodes of the active framework's programs."""
    return _module(1)


def needs_values() -> bool:
    """Whether functions are traced by running them, so that shapes alone are not enough."""
    return getattr(frontend(), "NEEDS_VALUES", False)


def trace_for(
    fn: Callable[..., Any], call: Any, trained: Sequence[int], earlier: list[Any] | None = None
) -> Any:
    """Traces a function for a call in which some leaves are trained.

    A front end that runs the function must be told for whose sake it is to look at both sides of a
    branch; the others see both sides anyway. `earlier` is where it keeps what it may use again.
    """
    if needs_values():
        return frontend().trace_call(fn, call, trained, earlier)
    return frontend().trace_call(fn, call)


def depends_on_values(trace: Any) -> bool:
    """Whether a trace serves only the values that it was made with."""
    return getattr(trace, "depends_on_values", False)


def trace_at(trace: Any, leaves: Sequence[Any]) -> Any:
    """The trace that serves other values of the leaves."""
    return trace.at(leaves) if depends_on_values(trace) else trace


def _module(which: int) -> Any:
    framework = backend()
    if framework not in _MODULES:
        raise BevelTypeError(
            f"Keras runs on {framework}; Bevel traces {', '.join(_MODULES)}.",
            help="set the environment variable KERAS_BACKEND to one of them, and start Python anew",
        )
    require(framework)
    return import_module(f"{__name__}.{_MODULES[framework][which]}")


def trace(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Program:
    """Turns a function into a `Program`: of TensorFlow without running it on values, of PyTorch by
    one run on them.

    Args:
        fn: A function of tensors, in the framework that Keras runs on or in `keras.ops`. In
            TensorFlow AutoGraph code too (`if`, `while` and `for` over tensors), or a
            `tf.function`; in JAX whatever `jax.jit` takes.
        *args: Example arguments: tensors, numpy arrays, `tf.TensorSpec` (with None for unknown
            dimensions), `jax.ShapeDtypeStruct`, or nests of them. Other values are taken as fixed.
        **kwargs: Likewise, by name.

    Returns:
        The program: nodes, nested programs, captured values and results.

    Raises:
        TraceError: The function leaves the graph (`.numpy()`, a Python `if` that AutoGraph cannot
            turn into a branch, ...) or raises; the message shows the user's line.

    Example:
        >>> import numpy as np, tensorflow as tf
        >>> def hits(y_true, y_pred):
        ...     return tf.reduce_mean(tf.cast(tf.round(y_pred) == y_true, "float32"))
        >>> program = trace(hits, np.zeros(4, "float32"), np.zeros(4, "float32"))
        >>> [node.op for node in program.nodes if node.nature == "step"]
        ['round', 'equal']
    """
    return frontend().trace(fn, args, kwargs).program
