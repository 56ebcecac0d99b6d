"""How much of what small batches lose does a memory of earlier batches give back?

The F1 of a small batch is a biased estimate of the data's, more so where positives are rare. The
same small network is trained on a relaxed F1 with whole-data steps and with batches of 16 and 32,
with and without `memory`, on rare positives and on balanced classes; the hard F1 counts on rows
that were not trained on.
"""

from __future__ import annotations

import statistics
from typing import Any

import typer
from measure import Bar, Result, machine, report, use_cpu

ROWS, FEATURES = 2_000, 20
SHARES = (0.05, 0.5)
MEMORIES = (0.0, 0.9, 0.95, 0.99)
BATCHES = (16, 32)
SEEDS = range(5)
STEPS = 1_500
MOST_LEFT = 0.5


def data(share: float, seed: int) -> tuple[Any, Any, Any, Any]:
    """Two overlapping classes, `share` of the rows positive: training rows, and as many others."""
    from sklearn.datasets import make_classification
    from sklearn.model_selection import train_test_split

    x, y = make_classification(
        2 * ROWS,
        FEATURES,
        n_informative=6,
        n_redundant=4,
        weights=[1 - share],
        flip_y=0.02,
        class_sep=0.8,
        random_state=seed,
    )
    x, y = x.astype("float32"), y[:, None].astype("float32")
    return tuple(train_test_split(x, y, test_size=0.5, stratify=y, random_state=seed))


def trained(share: float, batch: int, memory: float, seed: int) -> float:
    """The hard F1 on the other rows after `STEPS` steps."""
    import keras
    import tensorflow as tf

    import bevel

    keras.utils.set_random_seed(seed)
    x, x_other, y, y_other = data(share, seed)
    model = keras.Sequential(
        [
            keras.layers.Input((FEATURES,)),
            keras.layers.Dense(16, "relu"),
            keras.layers.Dense(1, "sigmoid"),
        ]
    )
    loss = bevel.losses.MetricLoss(keras.metrics.F1Score(threshold=0.5), memory=memory)
    model.compile(keras.optimizers.Adam(3e-3), loss)
    rows = tf.data.Dataset.from_tensor_slices((x, y)).shuffle(ROWS, seed=seed).repeat()
    model.fit(rows.batch(batch), steps_per_epoch=STEPS, verbose=0)
    metric = keras.metrics.F1Score(threshold=0.5)
    metric.update_state(y_other, model.predict(x_other, batch_size=ROWS, verbose=0))
    return float(metric.result()[0])


def measure() -> Result:
    """Trains everything; each row is a mean over the seeds."""
    facts = machine()
    rows: list[tuple[str | float, ...]] = []
    bars = []
    for share in SHARES:
        full = [trained(share, ROWS, 0.0, seed) for seed in SEEDS]
        rows.append((f"{share:.0%}", f"all {ROWS:,}", "none", *_with_error(full), "-"))
        for batch in BATCHES:
            found = {m: [trained(share, batch, m, seed) for seed in SEEDS] for m in MEMORIES}
            gap = statistics.mean(full) - statistics.mean(found[0.0])
            for memory, reached in found.items():
                left = (statistics.mean(full) - statistics.mean(reached)) / gap
                name = f"{memory}" if memory else "none"
                rows.append((f"{share:.0%}", str(batch), name, *_with_error(reached), f"{left:.2f}"))
            if share == min(SHARES):
                left = (statistics.mean(full) - statistics.mean(found[0.95])) / gap
                what = f"what is left of the loss at batch {batch}, {share:.0%} positive, memory 0.95"
                bars.append(Bar(what, left, MOST_LEFT))
    return Result(
        name="small_batches",
        title="Training an F1 on small batches, with and without a memory",
        about=(
            f"`MetricLoss(F1Score(threshold=0.5), memory=...)` on {ROWS:,} rows of synthetic data "
            f"(scikit-learn's `make_classification`), {STEPS:,} steps of Adam for every row of the "
            "table, whatever the size of the batch. F1 is the hard one on as many other rows: the "
            f"mean of {len(SEEDS)} seeds and its standard error. The last column is the share of "
            "the small batches' loss against whole-data steps that the memory leaves."
        ),
        columns=("positive", "batch", "memory", "hard F1", "standard error", "loss left"),
        rows=tuple(rows),
        bars=tuple(bars),
        machine=facts,
    )


def _with_error(values: list[float]) -> tuple[float, float]:
    return statistics.mean(values), statistics.stdev(values) / len(values) ** 0.5


def main(save: bool = False) -> None:
    """Measure, show the table, and with --save keep it in results/."""
    use_cpu()
    report(measure(), save)


if __name__ == "__main__":
    typer.run(main)
