"""Numbers that a recorded function sees where it expects Python's own."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch


class Number(torch.Tensor):
    """A tensor of one number where the user's code expects a number of Python's."""

    __torch_function__: Any = torch._C._disabled_torch_function_impl

    def __hash__(self) -> int:
        return hash(self._plain())

    def __round__(self, digits: int | None = None) -> Any:
        return torch.round(self, decimals=digits or 0)

    def __repr__(self, **_: Any) -> str:
        return repr(self._plain())

    __str__ = __repr__

    def __format__(self, how: str) -> str:
        return format(self._plain(), how)

    def is_integer(self) -> bool:
        """As of a float."""
        return bool(self == torch.round(self))

    def _plain(self) -> Any:
        return torch.Tensor.item(self)


class Altering:
    """Other values of the same kind: what changes with them was made of them.

    No two are changed by the same amount, since what is compared might come out the same.
    """

    def __init__(self) -> None:
        self._count = 0

    def __call__(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self(v) for v in value]
        self._count += 1
        if isinstance(value, bool):
            return not value
        if isinstance(value, int):
            return value + 1 + self._count % 3
        if isinstance(value, float):
            return value * (1 + 0.25 / self._count) + 0.0625 if math.isfinite(value) else value
        if not isinstance(value, np.ndarray) or not value.size:
            return value
        if value.dtype.kind == "f":
            scales = np.linspace(0.5, 1 + 0.25 / self._count, value.size)
            return (value * scales.reshape(value.shape)).astype(value.dtype)
        if value.dtype == bool:
            return value ^ (np.arange(value.size).reshape(value.shape) % (1 + self._count) == 0)
        return np.roll(value, self._count) if value.size > 1 else value + 1
