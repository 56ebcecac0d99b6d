"""Audits and relaxes every metric of one file in this process, and prints what it found as JSON.

`python -m tests.contract.same.report FILE NAME ...`, where FILE is one of `in_keras`,
`in_tensorflow`, `in_jax` and `in_torch`. Keras runs on KERAS_BACKEND. A line is counted from the
metric's first.
"""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

import numpy as np

from bevel import frontends
from bevel.backend import to_numpy

COLUMNS = ("exact_match", "one_hit", "wrong_labels")
CLASSES = ("accuracy_of_classes", "confusion", "looked_up_price", "best_share")
NUMBERS = (
    "rounded_error", "direction", "direction_by_product", "whole_units", "paid_units",
    "class_numbers", "rank_correlation", "gain_of_the_order", "median_error", "profit",
    "profit_in_a_band", "within_tolerance", "ordered_pairs", "clipped_error",
    "longest_run_of_losses", "top_share", "squared_error",
)  # fmt: skip


def metrics(module: Any) -> dict[str, Callable[..., Any]]:
    """The metrics of a file, in its order."""
    return {
        name: fn
        for name, fn in vars(module).items()
        if inspect.isfunction(fn) and fn.__module__ == module.__name__
    }


def inputs(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Labels and predictions for a metric: no ties, nothing at a threshold."""
    rng = np.random.default_rng(3)
    if name in COLUMNS:
        return rng.integers(0, 2, (12, 4)).astype("float32"), rng.random((12, 4), "float32")
    if name in CLASSES:
        scores = np.exp(rng.normal(size=(24, 4)))
        shares = scores / scores.sum(-1, keepdims=True)
        return rng.integers(0, 4, 24).astype("int32"), shares.astype("float32")
    if name in NUMBERS:
        return rng.normal(size=24).astype("float32") * 2, rng.normal(size=24).astype("float32")
    return rng.integers(0, 2, 24).astype("float32"), rng.random(24, "float32")


def found(fn: Callable[..., Any], y_true: np.ndarray, y_pred: np.ndarray) -> dict[str, Any]:
    """Verdict and findings of the metric, values and gradients as it is and relaxed."""
    import bevel

    executor, first = frontends.executor(), fn.__code__.co_firstlineno
    report = bevel.audit(fn, y_true, y_pred)
    findings = sorted(
        (f.code, f.op, f.loc.line - first) for f in report.findings if f.severity == "error"
    )
    made = {"verdict": report.verdict, "findings": findings}
    for key, run in (("hard", fn), ("soft", bevel.relax(fn))):
        tensors = [executor.tensor(v) for v in (y_true, y_pred)]
        value, (gradient,) = executor.value_and_gradient(run, (1,), compiled=False)(tensors)
        zeros = np.zeros_like(y_pred) if gradient is None else to_numpy(gradient)
        made[key] = {"value": value, "gradient": zeros.astype("float64").ravel().tolist()}
    return made


def main() -> None:
    """Prints one JSON object."""
    file, *names = sys.argv[1:]
    known = metrics(import_module(f"tests.contract.same.{file}"))
    made = {name: found(known[name], *inputs(name)) for name in names}
    print(json.dumps(made))


if __name__ == "__main__":
    main()
