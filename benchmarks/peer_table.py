"""The functions that `peers.py` measures: a line for each, and how each framework calls one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

Function = Callable[..., Any]
LISTS, IMAGES, FLAT = ((64, 200),), ((4, 512 * 512),), ((1, 10_000),)
BATCH, BATCHES = "AP of a batch", ((64, 128), (128, 128), (256, 128))
TEMPERATURE = 0.1


@dataclass(frozen=True)
class Peer:
    """One function of one library.

    Attributes:
        name: As in the table.
        kind: `rank`, `sort`, or the name of a loss.
        framework: `tensorflow`, `jax` or `torch`.
        make: Imports what it needs; gives a function of scores and, for a loss, labels.
        needs: The package it comes in; empty for Bevel and for what is written by hand.
        shapes: Where not all shapes.
    """

    name: str
    kind: str
    framework: str
    make: Callable[[], Function]
    needs: str = ""
    shapes: tuple[tuple[int, int], ...] = ()

    def inputs(self, rows: int, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Scores, and labels or what the gradient is weighed with."""
        rng = np.random.default_rng(0)
        x = rng.normal(size=(rows, n)).astype("float32")
        if self.kind in ("rank", "sort"):
            return x, rng.normal(size=(rows, n)).astype("float32")
        return x, (rng.random(size=(rows, n)) < (0.05 if self.kind == "NDCG" else 0.5)) * 1.0


def _bevel(name: str, **how: Any) -> Function:
    from bevel import ops

    return partial(getattr(ops, name), **how)


def _bevel_loss(name: str, **how: Any) -> Function:
    from bevel import losses

    loss = getattr(losses, name)(**how)
    if name == "AUC":
        return lambda x, y: loss(y[0], x[0])
    if name in ("Dice", "Jaccard", "Lovasz"):  # logits of one class
        size = (4, 512, 512, 1)
        return lambda x, y: loss(y.reshape(size), x.reshape(size))
    return lambda x, y: loss(y, x)


def _by_hand(framework: str) -> Function:
    if framework == "jax":
        import jax

        return lambda x: jax.nn.sigmoid((x[:, :, None] - x[:, None]) / TEMPERATURE).sum(-1) + 0.5
    if framework == "torch":
        return lambda x: ((x[:, :, None] - x[:, None]) / TEMPERATURE).sigmoid().sum(-1) + 0.5
    import tensorflow as tf

    def ranks(x: Any) -> Any:
        return tf.reduce_sum(tf.sigmoid((x[:, :, None] - x[:, None]) / TEMPERATURE), -1) + 0.5

    return ranks


def _hard(framework: str) -> Function:
    if framework == "jax":
        import jax.numpy as jnp

        return jnp.sort
    if framework == "torch":
        import torch

        return lambda x: torch.sort(x).values
    import tensorflow as tf

    return tf.sort


def _soft(library: str, kind: str, **how: Any) -> Function:
    import importlib

    return partial(getattr(importlib.import_module(library), kind), **how)


def _projected(library: str, kind: str) -> Function:
    """torchsort and torchpsort: the strength of a rank is in units of n."""
    import importlib

    function = getattr(importlib.import_module(library), f"soft_{kind}")
    key = "regularization_strength" if library == "torchsort" else "tau"
    if kind == "sort":
        return lambda x: function(x, **{key: TEMPERATURE})
    return lambda x: function(x, **{key: TEMPERATURE / x.shape[-1]})


def _ott(kind: str) -> Function:
    from ott.tools import soft_sort

    return {"rank": lambda x: soft_sort.ranks(x) + 1, "sort": soft_sort.sort}[kind]


def _diffsort() -> Function:
    from diffsort import DiffSortNet

    made: dict[int, Any] = {}

    def run(x: Any) -> Any:
        n = x.shape[-1]
        made.setdefault(n, DiffSortNet("odd_even", n, steepness=1 / TEMPERATURE))
        return made[n](x)[0]

    return run


def _perturbed() -> Function:
    import jax
    import jax.numpy as jnp
    import optax

    def ranks(x: Any) -> Any:
        return jnp.argsort(jnp.argsort(x)).astype(x.dtype) + 1

    soft = optax.perturbations.make_perturbed_fun(ranks, num_samples=100, sigma=TEMPERATURE)
    return lambda x: soft(jax.random.key(0), x)


def _smp(name: str, **how: Any) -> Function:
    import segmentation_models_pytorch as smp

    loss = getattr(smp.losses, name)("binary", **how)
    size = (4, 1, 512, 512)
    return lambda x, y: loss(x.reshape(size), y.reshape(size))


def _rax() -> Function:
    import rax

    # what rax.approx_t12n makes, which in Rax 0.4 calls a function that JAX 0.7 removed
    metric = partial(rax.ndcg_metric, rank_fn=rax.utils.approx_ranks)
    return lambda x, y: -metric(x, y)


def _naive_auc() -> Function:
    def loss(x: Any, y: Any) -> Any:
        x, y = x[0], y[0]
        return (1 - x[y > 0.5][:, None] + x[y < 0.5][None]).clamp(min=0).square().mean()

    return loss


def _libauc(name: str, **how: Any) -> Function:
    from libauc import losses

    loss = getattr(losses, name)(**how)
    return lambda x, y: loss(x.sigmoid().reshape(-1, 1), y.reshape(-1, 1))


def _classes_of(x: Any) -> Any:
    """Eight embeddings of each class, one after the other."""
    import torch

    return torch.arange(x.shape[0]) // 8


def _smooth_ap() -> Function:
    from pytorch_metric_learning.losses import SmoothAPLoss

    loss = SmoothAPLoss()
    return lambda x, y: loss(x, _classes_of(x))


def _batch_ap() -> Function:
    """Each embedding looks for those of its class among all others, by their cosine."""
    import torch

    from bevel import losses

    loss = losses.MeanAveragePrecision()

    def run(x: Any, y: Any) -> Any:
        unit = torch.nn.functional.normalize(x)
        classes = _classes_of(x)
        same = (classes[:, None] == classes).to(x.dtype)
        return loss(same, unit @ unit.T, sample_weight=1 - torch.eye(len(x)))

    return run


def _rows() -> list[Peer]:
    found = []
    for framework in ("torch", "jax", "tensorflow"):
        found += [
            Peer(f"hard sort, {framework}", "sort", framework, partial(_hard, framework)),
            *(Peer(f"Bevel {kind}, {framework}", kind, framework, partial(_bevel, kind))
              for kind in ("rank", "sort")),
            *(Peer(f"Bevel {kind}, {method}, {framework}", kind, framework,
                   partial(_bevel, kind, method=method, temperature=strength))
              for method in ("isotonic", "entropic")
              for kind, strength in (("rank", 2.0), ("sort", 0.1))),
            Peer(f"all pairs by hand, {framework}", "rank", framework,
                 partial(_by_hand, framework)),
        ]  # fmt: skip
    for library in ("torchsort", "torchpsort"):
        for kind in ("rank", "sort"):
            make = partial(_projected, library, kind)
            found.append(Peer(f"{library} {kind}", kind, "torch", make, library))
    for method, mode in (("fast_soft_sort", "c0"), ("neuralsort", "smooth")):
        for library, framework, axis in (("softjax", "jax", "axis"), ("softtorch", "torch", "dim")):
            how = {"method": method, "mode": mode, "descending": False, axis: -1}
            for kind in ("rank", "sort"):
                make = partial(_soft, library, kind, **how)
                found.append(Peer(f"{library} {kind}, {method}", kind, framework, make, library))
    tools = [
        Peer("ott-jax ranks", "rank", "jax", partial(_ott, "rank"), "ott-jax"),
        Peer("optax, 100 perturbed ranks", "rank", "jax", _perturbed, "optax"),
        Peer("diffsort, odd-even network", "sort", "torch", _diffsort, "diffsort"),
    ]
    logits = {"from_logits": True}
    smp = "segmentation-models-pytorch"
    losses = [
        Peer("Bevel Lovasz", "Lovász hinge", "torch", partial(_bevel_loss, "Lovasz", hinge=True),
             "", IMAGES),
        Peer("smp LovaszLoss", "Lovász hinge", "torch", partial(_smp, "LovaszLoss"), smp, IMAGES),
        Peer("Bevel Dice", "Dice", "torch", partial(_bevel_loss, "Dice", **logits), "", IMAGES),
        Peer("smp DiceLoss", "Dice", "torch", partial(_smp, "DiceLoss"), smp, IMAGES),
        Peer("Bevel Jaccard", "Jaccard", "torch", partial(_bevel_loss, "Jaccard", **logits),
             "", IMAGES),
        Peer("smp JaccardLoss", "Jaccard", "torch", partial(_smp, "JaccardLoss"), smp, IMAGES),
        Peer("Bevel NDCG, jax", "NDCG", "jax", partial(_bevel_loss, "NDCG"), "", LISTS),
        Peer("rax approximate NDCG", "NDCG", "jax", _rax, "rax", LISTS),
        Peer("Bevel AUC, torch", "AUC", "torch", partial(_bevel_loss, "AUC"), "", FLAT),
        Peer("all pairs by hand, AUC", "AUC", "torch", _naive_auc, "", FLAT),
        Peer("LibAUC PairwiseAUCLoss", "AUC", "torch",
             partial(_libauc, "PairwiseAUCLoss", surr_loss="squared_hinge"), "libauc", FLAT),
        Peer("LibAUC AUCMLoss", "AUC", "torch", partial(_libauc, "AUCMLoss"), "libauc", FLAT),
        Peer("Bevel MeanAveragePrecision, torch", BATCH, "torch", _batch_ap, "", BATCHES),
        Peer("pytorch-metric-learning SmoothAPLoss", BATCH, "torch", _smooth_ap,
             "pytorch-metric-learning", BATCHES),
    ]  # fmt: skip
    return [*losses, *found, *tools]


TABLE = {peer.name: peer for peer in _rows()}


def _tensorflow(fn: Function, x: np.ndarray, y: np.ndarray) -> tuple[Any, Any, Any]:
    import tensorflow as tf

    scores, others = tf.constant(x), tf.constant(y)

    @tf.function(autograph=False)
    def run(x: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = fn(x)
            total = tf.reduce_sum(value * others)
        return value, tape.gradient(total, x)

    sort = tf.function(tf.sort)

    def both() -> Any:
        return [t.numpy() for t in run(scores)]

    return both, lambda: sort(scores).numpy(), both


def _jax(fn: Function, x: np.ndarray, y: np.ndarray) -> tuple[Any, Any, Any]:
    import jax
    import jax.numpy as jnp

    scores, others = jnp.asarray(x), jnp.asarray(y, "float32")
    is_loss = _arity(fn, scores, others)

    def total(x: Any) -> Any:
        value = fn(x, others) if is_loss else fn(x)
        return (jnp.mean(value) if is_loss else jnp.sum(value * others)), value

    run, sort = jax.jit(jax.value_and_grad(total, has_aux=True)), jax.jit(jnp.sort)

    def both() -> Any:
        (_, value), gradient = jax.block_until_ready(run(scores))
        return np.asarray(value), np.asarray(gradient)

    return both, lambda: jax.block_until_ready(sort(scores)), both


def _torch(fn: Function, x: np.ndarray, y: np.ndarray) -> tuple[Any, Any, Any]:
    import torch

    scores, others = torch.tensor(x), torch.tensor(y, dtype=torch.float32)
    is_loss = _arity(fn, scores, others)

    def both() -> Any:
        x = scores.clone().requires_grad_()
        value = fn(x, others) if is_loss else fn(x)
        total = value.mean() if is_loss else (value * others).sum()
        return value.detach().numpy(), torch.autograd.grad(total, x)[0].numpy()

    return both, lambda: torch.sort(scores), both


def _arity(fn: Function, *_: Any) -> bool:
    """Whether a function takes labels: losses are the only ones of two plain arguments."""
    code = getattr(fn, "__code__", None)
    return code is not None and code.co_argcount == 2


FRAMEWORKS = {"tensorflow": _tensorflow, "jax": _jax, "torch": _torch}
