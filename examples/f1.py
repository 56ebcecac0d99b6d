"""F1 of the decision at 0.5, written as one would write any metric."""

from keras import ops


def f1(y_true, y_pred):
    """2·TP / (2·TP + FP + FN), for 0/1 labels and probabilities of shape (n,)."""
    decided = ops.cast(y_pred > 0.5, "float32")
    hits = ops.sum(decided * y_true)
    return 2.0 * hits / (ops.sum(decided) + ops.sum(y_true) + 1e-7)
