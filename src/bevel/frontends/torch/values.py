"""Which value of a program a tensor holds while a function runs, through views and writes in place.

PyTorch lets many tensors look at one storage; a program has values that never change. A storage
keeps the value that covers all of it and counts its writes. A tensor that was made before the last
write is read again as elements of that value, and a write into a part puts the new elements among
the old ones by a choice between the two: so views need no list of how each of them is undone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch


@dataclass
class Storage:
    """What is known of one storage.

    Attributes:
        handle: The storage, kept so that its address is not used again.
        home: The value that covers all of it, if one was seen, and the shape of that value.
        writes: How often it was written to.
    """

    handle: Any
    home: tuple[int, tuple[int, ...]] | None = None
    writes: int = 0


@dataclass(frozen=True)
class Held:
    """The value of a tensor, as of a number of writes to its storage."""

    tensor: torch.Tensor
    value: int
    writes: int


class Values:
    """The values of all tensors that one run has seen."""

    def __init__(self) -> None:
        self._held: dict[int, Held] = {}
        self._storages: dict[int, Storage] = {}

    def storage(self, tensor: torch.Tensor) -> Storage:
        """What is known of the storage that a tensor looks at."""
        handle = tensor.untyped_storage()
        return self._storages.setdefault(handle._cdata, Storage(handle))

    def bind(self, tensor: torch.Tensor, value: int) -> None:
        """Says which value a new tensor holds."""
        storage = self.storage(tensor)
        if storage.home is None and storage.writes == 0 and covers(tensor):
            storage.home = value, tuple(tensor.shape)
        self._held[id(tensor)] = Held(tensor, value, storage.writes)

    def current(self, tensor: torch.Tensor) -> int | None:
        """The value that a tensor is known to hold now; None where it must be read from home."""
        held = self._held.get(id(tensor))
        if held is None or held.writes != self.storage(tensor).writes:
            return None
        return held.value

    def is_known(self, tensor: torch.Tensor) -> bool:
        """Whether the tensor was seen, or looks at a storage whose content is known."""
        return id(tensor) in self._held or self.storage(tensor).home is not None

    def write(self, tensor: torch.Tensor, value: int, home: tuple[int, tuple[int, ...]]) -> None:
        """Says which value a tensor holds after a write, and which one covers its storage."""
        storage = self.storage(tensor)
        storage.writes += 1
        storage.home = home
        self._held[id(tensor)] = Held(tensor, value, storage.writes)


def covers(tensor: torch.Tensor) -> bool:
    """Whether a tensor is all of its storage, in order."""
    whole = tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()
    return whole and tensor.is_contiguous() and tensor.storage_offset() == 0


def places(tensor: torch.Tensor) -> torch.Tensor:
    """Where in its storage each element of a tensor lies, counted in elements."""
    count = tensor.untyped_storage().nbytes() // tensor.element_size()
    everywhere = torch.arange(count)
    return everywhere.as_strided(tensor.shape, tensor.stride(), tensor.storage_offset())
