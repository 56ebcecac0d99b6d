"""Train on a metric, and find out honestly whether that paid.

`compare` trains the same network with (a) cross-entropy, decided at 0.5, (b) the same with the
decision tuned on validation rows, (c) the relaxed metric, from (a)'s weights, and with
class-weighted cross-entropy besides. All get the same rows, the same number of epochs and the
choice of their best epoch on the validation rows: (a) by cross-entropy, (c) by the hard metric and,
among equals, the relaxed one. What is reported is the hard metric on rows that none of them has
seen.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from bevel.arrangements import Arranged, arrange
from bevel.auditing import audit
from bevel.comparison import METHODS, Comparison, bootstrap
from bevel.data import Data, Part, load_default, split
from bevel.errors import BevelValueError
from bevel.relaxation import relax
from bevel.report import Report
from bevel.thresholds import DecisionTuner
from bevel.training import Fitted, Objective, Trainer

RESAMPLES = 200
TRAINED = ("ce", "weighted", "relaxed")


@dataclass(frozen=True)
class Progress:
    """Where a comparison stands: `done` of `total` epochs, the run under way, its latest value."""

    done: int
    total: int
    run: str
    value: float


def audit_on(arranged: Arranged, data: Data) -> Report:
    """Audit a metric on real labels and plausible predictions, a network's before training."""
    rows = split(data, seed=0).train
    outputs = 1 if data.binary else len(data.classes)
    trainer = Trainer(rows.features.shape[1], outputs, arranged)
    logits = trainer.logits(trainer.initial(0), rows)
    y_true = arranged.form.labels(tf.constant(rows.labels), arranged.classes)
    y_pred = arranged.form.predictions(tf.constant(logits), arranged.classes)
    return audit(arranged.metric, y_true, y_pred)


def compare(
    metric: Callable[..., Any],
    data: Data | None = None,
    *,
    maximize: bool | None = None,
    seeds: int = 10,
    epochs: int = 200,
    name: str | None = None,
    verdict: str = "",
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> Comparison:
    """Train with cross-entropy and with the relaxed metric, and compare on held-out rows.

    Args:
        metric: A function (y_true, y_pred) → number, in one of the forms of `bevel.arrangements`.
        data: What to train on; by default `bevel.data.load_default()`.
        maximize: Whether higher is better; by default it is inferred from perfect and opposite
            predictions.
        seeds: How many times to split, initialise and train; at least 2.
        epochs: Full-batch Adam steps of each run.
        name: What to call the metric; by default the function's name.
        verdict: The audit's verdict, if there was an audit; it is copied into the result.
        on_progress: Called after every epoch.

    Returns:
        The figures with their intervals; `str(comparison.words())` says what they mean.

    Raises:
        BevelValueError: If `seeds` or `epochs` is too small, or a class has too few rows.
        TargetError: If the metric fits no arrangement, or its direction cannot be inferred.
        UnknownOperationError: If it cannot be relaxed.
    """
    for argument, value, least in (("seeds", seeds, 2), ("epochs", epochs, 1)):
        if value < least:
            raise BevelValueError(f"`{argument}` must be at least {least}; got {value}.")
    began = time.perf_counter()
    data = data or load_default()
    arranged = arrange(metric, data.labels, len(data.classes), maximize)
    outputs = 1 if data.binary else len(data.classes)
    trainer = Trainer(data.features.shape[1], outputs, arranged)
    objectives = _objectives(arranged, relax(arranged.metric), outputs, data)
    tuner = DecisionTuner(arranged, arranged.maximize)
    judge = _Judge(arranged)
    runs: dict[str, list[Fitted]] = {key: [] for key in TRAINED}
    total, done = seeds * len(TRAINED) * epochs, 0

    for seed in range(seeds):
        rows = split(data, seed)
        start = trainer.initial(seed)
        for key in TRAINED:

            def after_epoch(
                value: float, run: str = f"seed {seed + 1}: {objectives[key].name}"
            ) -> None:
                nonlocal done
                done += 1
                on_progress(Progress(done, total, run, value))

            origin = runs["ce"][-1].weights if key == "relaxed" else start
            runs[key].append(trainer.fit(objectives[key], origin, rows, epochs, after_epoch))
            done = (seed * len(TRAINED) + TRAINED.index(key) + 1) * epochs
        weights = {key: runs[key][-1].weights for key in TRAINED}
        logits = {key: trainer.logits(weights[key], rows.test) for key in TRAINED}
        chosen = trainer.logits(weights["ce"], rows.validation)
        logits["tuned"] = logits["ce"] + tuner.tune(rows.validation.labels, chosen)
        judge.add(rows.test, logits, seed)

    values = {key: judge.observed(key) for key in METHODS}
    estimates = {key: bootstrap(judge.resampled(key), values[key]) for key in METHODS}
    against = {
        key: bootstrap(
            judge.resampled("relaxed") - judge.resampled(key), values["relaxed"] - values[key]
        )
        for key in METHODS
        if key != "relaxed"
    }
    return Comparison(
        metric=name or getattr(metric, "__name__", "metric"),
        data=str(data),
        arrangement=arranged.form.words,
        maximize=arranged.maximize,
        inferred=arranged.inferred,
        verdict=verdict,
        seeds=seeds,
        epochs=epochs,
        perfect=arranged.perfect,
        values={key: values[key].tolist() for key in METHODS},
        estimates=estimates,
        against=against,
        curves={key: _mean_curve(runs[key], epochs) for key in ("ce", "relaxed")},
        seconds=time.perf_counter() - began,
        notes=_notes(runs, judge, seeds),
    )


def _objectives(
    arranged: Arranged, relaxed: Callable[[Any, Any], Any], outputs: int, data: Data
) -> dict[str, Objective]:
    counts = np.bincount(data.labels, minlength=len(data.classes))
    balance = tf.constant(len(data.labels) / (len(counts) * counts), tf.float32)
    sign = -1.0 if arranged.maximize else 1.0

    def entropy(numbers: Any, logits: Any) -> Any:
        if outputs == 1:
            labels = tf.cast(numbers, tf.float32)
            return tf.nn.sigmoid_cross_entropy_with_logits(labels, logits[:, 0])
        return tf.nn.sparse_softmax_cross_entropy_with_logits(numbers, logits)

    def plain(numbers: Any, logits: Any) -> Any:
        return tf.reduce_mean(entropy(numbers, logits))

    def weighted(numbers: Any, logits: Any) -> Any:
        return tf.reduce_mean(tf.gather(balance, numbers) * entropy(numbers, logits))

    def soft(numbers: Any, logits: Any) -> Any:
        return sign * arranged.through(relaxed, numbers, logits)

    def hard_then_soft(numbers: Any, logits: Any) -> Any:
        return tf.stack([sign * arranged(numbers, logits), soft(numbers, logits)])

    return {
        "ce": Objective("cross-entropy", plain, lambda n, z: plain(n, z)[None]),
        "weighted": Objective(
            "weighted cross-entropy", weighted, lambda n, z: weighted(n, z)[None]
        ),
        "relaxed": Objective("relaxed metric", soft, hard_then_soft),
    }


class _Judge:
    """Evaluates the hard metric on held-out rows and on resamples of them."""

    def __init__(self, metric: Arranged) -> None:
        self._observed: dict[str, list[float]] = {key: [] for key in METHODS}
        self._resampled: dict[str, list[np.ndarray]] = {key: [] for key in METHODS}

        @tf.function(autograph=False)
        def rate(numbers: Any, logits: Any, picks: Any) -> Any:
            return tf.map_fn(
                lambda pick: metric(tf.gather(numbers, pick), tf.gather(logits, pick)),
                picks,
                fn_output_signature=tf.float32,
            )

        self._rate = rate

    def add(self, part: Part, logits: dict[str, np.ndarray], seed: int) -> None:
        n = len(part.labels)
        drawn = np.random.default_rng(seed).integers(n, size=(RESAMPLES, n))
        picks = tf.constant(np.concatenate([np.arange(n)[None], drawn]))
        for key in METHODS:
            rated = np.asarray(
                self._rate(tf.constant(part.labels), tf.constant(logits[key]), picks)
            )
            self._observed[key].append(float(rated[0]))
            self._resampled[key].append(rated[1:])

    def observed(self, key: str) -> np.ndarray:
        return np.array(self._observed[key])

    def resampled(self, key: str) -> np.ndarray:
        return np.array(self._resampled[key])


def _mean_curve(runs: list[Fitted], epochs: int) -> list[float]:
    """Mean over seeds; a run that ended early keeps its last value."""
    padded = [(*run.curve, *[run.curve[-1]] * (epochs + 1 - len(run.curve))) for run in runs]
    return np.mean(padded, axis=0).tolist()


def _notes(runs: dict[str, list[Fitted]], judge: _Judge, seeds: int) -> list[str]:
    notes = []
    broken = sum(not run.finite for run in runs["relaxed"])
    if broken:
        notes.append(f"the relaxed loss became non-finite for {broken} of {seeds} seeds")
    kept = sum(run.best_epoch == 0 for run in runs["relaxed"])
    if kept:
        notes.append(
            f"for {kept} of {seeds} seeds no epoch on the relaxed metric beat the weights from "
            "cross-entropy on the validation rows, so those were kept"
        )
    undefined = np.mean([~np.isfinite(judge.resampled(key)) for key in METHODS])
    if undefined:
        notes.append(f"the metric is undefined on {undefined:.1%} of the resamples; left out")
    return notes
