"""Does training on a metric pay? Small Keras models on real data, against the strongest baselines.

`python benchmarks/training.py` downloads the data (see `real_data.py`), trains everything, keeps
the figures in `benchmarks/results/training.json` and writes `docs/training.md`; `--docs` only
writes the page again. It needs `pip install ".[benchmark]"`.

Every method trains the same network from the same weights on the same batches for as many epochs,
by Adam whose rate rises over the first tenth of a run and falls as a cosine, and picks its epoch on
validation rows by the hard metric. The relaxed metric, and Dice or Tversky, go on from what
cross-entropy reached in half of the epochs.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

from measure import machine, use_cpu

use_cpu()

import keras  # noqa: E402
import numpy as np  # noqa: E402
import tensorflow as tf  # noqa: E402
import typer  # noqa: E402
from keras import metrics as M  # noqa: E402
from real_data import SETS, Examples, split  # noqa: E402
from rich.progress import Progress  # noqa: E402
from training_page import PAGE, page  # noqa: E402

from bevel.data import Split  # noqa: E402
from bevel.losses import MetricLoss  # noqa: E402
from bevel.stateless import pure  # noqa: E402
from bevel.thresholds import DecisionTuner  # noqa: E402

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from examples.profit import profit  # noqa: E402

STORE = HERE / "results" / "training.json"
RATE = 0.005
Logits = np.ndarray
Loss = Callable[[Any, Any], Any]


@dataclass(frozen=True)
class Goal:
    """A metric to train on.

    Attributes:
        make: Makes it.
        decides: Whether it turns scores into decisions by itself, so that they can be tuned.
        rival: The smooth loss that Keras has for it.
        memory: See `MetricLoss`.
    """

    make: Callable[[], Any]
    decides: bool = True
    rival: Callable[..., Any] | None = None
    memory: float = 0.9


def found_in_top_tenth(y_true: Any, y_pred: Any) -> Any:
    """The share of all positives among the tenth of the rows with the highest scores."""
    y_true, y_pred = tf.reshape(y_true, [-1]), tf.reshape(y_pred, [-1])
    _, best = tf.math.top_k(y_pred, k=tf.size(y_pred) // 10)
    return tf.reduce_sum(tf.gather(y_true, best)) / tf.maximum(tf.reduce_sum(y_true), 1.0)


def f2_tversky(**settings: Any) -> keras.losses.Loss:
    """F2 as a Tversky index: a miss weighs four times what a false alarm does."""
    return keras.losses.Tversky(alpha=0.2, beta=0.8, **settings)


BINARY = {
    "F1Score": Goal(lambda: M.F1Score(threshold=0.5), rival=keras.losses.Dice),
    "FBetaScore(2)": Goal(lambda: M.FBetaScore(beta=2.0, threshold=0.5), rival=f2_tversky),
    "AUC": Goal(M.AUC, decides=False),
    "AUC(PR)": Goal(lambda: M.AUC(curve="PR"), decides=False),
    "PrecisionAtRecall(0.8)": Goal(lambda: M.PrecisionAtRecall(0.8), decides=False),
    "SensitivityAtSpecificity(0.9)": Goal(lambda: M.SensitivityAtSpecificity(0.9), decides=False),
    "profit": Goal(lambda: profit, memory=0.0),
    "found in top tenth": Goal(lambda: found_in_top_tenth, decides=False, memory=0.0),
}
SEVERAL = {
    "F1Score(macro)": Goal(lambda: M.F1Score(average="macro"), rival=keras.losses.Dice),
    "OneHotMeanIoU": Goal(lambda: M.OneHotMeanIoU(3), rival=keras.losses.Dice),
    "CategoricalAccuracy": Goal(M.CategoricalAccuracy),
}
# A batch of images has pixels enough to stand for all of them: no memory.
MASKS = {
    "BinaryIoU": Goal(lambda: M.BinaryIoU([1], threshold=0.5), rival=keras.losses.Dice, memory=0.0)
}
PARTS = {"OneHotMeanIoU": Goal(lambda: M.OneHotMeanIoU(3), rival=keras.losses.Dice, memory=0.0)}
GOALS = {
    **dict.fromkeys(("diabetes", "yeast4", "winequality-red-4", "page-blocks0"), BINARY),
    "contraceptive": SEVERAL,
    "nuclei": MASKS,
    "brain": PARTS,
}


@dataclass(frozen=True)
class Row:
    """One metric on one data set: the hard metric on held-out rows, for each method and seed."""

    metric: str
    data: str
    values: dict[str, list[float]] = field(default_factory=dict)


def network(examples: Examples) -> keras.Model:
    """A small network from inputs to logits: one hidden layer, or four convolutions."""
    layers: list[Any]
    if examples.are_images:
        layers = [
            keras.layers.Conv2D(16, 3, dilation_rate=far, padding="same", activation="relu")
            for far in (1, 2, 4)
        ]
        layers.append(keras.layers.Conv2D(columns(examples), 1))
    else:
        layers = [keras.layers.Dense(32, activation="relu"), keras.layers.Dense(columns(examples))]
    return keras.Sequential([keras.Input(examples.inputs.shape[1:]), *layers])


def columns(examples: Examples) -> int:
    """How many logits there are for a row or a pixel."""
    return 1 if examples.classes == 2 else examples.classes


def link(logits: Any) -> Any:
    """Probabilities of logits."""
    return tf.sigmoid(logits) if logits.shape[-1] == 1 else tf.nn.softmax(logits)


def labels(numbers: Any, columns: int) -> Any:
    """Class numbers as what the losses take: 0 or 1 in one column, or one-hot."""
    if columns == 1:
        return tf.cast(numbers, tf.float32)[..., None]
    return tf.one_hot(numbers, columns)


def entropies(y_true: Any, logits: Any) -> Any:
    """The cross-entropy of each row or pixel."""
    if logits.shape[-1] == 1:
        return tf.nn.sigmoid_cross_entropy_with_logits(y_true, logits)[..., 0]
    return tf.nn.softmax_cross_entropy_with_logits(y_true, logits)


def cross_entropy(y_true: Any, logits: Any) -> Any:
    """The mean cross-entropy, a scalar."""
    return tf.reduce_mean(entropies(y_true, logits))


def weighted(balance: np.ndarray) -> Loss:
    """Cross-entropy with a weight for each class."""

    def loss(y_true: Any, logits: Any) -> Any:
        single = y_true.shape[-1] == 1
        numbers = y_true[..., 0] if single else tf.argmax(y_true, -1)
        weights = tf.gather(balance, tf.cast(numbers, tf.int32))
        return tf.reduce_mean(weights * entropies(y_true, logits))

    return loss


def smooth(rival: Callable[..., Any], rank: int) -> Loss:
    """Keras's Dice or Tversky loss of logits, for each class over all rows and pixels."""
    loss = rival(axis=tuple(range(rank - 1)))
    return lambda y_true, logits: loss(y_true, link(logits))


class Watch(keras.callbacks.Callback):
    """Keeps the logits of the rows to choose and to report on, after each epoch."""

    def __init__(self, choose: np.ndarray, report: np.ndarray) -> None:
        super().__init__()
        self.inputs, self.seen = (choose, report), ([], [])

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Adds this epoch's."""
        for kept, inputs in zip(self.seen, self.inputs, strict=True):
            kept.append(self.model.predict_on_batch(inputs))


class Fitter:
    """One network with one loss; it is compiled once and trained from any weights."""

    def __init__(self, model: keras.Model, loss: Any, epochs: int, rows: int, batch: int) -> None:
        self.model, self.loss = model, loss
        self.epochs, self.batch = epochs, batch
        steps = epochs * math.ceil(rows / batch)
        # Adam's first steps are as long as its rate, wherever it starts: without a slow start it
        # would leave a good place that it is to go on from
        rate = keras.optimizers.schedules.CosineDecay(
            0.0, steps - steps // 10, warmup_target=RATE, warmup_steps=steps // 10
        )
        self.model.compile(keras.optimizers.Adam(rate), loss)
        self.model.optimizer.build(self.model.trainable_variables)
        self._fresh = [v.numpy() for v in self.model.optimizer.variables]

    def fit(self, weights: list[np.ndarray], rows: Split, seed: int) -> tuple[Logits, Logits]:
        """Logits to choose and to report on after each epoch, each of shape (epochs, n, ...)."""
        self.model.set_weights(weights)
        for variable, value in zip(self.model.optimizer.variables, self._fresh, strict=True):
            variable.assign(value)
        if isinstance(self.loss, MetricLoss):
            self.loss.reset()
        keras.utils.set_random_seed(seed)
        watch = Watch(rows.validation.features, rows.test.features)
        inputs = rows.train.features
        targets = labels(rows.train.labels, self.model.output_shape[-1])
        self.model.fit(inputs, targets, self.batch, self.epochs, verbose=0, callbacks=[watch])
        return np.stack(watch.seen[0]), np.stack(watch.seen[1])


class Judge:
    """The hard metric of logits, and the decision tuned for it."""

    def __init__(self, goal: Goal) -> None:
        metric = pure(goal.make())
        graph = tf.function(metric) if metric is profit else metric  # it has an `if` on a tensor

        def rate(numbers: Any, logits: Any) -> Any:
            value = graph(labels(numbers, logits.shape[-1]), link(logits))
            return tf.reshape(tf.reduce_mean(value), [])

        self._one = rate
        self._each = tf.function(
            lambda numbers, runs: tf.map_fn(lambda z: rate(numbers, z), runs), autograph=False
        )
        self._tuner = DecisionTuner(rate, maximize=True)

    def best(self, numbers: tuple[np.ndarray, np.ndarray], runs: tuple[Logits, Logits]) -> float:
        """The metric to report, where the one to choose by is best; of equals, in the middle."""
        chosen, reported = (
            np.asarray(self._each(tf.constant(n), tf.constant(z)))
            for n, z in zip(numbers, runs, strict=True)
        )
        equals = np.flatnonzero(chosen == chosen.max())
        return float(reported[equals[len(equals) // 2]])

    def tuned(self, numbers: tuple[np.ndarray, np.ndarray], logits: tuple[Logits, Logits]) -> float:
        """The metric to report with the decision that is the best one to choose by."""
        choose, report = (
            (n.reshape(-1), z.reshape(n.size, -1)) for n, z in zip(numbers, logits, strict=True)
        )
        offset = self._tuner.tune(*choose)
        return float(self._one(report[0], tf.constant(report[1] + offset)))


class Study:
    """All methods on one data set, for the metrics that are its goals."""

    def __init__(self, name: str, epochs: int, goals: dict[str, Goal]) -> None:
        self.examples, self.goals = SETS[name](), goals
        self.rows = {key: Row(key, name) for key in goals}
        self._judges = {key: Judge(goal) for key, goal in goals.items()}
        counts = np.bincount(self.examples.numbers.reshape(-1))
        balance = (counts.sum() / (len(counts) * counts)).astype("float32")
        self._half = self._fitter(cross_entropy, epochs // 2)
        self._plain = self._fitter(cross_entropy, epochs)
        self._balanced = self._fitter(weighted(balance), epochs)
        self._going_on: dict[tuple[str, str], Fitter] = {}
        for key, goal in goals.items():
            later = epochs - epochs // 2
            if goal.rival:
                loss = smooth(goal.rival, self.examples.numbers.ndim + 1)
                self._going_on[key, "rival"] = self._fitter(loss, later)
            own = MetricLoss(goal.make(), maximize=True, from_logits=True, memory=goal.memory)
            self._going_on[key, "relaxed"] = self._fitter(own, later)

    def _fitter(self, loss: Any, epochs: int) -> Fitter:
        rows, batch = len(self.examples.numbers) // 2, 2 if self.examples.are_images else 128
        return Fitter(network(self.examples), loss, epochs, rows, batch)

    def run(self, seed: int) -> None:
        """Trains by every method, and adds a value for each to the rows."""
        rows = split(self.examples, seed)
        numbers = rows.validation.labels, rows.test.labels
        keras.utils.set_random_seed(seed)
        start = network(self.examples).get_weights()
        half = self._half.fit(start, rows, seed)
        midway = self._half.model.get_weights()
        entropy = self._plain.fit(start, rows, seed)
        even = self._balanced.fit(start, rows, seed)
        y_true = labels(numbers[0], columns(self.examples))
        epoch = int(np.argmin([float(cross_entropy(y_true, z)) for z in entropy[0]]))
        for key, goal in self.goals.items():
            judge = self._judges[key]
            self._add(key, "ce", judge.best(numbers, entropy))
            self._add(key, "weighted", judge.best(numbers, even))
            if goal.decides:
                self._add(
                    key, "tuned", judge.tuned(numbers, (entropy[0][epoch], entropy[1][epoch]))
                )
        for (key, method), fitter in self._going_on.items():
            later = fitter.fit(midway, rows, seed)
            runs = np.concatenate([half[0], later[0]]), np.concatenate([half[1], later[1]])
            self._add(key, method, self._judges[key].best(numbers, runs))

    def _add(self, key: str, method: str, value: float) -> None:
        self.rows[key].values.setdefault(method, []).append(value)


def main(
    docs: Annotated[bool, typer.Option("--docs", help="Only write the page again.")] = False,
    seeds: Annotated[int, typer.Option(min=2, help="Splits and first weights.")] = 10,
    epochs: Annotated[int, typer.Option(min=2, help="Of every method.")] = 60,
) -> None:
    """Trains on every data set, keeps the figures and writes the page."""
    if not docs:
        rows: list[Row] = []
        facts = machine()
        with Progress() as progress:
            for name, goals in GOALS.items():
                study = Study(name, epochs, goals)
                for seed in progress.track(range(seeds), description=name):
                    study.run(seed)
                rows.extend(study.rows.values())
        stored = {"seeds": seeds, "epochs": epochs, "machine": facts}
        stored["rows"] = [asdict(row) for row in rows]
        STORE.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(page(json.loads(STORE.read_text(encoding="utf-8"))), encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
