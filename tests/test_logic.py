"""Logic on probabilities: products without lost digits, and branches that do not leak."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from keras import ops as K
from keras.backend import standardize_dtype

from bevel import ops
from bevel.errors import BevelTypeError

from .contract.gradients import (
    WAYS,
    array,
    gradient,
    second_derivative,
    tensor,
    value_and_gradient,
)

chances = st.floats(0, 1, width=32)


def _others(p: np.ndarray) -> np.ndarray:
    return np.array([np.delete(p, i).prod() for i in range(p.size)])


@pytest.mark.parametrize(
    ("name", "hard"),
    [
        ("logical_and", np.logical_and),
        ("logical_or", np.logical_or),
        ("logical_xor", np.logical_xor),
    ],
)
def test_hard_operands_give_the_truth_table(name: str, hard) -> None:
    for p, q in itertools.product([0.0, 1.0], repeat=2):
        assert float(getattr(ops, name)(p, q)) == hard(p, q)
        assert float(getattr(ops, name)(tensor(p, "bool"), q)) == hard(p, q)
    assert [float(ops.logical_not(p)) for p in (0.0, 1.0)] == [1.0, 0.0]


@pytest.mark.parametrize("mode", WAYS)
@pytest.mark.parametrize(
    "p",
    [
        [1.0, 1.0, 1.0],
        [0.0, 0.5, 0.25],
        [0.0, 0.0, 0.5],
        [0.0, 0.0, 0.0],
        [1e-40, 0.5, 1.0],
        [1e-30, 1e-30, 1.0],
        [0.2, 0.3, 1.0],
    ],
)
def test_the_gradient_of_a_product_is_the_product_of_the_others(p: list[float], mode: str) -> None:
    # 1e-40 is no normal float32: it may count as 0.
    p = np.array(p)
    value, (slope,) = value_and_gradient(ops.all, tensor(p, "float32"), mode=mode)
    np.testing.assert_allclose(value, p.prod(), rtol=1e-6, atol=1e-38)
    np.testing.assert_allclose(slope, _others(p), rtol=1e-6, atol=1e-29)
    value, (slope,) = value_and_gradient(ops.any, tensor(1 - p, "float64"), mode=mode)
    np.testing.assert_allclose(value, 1 - p.prod(), rtol=1e-6)
    np.testing.assert_allclose(slope, _others(1 - (1 - p)), rtol=1e-6, atol=1e-29)


def test_long_axes() -> None:
    n = 100_000
    for chance, expected in ((1 - 1e-5, np.exp(n * np.log1p(-1e-5))), (0.9, 0.0), (1.0, 1.0)):
        value, (slope,) = value_and_gradient(ops.all, tensor(np.full(n, chance), "float32"))
        assert value == pytest.approx(expected, rel=5e-3)  # 1 - 1e-5 is not a float32
        assert np.isfinite(slope).all()
        assert slope[0] == pytest.approx(expected, rel=5e-3)
    value, (slope,) = value_and_gradient(ops.any, tensor(np.full(n, 1e-9), "float32"))
    assert value == pytest.approx(-np.expm1(n * np.log1p(-1e-9)), rel=1e-5)
    assert slope[0] == pytest.approx(1 - 1e-4, rel=1e-5)


def test_axes_and_the_empty_product() -> None:
    p = np.random.default_rng(0).uniform(size=(2, 3, 4))
    for axis in (None, 0, -1, (0, 2)):
        for keepdims in (False, True):
            found = array(ops.all(tensor(p, "float64"), axis=axis, keepdims=keepdims))
            np.testing.assert_allclose(found, p.prod(axis, keepdims=keepdims))
            found = array(ops.any(tensor(p, "float64"), axis=axis, keepdims=keepdims))
            np.testing.assert_allclose(found, 1 - (1 - p).prod(axis, keepdims=keepdims))
    empty = tensor(np.zeros((2, 0)), "float32")
    assert array(ops.all(empty, axis=-1)).tolist() == [1.0, 1.0]
    assert array(ops.any(empty, axis=-1)).tolist() == [0.0, 0.0]


def test_nan_shows_through_zeros() -> None:
    p = tensor([[np.nan, 0.0, 0.0], [np.nan, 1.0, 1.0], [np.nan, 0.5, 0.5]], "float32")
    assert np.isnan(array(ops.all(p, axis=-1))).all()
    assert np.isnan(array(ops.any(p, axis=-1))).all()


def test_mixed_second_derivatives_away_from_pairs_of_zeros() -> None:
    p = tensor([0.0, 0.5, 0.25], "float64")
    found = second_derivative(ops.all, p)
    # The sum over j of the product without i and j.
    np.testing.assert_allclose(found, [0.75, 0.25, 0.5])


@given(p=st.lists(chances, min_size=1, max_size=6))
def test_laws(p: list[float]) -> None:
    every, some = (float(f(tensor(p, "float32"))) for f in (ops.all, ops.any))
    assert 0 <= every <= min(p) + 1e-6
    assert max(p) - 1e-6 <= some <= 1
    inverted = float(ops.any(ops.logical_not(tensor(p, "float32"))))
    assert every == pytest.approx(1 - inverted, abs=1e-6)
    q = tensor(p[::-1], "float32")
    both = array(ops.logical_and(tensor(p, "float32"), q))
    either = array(ops.logical_or(tensor(p, "float32"), q))
    one = array(ops.logical_xor(tensor(p, "float32"), q))
    np.testing.assert_allclose(both + one, either, atol=3e-7)


def test_where_is_the_expected_choice() -> None:
    p, a, b = np.array([0.0, 0.25, 1.0]), np.array([1.0, 2.0, 3.0]), np.array([5.0, 6.0, 7.0])
    value, slopes = value_and_gradient(ops.where, *(tensor(x, "float64") for x in (p, a, b)))
    np.testing.assert_allclose(value, p * a + (1 - p) * b)
    for slope, expected in zip(slopes, (a - b, p, 1 - p), strict=True):
        np.testing.assert_allclose(slope, expected)


@pytest.mark.parametrize("mode", WAYS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_the_branch_not_taken_does_not_leak(bad: float, mode: str) -> None:
    p = np.array([0.0, 0.4, 0.5, 0.6, 1.0])
    good = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
    for first in (True, False):
        taken = p <= 0.5 if first else p > 0.5
        inputs = [tensor(x, "float32") for x in (p, good, good)]
        broken = tensor(np.where(taken, bad, good), "float32")
        inputs[1 if first else 2] = broken
        value, slopes = value_and_gradient(ops.where, *inputs, mode=mode)
        np.testing.assert_allclose(value, good, rtol=1e-6)
        assert all(np.isfinite(slope).all() for slope in slopes)
        assert not slopes[1 if first else 2][taken].any()
        assert (slopes[2 if first else 1][taken] == 1).all()


def test_the_branch_taken_shows_what_it_holds() -> None:
    p = tensor([0.9, 0.9, 0.1, 0.9], "float32")
    a = tensor([np.inf, np.nan, 1.0, -np.inf], "float32")
    b = tensor([1.0, 1.0, np.nan, np.inf], "float32")
    np.testing.assert_array_equal(array(ops.where(p, a, b)), [np.inf, np.nan, np.nan, -np.inf])
    assert np.isnan(float(ops.where(float("nan"), 1.0, 2.0)))
    assert np.isnan(float(ops.where(float("nan"), float("inf"), 2.0)))


@pytest.mark.parametrize(("a", "b"), [(1.0, 0.0), (0.0, 3), (-2.0, 5.5), (0.0, 0.0), (1e300, 1.0)])
def test_where_of_two_numbers_is_where_of_two_tensors(a, b) -> None:
    p = np.array([0.0, 0.25, 0.5, 0.75, 1.0, np.nan], "float32")
    tensors = [K.full((6,), x, dtype="float32") for x in (a, b)]
    found = array(ops.where(tensor(p, "float32"), a, b))
    np.testing.assert_allclose(found, array(ops.where(tensor(p, "float32"), *tensors)), rtol=1e-6)
    assert np.isnan(found[-1])


def test_where_does_not_overflow() -> None:
    assert float(ops.where(0.5, 3.4e38, 3.4e38)) == pytest.approx(3.4e38, rel=1e-6)
    half = ops.where(tensor([0.5], "float16"), tensor([65504], "float16"), -65504.0)
    assert array(half).tolist() == [0.0]


@pytest.mark.parametrize(
    ("p", "a", "b", "dtype"),
    [
        ("float32", "float16", 1.0, "float16"),
        ("float16", "int32", 1.0, "float16"),
        ("float32", "float64", "float16", "float64"),
        ("bool", "bfloat16", 0.0, "bfloat16"),
    ],
)
def test_where_has_the_dtype_of_its_branches(p: str, a: str, b, dtype: str) -> None:
    b = tensor([1.0], b) if isinstance(b, str) else b
    result = ops.where(tensor([1.0], p), tensor([1.0], a), b)
    assert standardize_dtype(result.dtype) == dtype


def test_broadcasting() -> None:
    p = tensor(np.full((2, 1), 0.5), "float32")
    for result in (
        ops.logical_and(p, tensor([0.0, 1.0, 0.5], "float32")),
        ops.where(p, p, K.zeros(3)),
    ):
        assert tuple(result.shape) == (2, 3)


@pytest.mark.parametrize("op", [ops.logical_not, ops.all, ops.any])
def test_integers_are_no_probabilities(op) -> None:
    with pytest.raises(BevelTypeError, match=r"`p` must be a floating-point tensor.*int"):
        op(K.convert_to_tensor([0, 1]))


@pytest.mark.parametrize("op", [ops.logical_and, ops.logical_or, ops.logical_xor])
def test_integers_are_no_probabilities_in_pairs(op) -> None:
    p, bad = tensor([0.5], "float32"), K.convert_to_tensor([0, 1])
    for name, pair in (("p", (bad, p)), ("q", (p, bad))):
        with pytest.raises(BevelTypeError, match=rf"`{name}` must be a floating-point tensor"):
            op(*pair)


def test_the_gradient_of_a_single_element() -> None:
    assert gradient(ops.all, tensor([0.0], "float32")).tolist() == [1.0]
    assert gradient(ops.any, tensor([1.0], "float32")).tolist() == [1.0]


def test_any_of_a_chance_that_rounding_made_larger_than_one():
    above = np.nextafter(np.float32(1), np.float32(2))
    assert float(ops.any(np.float32([above, 0.5]))) == pytest.approx(1)
