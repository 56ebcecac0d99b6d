"""Bad input to a loss: wrong structure raises in every mode, wrong values as RELIABILITY asks.

With concrete arrays a wrong value raises and is named with its place. In compiled code nothing can
raise; there the loss of a batch with a wrong label is NaN.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops as K

from bevel.backend import is_concrete, to_numpy
from bevel.errors import BevelTypeError, BevelValueError
from bevel.losses.conventions import Convention

_ALLOWED = {"binary": (0, 1), "one_hot": (0, 1), "signed": (-1, 0, 1)}


def floating(y_pred: Any) -> Any:
    """Predictions as a tensor.

    Raises:
        BevelTypeError: They are no floats.
    """
    y_pred = K.convert_to_tensor(y_pred)
    dtype = keras.backend.standardize_dtype(y_pred.dtype)
    if "float" not in dtype:
        raise BevelTypeError(f"y_pred has dtype {dtype}; predictions must be floats.")
    return y_pred


def aligned(y_true: Any, y_pred: Any) -> tuple[Any, Any]:
    """Labels of shape (n,) for predictions (n, 1), and the other way round, get the same shape.

    Raises:
        BevelValueError: The shapes do not belong together, or there is a number and no batch.
    """
    a, b = tuple(y_true.shape), tuple(y_pred.shape)
    if not b:
        raise BevelValueError("y_pred is a single number; expected a batch, such as shape (n, 1).")
    if len(a) + 1 == len(b) and b[-1] == 1:
        y_true = K.expand_dims(y_true, -1)
    elif len(a) == len(b) + 1 and a[-1] == 1:
        y_true = K.squeeze(y_true, -1)
    a = tuple(y_true.shape)
    integers = "float" not in keras.backend.standardize_dtype(y_true.dtype)
    rows = all(m == n or None in (m, n) for m, n in zip(a[:1], b[:1], strict=False))
    same = len(a) == len(b) and all(
        m == n or None in (m, n) for m, n in zip(a, b, strict=True)
    )  # fmt: skip
    numbers = len(a) + 1 == len(b) or (integers and len(a) == len(b) and a[-1] == 1)
    if not rows or not (same or numbers):
        raise BevelValueError(
            f"y_true has shape {a} and y_pred has shape {b}; expected the same shape, or class "
            "numbers of one axis less. Reshape one of them, so that nothing is broadcast."
        )
    return y_true, y_pred


def weights_of(sample_weight: Any, mask: Any, y_pred: Any, dtype: str) -> Any:
    """One weight for each row out of weights and a mask; None where there is neither.

    Raises:
        BevelValueError: There are not as many weights as rows, or one is negative or not finite.
    """
    if sample_weight is None and mask is None:
        return None
    weights = K.ones((), dtype=dtype)
    for name, given in (("sample_weight", sample_weight), ("the mask", mask)):
        if given is None:
            continue
        given = K.cast(K.convert_to_tensor(given), dtype)
        a, b = tuple(given.shape), tuple(y_pred.shape)
        fits = len(a) <= len(b) and all(
            m == n or m == 1 or None in (m, n) for m, n in zip(a, b, strict=False)
        )
        if not fits:
            raise BevelValueError(
                f"{name} has shape {a} and y_pred has shape {b}; expected one weight for each row."
            )
        weights = weights * given
    _check(weights, "sample_weight", lambda w: ~np.isfinite(w) | (w < 0), "finite and >= 0")
    return weights


def without_unweighted(y_true: Any, y_pred: Any, weights: Any) -> tuple[Any, Any]:
    """Rows of weight 0 are replaced, so that a NaN in them reaches neither value nor gradient."""
    counted = weights != 0

    def cleared(tensor: Any) -> Any:
        depth = len(tensor.shape) - len(counted.shape)
        if depth < 0:
            keep = K.reshape(counted, K.shape(tensor))
        else:
            keep = K.reshape(counted, (*K.shape(counted), *(1,) * depth))
        return K.where(keep, tensor, K.zeros_like(tensor))

    return cleared(y_true), cleared(y_pred)


def check_values(
    convention: Convention | None, y_true: Any, y_pred: Any, weights: Any, from_logits: bool
) -> None:
    """Looks at concrete labels and predictions; does nothing while a graph is built.

    Raises:
        BevelValueError: A label is none of those that the metric takes, or a probability is
            outside [0, 1].
    """
    if convention is None or not (is_concrete(y_true) and is_concrete(y_pred)):
        return
    skipped = None if weights is None else to_numpy(weights) == 0
    if convention.labels in _ALLOWED:
        allowed = _ALLOWED[convention.labels]
        labels = _shown(y_true, skipped)
        found = np.unique(labels[np.isfinite(labels)])
        if not np.isin(found, allowed).all():
            raise BevelValueError(
                f"y_true holds the values {found[:8].tolist()}; expected only {list(allowed)} here."
            )
    elif convention.labels == "shares":
        _check(y_true, "y_true", lambda v: (v < 0) | (v > 1), "between 0 and 1", skipped)
    elif convention.labels == "classes" and len(y_pred.shape) > 1 and y_pred.shape[-1] > 1:
        classes = y_pred.shape[-1]
        _check(
            y_true, "y_true", lambda v: (v < 0) | (v >= classes),
            f"a class in [0, {classes})", skipped,
        )  # fmt: skip
    if convention.probabilities and not from_logits:
        _check(
            y_pred, "y_pred", lambda v: (v < 0) | (v > 1),
            "between 0 and 1; for logits pass from_logits=True", skipped,
        )  # fmt: skip


def check_survival(times: Any, events: Any) -> None:
    """Looks at concrete times and events; does nothing while a graph is built.

    Raises:
        BevelValueError: A time is not finite, or an event is neither 0 nor 1.
    """
    for name, given, is_bad, expected in (
        ("y_true[:, 0], the time,", times, lambda v: ~np.isfinite(v), "finite"),
        ("y_true[:, 1], the event,", events, lambda v: (v != 0) & (v != 1), "0 or 1"),
    ):
        _check(K.reshape(given, (-1,)), name, is_bad, expected)


def is_invalid(convention: Convention | None, y_true: Any, y_pred: Any) -> Any:
    """Whether a batch holds a label that cannot be; None where each can be, or nobody knows."""
    if convention is not None and convention.labels == "shares":
        y_true = K.cast(y_true, y_pred.dtype)
        return K.any(K.logical_or(y_true < 0, y_true > 1))
    if convention is None or convention.labels != "classes" or len(y_pred.shape) < 2:
        return None
    if y_pred.shape[-1] in (None, 1):
        return None
    return K.any(K.logical_or(y_true < 0, y_true >= y_pred.shape[-1]))


def _shown(tensor: Any, skipped: np.ndarray | None) -> np.ndarray:
    """The values that count, those of rows without weight as NaN."""
    values = np.array(to_numpy(tensor), dtype="float64")
    if skipped is not None:
        shape = skipped.shape + (1,) * (values.ndim - skipped.ndim)
        values[np.broadcast_to(skipped.reshape(shape[: values.ndim]), values.shape)] = np.nan
    return values


def _check(
    tensor: Any, name: str, is_bad: Any, expected: str, skipped: np.ndarray | None = None
) -> None:
    if not is_concrete(tensor):
        return
    values = _shown(tensor, skipped)
    bad = np.argwhere(is_bad(values))
    if len(bad):
        place = tuple(int(i) for i in bad[0])
        raise BevelValueError(
            f"{name} holds {values[place]:g} at index {place}; it must be {expected}."
        )
