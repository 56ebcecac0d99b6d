"""Values and slopes over a range: of operations, functions and metrics."""

import numpy as np
import pytest
import tensorflow as tf

from bevel import curves
from bevel.errors import BevelValueError


@pytest.mark.parametrize("name", curves.OPERATIONS)
def test_every_operation_is_drawn_hard_and_soft(name):
    drawn = curves.operation_curves(name)
    assert np.isfinite([c.value for c in (drawn.hard, *drawn.soft)]).all()
    assert np.isfinite([c.slope for c in (drawn.hard, *drawn.soft)]).all()
    assert len(drawn.soft) == 3
    gaps = [np.abs(c.value - drawn.hard.value).mean() for c in drawn.soft]
    assert gaps == sorted(gaps)


def test_the_slope_is_the_derivative_of_the_value():
    curve = curves.operation_curves("step").soft[1]
    x = curves.operation_curves("step").x.astype("float64")
    expected = np.exp(-x / 0.2) / 0.2 / (1 + np.exp(-x / 0.2)) ** 2
    np.testing.assert_allclose(curve.slope, expected, atol=1e-4)


def test_a_range_may_be_given():
    assert curves.operation_curves("floor", (0.0, 9.0)).x[[0, -1]].tolist() == [0.0, 9.0]


@pytest.mark.parametrize("limits", [(1.0, 1.0), (2.0, 1.0), (float("nan"), 1.0), (0, float("inf"))])
def test_a_range_that_is_none_is_refused(limits):
    with pytest.raises(BevelValueError, match="two finite numbers, low < high; got"):
        curves.operation_curves("step", limits)


def test_an_unknown_operation_is_refused():
    with pytest.raises(BevelValueError, match="`stepp` is no operation to plot; expected qpwc, "):
        curves.operation_curves("stepp")


def test_a_function_of_one_argument_is_drawn_by_element():
    drawn = curves.function_curves(lambda x: tf.sign(x), {"x": np.ones(3, "float32")})
    assert drawn.label == "x"
    assert set(drawn.hard.value) <= {-1.0, 0.0, 1.0}
    assert (drawn.hard.slope == 0).all()
    assert all(c.slope.max() > 0.5 for c in drawn.soft)


def test_a_function_that_reduces_its_argument_is_refused():
    with pytest.raises(BevelValueError, match=r"a value for each element, shape \(1201,\); got"):
        curves.function_curves(lambda x: tf.reduce_sum(tf.sign(x)), {"x": np.ones(3, "float32")})


def test_a_metric_is_drawn_over_a_shift_of_the_logits():
    y = np.array([0, 0, 1, 1], "float32")
    p = np.array([0.2, 0.6, 0.4, 0.9], "float32")

    def accuracy(y_true, y_pred):
        return tf.reduce_mean(tf.cast((y_pred > 0.5) == (y_true > 0.5), tf.float32))

    drawn = curves.function_curves(accuracy, {"y_true": y, "y_pred": p}, (-3.0, 3.0), "accuracy")
    middle = len(drawn.x) // 2
    assert drawn.x[middle] == 0
    assert drawn.hard.value[middle] == 0.5
    assert drawn.hard.value[[0, -1]].tolist() == [0.5, 0.5]
    assert set(np.round(drawn.hard.value, 6)) <= {0.5, 0.75, 1.0}
    assert "shift of their logits" in drawn.subtitle
    assert np.abs(drawn.soft[1].slope).max() > 0.01


@pytest.mark.parametrize(
    ("prediction", "words"),
    [
        (np.full((3, 4), 0.25, "float32"), "the last class's logits"),
        (np.full((3, 1), 0.25, "float32"), "a shift of their logits"),
        (np.full(3, 2.5, "float32"), "a shift of their values"),
    ],
)
def test_predictions_move_in_the_way_that_suits_them(prediction, words):
    arguments = {"y_true": prediction, "y_pred": prediction}
    drawn = curves.function_curves(
        lambda y_true, y_pred: tf.reduce_mean((y_true - y_pred) ** 2), arguments, (-1.0, 1.0)
    )
    assert words in drawn.subtitle
    assert drawn.hard.value.min() == pytest.approx(0.0, abs=1e-10)


def test_a_metric_with_a_value_for_each_row_is_averaged():
    y, p = np.zeros(4, "float32"), np.array([0.5, 1.0, 2.0, 3.0], "float32")
    drawn = curves.function_curves(
        lambda y_true, y_pred: (y_true - y_pred) ** 2, {"y_true": y, "y_pred": p}, (-1.0, 1.0)
    )
    np.testing.assert_allclose(
        np.diff(drawn.hard.value) / np.diff(drawn.x), 2 * np.mean(p) + 2 * drawn.x[1:], atol=0.02
    )
    np.testing.assert_allclose(drawn.hard.slope, 2 * np.mean(p) + 2 * drawn.x, atol=1e-4)
