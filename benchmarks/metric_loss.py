"""How much does a Keras metric cost as a loss?

Value and gradient in one compiled call, against what one would otherwise compute on the same
tensors: a cross-entropy with its gradient, or the metric's own update and result.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import typer
from measure import Bar, Result, interleave, machine, report, use_cpu

ROUNDS, CALLS = 12, 1
FIRST_CALL = 3.0
MODES = {"XLA (jit_compile=True)": True, "graph (tf.function)": None}


@dataclass(frozen=True)
class Case:
    """A metric, its data, and what its cost is compared with.

    Attributes:
        metric: Makes the metric.
        shape: Of labels and predictions.
        against: Name of a Keras loss, or None for the metric's own update and result.
        limit: How many times as long it may take.
        is_one_hot: Whether each row of labels has one 1 and the predictions sum to 1.
    """

    metric: Callable[[], Any]
    shape: tuple[int, ...]
    against: str | None
    limit: float
    is_one_hot: bool = False


def cases() -> dict[str, Case]:
    """What is measured."""
    from keras import metrics

    return {
        "F1Score": Case(
            lambda: metrics.F1Score(average="macro", threshold=0.5), (100_000, 10),
            "binary_crossentropy", 2.0,
        ),
        "AUC(200)": Case(lambda: metrics.AUC(200), (100_000,), None, 3.0),
        "MeanIoU": Case(
            lambda: metrics.MeanIoU(3, sparse_y_true=False, sparse_y_pred=False),
            (4, 512, 512, 3), "categorical_crossentropy", 2.0, is_one_hot=True,
        ),
    }  # fmt: skip


def data(case: Case) -> tuple[Any, Any]:
    """Labels, three in ten positive, and predictions between 0 and 1."""
    import numpy as np
    import tensorflow as tf

    rng = np.random.default_rng(0)
    draw = rng.random((2, *case.shape), dtype="float32")
    if not case.is_one_hot:
        return tf.constant((draw[0] < 0.3).astype("float32")), tf.constant(draw[1])
    labels = np.eye(case.shape[-1], dtype="float32")[draw[0].argmax(axis=-1)]
    return tf.constant(labels), tf.nn.softmax(tf.constant(4 * draw[1]))


def contestants(case: Case, jit_compile: bool | None) -> tuple[Callable[..., Any], ...]:
    """The relaxed loss with its gradient, and what it is held against; compiled."""
    import keras
    import tensorflow as tf
    from relaxed_f1 import value_and_gradient

    from bevel.losses import MetricLoss
    from bevel.stateless import pure

    loss = value_and_gradient(MetricLoss(case.metric()), jit_compile)
    if case.against is None:
        metric = pure(case.metric())
        return loss, tf.function(metric, jit_compile=jit_compile, autograph=False)
    plain = getattr(keras.losses, case.against)
    return loss, value_and_gradient(lambda y, p: tf.reduce_mean(plain(y, p)), jit_compile)


def measure() -> Result:
    """Times every metric in every mode."""
    facts = machine()
    rows: list[tuple[str | float, ...]] = []
    bars = []
    for name, case in cases().items():
        y_true, y_pred = data(case)
        shape = "x".join(map(str, case.shape))
        against = case.against or "own update + result"
        for mode, jit_compile in MODES.items():
            loss, reference = contestants(case, jit_compile)
            start = time.perf_counter()
            _waited(loss, y_true, y_pred)
            first = time.perf_counter() - start
            calls = {
                "loss": partial(_waited, loss, y_true, y_pred),
                "reference": partial(_waited, reference, y_true, y_pred),
            }
            times = interleave(calls, rounds=ROUNDS, calls=CALLS)
            ours, theirs = times["loss"].median, times["reference"].median
            rows.append(
                (name, shape, mode, ours * 1e3, against, theirs * 1e3, ours / theirs, first)
            )
            if jit_compile:
                bars.append(Bar(f"{name}, {mode}, time over {against}", ours / theirs, case.limit))
            bars.append(Bar(f"{name}, {mode}, first call in seconds", first, FIRST_CALL))
    return Result(
        name="metric_loss",
        title="Keras metrics as losses",
        about=(
            "`MetricLoss`, default settings: value and gradient in one compiled call. It takes "
            f"turns with its reference in {ROUNDS} rounds; the ratio is that of the medians. The "
            "reference is a cross-entropy with its gradient, or, without one, the metric itself. "
            "The first call traces and compiles."
        ),
        columns=(
            "metric", "predictions", "compiled by", "median ms", "reference", "its median ms",
            "ratio", "first call s",
        ),
        rows=tuple(rows),
        bars=tuple(bars),
        machine=facts,
    )  # fmt: skip


def _waited(fn: Callable[..., Any], y_true: Any, y_pred: Any) -> None:
    """Calls a compiled function and waits for what it gives last."""
    result = fn(y_true, y_pred)
    (result[-1] if isinstance(result, tuple) else result).numpy()


def main(save: bool = False) -> None:
    """Measure, show the table, and with --save keep it in results/."""
    use_cpu()
    report(measure(), save)


if __name__ == "__main__":
    typer.run(main)
