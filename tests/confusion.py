"""A confusion matrix in `keras.ops`, relaxed, beside the same from the weights of the positions."""

from __future__ import annotations

from typing import Any

import keras

import bevel


def relaxed_and_by_weights() -> tuple[Any, Any]:
    """The matrix by `relax`, and labels times the weights that `relax` gives to each position."""

    def matrix(y_true, y_pred):
        chosen = keras.ops.argmax(y_pred, axis=-1)
        return keras.ops.scatter(
            keras.ops.stack([y_true, chosen], axis=1), keras.ops.ones(4), (3, 3)
        )

    labels = keras.ops.convert_to_tensor([0, 2, 1, 2], dtype="int32")
    shares = keras.ops.softmax(keras.ops.reshape(keras.ops.arange(12.0) % 5, (4, 3)))
    weights = bevel.relax(lambda y, p: keras.ops.one_hot(keras.ops.argmax(p, axis=-1), 3))
    expected = keras.ops.transpose(keras.ops.one_hot(labels, 3)) @ weights(labels, shares)
    return bevel.relax(matrix)(labels, shares), expected
