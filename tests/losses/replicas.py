"""Run as a script: prints loss and gradient over two replicas, for `test_distribution`.

    replicas.py mirrored        two virtual processors in this process
    replicas.py workers         one of two processes, as TF_CONFIG says

The rows are split as unevenly as each case says; each line is JSON.
"""

from __future__ import annotations

import contextlib
import json
import sys

import keras
import numpy as np
import tensorflow as tf

from bevel.losses import MetricLoss
from tests.keras_metrics import make
from tests.losses.shards import CASES, GATHERED, loss_of, predictions, rows, tell

MEMORY = {"F1Score": 0.5, "Precision": 0.9}
STEPS = 2  # the second one remembers the first


def alone(name: str) -> tuple[float, np.ndarray]:
    labels, p = rows(name)[0], tf.constant(predictions(name))
    loss = loss_of(name, memory=MEMORY.get(name, 0.0))
    for _ in range(STEPS):
        with tf.GradientTape() as tape:
            tape.watch(p)
            value = loss(labels, p)
        slope = tape.gradient(value, p)
    return float(value), slope.numpy()


def together(strategy: tf.distribute.Strategy, name: str) -> None:
    labels, whole_p = rows(name)[0], predictions(name)
    cut = (CASES | GATHERED)[name]
    with strategy.scope():
        loss = loss_of(name, memory=MEMORY.get(name, 0.0))
        loss(labels[:1], whole_p[:1])

    def shard(array: np.ndarray) -> tf.distribute.DistributedValues:
        parts = tf.constant(array[:cut]), tf.constant(array[cut:])
        return strategy.experimental_distribute_values_from_function(
            lambda context: parts[context.replica_id_in_sync_group]
        )

    def step(y: tf.Tensor, p: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(p)
            value = loss(y, p)
        return value, tape.gradient(value, p)

    run = tf.function(lambda y, p: strategy.run(step, args=(y, p)))
    for _ in range(STEPS):
        value, slope = run(shard(labels), shard(whole_p))
    expected, whole = alone(name)
    found = [s.numpy() for s in strategy.experimental_local_results(slope)]
    first = worker * cut
    local = whole[first : first + sum(map(len, found))] if found else whole
    values = [float(v) for v in strategy.experimental_local_results(value)]
    share = expected / strategy.num_replicas_in_sync
    tell(name, values, share, np.concatenate(found), local, whole)


def fitted(scope: contextlib.AbstractContextManager) -> list[np.ndarray]:
    """The weights after a few steps of plain gradient descent by `model.fit`."""
    labels = rows("F1Score")[0]
    inputs = np.random.default_rng(0).normal(size=(len(labels), 4)).astype("float32")
    with scope:
        layer = keras.layers.Dense(
            labels.shape[1], "softmax", kernel_initializer=keras.initializers.GlorotUniform(seed=0)
        )
        model = keras.Sequential([keras.Input((4,)), layer])
        loss = MetricLoss(make("F1Score"), memory=0.5)
        model.compile(keras.optimizers.SGD(0.5), loss)
    model.fit(inputs, labels, batch_size=20, epochs=2, shuffle=False, verbose=0)
    return model.get_weights()


def fit(strategy: tf.distribute.Strategy) -> None:
    pairs = zip(fitted(strategy.scope()), fitted(contextlib.nullcontext()), strict=True)
    gaps = [float(np.abs(a - b).max()) for a, b in pairs]
    print(json.dumps({"name": "fit", "value": [0.0], "expected": 0.0, "gap": max(gaps)}))


worker = 0
if __name__ == "__main__":
    if sys.argv[1] == "mirrored":
        (cpu,) = tf.config.list_physical_devices("CPU")
        tf.config.set_logical_device_configuration(
            cpu, [tf.config.LogicalDeviceConfiguration()] * 2
        )
        chosen = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
        fit(chosen)
    else:
        chosen = tf.distribute.MultiWorkerMirroredStrategy()
        worker = chosen.cluster_resolver.task_id
    of_one_process = GATHERED if sys.argv[1] == "mirrored" else {}
    for case in CASES | of_one_process:
        together(chosen, case)
