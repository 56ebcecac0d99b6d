"""Run as a script: prints loss and gradient over two replicas, for `test_distribution`.

    replicas.py mirrored        two virtual processors in this process
    replicas.py workers         one of two processes, as TF_CONFIG says

The rows are split as unevenly as each case says; each line is JSON.
"""

from __future__ import annotations

import json
import sys

import numpy as np
import tensorflow as tf

from bevel.losses import MetricLoss
from tests.descent import LINKS
from tests.keras_metrics import draw, make

# How many rows the first replica gets: as many, few, one, none; and all positives by themselves.
CASES = {
    "F1Score": 32,
    "BinaryAccuracy": 3,
    "Precision": 63,
    "Recall": 0,
    "AUC": 20,
    "MeanIoU": 40,
    "SensitivityAtSpecificity": 1,
    "R2Score": 0,
    "TopKCategoricalAccuracy": 30,
    "MeanSquaredError": 7,
}


def rows(name: str) -> tuple[np.ndarray, np.ndarray]:
    drawn = draw(name, 0)
    labels, z = drawn.y_true, drawn.z
    if name in ("Recall", "AUC"):  # shards of one class only
        order = np.argsort(-labels[:, 0], kind="stable")
        labels, z = labels[order], z[order]
    return labels, LINKS[drawn.link](z).numpy()


def alone(name: str) -> tuple[float, np.ndarray]:
    labels, predictions = rows(name)
    p = tf.constant(predictions)
    loss = MetricLoss(make(name))
    with tf.GradientTape() as tape:
        tape.watch(p)
        value = loss(labels, p)
    return float(value), tape.gradient(value, p).numpy()


def together(strategy: tf.distribute.Strategy, name: str) -> None:
    labels, predictions = rows(name)
    cut = CASES[name]
    with strategy.scope():
        loss = MetricLoss(make(name))

    def shard(array: np.ndarray) -> tf.distribute.DistributedValues:
        parts = tf.constant(array[:cut]), tf.constant(array[cut:])
        return strategy.experimental_distribute_values_from_function(
            lambda context: parts[context.replica_id_in_sync_group]
        )

    def step(y: tf.Tensor, p: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(p)
            value = loss(y, p)
            scaled = value / strategy.num_replicas_in_sync  # as a training loop does
        return value, tape.gradient(scaled, p)

    value, slope = tf.function(lambda y, p: strategy.run(step, args=(y, p)))(
        shard(labels), shard(predictions)
    )
    expected, whole = alone(name)
    found = [s.numpy() for s in strategy.experimental_local_results(slope)]
    first = worker * cut
    local = whole[first : first + sum(map(len, found))] if found else whole
    gap = np.abs(np.concatenate(found) - local).max(initial=0.0) / np.abs(whole).max()
    print(json.dumps({
        "name": name,
        "value": [float(v) for v in strategy.experimental_local_results(value)],
        "expected": expected,
        "gap": float(gap),
    }))  # fmt: skip


worker = 0
if __name__ == "__main__":
    if sys.argv[1] == "mirrored":
        (cpu,) = tf.config.list_physical_devices("CPU")
        tf.config.set_logical_device_configuration(
            cpu, [tf.config.LogicalDeviceConfiguration()] * 2
        )
        chosen = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    else:
        chosen = tf.distribute.MultiWorkerMirroredStrategy()
        worker = chosen.cluster_resolver.task_id
    for case in CASES:
        together(chosen, case)
