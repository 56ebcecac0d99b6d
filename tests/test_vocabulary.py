"""The vocabulary, TensorFlow's name table and the natures hold together."""

from __future__ import annotations

import pytest
from tensorflow.python.framework import op_def_registry

from bevel.frontends.tensorflow import names as tensorflow_names
from bevel.vocabulary import CUTS, NATURES, TRANSPARENT, VOCABULARY

TABLES = ("ELEMENTWISE", "STRUCTURAL", "SHAPE", "RANDOM")
# Words that the front end gives by itself, or that other front ends need.
UNNAMED = {
    "assign", "capture", "constant", "count_nonzero", "custom_gradient", "logical_xor", "logsumexp",
    "median", "sort", "trunc", "variance", "vector_norm", "wrap_index",
}  # fmt: skip


def test_every_word_has_a_nature_that_is_explained():
    assert set(VOCABULARY.values()) <= set(NATURES)


def test_cuts_and_transparent_natures_are_disjoint_and_known():
    assert CUTS.isdisjoint(TRANSPARENT)
    assert CUTS | TRANSPARENT <= set(NATURES)


@pytest.mark.parametrize("word", ["greater", "round", "argmax", "astype", "py_call", "one_hot"])
def test_what_stops_a_gradient_is_a_cut(word):
    assert VOCABULARY[word] in CUTS


@pytest.mark.parametrize("word", ["relu", "abs", "where", "sqrt", "max", "sum", "stack", "add"])
def test_what_passes_a_gradient_is_transparent(word):
    assert VOCABULARY[word] in TRANSPARENT


def test_tensorflow_maps_to_words_of_the_vocabulary_only():
    words = {word for word, _, _ in tensorflow_names.NAMES.values()}
    assert words <= set(VOCABULARY)
    assert set(VOCABULARY) - words == UNNAMED


@pytest.mark.parametrize("table", ["NAMES", *TABLES])
def test_every_name_is_an_operation_of_tensorflow(table):
    assert {n for n in getattr(tensorflow_names, table) if op_def_registry.get(n) is None} == set()


@pytest.mark.parametrize("table", TABLES)
def test_a_native_operation_is_sorted_once(table):
    others = [getattr(tensorflow_names, t) for t in TABLES if t != table]
    own = getattr(tensorflow_names, table)
    assert own.isdisjoint(tensorflow_names.NAMES)
    assert all(own.isdisjoint(other) for other in others)


def test_operands_exist():
    """The positions named for an operation lie within the operands that it is defined with."""
    for native, (_, operands, _) in tensorflow_names.NAMES.items():
        definition = op_def_registry.get(native)
        if isinstance(operands, slice) or definition is None:
            continue
        assert all(i < len(definition.input_arg) for i in operands), native
