"""The kinds of arrays, and the plausible pairs of them, that a function is tried with.

A *kind* makes one array of a given shape from a generator; a *family* names the kinds that go
together. Both are tables: `bevel audit --sample` calls them by these names. The order of a table is
an order of preference, where a function works with several.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Array = np.ndarray
_Make = Callable[[np.random.Generator, tuple[int, ...]], Array]


def _softmax(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    z = np.exp(1.5 * rng.standard_normal(shape))
    return (z / z.sum(axis=-1, keepdims=True)).astype("float32")


def _onehot(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return np.eye(shape[-1], dtype="float32")[_balanced(rng, shape[:-1], shape[-1])]


def _balanced(rng: np.random.Generator, shape: tuple[int, ...], classes: int) -> Array:
    """Integers in [0, classes), every class about equally often."""
    return rng.permutation(np.arange(np.prod(shape, dtype=int)) % classes).reshape(shape)


def _boxes(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """Corners (x1, y1, x2, y2) that overlap most of the time."""
    low = rng.uniform(0.0, 0.4, (*shape[:-1], 2))
    return np.concatenate([low, low + rng.uniform(0.3, 0.6, low.shape)], axis=-1).astype("float32")


KINDS: dict[str, _Make] = {
    "normal": lambda rng, shape: rng.standard_normal(shape).astype("float32"),
    "uniform": lambda rng, shape: rng.uniform(0.02, 0.98, shape).astype("float32"),
    "series": lambda rng, shape: rng.standard_normal(shape).cumsum(0).astype("float32"),
    "binary": lambda rng, shape: _balanced(rng, shape, 2).astype("float32"),
    "signed": lambda rng, shape: (2 * _balanced(rng, shape, 2) - 1).astype("float32"),
    "graded": lambda rng, shape: _balanced(rng, shape, 4).astype("float32"),
    "softmax": _softmax,
    "onehot": _onehot,
    "boxes": _boxes,
    "ones": lambda rng, shape: np.ones(shape, "float32"),
    "bool": lambda rng, shape: _balanced(rng, shape, 2).astype(bool),
    "int32": lambda rng, shape: _balanced(rng, shape, 4).astype("int32"),
    "int64": lambda rng, shape: _balanced(rng, shape, 4).astype("int64"),
    "float32": lambda rng, shape: rng.standard_normal(shape).astype("float32"),
    "float64": lambda rng, shape: rng.standard_normal(shape),
}


@dataclass(frozen=True)
class Family:
    """A plausible pair of inputs.

    Attributes:
        name: What `--sample` calls it.
        words: How it is described to the user.
        shape: The default shape of the prediction.
        label: The kind of `y_true`.
        prediction: The kind of `y_pred`.
        integer_labels: Whether the labels are class numbers, one axis less than the prediction.
    """

    name: str
    words: str
    shape: tuple[int, ...]
    label: str
    prediction: str
    integer_labels: bool = False

    def labels(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
        if self.integer_labels:
            return _balanced(rng, shape[:-1], shape[-1]).astype("int32")
        return KINDS[self.label](rng, shape)

    def perfect(self, labels: Array, classes: int) -> Array:
        """The prediction that agrees with the labels."""
        return np.eye(classes, dtype="float32")[labels] if self.integer_labels else labels


FAMILIES = (
    Family("binary", "0/1 labels and probabilities", (24,), "binary", "uniform"),
    Family("onehot", "one-hot labels and class probabilities", (24, 4), "onehot", "softmax"),
    Family("column", "a column of 0/1 labels and probabilities", (24, 1), "binary", "uniform"),
    Family("labels", "class numbers and probabilities", (24, 4), "int32", "softmax", True),
    Family("series", "real series", (24,), "series", "series"),
    Family("signed", "labels -1/+1 and real scores", (24,), "signed", "normal"),
    Family("graded", "grades 0 to 3 and real scores", (24,), "graded", "normal"),
    Family("lists", "lists of 0/1 relevance and scores", (6, 8), "binary", "normal"),
    Family("graded_lists", "lists of grades 0 to 3 and scores", (6, 8), "graded", "normal"),
    Family("rows", "rows of real numbers", (24, 4), "normal", "normal"),
    Family("boxes", "boxes (x1, y1, x2, y2)", (24, 4), "boxes", "boxes"),
    Family("images", "masks and probabilities", (2, 12, 12, 1), "binary", "uniform"),
    Family("volumes", "class masks and probabilities", (2, 8, 8, 3), "onehot", "softmax"),
    Family("tokens", "one-hot classes and sequences of logits", (6, 5, 8), "onehot", "normal"),
)

SINGLES = (
    Family("normal", "real numbers", (24,), "normal", "normal"),
    Family("probabilities", "probabilities", (24,), "uniform", "uniform"),
    Family("softmax", "class probabilities", (24, 4), "onehot", "softmax"),
    Family("rows", "rows of real numbers", (24, 4), "normal", "normal"),
    Family("scalar", "a real number", (), "normal", "normal"),
    Family("images", "images", (2, 12, 12, 1), "uniform", "uniform"),
)
