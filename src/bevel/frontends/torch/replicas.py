"""The processes of `torch.distributed` as replicas of one batch: its sums, and its rows together.

Only the default process group counts: where it is up, all of its processes must call what is here.
DistributedDataParallel takes the mean of the processes' gradients. So each of them computes the
whole loss, and gets n times the gradient for its own rows: that is what the gradient of a sum is,
where every process takes the sum and asks for a gradient.
"""

from __future__ import annotations

from typing import Any

import torch

from bevel.frontends.running import is_alone


def replicas() -> int:
    """How many processes run the same code on shards of a batch."""
    group = torch.distributed
    if is_alone() or not (group.is_available() and group.is_initialized()):
        return 1
    return group.get_world_size()


def all_sum(value: Any) -> Any:
    """The sum over all replicas, with its gradient; must be called by all of them."""
    return value if replicas() == 1 else _AllSum.apply(value)


def all_rows(value: Any) -> Any:
    """The rows of all replicas, in order, with their gradient; must be called by all of them."""
    if replicas() == 1:
        return value
    if value.dtype == torch.bool:
        return all_rows(value.to(torch.uint8)).bool()
    rank, own = torch.distributed.get_rank(), len(value)
    lengths = torch.zeros(replicas(), dtype=torch.int64, device=value.device)
    lengths[rank] = own
    counts = all_sum(lengths).tolist()
    before, after = sum(counts[:rank]), sum(counts[rank + 1 :])
    zeros = [value.new_zeros((n, *value.shape[1:])) for n in (before, after)]
    return all_sum(torch.cat([zeros[0], value, zeros[1]]))


class _AllSum(torch.autograd.Function):
    """The gradient of a sum over processes is the sum of their gradients."""

    @staticmethod
    def forward(ctx: Any, value: Any) -> Any:
        total = value.clone()
        torch.distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        return all_sum(gradients[0])
