"""Run as a script: prints loss and gradient of a model over two processes, for `test_distribution`.

    replicas_torch.py RANK PORT CASE...

The model is wrapped in DistributedDataParallel, which takes the mean of the processes' gradients.
The rows are split as unevenly as each case says; each line is JSON.
"""

from __future__ import annotations

import sys

import torch
from torch import distributed
from torch.nn.parallel import DistributedDataParallel

from bevel.frontends.running import as_one_replica
from tests.descent_torch import LINKS
from tests.losses.shards import CASES, GATHERED, loss_of, rows, tell, weights


class Shifted(torch.nn.Module):
    """Free values, shifted by a layer, as predictions."""

    def __init__(self, columns: int, link: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = torch.nn.Linear(4, columns)
        self.link = LINKS[link]

    def forward(self, x: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        return self.link(z + self.layer(x).reshape(z.shape))


def together(name: str, rank: int) -> None:
    labels, z, link = (torch.as_tensor(a) if not isinstance(a, str) else a for a in rows(name))
    given, cut = weights(name), (CASES | GATHERED)[name]
    x = torch.randn(len(z), 4, generator=torch.Generator().manual_seed(1))
    model = Shifted(z[0].numel(), link)

    def gradient(model: torch.nn.Module, part: slice) -> tuple[float, torch.Tensor]:
        model.zero_grad()
        own = () if given is None else (given[part],)
        loss = loss_of(name)(labels[part], model(x[part], z[part]), *own)
        loss.backward()
        return float(loss.detach()), torch.cat([p.grad.flatten() for p in model.parameters()])

    with as_one_replica():
        expected, whole = gradient(model, slice(None))
    part = slice(cut) if rank == 0 else slice(cut, None)
    value, found = gradient(DistributedDataParallel(model), part)
    tell(name, [value], expected, found.numpy(), whole.clone().numpy())


if __name__ == "__main__":
    rank, port = map(int, sys.argv[1:3])
    distributed.init_process_group(
        "gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2
    )
    for case in sys.argv[3:]:
        together(case, rank)
    distributed.destroy_process_group()
