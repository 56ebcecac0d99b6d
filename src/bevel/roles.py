"""Which parameter of a metric holds the prediction, which the labels: read from their names.

`(y_true, y_pred)` is the order of Keras and scikit-learn, `(input, target)` that of PyTorch; the
names tell them apart.
"""

from __future__ import annotations

from collections.abc import Sequence

LABELS = ("y_true", "true", "target", "label", "truth", "y", "t", "gt", "returns", "ret")
PREDICTIONS = (
    "y_pred",
    "pred",
    "output",
    "logit",
    "score",
    "prob",
    "p",
    "z",
    "x",
    "yhat",
    "y_hat",
    "input",
)
WEIGHTS = ("weight", "mask", "w")


def resembles(name: str, words: tuple[str, ...]) -> bool:
    """Whether a parameter is named like one of `words`; short ones must match as a whole."""
    lower = name.lower()
    return any(lower == w or (len(w) > 3 and w in lower) for w in words)


def roles(names: tuple[str, ...]) -> tuple[str | None, str]:
    """Which parameter is the label and which the prediction: by name, else by position.

    Example:
        >>> roles(("y_pred", "y_true")), roles(("a", "b")), roles(("x",))
        (('y_true', 'y_pred'), ('a', 'b'), (None, 'x'))
    """
    if len(names) == 1:
        return None, names[0]
    candidates = [n for n in names if not resembles(n, WEIGHTS)]
    if len(candidates) < 2:
        candidates = list(names)
    predictions = [n for n in candidates if resembles(n, PREDICTIONS)]
    labels = [n for n in candidates if resembles(n, LABELS) and n not in predictions]
    prediction = (
        predictions[0] if predictions else [n for n in candidates if n not in labels[:1]][-1]
    )
    others = [n for n in labels or candidates if n != prediction]
    return others[0], prediction


def prediction_among(names: Sequence[str]) -> str:
    """The parameter that a gradient should reach.

    Args:
        names: Parameters that hold arrays, in the order of the call; at least one.

    Returns:
        `y_pred` where there is one; else the last, unless that is named like labels and another one
        like a prediction.
    """
    if "y_pred" in names:
        return "y_pred"
    last = names[-1]
    predictions = [n for n in names if resembles(n, PREDICTIONS) and not resembles(n, LABELS)]
    if predictions and resembles(last, LABELS) and last not in predictions:
        return predictions[0]
    return last
