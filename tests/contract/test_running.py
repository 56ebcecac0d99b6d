"""The soft running maximum against `max` of every beginning, on whichever backend Keras runs.

`test_backends.py` runs this file again on the other backends.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from keras import ops as K

from bevel import ops
from bevel.errors import BevelTypeError

from .gradients import WAYS, array, gradient, tensor, value_and_gradient

RNG = np.random.default_rng(3)
X = RNG.normal(size=(3, 11))
modes = pytest.mark.parametrize("mode", WAYS)


@modes
@pytest.mark.parametrize("how", [{"temperature": 0.3}, {"temperature": 0.0}, {"forward": "hard"}])
def test_each_place_is_the_maximum_up_to_there(mode: str, how: dict[str, Any]) -> None:
    x, g = tensor(X, "float64"), tensor(RNG.normal(size=X.shape), "float64")

    def beginnings(x: Any) -> Any:
        return K.stack([ops.max(x[:, : i + 1], axis=-1, **how) for i in range(11)], axis=-1)

    expected, (slope,) = value_and_gradient(lambda x: g * beginnings(x), x)
    value, (found,) = value_and_gradient(lambda x: g * ops.cumulative_max(x, **how), x, mode=mode)
    np.testing.assert_allclose(value, expected, atol=1e-9)
    np.testing.assert_allclose(found, slope, atol=1e-9)


def test_the_hard_limit_and_another_axis() -> None:
    x = tensor(X, "float32")
    hard = np.maximum.accumulate(array(x), axis=-1)
    ways: list[dict[str, Any]] = [{"temperature": 0.0}, {"temperature": 1e-6}, {"forward": "hard"}]
    for how in ways:
        np.testing.assert_allclose(array(ops.cumulative_max(x, **how)), hard, rtol=1e-5)
        turned = array(ops.cumulative_max(K.transpose(x), axis=0, **how)).T
        np.testing.assert_allclose(turned, hard, rtol=1e-5)


def test_equal_values_share_the_gradient() -> None:
    x = tensor([1.0, 2.0, 2.0], "float64")
    last = lambda **how: gradient(lambda x: ops.cumulative_max(x, **how)[2], x)  # noqa: E731
    np.testing.assert_allclose(last(temperature=0.0), [0, 0.5, 0.5])
    np.testing.assert_allclose(last(temperature=1e-3), [0, 0.5, 0.5])


def test_what_is_not_finite() -> None:
    x = tensor([-np.inf, -np.inf, 1.0, 0.5, np.inf, 2.0], "float32")
    found = array(ops.cumulative_max(x))
    np.testing.assert_allclose(found, [-np.inf, -np.inf, 1, 0.9966537, np.inf, np.inf], rtol=1e-5)
    x = tensor([[1.0, np.nan, 2.0], [1.0, 3.0, 2.0]], "float32")
    value, (slope,) = value_and_gradient(ops.cumulative_max, x)
    assert list(np.isnan(value[0])) == [False, True, True]
    np.testing.assert_allclose(value[1], [1, 3, 3], atol=1e-3)
    assert np.isfinite(slope[1]).all()
    assert tuple(ops.cumulative_max(x[:, :0]).shape) == (2, 0)


def test_large_numbers_and_integers() -> None:
    x = tensor([1e4, 3e4, 2e4], "float16")
    assert list(array(ops.cumulative_max(x))) == [1e4, 3e4, 3e4]
    with pytest.raises(BevelTypeError, match="floating-point"):
        ops.cumulative_max(K.cast(x, "int32"))


def test_a_tensor_temperature() -> None:
    x = tensor(X[0], "float64")
    loss = lambda t: K.sum(ops.cumulative_max(x, temperature=t))  # noqa: E731
    ends = [float(array(loss(tensor(0.4 + s, "float64")))) for s in (-1e-6, 1e-6)]
    found = gradient(loss, tensor(0.4, "float64"))
    assert found == pytest.approx((ends[1] - ends[0]) / 2e-6, rel=1e-4)
