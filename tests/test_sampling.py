"""Example inputs: found by trying, or exactly as described."""

import importlib.util
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

from bevel.errors import TargetError
from bevel.families import FAMILIES, SINGLES
from bevel.metrics import BUILTIN
from bevel.roles import roles
from bevel.sampling import make_sample, parameters

EXAMPLES = Path(__file__).parents[1] / "examples"


def _example(name, function):
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, function)


def _class_error(y_true, y_pred):
    return tf.reduce_mean(tf.cast(tf.argmax(y_true, 1) != tf.argmax(y_pred, 1), tf.float32))


def _iou(a, b):
    low, high = tf.maximum(a[:, :2], b[:, :2]), tf.minimum(a[:, 2:], b[:, 2:])
    inner = tf.reduce_prod(tf.maximum(high - low, 0.0), axis=1)
    area = tf.reduce_prod(a[:, 2:] - a[:, :2], 1) + tf.reduce_prod(b[:, 2:] - b[:, :2], 1)
    return tf.reduce_mean(inner / (area - inner))


def _recall_at_5(y_true, y_pred):
    best = tf.math.top_k(y_pred, 5).indices
    hits = tf.reduce_sum(tf.gather(y_true, best, batch_dims=1), axis=-1)
    return tf.reduce_mean(hits / tf.reduce_sum(y_true, axis=-1))


def _above(y_true, y_pred):
    """Heeds every probability, and yet 0/1 labels cannot tell a perfect one from any other."""
    tf.debugging.assert_rank(y_pred, 1)
    return tf.reduce_mean(tf.cast((y_pred > 0.5) == (y_true > 1.5), tf.float32))


def _mask_dice(mask, output):
    both = tf.reduce_sum(mask * tf.round(output), axis=(1, 2, 3))
    return tf.reduce_mean(2.0 * both / (tf.reduce_sum(mask + tf.round(output), axis=(1, 2, 3))))


FITS = {
    "profit": (_example("profit", "profit"), "binary"),
    "f1": (_example("f1", "f1"), "binary"),
    "direction": (_example("directional", "directional_accuracy"), "series"),
    "class error": (_class_error, "onehot"),
    "class numbers": (keras.losses.sparse_categorical_crossentropy, "labels"),
    "boxes": (_iou, "boxes"),
    "lists": (_recall_at_5, "lists"),
    "images": (_mask_dice, "images"),
    "labels above 1": (_above, "signed"),
    **{name: (metric, "binary") for name, metric in BUILTIN.items()},
}


@pytest.mark.parametrize("case", FITS)
def test_the_family_that_fits_the_use_is_found(case):
    fn, name = FITS[case]
    family = next(f for f in FAMILIES if f.name == name)
    sample = make_sample(fn)
    assert sample.words == f"{family.words}, found by trying"
    assert list(sample.arguments.values())[-1].shape == family.shape
    assert np.isfinite(np.asarray(fn(*map(tf.constant, sample.arguments.values())))).all()


def test_a_function_of_one_argument_gets_numbers():
    assert make_sample(tf.nn.relu).arguments["features"].shape == (24,)
    rows = make_sample(lambda z: tf.reduce_mean(tf.linalg.norm(z, axis=1)))
    assert rows.arguments["z"].shape == (24, 4)


def test_a_family_that_fits_poorly_is_better_than_none():
    sample = make_sample(lambda y_true, y_pred: tf.reduce_sum(tf.abs(y_true)))
    assert sample.arguments["y_true"].shape == (24,)


def test_weights_are_ones_and_defaults_are_kept():
    def weighted(y_true, y_pred, sample_weight, gamma=2.0):
        return tf.reduce_sum(sample_weight * tf.abs(y_true - y_pred) ** gamma)

    sample = make_sample(weighted)
    assert list(sample.arguments) == ["y_true", "y_pred", "sample_weight"]
    assert sample.arguments["sample_weight"].tolist() == [1.0] * 24


def test_the_same_inputs_are_made_every_time():
    first, again = make_sample(BUILTIN["f1"]), make_sample(BUILTIN["f1"])
    for name, value in first.arguments.items():
        np.testing.assert_array_equal(value, again.arguments[name])


def test_the_choice_is_described():
    assert str(make_sample(BUILTIN["f1"])) == (
        "0/1 labels and probabilities, found by trying: y_true=float32[24], y_pred=float32[24]"
    )


def test_a_function_that_always_fails_shows_why():
    def broken(y_true, y_pred):
        raise KeyError("a missing \x1b[31mcolumn")

    message = r"no sample works for \(y_true, y_pred\); tried:\n  binary, onehot, .*: KeyError"
    with pytest.raises(TargetError, match=message) as caught:
        make_sample(broken)
    assert "\x1b" not in str(caught.value)
    assert "--sample" in str(caught.value)


def test_a_function_that_returns_no_number_fits_nothing():
    with pytest.raises(TargetError, match="TypeError: the result is not a number"):
        make_sample(lambda y_true, y_pred: tf.constant("text"))


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
def test_every_family_can_be_asked_for(family):
    sample = make_sample(lambda y_true, y_pred: 0.0, family.name)
    assert sample.arguments["y_pred"].shape == family.shape
    assert sample.words.endswith("as --sample asks")


@pytest.mark.parametrize("family", SINGLES, ids=lambda f: f.name)
def test_every_family_of_one_argument_can_be_asked_for(family):
    assert make_sample(lambda x: 0.0, family.name).arguments["x"].shape == family.shape


def test_a_family_may_have_another_shape():
    sample = make_sample(lambda y_true, y_pred: 0.0, "labels:(10, 3)")
    assert sample.arguments["y_true"].shape == (10,)
    assert sample.arguments["y_pred"].shape == (10, 3)
    assert set(sample.arguments["y_true"]) == {0, 1, 2}


def test_each_argument_may_be_described():
    spec = "y_pred=softmax(32,3), y_true=int64(32)"
    arguments = make_sample(lambda y_true, y_pred: 0.0, spec).arguments
    assert list(arguments) == ["y_true", "y_pred"]
    assert arguments["y_true"].dtype == np.int64
    np.testing.assert_allclose(arguments["y_pred"].sum(1), 1, atol=1e-6)


def test_arrays_are_read_from_a_file(tmp_path):
    given = {"y_true": np.arange(3), "y_pred": np.ones((3, 2))}
    np.savez(tmp_path / "batch.npz", **given)
    found = make_sample(lambda y_true, y_pred: 0.0, str(tmp_path / "batch.npz")).arguments
    for name, value in given.items():
        np.testing.assert_array_equal(found[name], value)
    # numpy's default is double precision, a network's single
    assert (found["y_true"].dtype, found["y_pred"].dtype) == (np.int64, np.float32)


def test_pickled_objects_are_refused(tmp_path):
    np.savez(tmp_path / "bad.npz", y_true=np.array([print], object), y_pred=np.ones(1))
    with pytest.raises(
        TargetError, match=r"Object arrays cannot be loaded.*\n.*pickled objects are refused"
    ):
        make_sample(lambda y_true, y_pred: 0.0, str(tmp_path / "bad.npz"))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("binray", r"cannot read --sample 'binray': a family is one of: binary, onehot"),
        ("binary:(a)", "a family is one of"),
        ("onehot:(0,3)", r"onehot wants a shape such as \(24, 4\)"),
        ("labels:(8,)", r"labels wants a shape such as \(24, 4\)"),
        ("y_true=floof(3),y_pred=normal(3)", "a kind is one of: normal, uniform"),
        ("y_true=normal(3) y_pred=normal(3)", "a kind is one of"),
        ("y_true=normal(3)", r"does not fit the parameters \(y_true, y_pred\): it gives y_true"),
        ("y_true=normal(3),y_pred=normal(3),z=ones(3)", r"it gives y_true, y_pred, z"),
        ("nowhere.npz", r"cannot read `nowhere\.npz` as arrays"),
    ],
)
def test_a_description_that_cannot_be_used_is_explained(spec, message):
    with pytest.raises(TargetError, match=message):
        make_sample(lambda y_true, y_pred: 0.0, spec)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("y_true", "y_pred"), ("y_true", "y_pred")),
        (("y_pred", "y_true"), ("y_true", "y_pred")),
        (("logits", "labels"), ("labels", "logits")),
        (("t", "p"), ("t", "p")),
        (("a", "b"), ("a", "b")),
        (("y_true", "y_pred", "mask"), ("y_true", "y_pred")),
        (("weights", "target", "output"), ("target", "output")),
        (("target", "estimate"), ("target", "estimate")),
        (("estimate", "target"), ("target", "estimate")),
        (("x",), (None, "x")),
    ],
)
def test_roles_follow_names_then_positions(names, expected):
    assert roles(names) == expected


def test_parameters_without_a_way_to_be_given_are_refused():
    with pytest.raises(TargetError, match="takes no argument"):
        parameters(lambda: 0)
    with pytest.raises(TargetError, match="requires the keyword k"):
        parameters(lambda y_true, *, k: 0)
    assert parameters(lambda *args: 0) == ("y_true", "y_pred")
