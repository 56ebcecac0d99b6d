"""How well do models rank that were trained with ranking losses? On real data, beside other losses.

Lists: the documents of queries (`ranking_data.py`), judged by NDCG@10. Rows: KEEL's imbalanced
tables (`real_data.py`), judged by AUC and average precision. All losses train the same network from
the same weights on the same batches, and choose their rate and epoch on validation data alike.

    KERAS_BACKEND=jax python benchmarks/ranking_quality.py

keeps the figures in `benchmarks/results/ranking_quality.json` and writes `docs/ranking.md`;
`--docs` only writes the page again. Two contestants are no part of Bevel's extras, and are shown as
not installed where they are not: `pip install rax lightgbm` (rax needs JAX as Keras's backend).
"""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from measure import machine, use_cpu

use_cpu()

import keras  # noqa: E402
import numpy as np  # noqa: E402
import typer  # noqa: E402
from keras import ops as K  # noqa: E402
from ranking_data import Queries, mslr, ndcg  # noqa: E402
from ranking_page import PAGE, page  # noqa: E402
from real_data import SETS, Examples, split  # noqa: E402
from rich.progress import Progress  # noqa: E402

from bevel import losses  # noqa: E402

STORE = Path(__file__).parent / "results" / "ranking_quality.json"
TABLES = ("diabetes", "yeast4", "winequality-red-4", "page-blocks0")
RATES = (0.003, 0.01)
FOLDS = 4
ROUNDS = range(5, 101, 5)
Candidates = np.ndarray
"""The scores of everything after each epoch at each rate, stacked along the first axis."""


def squared_error(grades: Any, scores: Any) -> Any:
    """The mean squared error of the grades of documents that are no padding."""
    here = K.cast(grades >= 0, scores.dtype)
    return K.sum(here * K.square(grades - scores)) / K.sum(here)


def rax_ndcg() -> Callable[[Any, Any], Any]:
    """Approximate NDCG as rax's documentation puts it together, its default temperature.

    `rax.approx_t12n` does the same, but rax 0.4 calls a function there that JAX 0.7 removed.
    """
    import rax

    soft = partial(rax.ndcg_metric, rank_fn=rax.utils.approx_ranks)
    return lambda grades, scores: -soft(scores, grades, where=grades >= 0)


LISTS: dict[str, Callable[[], Any]] = {
    "squared error": lambda: squared_error,
    "ListwiseSoftmax": losses.ListwiseSoftmax,
    "Pairwise (ndcg)": lambda: losses.Pairwise(weighting="ndcg"),
    "NDCG": losses.NDCG,
    "NDCG (k=10)": lambda: losses.NDCG(k=10),
    "NDCG (logistic)": lambda: losses.NDCG(kernel="logistic"),
    "MeanAveragePrecision": losses.MeanAveragePrecision,
    "rax approximate NDCG": rax_ndcg,
}
TREES = "LightGBM lambdarank"
ORDERLESS = "random order"


def cross_entropy(weight: float = 1.0) -> Callable[[Any, Any], Any]:
    """The mean cross-entropy of logits, positives with a weight."""

    def loss(y_true: Any, logits: Any) -> Any:
        each = K.softplus(logits) - y_true * logits
        return K.mean(K.where(y_true > 0.5, weight * each, each))

    return loss


def row_losses(labels: np.ndarray) -> dict[str, Any]:
    """The losses for labels 0 and 1; `weighted` gives both classes the same weight."""
    return {
        "ce": cross_entropy(),
        "weighted": cross_entropy(float((1 - labels).sum() / labels.sum())),
        "AUC": losses.AUC(),
        "AveragePrecision": losses.AveragePrecision(),
    }


def is_missing(name: str) -> bool:
    """Whether a contestant on lists needs something that is not there."""
    if name == TREES:
        return importlib.util.find_spec("lightgbm") is None
    no_rax = keras.backend.backend() != "jax" or importlib.util.find_spec("rax") is None
    return name.startswith("rax") and no_rax


def network(shape: tuple[int, ...]) -> keras.Model:
    """One hidden layer and a score for each document of a list, or for a row."""
    layers = [keras.Input(shape), keras.layers.Dense(32, activation="relu"), keras.layers.Dense(1)]
    if len(shape) == 2:
        layers.append(keras.layers.Reshape((shape[0],)))
    return keras.Sequential(layers)


class Trainer:
    """One network with one loss, compiled once; each call trains it anew."""

    def __init__(self, shape: tuple[int, ...], loss: Any, epochs: int, batch: int) -> None:
        self.shape, self.epochs, self.batch = shape, epochs, batch
        self.model = network(shape)
        self.model.compile(keras.optimizers.Adam(), loss)
        self.model.optimizer.build(self.model.trainable_variables)
        self._fresh = [v.numpy() for v in self.model.optimizer.variables]

    def __call__(
        self, inputs: np.ndarray, targets: np.ndarray, fit: np.ndarray, seed: int
    ) -> Candidates:
        """Trains on the inputs at `fit` at every rate."""
        found = []
        for rate in RATES:
            keras.utils.set_random_seed(seed)  # weights and batches
            self.model.set_weights(network(self.shape).get_weights())
            for variable, value in zip(self.model.optimizer.variables, self._fresh, strict=True):
                variable.assign(value)
            self.model.optimizer.learning_rate = rate
            for _ in range(self.epochs):
                self.model.fit(inputs[fit], targets[fit], self.batch, verbose=0)
                found.append(self.model.predict_on_batch(inputs))
        return np.stack(found)


def boosted(inputs: np.ndarray, grades: np.ndarray, fit: np.ndarray, seed: int) -> Candidates:
    """Scores of LightGBM's trees, after every few of them, at rates ten times the networks'."""
    import lightgbm

    here = grades >= 0
    data = inputs[fit][here[fit]], grades[fit][here[fit]]
    found = []
    for rate in RATES:
        settings = {
            "objective": "lambdarank", "learning_rate": 10 * rate, "num_leaves": 15,
            "num_threads": 1, "verbose": -1, "seed": seed,
        }  # fmt: skip
        train = lightgbm.Dataset(*data, group=here[fit].sum(axis=1))
        trees = lightgbm.train(settings, train, max(ROUNDS))
        for rounds in ROUNDS:
            scores = np.zeros(grades.shape)
            scores[here] = trees.predict(inputs[here], num_iteration=rounds)
            found.append(scores)
    return np.stack(found)


def folds(count: int, seed: int) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Places to fit on, to choose on and to report on; each is reported on once."""
    pieces = np.array_split(np.random.default_rng(seed).permutation(count), FOLDS)
    return [
        (np.concatenate([pieces[i - n] for n in range(2, FOLDS)]), pieces[i - 1], pieces[i])
        for i in range(FOLDS)
    ]


def ranked(name: str, queries: Queries, seeds: int, epochs: int) -> np.ndarray:
    """NDCG@10 of each query by one contestant when it was held out, shape (seeds, queries)."""
    if name == ORDERLESS:
        draws = np.random.default_rng(0).random((seeds, *queries.grades.shape))
        return ndcg(queries.grades, draws)
    batch = len(queries.grades) // (3 * FOLDS) * 2  # a third of what is fitted on
    train: Any = boosted
    if name != TREES:
        train = Trainer(queries.features.shape[1:], LISTS[name](), epochs, batch)
    found = np.zeros((seeds, len(queries.grades)))
    for seed in range(seeds):
        for fit, choose, report in folds(len(queries.grades), seed):
            scores = train(queries.scaled(fit), queries.grades, fit, seed)
            best = ndcg(queries.grades[choose], scores[:, choose]).mean(axis=1).argmax()
            found[seed, report] = ndcg(queries.grades[report], scores[best, report])
    return found


def on_lists(queries: Queries, seeds: int, epochs: int) -> list[dict[str, Any]]:
    """The mean over seeds for each query and over queries for each seed, of every contestant."""
    found = []
    with Progress() as progress:
        for name in progress.track([ORDERLESS, *LISTS, TREES], description="lists"):
            row: dict[str, Any] = {"name": name, "queries": None, "seeds": None}
            if not is_missing(name):
                values = ranked(name, queries, seeds, epochs)
                row["queries"] = values.mean(axis=0).round(4).tolist()
                row["seeds"] = values.mean(axis=1).round(4).tolist()
            found.append(row)
    return found


def on_rows(examples: Examples, seeds: int, epochs: int) -> list[dict[str, Any]]:
    """AUC and average precision on held-out rows for each loss and seed."""
    from sklearn.metrics import average_precision_score, roc_auc_score

    metrics = {"AUC": roc_auc_score, "average precision": average_precision_score}
    found: dict[str, dict[str, list[float]]] = {key: {} for key in metrics}
    methods = {
        name: Trainer(examples.inputs.shape[1:], loss, epochs, 256)
        for name, loss in row_losses(examples.numbers).items()
    }
    for seed in range(seeds):
        rows = split(examples, seed)
        parts = rows.train, rows.validation, rows.test
        inputs = np.concatenate([part.features for part in parts])
        labels = np.concatenate([part.labels for part in parts])
        first, last = len(parts[0].labels), len(labels) - len(parts[2].labels)
        for name, train in methods.items():
            targets = labels[:, None].astype("float32")
            scores = train(inputs, targets, np.arange(first), seed)[..., 0]
            for key, metric in metrics.items():
                chosen = [metric(labels[first:last], s[first:last]) for s in scores]
                value = metric(labels[last:], scores[np.argmax(chosen)][last:])
                found[key].setdefault(name, []).append(round(float(value), 4))
    return [{"metric": key, "data": examples.name, "values": v} for key, v in found.items()]


def main(
    docs: Annotated[bool, typer.Option("--docs", help="Only write the page again.")] = False,
    seeds: Annotated[int, typer.Option(min=2, help="Splits and first weights.")] = 5,
    epochs: Annotated[int, typer.Option(min=2, help="At every rate.")] = 40,
) -> None:
    """Trains everything, keeps the figures and writes the page."""
    if not docs:
        facts = machine() | {"keras backend": keras.backend.backend()}
        queries = mslr()
        stored: dict[str, Any] = {
            "seeds": seeds, "epochs": epochs, "rates": RATES, "folds": FOLDS, "machine": facts,
            "count": len(queries.grades), "documents": round((queries.grades >= 0).sum(1).mean()),
        }  # fmt: skip
        stored["lists"] = on_lists(queries, seeds, epochs)
        with Progress() as progress:
            tables = progress.track(TABLES, description="rows")
            stored["rows"] = [
                row for name in tables for row in on_rows(SETS[name](), seeds, epochs)
            ]
        STORE.write_text(json.dumps(stored, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(page(json.loads(STORE.read_text(encoding="utf-8"))), encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
