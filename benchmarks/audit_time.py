"""How long does it take to audit a loss of 30 lines, once TensorFlow is loaded?

The first audit of a process is what a user waits for at the command line, so it is timed from
before `import bevel`; later ones are what a notebook or a test suite sees. Each sample is a fresh
process.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import Annotated, Any

import typer
from measure import Bar, Result, machine, report, spread, use_cpu

PROCESSES, LATER = 5, 5
LIMIT = 2.0
SHAPE = (64, 8)


def thirty_lines(y_true: Any, y_pred: Any) -> Any:
    """A metric as people write it, with 30 lines of code; its decisions block the gradient."""
    import tensorflow as tf

    y_true = tf.cast(y_true, tf.float32)
    y_pred = tf.clip_by_value(y_pred, 1e-6, 1.0 - 1e-6)
    positive = tf.cast(y_pred > 0.5, tf.float32)
    tp = tf.reduce_sum(positive * y_true, axis=0)
    fp = tf.reduce_sum(positive * (1.0 - y_true), axis=0)
    fn = tf.reduce_sum((1.0 - positive) * y_true, axis=0)
    precision = tf.math.divide_no_nan(tp, tp + fp)
    recall = tf.math.divide_no_nan(tp, tp + fn)
    beta = tf.constant(2.0)
    weighted = beta**2 * precision + recall
    f_beta = tf.math.divide_no_nan((1.0 + beta**2) * precision * recall, weighted)
    support = tf.reduce_sum(y_true, axis=0)
    weights = support / tf.maximum(tf.reduce_sum(support), 1.0)
    f_loss = 1.0 - tf.reduce_sum(weights * f_beta)
    top = tf.argmax(y_pred, axis=-1)
    chosen = tf.one_hot(top, SHAPE[-1])
    hit = tf.reduce_sum(chosen * y_true, axis=-1)
    top_loss = 1.0 - tf.reduce_mean(hit)
    counted = tf.reduce_sum(positive, axis=-1)
    wanted = tf.reduce_sum(y_true, axis=-1)
    gap = tf.abs(counted - wanted)
    small = gap <= 2.0
    count_loss = tf.reduce_mean(tf.where(small, 0.5 * gap**2, 2.0 * gap - 2.0))
    confident = tf.reduce_max(y_pred, axis=-1)
    rounded = tf.round(confident * 10.0) / 10.0
    calibration = tf.reduce_mean(tf.square(rounded - hit))
    ranks = tf.argsort(tf.argsort(y_pred, axis=-1), axis=-1)
    rank_loss = tf.reduce_mean(y_true * (SHAPE[-1] - 1.0 - tf.cast(ranks, tf.float32)))
    total = f_loss + top_loss + 0.1 * count_loss
    return total + 0.1 * calibration + 0.01 * rank_loss


def sample() -> dict[str, Any]:
    """In this process, which must be fresh: seconds of the import, the first audit, later ones."""
    import numpy as np
    import tensorflow as tf

    draw = np.random.default_rng(0).random((2, *SHAPE), dtype="float32")
    y_true, y_pred = tf.constant((draw[0] < 0.3).astype("float32")), tf.constant(draw[1])
    start = time.perf_counter()
    import bevel

    verdict = bevel.audit(thirty_lines, y_true, y_pred).verdict
    first = time.perf_counter() - start
    later = []
    for _ in range(LATER):
        start = time.perf_counter()
        bevel.audit(thirty_lines, y_true, y_pred)
        later.append(time.perf_counter() - start)
    return {"verdict": verdict, "first": first, "later": later}


def measure() -> Result:
    """Audits in several fresh processes, one after another."""
    facts = machine()
    samples = []
    for _ in range(PROCESSES):
        done = subprocess.run(  # noqa: S603
            [sys.executable, __file__, "--sample"], stdout=subprocess.PIPE, text=True, check=True
        )
        samples.append(json.loads(done.stdout))
    first = spread([s["first"] for s in samples])
    later = spread([seconds for s in samples for seconds in s["later"]])
    rows = (
        ("first in a process, with `import bevel`", first.median, first.low, first.high),
        ("later", later.median, later.low, later.high),
    )
    verdicts = ", ".join(sorted({s["verdict"] for s in samples}))
    return Result(
        name="audit_time",
        title="Auditing a loss of 30 lines",
        about=(
            f"The loss thresholds, ranks, rounds and picks a maximum of {SHAPE[0]} × {SHAPE[1]} "
            f"predictions (verdict: {verdicts}). {PROCESSES} fresh processes with one first and "
            f"{LATER} later audits each. The clock starts when TensorFlow is loaded and the data "
            "are there, before `import bevel`."
        ),
        columns=("audit", "median s", "lower quartile", "upper quartile"),
        rows=rows,
        bars=tuple(Bar(f"{name}, seconds", median, LIMIT) for name, median, *_ in rows),
        machine=facts,
    )


def main(
    save: bool = False,
    only_sample: Annotated[bool, typer.Option("--sample", help="Print one sample.")] = False,
) -> None:
    """Measure, show the table, and with --save keep it in results/."""
    use_cpu()
    if only_sample:
        typer.echo(json.dumps(sample()))
    else:
        report(measure(), save)


if __name__ == "__main__":
    typer.run(main)
