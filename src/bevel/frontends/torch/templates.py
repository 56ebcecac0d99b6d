"""How the arguments of a PyTorch operation are kept in a node: data with slots for tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True, eq=False)
class Var:
    """A value of the program with the tensor that it is in this run."""

    id: int
    tensor: torch.Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.tensor.shape)

    @property
    def dtype(self) -> torch.dtype:
        return self.tensor.dtype

    @property
    def rank(self) -> int:
        return self.tensor.ndim


@dataclass(frozen=True)
class Slot:
    """Stands for an operand of a node, by its position."""

    position: int


def template(value: Any, slot_of: Callable[[Any], Slot | None]) -> Any:
    """Arguments as data that can be hashed: a slot for each tensor, tuples for lists."""
    slot = slot_of(value)
    if slot is not None:
        return slot
    if isinstance(value, list | tuple):
        return tuple(template(v, slot_of) for v in value)
    if isinstance(value, dict):
        return tuple((k, template(v, slot_of)) for k, v in value.items())
    return value


def filled(kept: Any, operands: Sequence[Any]) -> Any:
    """The arguments again, with operands in their slots."""
    if isinstance(kept, Slot):
        return operands[kept.position]
    if isinstance(kept, tuple):
        return [filled(v, operands) for v in kept]
    return kept


def concrete(value: Any) -> Any:
    """The tensors behind `Var`s."""
    if isinstance(value, Var):
        return value.tensor.detach()
    if isinstance(value, list | tuple):
        return [concrete(v) for v in value]
    if isinstance(value, dict):
        return {k: concrete(v) for k, v in value.items()}
    return value
