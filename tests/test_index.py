"""Soft positions: distributions that sum to 1, share ties, follow permutations, end one-hot."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import ops as K
from keras.backend import standardize_dtype

from bevel import ops
from bevel.errors import BevelTypeError, BevelValueError

from .contract.gradients import BACKEND, array, gradient, tensor

KERNELS = ("softmax", "cauchy")
every = pytest.mark.parametrize("kernel", KERNELS)
rows = st.lists(st.floats(-5, 5, width=32), min_size=1, max_size=7)


def _weights(x: np.ndarray, kernel: str, t: float) -> np.ndarray:
    z = (x.max(-1, keepdims=True) - x) / t
    height = np.exp(-z) if kernel == "softmax" else 1 / (1 + z * z)
    return height / height.sum(-1, keepdims=True)


@every
def test_weights_against_the_formula(kernel: str) -> None:
    x = np.random.default_rng(0).normal(size=(3, 4, 5))
    keywords = {"temperature": 0.3, "kernel": kernel}
    for axis in (0, 1, -1):
        moved = np.moveaxis(x, axis, -1)
        found = array(ops.argmax(tensor(x, "float64"), axis=axis, **keywords))
        np.testing.assert_allclose(found, _weights(moved, kernel, 0.3), rtol=1e-12)
        found = array(ops.argmin(tensor(x, "float64"), axis=axis, **keywords))
        np.testing.assert_allclose(found, _weights(-moved, kernel, 0.3), rtol=1e-12)
        for keepdims in (False, True):
            expected = (_weights(moved, kernel, 0.3) * moved).sum(-1)
            expected = np.expand_dims(expected, axis) if keepdims else expected
            found = array(ops.max(tensor(x, "float64"), axis, keepdims, **keywords))
            np.testing.assert_allclose(found, expected, rtol=1e-12)
    flat = array(ops.argmax(tensor(x, "float64"), axis=None, **keywords))
    np.testing.assert_allclose(flat, _weights(x.ravel(), kernel, 0.3), rtol=1e-12)


def test_shapes_without_an_axis() -> None:
    x = tensor(np.arange(6.0).reshape(2, 3), "float32")
    assert tuple(ops.max(x).shape) == ()
    assert tuple(ops.min(x, keepdims=True).shape) == (1, 1)
    assert tuple(ops.max([[1.0, 2.0]], keepdims=True).shape) == (1, 1)


@every
def test_equal_values_share_equally(kernel: str) -> None:
    for temperature in (0.1, 1e-30):
        found = array(
            ops.argmax(tensor([1.0, -1.0, 1.0], "float32"), temperature=temperature, kernel=kernel)
        )
        np.testing.assert_allclose(found, [0.5, 0, 0.5], atol=2e-3)
    shared = gradient(lambda x: ops.max(x, temperature=0), tensor([1.0, 0.0, 1.0], "float32"))
    assert shared.tolist() == [0.5, 0.0, 0.5]


def test_the_hard_index_is_the_first_and_a_signed_zero_is_a_zero() -> None:
    for x in ([1.0, 2.0, 2.0], [-0.0, 0.0, -1.0], [0.0, -0.0, 0.0]):
        for keywords in ({"temperature": 0}, {"forward": "hard"}):
            found = array(ops.argmax(tensor(x, "float32"), **keywords))
            assert np.argmax(found) == np.argmax(x)
            found = array(ops.argmin(tensor(x, "float32"), **keywords))
            assert np.argmax(found) == np.argmin(x)


def test_the_heavy_tail_still_pulls_from_far_away() -> None:
    x = tensor([0.0, -500.0], "float32")
    slopes = {
        kernel: gradient(lambda x, k=kernel: ops.argmax(x, kernel=k)[1], x)[1] for kernel in KERNELS
    }
    assert slopes["softmax"] == 0
    assert slopes["cauchy"] == pytest.approx(2 * 0.1**2 / 500**3, rel=1e-3)


def test_a_masked_entry_has_no_weight_and_leaks_nothing() -> None:
    x = tensor([1.0, -np.inf, 0.0], "float32")
    for kernel in KERNELS:
        weights = array(ops.argmax(x, kernel=kernel))
        assert weights[1] == 0
        assert weights.sum() == pytest.approx(1)
        assert np.isfinite(gradient(lambda x, k=kernel: ops.max(x, kernel=k), x)).all()


@every
@given(x=rows, seed=st.integers(0, 100))
def test_laws_of_a_distribution(kernel: str, x: list[float], seed: int) -> None:
    weights = array(ops.argmax(tensor(x, "float32"), kernel=kernel))
    assert weights.sum() == pytest.approx(1, abs=1e-5)
    assert (weights >= 0).all()
    order = np.random.default_rng(seed).permutation(len(x))
    shuffled = array(ops.argmax(tensor(np.array(x)[order], "float32"), kernel=kernel))
    np.testing.assert_allclose(shuffled, weights[order], atol=1e-6)
    largest, smallest = (float(f(tensor(x, "float32"), kernel=kernel)) for f in (ops.max, ops.min))
    assert min(x) - 1e-5 <= smallest <= largest + 1e-5 <= max(x) + 2e-5
    negated = -float(ops.max(tensor(np.negative(x), "float32"), kernel=kernel))
    assert smallest == pytest.approx(negated, abs=1e-6)
    # Shifting all values changes nothing, so the gradient of any weight sums to 0.
    slope = gradient(lambda x: ops.argmax(x, kernel=kernel)[0], tensor(x, "float64"))
    assert slope.sum() == pytest.approx(0, abs=1e-6)


def test_one_hot_of_weights_is_themselves_filled_up() -> None:
    weights = tensor([[0.25, 0.75], [1.0, 0.0]], "float32")
    assert ops.one_hot(weights, 2) is weights
    np.testing.assert_array_equal(
        array(ops.one_hot(weights, 4)), [[0.25, 0.75, 0, 0], [1, 0, 0, 0]]
    )
    assert standardize_dtype(ops.one_hot(weights, 3, dtype="float16").dtype) == "float16"
    slope = gradient(lambda x: ops.one_hot(x, 3), weights)
    np.testing.assert_array_equal(slope, np.ones((2, 2)))


def test_one_hot_of_integers_is_the_usual_one() -> None:
    found = ops.one_hot(K.convert_to_tensor([2, 0]), 3, dtype="float16")
    np.testing.assert_array_equal(array(found), [[0, 0, 1], [1, 0, 0]])
    assert standardize_dtype(found.dtype) == "float16"


def test_bad_arguments() -> None:
    weights = tensor([[0.25, 0.75, 0.0]], "float32")
    with pytest.raises(BevelValueError, match=r"`num_classes` must be at least 3.*\(1, 3\); got 2"):
        ops.one_hot(weights, 2)
    with pytest.raises(BevelValueError, match=r"`index` must have a last axis of known length"):
        ops.one_hot(0.5, 2)
    with pytest.raises(BevelTypeError, match=r"`index` must hold weights or integers; got .*bool"):
        ops.one_hot(weights > 0, 3)
    with pytest.raises(
        BevelValueError, match=r"no element to choose along axis -1; got .*\(2, 0\)"
    ):
        ops.argmax(tensor(np.zeros((2, 0)), "float32"))
    with pytest.raises(BevelValueError, match=r"`kernel` must be one of 'softmax', 'cauchy'"):
        ops.max(weights, kernel="logistic")


@pytest.mark.skipif(BACKEND != "tensorflow", reason="only TensorFlow has unknown dimensions")
def test_weights_over_an_unknown_number_of_classes_are_refused() -> None:
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec([None, None], "float32")], autograph=False)
    def call(x):
        return ops.one_hot(x, 3)

    with pytest.raises(BevelValueError, match="last axis of known length"):
        call(tensor([[0.5, 0.5]], "float32"))
