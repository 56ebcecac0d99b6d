"""Keras's `scatter` on PyTorch, which adds one row after the other in a loop of Python.

A batch of a thousand rows would be ten thousand nodes. While a function is recorded it is the one
operation that it is on the other backends, with the same result.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import torch


@contextmanager
def as_one_operation() -> Iterator[None]:
    """A context in which `keras.ops.scatter` adds all rows at once."""
    try:
        core: Any = import_module("keras.src.backend.torch.core")
        original = core.scatter
    except (ImportError, AttributeError):  # another Keras keeps it elsewhere
        yield
        return
    core.scatter = _scatter
    try:
        yield
    finally:
        core.scatter = original


def _scatter(indices: Any, values: Any, shape: Sequence[int]) -> Any:
    indices, values = torch.as_tensor(indices), torch.as_tensor(values)
    depth = indices.shape[-1]
    table = torch.zeros(tuple(shape), dtype=values.dtype, device=values.device)
    places = tuple(indices.reshape(-1, depth).long().unbind(-1))
    rows = values.reshape(-1, *table.shape[depth:])
    return table.index_put(places, rows, accumulate=True)
