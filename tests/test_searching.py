"""Far-off predictions are of the given kind, and one of them meets even a rare hit."""

from __future__ import annotations

import numpy as np
import pytest

from bevel.probing import follow_to, kind_of, probe
from bevel.searching import far_off


@pytest.mark.parametrize(
    ("prediction", "value"),
    [
        (np.linspace(-1, 1, 20), lambda x: float(x[0] == x.max())),
        (np.linspace(0.05, 0.95, 20), lambda x: float(x[0] > 0.97)),
        (np.full((4, 20), 0.05), lambda x: float(x[0, 7] > 0.9)),
    ],
    ids=["real", "unit", "simplex"],
)
def test_a_rare_hit_is_found_far_off(prediction, value):
    rng = np.random.default_rng(0)
    seen = probe(lambda p: (0.0, [None]), [prediction], rng)
    assert not seen.responds
    follow_to(lambda p: (value(p[0]), [None]), [prediction], far_off([prediction], rng), seen)
    assert seen.rises
    assert seen.jumps


@pytest.mark.parametrize(
    "prediction",
    [np.array([-1.0, 3.0, 0.5]), np.array([0.1, 0.9]), np.array([[0.2, 0.8], [1.0, 0.0]])],
    ids=["real", "unit", "simplex"],
)
def test_they_keep_the_kind_and_the_dtype(prediction):
    prediction = prediction.astype("float32")
    for (end,) in far_off([prediction], np.random.default_rng(0)):
        assert (end.shape, end.dtype) == (prediction.shape, prediction.dtype)
        assert kind_of(end) == kind_of(prediction)
