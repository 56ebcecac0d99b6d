"""What Python does with tensors when a function runs at once, while it is traced.

AutoGraph makes a cast of `float(x)`, which has a gradient; Python's number has none. And a tensor
of a graph is no sequence, as one with values is: `for a, b in zip(y_true, y_pred)`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import tensorflow as tf
from tensorflow.python.autograph.operators import py_builtins

# How the operation is named by which such a number is told.
_NUMBER = "python_float"

_lock = threading.Lock()
_tracing = [0]
_own: dict[tuple[Any, str], Any] = {}


@contextmanager
def as_it_runs() -> Iterator[None]:
    """A context in which `float` gives numbers without a gradient, and tensors are sequences."""
    with _lock:
        _tracing[0] += 1
        if _tracing[0] == 1:
            _own.update({(owner, name): getattr(owner, name) for owner, name in _INSTEAD})
            for (owner, name), instead in _INSTEAD.items():
                setattr(owner, name, instead)
    try:
        yield
    finally:
        with _lock:
            _tracing[0] -= 1
            if not _tracing[0]:
                for (owner, name), own in _own.items():
                    setattr(owner, name, own)


def _number(x: Any) -> Any:
    if x.dtype == tf.string:
        return tf.strings.to_number(x)
    return tf.stop_gradient(tf.cast(x, tf.float32), name=_NUMBER)


# What is done instead of TensorFlow's own, where.
_INSTEAD = {
    (py_builtins, "_tf_float"): _number,
    (tf.Tensor, "_disallow_iteration"): lambda self: None,
}


def is_number(op: tf.Operation) -> bool:
    """Whether an operation is such a number."""
    return op.type == "StopGradient" and op.name.rpartition("/")[2].startswith(_NUMBER)
