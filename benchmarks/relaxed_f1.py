"""How much slower is a relaxed hard F1 than a soft F1 written by hand?

Value and gradient, compiled. The same hard F1 is relaxed with the default kernel and with the
logistic one, which is what the soft F1 uses. The soft F1 has a fixed width; a relaxed comparison
measures its own, which is one more pass over the predictions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import typer
from measure import Bar, Result, interleave, machine, report, use_cpu

SIZE = 100_000
TEMPERATURE = 0.1
LIMIT = 1.15
ROUNDS, CALLS = 60, 5
HAND = "soft F1 by hand"
HAND_BY_SPREAD = "soft F1 by hand, width from the spread"
MODES = {"XLA (jit_compile=True)": True, "graph (tf.function)": None}


def hard_f1(y_true: Any, y_pred: Any) -> Any:
    """F1 of the predictions above one half."""
    import tensorflow as tf

    return _f1(y_true, tf.cast(y_pred > 0.5, tf.float32))


def soft_f1(y_true: Any, y_pred: Any, width: Any = TEMPERATURE) -> Any:
    """F1 of the chances sigmoid((y_pred - 0.5) / width)."""
    import tensorflow as tf

    return _f1(y_true, tf.sigmoid((y_pred - 0.5) / width))


def soft_f1_by_spread(y_true: Any, y_pred: Any) -> Any:
    """The soft F1 with a width that it measures as a relaxed comparison does."""
    import tensorflow as tf

    distance = tf.reduce_mean(tf.abs(y_pred - 0.5))
    return soft_f1(y_true, y_pred, tf.stop_gradient(TEMPERATURE * distance))


def _f1(y_true: Any, positive: Any) -> Any:
    import tensorflow as tf

    tp = tf.reduce_sum(positive * y_true)
    fp = tf.reduce_sum(positive * (1 - y_true))
    fn = tf.reduce_sum((1 - positive) * y_true)
    return 2 * tp / (2 * tp + fp + fn)


def data(size: int) -> tuple[Any, Any]:
    """Labels, three in ten positive, and predictions, uniform between 0 and 1."""
    import numpy as np
    import tensorflow as tf

    draw = np.random.default_rng(0).random((2, size), dtype="float32")
    return tf.constant((draw[0] < 0.3).astype("float32")), tf.constant(draw[1])


def contestants() -> dict[str, Callable[..., Any]]:
    """Soft F1s, and relaxations of the hard one."""
    import bevel

    return {
        HAND: soft_f1,
        HAND_BY_SPREAD: soft_f1_by_spread,
        "hard F1, relaxed": bevel.relax(hard_f1, temperature=TEMPERATURE),
        "hard F1, relaxed, logistic": bevel.relax(
            hard_f1, temperature=TEMPERATURE, kernel="logistic"
        ),
    }


def value_and_gradient(fn: Callable[..., Any], jit_compile: bool | None) -> Callable[..., Any]:
    """The compiled function (y_true, y_pred) -> (value, gradient to y_pred)."""
    import tensorflow as tf

    @tf.function(jit_compile=jit_compile)
    def compiled(y_true: Any, y_pred: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(y_pred)
            value = fn(y_true, y_pred)
        return value, tape.gradient(value, y_pred)

    return compiled


def measure() -> Result:
    """Times every contestant in every mode."""
    facts = machine()
    y_true, y_pred = data(SIZE)
    rows: list[tuple[str | float, ...]] = []
    bars = []
    for mode, jit_compile in MODES.items():
        compiled = {name: value_and_gradient(fn, jit_compile) for name, fn in contestants().items()}
        calls = {
            name: lambda run=run: run(y_true, y_pred)[1].numpy() for name, run in compiled.items()
        }
        times = interleave(calls, rounds=ROUNDS, calls=CALLS)
        for name, time in times.items():
            ratio = time.median / times[HAND].median
            rows.append((mode, name, time.median * 1e3, time.low * 1e3, time.high * 1e3, ratio))
            if jit_compile and name not in (HAND, HAND_BY_SPREAD):
                bars.append(Bar(f"{name}, {mode}, time over the soft F1's", ratio, LIMIT))
    return Result(
        name="relaxed_f1",
        title=f"Relaxed hard F1 against a soft F1 by hand, {SIZE:,} predictions",
        about=(
            "Value and gradient in one compiled call, all in one process; the functions take turns "
            f"in {ROUNDS} rounds of {CALLS} calls, in a new order each round. The ratio is that of "
            "the medians within a mode. The soft F1 is `sigmoid((y_pred - 0.5) / 0.1)` in place of "
            "`y_pred > 0.5`; a second one measures its width as a relaxation does, by one more "
            "pass over the predictions."
        ),
        columns=(
            "compiled by",
            "function",
            "median ms",
            "lower quartile",
            "upper quartile",
            "ratio",
        ),
        rows=tuple(rows),
        bars=tuple(bars),
        machine=facts,
    )


def main(save: bool = False) -> None:
    """Measure, show the table, and with --save keep it in results/."""
    use_cpu()
    report(measure(), save)


if __name__ == "__main__":
    typer.run(main)
