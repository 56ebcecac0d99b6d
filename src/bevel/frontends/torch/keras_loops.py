"""Keras's sums by position on PyTorch, each recorded as the one operation that it is elsewhere.

`keras.ops.scatter` adds one row after the other in a loop of Python: a batch of a thousand rows
would be ten thousand nodes. `keras.ops.segment_sum` sends what lies outside to a segment of its
own, which hides from the rules that a segment's number is a rounded score. The results are equal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import torch


@contextmanager
def as_one_operation() -> Iterator[None]:
    """A context in which these functions of Keras add all rows at once."""
    replaced = []
    for place, name, function in _FUNCTIONS:
        try:
            module: Any = import_module(f"keras.src.backend.torch.{place}")
            replaced.append((module, name, getattr(module, name)))
        except (ImportError, AttributeError):  # another Keras keeps it elsewhere
            continue
        setattr(module, name, function)
    try:
        yield
    finally:
        for module, name, original in replaced:
            setattr(module, name, original)


def _scatter(indices: Any, values: Any, shape: Sequence[int]) -> Any:
    indices, values = torch.as_tensor(indices), torch.as_tensor(values)
    depth = indices.shape[-1]
    table = torch.zeros(tuple(shape), dtype=values.dtype, device=values.device)
    places = tuple(indices.reshape(-1, depth).long().unbind(-1))
    rows = values.reshape(-1, *table.shape[depth:])
    return table.index_put(places, rows, accumulate=True)


def _segment_sum(
    data: Any, segment_ids: Any, num_segments: int | None = None, sorted: bool = False
) -> Any:
    data, ids = torch.as_tensor(data), torch.as_tensor(segment_ids).long()
    count = int(ids.max()) + 1 if num_segments is None else int(num_segments)
    hard = ids.detach()
    is_inside = ((hard >= 0) & (hard < count)).reshape(-1, *(1,) * (data.ndim - 1))
    rows = torch.where(is_inside, data, torch.zeros((), dtype=data.dtype, device=data.device))
    table = torch.zeros((count, *data.shape[1:]), dtype=data.dtype, device=data.device)
    return table.index_put((ids.clamp(0, max(count - 1, 0)),), rows, accumulate=True)


_FUNCTIONS: tuple[tuple[str, str, Callable[..., Any]], ...] = (
    ("core", "scatter", _scatter),
    ("math", "segment_sum", _segment_sum),
)
