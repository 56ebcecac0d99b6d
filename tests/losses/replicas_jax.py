"""Run as a script: prints loss and gradient over two devices of JAX, for `test_distribution`.

The same batch as one array sharded under `jit`; under `shard_map`, differentiated from outside; and
under `shard_map` with the gradient taken inside, by every way of `jax`. Each line is JSON.
"""

from __future__ import annotations

import functools
import sys

import jax
import numpy as np
from jax import lax
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from tests.losses.shards import GATHERED, loss_of, predictions, rows, tell, weights


@functools.cache
def mesh():
    """Both devices; not made when this is merely imported, where there may be one."""
    return jax.make_mesh((2,), ("rows",), axis_types=(AxisType.Auto,))


def of_batch(loss):
    """Value and gradient to the predictions, as a compiled function."""
    return jax.jit(jax.value_and_grad(lambda p, y, *w: loss(y, p, *w)))


def mapped(fn, out_specs, check_vma: bool, count: int):
    """A function of shards, over both devices."""
    return jax.shard_map(
        fn, mesh=mesh(), in_specs=(P("rows"),) * count, out_specs=out_specs, check_vma=check_vma
    )


def inside(loss):
    """Value and gradient of a shift of all predictions, each device by itself, then the mean."""

    def shifted(y, p, *w):
        value, slope = jax.value_and_grad(lambda s: loss(y, p + s, *w))(np.float32(0))
        return lax.pmean(value, "rows"), lax.pmean(slope, "rows")

    return shifted


def together(name: str) -> None:
    y, p = rows(name)[0], predictions(name)
    batch = (p, y) if weights(name) is None else (p, y, weights(name))
    expected, whole = of_batch(loss_of(name))(*batch)
    here = NamedSharding(mesh(), P("rows"))
    if name not in GATHERED:
        value, found = of_batch(loss_of(name))(*(jax.device_put(b, here) for b in batch))
        assert found.sharding.spec == P("rows")
        tell(name, [float(value)], float(expected), found, whole)
    p, y, *w = batch
    for check in (True, False):
        each = loss_of(name, axis_name="rows")
        value, found = of_batch(mapped(each, P(), check, len(batch)))(*batch)
        tell(name, [float(value)], float(expected), found, whole)
        value, slope = jax.jit(mapped(inside(each), (P(), P()), check, len(batch)))(y, p, *w)
        _, total = inside_of_one(name)(y, p, *w)
        # the slopes of the rows nearly cancel here, so they are what it is measured against
        size = np.abs(np.asarray(whole)).sum()
        tell(name, [float(value)], float(expected), slope / size + 2, total / size + 2)


def inside_of_one(name: str):
    """The same on one device, without a map."""
    loss = loss_of(name)
    return jax.jit(lambda y, p, *w: jax.value_and_grad(lambda s: loss(y, p + s, *w))(np.float32(0)))


if __name__ == "__main__":
    for case in sys.argv[1:]:
        together(case)
