"""What do soft ranks and ranking losses cost, as a multiple of one hard sort?

Each framework runs in a process of its own: value and gradient, compiled where it compiles, against
the hard sort of the same scores in the same framework, and against all pairs at once as one would
write it by hand. Beside each time stands what it buys: how far the soft ranks are from the hard
ones, and how many scores get a gradient. A peer that is installed (torchsort, optax's or rax's
approximate NDCG, segmentation_models_pytorch) is measured in the same run.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from measure import Bar, Result, interleave, machine, report, use_cpu

BACKENDS = ("tensorflow", "jax", "torch")
LIMITS = {"tensorflow": 2.5, "jax": 2.0, "torch": 2.5}
SHAPES = ((1, 1_000), (1, 10_000), (64, 1_000), (1, 100_000), (1, 1_000_000))
MOST_PAIRS = 2e8
TEMPERATURE = 0.1


def contestants() -> dict[str, Callable[[Any], Any]]:
    """Soft ranks, losses and peers of the running backend: functions of scores (rows, n)."""
    from keras import ops as K
    from keras.backend import backend

    from bevel import losses, ops

    def labels(x: Any) -> Any:
        return K.cast(K.arange(K.shape(x)[1]) % 20 == 0, "float32")  # 5 % positives

    def flat(loss: Any) -> Callable[[Any], Any]:
        return lambda x: loss(labels(x), x[0])

    def by_hand(x: Any) -> Any:
        z = (K.expand_dims(x, -1) - K.expand_dims(x, -2)) / TEMPERATURE
        return K.sum(K.sigmoid(z), axis=-1) + 0.5

    found: dict[str, Callable[[Any], Any]] = {
        "soft rank": lambda x: ops.rank(x, temperature=TEMPERATURE),
        "soft rank, quadratic": lambda x: ops.rank(x, temperature=TEMPERATURE, kernel="quadratic"),
        "soft rank, all pairs by hand": by_hand,
        "soft sort": lambda x: ops.sort(x, temperature=TEMPERATURE),
        "AUC": flat(losses.AUC()),
        "AveragePrecision": flat(losses.AveragePrecision()),
        "NDCG of lists": lambda x: losses.NDCG()(K.tile(labels(x)[None], (K.shape(x)[0], 1)), x),
    }
    if backend() == "torch" and importlib.util.find_spec("torchsort"):
        import torchsort

        found["soft rank, torchsort"] = lambda x: torchsort.soft_rank(
            x, regularization_strength=TEMPERATURE / x.shape[1]
        )
    if backend() == "jax" and importlib.util.find_spec("rax"):
        import rax

        # what rax.approx_t12n makes, which in Rax 0.4 calls a function that JAX 0.7 removed
        metric = partial(rax.ndcg_metric, rank_fn=rax.utils.approx_ranks)
        found["NDCG of lists, rax"] = lambda x: -metric(x, K.tile(labels(x), (x.shape[0], 1)))
    return found


def measured(rows: int, n: int, rounds: int) -> Iterator[dict[str, Any]]:
    """One row for each contestant on scores of one shape."""
    from keras.backend import backend

    rng = np.random.default_rng(0)
    x = rng.normal(size=(rows, n)).astype("float32")
    g = rng.normal(size=(rows, n)).astype("float32")
    tools = {"tensorflow": _tensorflow, "jax": _jax, "torch": _torch}[backend()]
    sort, timed, values = tools(x, g)
    for name, fn in contestants().items():
        is_loss = not name.startswith("soft")
        if ("lists" in name) != (rows > 1) and is_loss:
            continue
        if ("pairs by hand" in name or "rax" in name) and rows * n * n > MOST_PAIRS:
            yield {"name": name, "shape": [rows, n], "ratio": None}
            continue
        try:
            times = interleave({"soft": timed(fn), "sort": sort}, rounds=rounds, calls=1)
        except Exception as error:  # a peer that fails is a result
            if "," not in name:
                raise
            yield {"name": name, "shape": [rows, n], "failed": type(error).__name__}
            continue
        value, gradient = values(fn)
        row = {
            "name": name, "shape": [rows, n], "ms": times["soft"].median * 1e3,
            "sort": times["sort"].median * 1e3,
            "ratio": times["soft"].median / times["sort"].median,
            "live": float((np.abs(gradient) > 1e-9 * np.abs(gradient).max()).mean()),
        }  # fmt: skip
        if "rank" in name:
            hard = x.argsort(axis=-1).argsort(axis=-1) + 1
            row["error"] = float(np.abs(value - hard).mean() / n)
        if "sort" in name.split(",")[0]:
            row["error"] = float(np.abs(value - np.sort(x, axis=-1)).mean())
        yield row


def _tensorflow(x: np.ndarray, g: np.ndarray) -> tuple[Any, Any, Any]:
    import tensorflow as tf

    scores, weights = tf.constant(x), tf.constant(g)

    def both(fn: Callable[[Any], Any]) -> Any:
        @tf.function(autograph=False)
        def run(x: Any) -> Any:
            with tf.GradientTape() as tape:
                tape.watch(x)
                value = fn(x)
                total = value if value.shape.rank == 0 else tf.reduce_sum(value * weights)
            return value, tape.gradient(total, x)

        return run

    sort = tf.function(tf.sort)
    return (
        lambda: sort(scores).numpy(),
        lambda fn: partial(lambda run: run(scores)[1].numpy(), both(fn)),
        lambda fn: tuple(t.numpy() for t in both(fn)(scores)),
    )


def _jax(x: np.ndarray, g: np.ndarray) -> tuple[Any, Any, Any]:
    import jax
    import jax.numpy as jnp

    scores = jnp.asarray(x)

    def both(fn: Callable[[Any], Any]) -> Any:
        def total(x: Any) -> Any:
            value = fn(x)
            return (value if value.ndim == 0 else jnp.sum(value * g)), value

        def run(x: Any) -> Any:
            (_, value), gradient = jax.value_and_grad(total, has_aux=True)(x)
            return value, gradient

        return jax.jit(run)

    sort = jax.jit(jnp.sort)
    return (
        lambda: jax.block_until_ready(sort(scores)),
        lambda fn: partial(lambda run: jax.block_until_ready(run(scores)), both(fn)),
        lambda fn: tuple(np.asarray(t) for t in both(fn)(scores)),
    )


def _torch(x: np.ndarray, g: np.ndarray) -> tuple[Any, Any, Any]:
    import torch

    scores, weights = torch.tensor(x), torch.tensor(g)

    def run(fn: Callable[[Any], Any]) -> Any:
        x = scores.clone().requires_grad_()
        value = fn(x)
        total = value if value.ndim == 0 else (value * weights).sum()
        return value.detach().numpy(), torch.autograd.grad(total, x)[0].numpy()

    return lambda: torch.sort(scores), lambda fn: partial(run, fn), run


def measure(rounds: int) -> Result:
    """Runs every backend in a process of its own and gathers their rows."""
    facts = machine()
    rows: list[tuple[str | float, ...]] = []
    bars = []
    for backend in BACKENDS:
        found = subprocess.run(  # noqa: S603
            [sys.executable, __file__, "--backend", backend, "--rounds", str(rounds)],
            env=os.environ | {"KERAS_BACKEND": backend},
            capture_output=True,
            text=True,
            check=True,
        )
        lines = [json.loads(s) for s in found.stdout.splitlines() if s.startswith("{")]
        ratios = {(line["name"], tuple(line["shape"])): line.get("ratio") for line in lines}
        for line in lines:
            shape = "x".join(f"{n:,}" for n in line["shape"])
            blank: tuple[str | float, ...] = ("too large" if "failed" not in line else "failed",)
            rows.append((
                backend, line["name"], shape,
                *((line["ms"], line["sort"], line["ratio"], line.get("error", ""), line["live"])
                  if line.get("ratio") else (*blank, "", "", "", "")),
            ))  # fmt: skip
        for shape in SHAPES[1:]:
            told = f"soft rank, {backend}, {'x'.join(f'{n:,}' for n in shape)}, over a hard sort"
            bars.append(Bar(told, ratios["soft rank", shape], LIMITS[backend]))
        ms = {(line["name"], line["shape"][1]): line.get("ms") for line in lines}
        for name, limit in (("AUC", 3.0), ("AveragePrecision", 4.0)):
            told = f"{name}, {backend}, 100,000 scores, over a hard sort"
            bars.append(Bar(told, ratios[name, (1, 100_000)], limit))
        growth = ms["soft rank", 1_000_000] / ms["soft rank", 100_000]
        bars.append(Bar(f"soft rank, {backend}, growth from 100,000 to 1,000,000", growth, 15.0))
    return Result(
        name="ranking",
        title="Soft ranks and ranking losses against a hard sort",
        about=(
            "Value and gradient on normal scores, compiled in TensorFlow and JAX, eager in "
            f"PyTorch, in turns with the framework's hard sort, {rounds} rounds. Error is the mean "
            "distance to the hard ranks over n, or to the sorted values; live is the share of "
            f"scores with a gradient. Temperature {TEMPERATURE} of the standard deviation for "
            "ranks and sorts, the losses' own for them; 5 % of the scores are positives. 'All "
            "pairs by "
            "hand' is the usual sigmoid of all differences, left out where it needs more than "
            f"{MOST_PAIRS:.0e} of them. torchsort needs a compiler to be installed and is measured "
            "where it is."
        ),
        columns=("framework", "function", "scores", "ms", "sort ms", "ratio", "error", "live"),
        rows=tuple(rows),
        bars=tuple(bars),
        machine=facts,
    )


def main(
    save: bool = False,
    backend: Annotated[str, typer.Option(help="Only this one, as lines of JSON.")] = "",
    rounds: Annotated[int, typer.Option(min=2)] = 9,
) -> None:
    """Measure, show the table, and with --save keep it in results/."""
    use_cpu()
    if not backend:
        report(measure(rounds), save)
        return
    sys.path.insert(0, str(Path(__file__).parent))
    for shape in SHAPES:
        for row in measured(*shape, rounds):
            print(json.dumps(row), flush=True)


if __name__ == "__main__":
    typer.run(main)
