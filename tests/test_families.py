"""The tables of kinds and families are complete and make what they say."""

import numpy as np
import pytest

from bevel.families import FAMILIES, KINDS, SINGLES


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_finite_and_has_its_shape(kind):
    value = KINDS[kind](np.random.default_rng(0), (12, 4))
    assert value.shape == (12, 4)
    assert np.isfinite(value).all()
    assert len(np.unique(value)) > 1 or kind == "ones"


@pytest.mark.parametrize("family", FAMILIES, ids=lambda f: f.name)
def test_a_family_has_labels_and_a_perfect_prediction(family):
    labels = family.labels(np.random.default_rng(0), family.shape)
    perfect = family.perfect(labels, family.shape[-1])
    assert perfect.shape == family.shape
    assert labels.shape == (family.shape[:-1] if family.integer_labels else family.shape)


def test_names_are_unique():
    for table in (FAMILIES, SINGLES):
        assert len({family.name for family in table}) == len(table)
