"""How much of what small batches lose does a memory of earlier batches give back?

The F1 of a small batch is a biased estimate of the data's, more so where positives are rare. The
same model is trained on a relaxed F1 with whole-data steps and with batches of 16 and 32, with and
without `memory`; the hard F1 counts on rows that were not trained on. Two more settings have little
to give back: a model with room to spare, and balanced classes.
"""

from __future__ import annotations

import statistics
from typing import Any

import typer
from measure import Bar, Result, machine, report, use_cpu

ROWS, FEATURES = 2_000, 20
RARE, BALANCED = 0.05, 0.5
SETTINGS = (("linear", RARE), ("16 hidden units", RARE), ("linear", BALANCED))
MEMORIES = (0.0, 0.9, 0.95, 0.99)
BATCHES = (16, 32)
SEEDS = range(5)
STEPS = 1_500
KEPT, MOST_LEFT = 0.95, 0.5


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
        flip_y=0.01,
        class_sep=1.0,
        random_state=seed,
    )
    x, y = x.astype("float32"), y[:, None].astype("float32")
    return tuple(train_test_split(x, y, test_size=0.5, stratify=y, random_state=seed))


def trained(kind: str, share: float, batch: int, memory: float, seed: int) -> float:
    """The hard F1 on the other rows after `STEPS` steps."""
    import keras
    import tensorflow as tf

    import bevel

    keras.utils.set_random_seed(seed)
    x, x_other, y, y_other = data(share, seed)
    hidden = [] if kind == "linear" else [keras.layers.Dense(16, "relu")]
    model = keras.Sequential(
        [keras.layers.Input((FEATURES,)), *hidden, keras.layers.Dense(1, "sigmoid")]
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
    for kind, share in SETTINGS:
        whole = [trained(kind, share, ROWS, 0.0, seed) for seed in SEEDS]
        rows.append((kind, f"{share:.0%}", f"all {ROWS:,}", "none", statistics.mean(whole), "-"))
        for batch in BATCHES:
            short: dict[float, float] = {}
            for memory in MEMORIES:
                reached = [trained(kind, share, batch, memory, seed) for seed in SEEDS]
                lost = [a - b for a, b in zip(whole, reached, strict=True)]
                short[memory] = statistics.mean(lost)
                error = statistics.stdev(lost) / len(lost) ** 0.5
                rows.append(
                    (
                        kind,
                        f"{share:.0%}",
                        str(batch),
                        f"{memory}" if memory else "none",
                        statistics.mean(reached),
                        f"{short[memory]:+.3f} ± {error:.3f}",
                    )
                )
            if (kind, share) == SETTINGS[0]:
                what = f"share of the loss left, {kind}, {share:.0%} positive, batch {batch}"
                bars.append(Bar(f"{what}, memory {KEPT}", short[KEPT] / short[0.0], MOST_LEFT))
    return Result(
        name="small_batches",
        title="Training an F1 on small batches, with and without a memory",
        about=(
            f"`MetricLoss(F1Score(threshold=0.5), memory=...)` on {ROWS:,} rows of synthetic data "
            f"(scikit-learn's `make_classification`), {STEPS:,} steps of Adam for every row of the "
            "table, whatever the size of the batch. F1 is the hard one on as many other rows, the "
            f"mean of {len(SEEDS)} seeds. The last column is what is lost against whole-data "
            "steps, paired by seed, with its standard error. A memory of 0.9 or 0.95 helps where "
            "the F1 of a batch misleads the model, and little where the model has room to spare or "
            "the classes are balanced; one of 0.99 follows the model too slowly here."
        ),
        columns=("model", "positive", "batch", "memory", "hard F1", "lost to small batches"),
        rows=tuple(rows),
        bars=tuple(bars),
        machine=facts,
    )


def main(save: bool = False) -> None:
    """Measure, show the table, and with --save keep it in results/."""
    use_cpu()
    report(measure(), save)


if __name__ == "__main__":
    typer.run(main)
