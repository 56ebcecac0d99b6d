"""Numbers that stand for nothing, as -1e9 and -inf do, leave the scale of the others alone.

Each function is held against itself with a fill that is near the data, of which nothing is large.
"""

from __future__ import annotations

import numpy as np
import pytest
from keras import ops as K

from bevel.relaxation import relax
from tests.contract.gradients import tensor, value_and_gradient

SCORES = np.random.default_rng(0).normal(size=(6, 8)).astype("float32")
# three places of each row do not count
MASK = np.argsort(np.random.default_rng(1).uniform(size=(6, 8)), axis=1) < 3
GAINS = np.random.default_rng(2).integers(0, 3, size=(6, 8)).astype("float32")
LIMITS = np.linspace(-1.0, 1.0, 6, dtype="float32")[:, None]

# As large as -1e9, without its digits: all of them are to act as one that is just behind.
FILLS = [-1e9, -1e4, float("-inf")]
BEHIND = -4.0


def gained(places):
    return K.mean(K.take_along_axis(tensor(GAINS, "float32"), places, axis=1))


def masked(s, fill):
    return K.where(MASK, K.full_like(s, fill), s)


USES = {
    "greater": lambda s: K.mean(K.cast(K.greater(s, LIMITS), "float32")),
    "argmax": lambda s: gained(K.argmax(s, axis=1)[:, None]),
    "top_k": lambda s: gained(K.top_k(s, 3)[1]),
    "argsort": lambda s: gained(K.argsort(-s, axis=1)[:, :4]),
    "rank": lambda s: K.mean(
        K.cast(K.argsort(K.argsort(-s, axis=1), axis=1), "float32") * K.cast(~MASK, "float32")
    ),
    "not below the third": lambda s: K.mean(
        K.cast(s >= K.sort(s, axis=1)[:, -3:-2], "float32") * tensor(GAINS, "float32")
    ),
}


@pytest.mark.parametrize("fill", FILLS, ids=str)
@pytest.mark.parametrize("name", USES)
def test_the_others_are_measured_by_themselves(name, fill):
    use = USES[name]

    def of(number):
        return relax(lambda p: use(masked(p, number)))

    near, (slope,) = value_and_gradient(of(BEHIND), tensor(SCORES, "float32"))
    value, (found,) = value_and_gradient(of(fill), tensor(SCORES, "float32"))
    np.testing.assert_allclose(value, near, rtol=0.1)
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(found[MASK], 0)
    assert np.linalg.norm(found) > 0.3 * np.linalg.norm(slope)


@pytest.mark.parametrize("fill", FILLS, ids=str)
@pytest.mark.parametrize("name", USES)
def test_the_limit_is_the_hard_value(name, fill):
    use = USES[name]
    hard = float(use(masked(tensor(SCORES, "float32"), fill)))
    cold = relax(lambda p: use(masked(p, fill)), temperature=1e-4)
    assert float(cold(tensor(SCORES, "float32"))) == pytest.approx(hard, rel=1e-2)


def test_a_mask_that_is_added():
    far = K.cast(MASK, "float32") * -1e9
    relaxed = relax(lambda p: gained(K.top_k(p + far, 3)[1]))
    value, (slope,) = value_and_gradient(relaxed, tensor(SCORES, "float32"))
    near, _ = value_and_gradient(
        relax(lambda p: gained(K.top_k(masked(p, BEHIND), 3)[1])), tensor(SCORES, "float32")
    )
    np.testing.assert_allclose(value, near, rtol=0.1)
    assert np.linalg.norm(slope) > 1e-2


@pytest.mark.parametrize("share", [0.1, 0.4, 0.7])
def test_most_may_stand_for_nothing(share):
    mask = np.arange(40) < share * 40
    scores = np.random.default_rng(3).normal(size=40).astype("float32")
    norms = []
    for fill in (-1e9, BEHIND):
        relaxed = relax(lambda p, fill=fill: K.sum(K.cast(K.where(mask, fill, p) > 0.2, "float32")))
        norms.append(np.linalg.norm(value_and_gradient(relaxed, tensor(scores, "float32"))[1][0]))
    assert norms[0] > 0.5 * norms[1]


@pytest.mark.parametrize("name", USES)
def test_a_large_constant_elsewhere_changes_nothing(name):
    scores = SCORES.copy()
    scores[:, 0] *= 30  # far from the others, and moving as they do
    use, found = USES[name], []
    for more in (lambda p: 0.0, lambda p: 0.0 * K.sum(p / 255.0)):
        relaxed = relax(lambda p, more=more: use(p) + more(p))
        value, (slope,) = value_and_gradient(relaxed, tensor(scores, "float32"))
        found.append((value, slope))
    np.testing.assert_allclose(found[1][0], found[0][0], rtol=1e-5)
    np.testing.assert_allclose(found[1][1], found[0][1], rtol=1e-4, atol=1e-6)
