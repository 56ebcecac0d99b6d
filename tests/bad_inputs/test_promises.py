"""What each row of bad input gets, alike on every backend, eager and compiled.

Runs on the backend that is active: on TensorFlow with the other tests, on the others in processes
of their own (`tests/contract/test_front_ends.py`). All functions are written in `keras.ops`.
"""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops as K

import bevel
from bevel import frontends
from bevel.errors import BevelError, BevelTypeError, BevelValueError
from bevel.losses import AUC, NDCG, AveragePrecision, Dice, FBeta, MetricLoss, Spearman

BACKEND = keras.backend.backend()
LABELS = np.array([0.0, 1.0, 1.0, 0.0], "float32")
CHANCES = np.array([0.2, 0.7, 0.4, 0.6], "float32")

RECALL = MetricLoss(keras.metrics.Recall())
OF_CLASSES = MetricLoss(keras.metrics.SparseCategoricalAccuracy())
LOSSES = {
    "Recall": RECALL,
    "F1Score": MetricLoss(keras.metrics.F1Score(threshold=0.5)),
    "AUC metric": MetricLoss(keras.metrics.AUC(num_thresholds=20)),
    "AUC": AUC(),
    "AveragePrecision": AveragePrecision(),
    "FBeta": FBeta(),
}
COLUMNS = frozenset({"F1Score"})


def hits(y_true, y_pred):
    return K.mean(y_true * K.cast(y_pred > 0.5, "float32"))


def squared(y_true, y_pred):
    return K.mean(K.square(K.cast(y_true, "float32") - y_pred))


HITS = bevel.relax(hits)


def compiled(fn):
    """A function as its framework compiles it: XLA, `jax.jit`; PyTorch runs it through Dynamo."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        return tf.function(fn, jit_compile=True)
    if BACKEND == "jax":
        import jax

        return jax.jit(fn)
    import torch

    return torch.compile(fn, backend="eager")


def slope(fn, y, p, mode="eager"):
    """Value and gradient to the prediction."""
    run = compiled(fn) if mode == "compiled" else fn
    measure = frontends.executor().value_and_gradient(run, [1], compiled=False)
    value, (found,) = measure([K.convert_to_tensor(y), K.convert_to_tensor(p)])
    return value, found


pytestmark = [
    # what PyTorch's compiler says of its own look at a gradient
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf"),
    # what it does itself with functions that declare a gradient
    pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning"),
]

SLOW_ONES = ("AUC metric", "F1Score")
MODES = [
    *(pytest.param(n, "eager", marks=pytest.mark.slow if n in SLOW_ONES else ()) for n in LOSSES),
    *(pytest.param(n, "compiled", marks=pytest.mark.slow) for n in ("Recall", "AUC")),
]


def batch(name, labels, chances):
    if name in COLUMNS:
        return labels[:, None], chances[:, None]
    return labels, chances


@pytest.mark.parametrize(("name", "mode"), MODES)
@pytest.mark.parametrize("case", ["empty", "no positives", "only positives"])
def test_a_batch_without_something_has_a_finite_value_and_gradient(name, case, mode):
    labels = {
        "empty": LABELS[:0],
        "no positives": np.zeros(4, "float32"),
        "only positives": np.ones(4, "float32"),
    }[case]
    y, p = batch(name, labels, CHANCES[: len(labels)])
    value, found = slope(LOSSES[name], y, p, mode)
    assert np.isfinite(value)
    assert found.shape == p.shape
    assert np.isfinite(found).all()


@pytest.mark.parametrize(("name", "mode"), MODES)
def test_ties_have_a_finite_gradient_and_equal_rows_an_equal_one(name, mode):
    value, found = slope(LOSSES[name], *batch(name, LABELS, np.full(4, 0.5, "float32")), mode)
    found = found.reshape(-1)
    assert np.isfinite(value)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found[0], found[3], rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(found[1], found[2], rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", ["AUC", "AveragePrecision", "FBeta"])
def test_a_nan_is_never_hidden(name):
    p = np.array([0.2, np.nan, 0.4, 0.6], "float32")
    assert np.isnan(slope(LOSSES[name], LABELS, p)[0])
    with pytest.raises(BevelValueError, match="y_pred"):
        bevel.audit(hits, LABELS, p)


def test_what_weighs_nothing_does_not_leak():
    y, p = LABELS, np.array([0.2, np.nan, 0.4, 0.6], "float32")
    weights = np.array([1.0, 0.0, 1.0, 1.0], "float32")
    value, found = slope(lambda a, b: RECALL(a, b, weights), y, p)
    expected, own = slope(lambda a, b: RECALL(a, b, weights), y, CHANCES)
    assert np.isfinite(value)
    assert value == expected
    np.testing.assert_array_equal(found, own)
    assert found[1] == 0


def test_weights_that_are_all_zero_give_no_gradient():
    value, found = slope(lambda a, b: RECALL(a, b, np.zeros(4, "float32")), LABELS, CHANCES)
    assert np.isfinite(value)
    assert not found.any()


@pytest.mark.parametrize("weights", [[-1.0, 1, 1, 1], [np.nan, 1, 1, 1], [1.0, 1]])
def test_a_weight_that_cannot_be_raises(weights):
    with pytest.raises(BevelError, match="sample_weight"):
        RECALL(LABELS, CHANCES, np.array(weights, "float32"))


@pytest.mark.parametrize(
    ("loss", "y", "p", "words"),
    [
        (OF_CLASSES, np.array([0, 5]), np.full((2, 3), 1 / 3, "float32"), r"5 at index 1|\[0, 3\)"),
        (RECALL, np.array([-1.0, 1, 1, -1], "float32"), CHANCES, "expected only"),
        (RECALL, LABELS, 4 * CHANCES, r"from_logits=True"),
        (AUC(), LABELS, CHANCES[:, None][:, [0, 0]], "shape"),
        (Dice(), LABELS[None], CHANCES, "shape"),
        (NDCG(), LABELS, CHANCES, "shape|dimension|lists"),
        (Spearman(), LABELS, np.array([0, 1, 1, 0]), "float|int64|int32"),
    ],
    ids=["class", "signed", "logits", "columns", "broadcast", "rank", "integers"],
)
def test_labels_and_shapes_that_cannot_be_are_told(loss, y, p, words):
    with pytest.raises((BevelTypeError, BevelValueError), match=words):
        loss(y, p)


@pytest.mark.parametrize("label", [5, -1])
def test_a_class_out_of_range_is_nan_in_compiled_code(label):
    if BACKEND == "torch":
        pytest.skip("what is compiled around the loss runs it eagerly, so it raises")
    run = compiled(lambda y, p: OF_CLASSES(y, p))
    labels, shares = np.array([0, label], "int32"), np.full((2, 3), 1 / 3, "float32")
    assert np.isnan(
        K.convert_to_numpy(run(K.convert_to_tensor(labels), K.convert_to_tensor(shares)))
    )


@pytest.mark.parametrize(
    ("fn", "args", "error", "words"),
    [
        (squared, (LABELS, CHANCES[:, None]), BevelValueError, r"\(4,\)"),
        (hits, (LABELS[:, None], CHANCES), BevelValueError, r"pass y_pred\[:, None\]"),
        (squared, (LABELS[:3], CHANCES), BevelError, "y_true float32"),
        (hits, (LABELS, np.array([0, 1, 1, 0])), BevelTypeError, "dtype int"),
        (squared, (LABELS, "x"), BevelTypeError, "`y_pred` holds no array"),
        (3, (LABELS, CHANCES), BevelTypeError, "must be a function"),
        (keras.metrics.AUC, (LABELS, CHANCES), BevelTypeError, "pass an instance"),
    ],
    ids=["column", "row", "lengths", "integers", "word", "no function", "class"],
)
def test_audit_and_relax_say_the_same(fn, args, error, words):
    with pytest.raises(error, match=words):
        bevel.audit(fn, *args)
    with pytest.raises(error, match=words):
        bevel.relax(fn)(*args)


@pytest.mark.parametrize("foreign", sorted({"torch", "jaxlib", "tensorflow"}))
def test_a_tensor_of_another_framework_is_told(foreign):
    if foreign.removesuffix("lib") == BACKEND:
        pytest.skip("the active one")
    tensor = type("Tensor", (), {"shape": (4,), "__module__": f"{foreign}.somewhere"})()
    words = f"KERAS_BACKEND={foreign.removesuffix('lib')}"
    for use in (bevel.audit, bevel.trace, lambda fn, *args: bevel.relax(fn)(*args)):
        with pytest.raises(BevelTypeError, match=words):
            use(hits, LABELS, tensor)


@pytest.mark.parametrize("temperature", [-1.0, float("nan"), float("inf"), True, "soft"])
def test_a_temperature_that_cannot_be(temperature):
    with pytest.raises((BevelTypeError, BevelValueError), match="temperature"):
        bevel.relax(hits, temperature=temperature)
    with pytest.raises((BevelTypeError, BevelValueError), match="temperature"):
        MetricLoss(keras.metrics.Recall(), temperature=temperature)


@pytest.mark.parametrize("temperature", [1e-45, 1e-30, 1e-8])
def test_a_tiny_temperature_is_nearly_hard(temperature):
    value, found = slope(bevel.relax(hits, temperature=temperature), LABELS, CHANCES)
    assert value == pytest.approx(0.25, abs=1e-6)
    assert np.isfinite(found).all()


def test_inputs_are_left_alone_and_the_same_call_gives_the_same():
    y, p = LABELS.copy(), CHANCES.copy()
    first, second = slope(HITS, y, p), slope(HITS, y, p)
    assert first[0] == second[0]
    np.testing.assert_array_equal(first[1], second[1])
    np.testing.assert_array_equal(y, LABELS)
    np.testing.assert_array_equal(p, CHANCES)


@pytest.mark.parametrize("mode", ["compiled"])
def test_compiled_is_what_eager_is(mode):
    value, found = slope(HITS, LABELS, CHANCES, mode)
    expected, own = slope(HITS, LABELS, CHANCES)
    np.testing.assert_allclose(value, expected, rtol=1e-6)
    np.testing.assert_allclose(found, own, rtol=1e-5, atol=1e-7)
