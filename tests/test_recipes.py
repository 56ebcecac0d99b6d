"""The comparison as a whole: small runs on real and on made-up data."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from bevel import recipes
from bevel.comparison import METHODS
from bevel.data import Data, load_default
from bevel.errors import BevelValueError
from bevel.metrics import BUILTIN


def _macro_recall(y_true, y_pred):
    """Mean recall over classes, of the arg max: the hard decision for more than two classes."""
    classes = y_pred.shape[-1]
    decided = keras.ops.one_hot(keras.ops.argmax(y_pred, axis=-1), classes)
    hits = keras.ops.sum(decided * y_true, axis=0)
    return keras.ops.mean(hits / (keras.ops.sum(y_true, axis=0) + 1e-7))


def _blobs(classes, n=160, shift=2.0):
    """Rows of overlapping classes, the last ones rarer."""
    rng = np.random.default_rng(0)
    labels = np.sort(rng.choice(classes, n, p=np.arange(classes, 0, -1) / sum(range(classes + 1))))
    centres = shift * rng.standard_normal((classes, 4))
    features = (centres[labels] + rng.standard_normal((n, 4))).astype("float32")
    names = tuple(f"class {k}" for k in range(classes))
    return Data("blobs", features, labels.astype("int64"), names, ("a", "b", "c", "d"))


@pytest.fixture(scope="module")
def small():
    seen = []
    comparison = recipes.compare(
        BUILTIN["f1"],
        load_default(),
        seeds=2,
        epochs=15,
        verdict="blocked",
        on_progress=seen.append,
    )
    return comparison, seen


def test_every_method_has_a_value_for_every_seed(small):
    comparison, _ = small
    assert set(comparison.values) == set(METHODS)
    assert all(len(values) == 2 for values in comparison.values.values())
    assert all(0 <= v <= 1 for values in comparison.values.values() for v in values)
    for key, estimate in comparison.estimates.items():
        assert estimate.low <= estimate.mean <= estimate.high
        assert estimate.mean == pytest.approx(np.mean(comparison.values[key]))
    assert set(comparison.against) == {"ce", "weighted", "tuned"}


def test_differences_are_of_the_relaxed_method_and_paired(small):
    comparison, _ = small
    expected = np.subtract(comparison.values["relaxed"], comparison.values["tuned"]).mean()
    assert comparison.against["tuned"].mean == pytest.approx(expected)


def test_it_says_what_it_did(small):
    comparison, _ = small
    assert (comparison.metric, comparison.verdict, comparison.maximize) == ("f1", "blocked", True)
    assert comparison.inferred
    assert "diabetes" in comparison.data
    assert comparison.perfect == pytest.approx(1.0)
    assert comparison.seconds > 0
    assert json.loads(comparison.to_json())["seeds"] == 2


def test_progress_is_told_after_every_epoch(small):
    _, seen = small
    assert [p.done for p in seen] == list(range(1, 2 * 3 * 15 + 1))
    assert {p.total for p in seen} == {90}
    assert seen[0].run == "seed 1: cross-entropy"
    assert seen[-1].run == "seed 2: relaxed metric"


def test_curves_begin_at_the_start_and_relaxed_ones_at_the_best_cross_entropy(small):
    comparison, _ = small
    assert [len(curve) for curve in comparison.curves.values()] == [16, 16]
    assert max(comparison.curves["ce"]) > comparison.curves["ce"][0]


def test_the_same_call_gives_the_same_figures(small):
    comparison, _ = small
    again = recipes.compare(BUILTIN["f1"], load_default(), seeds=2, epochs=15)
    assert again.values == comparison.values
    assert again.estimates == comparison.estimates


def test_more_classes_than_two():
    comparison = recipes.compare(_macro_recall, _blobs(3), seeds=2, epochs=30)
    assert "one-hot" in comparison.arrangement
    assert comparison.estimates["relaxed"].mean > 0.5


def test_a_cost_is_minimised():
    def cost(y_true, y_pred):
        called = tf.cast(y_pred > 0.5, tf.float32)
        return tf.reduce_mean(5.0 * y_true * (1.0 - called) + called * (1.0 - y_true))

    comparison = recipes.compare(cost, load_default(), seeds=2, epochs=60)
    assert not comparison.maximize
    assert comparison.estimates["relaxed"].mean < comparison.estimates["ce"].mean


def test_the_relaxed_metric_learns_where_the_decision_at_half_cannot():
    """Rare positives among the rest: at 0.5 nobody is called, and the metric minds."""
    rng = np.random.default_rng(1)
    labels = (np.arange(600) % 10 == 0).astype("int64")
    features = rng.standard_normal((600, 3)).astype("float32")
    features[:, 0] += 1.2 * labels
    data = Data("rare", features, labels, ("no", "yes"), ("a", "b", "c"))
    comparison = recipes.compare(BUILTIN["balanced_accuracy"], data, seeds=3, epochs=80)
    assert comparison.estimates["relaxed"].mean > comparison.estimates["ce"].mean + 0.1
    assert comparison.estimates["tuned"].mean > comparison.estimates["ce"].mean + 0.1
    assert comparison.against["ce"].sign == 1


def test_a_relaxed_loss_that_breaks_is_reported(monkeypatch):
    monkeypatch.setattr(
        recipes, "relax", lambda metric: lambda y_true, y_pred: tf.reduce_sum(y_pred) / 0.0
    )
    comparison = recipes.compare(BUILTIN["f1"], load_default(), seeds=2, epochs=5)
    assert any("non-finite for 2 of 2 seeds" in note for note in comparison.notes)
    assert any("those were kept" in note for note in comparison.notes)
    assert comparison.values["relaxed"] == comparison.values["ce"]


@pytest.mark.parametrize(("argument", "least"), [("seeds", 2), ("epochs", 1)])
def test_too_few_seeds_or_epochs_are_refused(argument, least):
    with pytest.raises(BevelValueError, match=f"`{argument}` must be at least {least}; got 0"):
        recipes.compare(BUILTIN["f1"], load_default(), **{argument: 0})


def test_the_audit_uses_real_labels_and_untrained_predictions():
    from bevel.arrangements import arrange

    data = load_default()
    arranged = arrange(BUILTIN["f1"], data.labels, 2, None)
    assert recipes.audit_on(arranged, data).verdict == "blocked"
