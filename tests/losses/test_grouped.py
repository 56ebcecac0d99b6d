"""Lists given as items in any order are those given as padded rows."""

from __future__ import annotations

import numpy as np
import pytest

from bevel import losses
from bevel.errors import BevelTypeError, BevelValueError
from tests.contract.gradients import MODES, array, compiled, tensor, value_and_gradient

RNG = np.random.default_rng(4)
IDS = RNG.permutation(np.repeat([9, -2, 4, 7], [3, 1, 5, 4]))
LABELS, SCORES = RNG.integers(0, 3, 13) * 1.0, RNG.normal(size=13)
EVERY = (
    losses.NDCG,
    losses.MeanAveragePrecision,
    losses.MRR,
    losses.Pairwise,
    losses.ListwiseSoftmax,
)


def padded(items, filling):
    rows = [items[IDS == i] for i in np.unique(IDS)]
    return np.stack([np.r_[r, np.full(5 - len(r), filling)] for r in rows])


def given(*arrays):
    return [tensor(a, "float32") for a in arrays]


@pytest.mark.parametrize("make", EVERY)
def test_the_same_as_padded(make):
    weights = RNG.integers(0, 3, 13) * 1.0
    loss = make(reduction=None)
    ids = tensor(IDS, "int32")
    for w in (None, weights):
        flat = loss.grouped(*given(LABELS, SCORES), ids, None if w is None else w)
        rows = loss(
            *given(padded(LABELS, -1.0), padded(SCORES, 0.0)),
            None if w is None else given(padded(w, 0.0))[0],
        )
        np.testing.assert_allclose(array(flat), array(rows), rtol=1e-5, atol=1e-7)


def test_the_gradient_goes_back_to_the_items():
    ids = tensor(IDS, "int32")
    loss = losses.NDCG()
    labels, scores = given(LABELS, SCORES)
    _, (flat,) = value_and_gradient(lambda s: loss.grouped(labels, s, ids), scores)
    rows, table = given(padded(LABELS, -1.0), padded(SCORES, 0.0))
    _, (expected,) = value_and_gradient(lambda s: loss(rows, s), table)
    np.testing.assert_allclose(padded(flat, 0.0), expected, rtol=1e-4, atol=1e-7)


@pytest.mark.skipif(not MODES, reason="nothing is compiled here")
def test_compiled_it_wants_a_shape_and_says_by_nan_that_it_is_too_small():
    ids, (labels, scores) = tensor(IDS, "int32"), given(LABELS, SCORES)
    loss = losses.MRR()
    for shape, fits in (((6, 8), True), ((3, 5), False), ((4, 4), False)):
        run = compiled(lambda y, s, i, h=shape: loss.grouped(y, s, i, shape=h), MODES[0])
        found = float(array(run(labels, scores, ids)))
        if fits:
            assert found == pytest.approx(float(array(loss.grouped(labels, scores, ids))))
        else:
            assert np.isnan(found)
    with pytest.raises(BevelValueError, match="`shape` must be given"):
        compiled(loss.grouped, MODES[0])(labels, scores, ids)


def test_no_items_are_no_loss():
    empty = np.zeros(0)
    loss = losses.NDCG().grouped(*given(empty, empty), tensor(empty, "int32"))
    assert float(array(loss)) == 0


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"ids": IDS * 1.0}, BevelTypeError, "must hold integers"),
        ({"ids": IDS[:, None]}, BevelValueError, r"shape \(n,\)"),
        ({"ids": IDS[:-1]}, BevelValueError, "one for each item"),
        ({"weights": np.ones(3)}, BevelValueError, "sample_weight"),
        ({"shape": (4, 4)}, BevelValueError, "too small"),
    ],
)
def test_what_does_not_fit_is_named(change, error, words):
    ids = change.get("ids", IDS)
    ids = tensor(ids, "float32" if ids.dtype == float else "int32")
    weights = change.get("weights")
    with pytest.raises(error, match=words):
        losses.MRR().grouped(*given(LABELS, SCORES), ids, weights, shape=change.get("shape"))
