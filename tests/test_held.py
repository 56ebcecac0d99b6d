"""Numbers that a bound, a mask or a padding holds at the very threshold: the hard answer."""

from __future__ import annotations

import numpy as np
import pytest
from keras import ops as K

from bevel.relaxation import relax
from tests.contract.gradients import array, value_and_gradient

SCORES = np.array([0.553, -0.4, 0.1217, -0.2, 0.7, 1.3], "float32")
MASK = np.array([1.0, 0.0, 1.0, 0.0, 0.0, 1.0], "float32")


def truth(x):
    return K.cast(x, "float32")


# Each, and of how many elements a gradient is needed.
HELD = {
    "active": (lambda x, m: truth(K.relu(x) > 0), 6),
    "inactive": (lambda x, m: truth(K.relu(0.5 - x) <= 0), 6),
    "masked": (lambda x, m: truth(x * m > 0), 3),
    "masked or more": (lambda x, m: truth(x * m >= 0), 3),
    "chosen": (lambda x, m: truth(K.where(m > 0, x, 0.5) >= 0.5), 3),
    "padded": (lambda x, m: truth(K.pad(x, (2, 2)) > 0), 6),
    "at the upper end": (lambda x, m: truth(K.clip(x, 0.0, 1.0) >= 1.0), 6),
    "below the upper end": (lambda x, m: truth(K.clip(x, 0.0, 1.0) < 1.0), 6),
    "within": (lambda x, m: truth(K.clip(x, 0.0, 1.0) > 0.6), 6),
    "from the other side": (lambda x, m: truth(K.minimum(x, 0.6) <= 0.6), 0),
    "floor": (lambda x, m: K.floor(K.clip(x, 0.0, 1.0) * 4.0), 3),
    "cast": (lambda x, m: truth(K.cast(K.clip(x * 8.0, 0.0, 7.0), "int32")), 3),
    "moved": (lambda x, m: truth(K.flip(K.reshape(x * m, (2, 3)), axis=0) > 0), 3),
    "scaled": (lambda x, m: truth(2.0 * K.relu(x) > 0), 3),
}


@pytest.mark.parametrize("name", HELD)
def test_what_is_held_gives_the_hard_answer(name):
    fn, live = HELD[name]
    x, mask = K.convert_to_tensor(SCORES), K.convert_to_tensor(MASK)
    cold = relax(lambda x: fn(x, mask), temperature=1e-6)(x)
    np.testing.assert_allclose(array(cold), array(fn(x, mask)), atol=1e-3)
    _, (slope,) = value_and_gradient(lambda x: K.sum(relax(lambda x: fn(x, mask))(x)), x)
    assert np.all(np.isfinite(slope))
    assert np.count_nonzero(slope) >= live


def test_a_number_that_moves_through_the_threshold_is_a_tie():
    x = K.convert_to_tensor(np.array([0.0, 0.5, 1.0], "float32"))
    found = relax(lambda x: truth(x > 0.5) + truth(K.clip(x, -1.0, 2.0) >= 0.5))(x)
    assert array(found)[1] == pytest.approx(1.0)
