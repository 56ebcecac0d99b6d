"""Metrics as one writes them, with a library's soft functions, and by hand.

Each is a function `(y_true, y_pred)`, and its gradient to `y_pred` is asked for. The hard ones are
what `bevel.relax` is given. The soft ones call SoftJAX or SoftTorch, whose functions have the same
names, in place of every step of the hard ones. `xp` is `jax.numpy` or `torch`. At the end stands
how each framework calls one.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

Function = Callable[..., Any]
LIBRARIES = {"jax": "softjax", "torch": "softtorch"}
MODES = {"JAX, jitted": "jax", "PyTorch, eager": "torch", "PyTorch, compiled": "torch"}
COMPILED = "PyTorch, compiled"
MODULES = {"jax": "jax.numpy", "torch": "torch"}
BY_HAND = "by hand"
# The libraries' default, and the two that take less memory or less time.
DEFAULT = {"method": "neuralsort"}
SORTS = (DEFAULT, {"method": "softsort"}, {"method": "fast_soft_sort", "mode": "c0"})


@dataclass(frozen=True)
class Metric:
    """One metric.

    Attributes:
        hard: The metric as it is written, from `xp`, `y_true` and `y_pred`.
        soft: The same with soft functions, from a library, `xp`, `y_true`, `y_pred` and settings.
        settings: Those that `soft` is measured with.
        data: Makes `y_true` and `y_pred` of a size.
        by_hand: Where a soft form by hand is usual.
    """

    hard: Function
    soft: Function
    settings: tuple[dict[str, str], ...]
    data: Callable[[np.random.Generator, int], tuple[np.ndarray, np.ndarray]]
    by_hand: Function | None = None

    @property
    def rivals(self) -> dict[str, dict[str, str]]:
        """What Bevel is held against: how it is called, and its settings."""
        found = {how.get("method", "default"): how for how in self.settings}
        return found | ({BY_HAND: {}} if self.by_hand else {})

    def written(self, framework: str) -> Function:
        """The hard metric in a framework's own code."""
        return partial(self.hard, importlib.import_module(MODULES[framework]))

    def rewritten(self, framework: str, rival: str) -> Function:
        """The soft metric in a framework: with its library, or by hand."""
        xp = importlib.import_module(MODULES[framework])
        if rival == BY_HAND and self.by_hand is not None:
            return partial(self.by_hand, xp)
        library = importlib.import_module(LIBRARIES[framework])
        how = self.rivals[rival]
        return lambda y_true, y_pred: self.soft(library, xp, y_true, y_pred, **how)

    def inputs(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        """`y_true` and `y_pred` in float32."""
        y_true, y_pred = self.data(np.random.default_rng(0), n)
        return y_true.astype("float32"), y_pred.astype("float32")


def correlation(xp: Any, a: Any, b: Any) -> Any:
    """Pearson's."""
    a, b = a - a.mean(), b - b.mean()
    return (a * b).mean() / xp.sqrt((a * a).mean() * (b * b).mean())


def spearman(xp: Any, y_true: Any, y_pred: Any) -> Any:
    """The correlation of the ranks."""
    return correlation(xp, _ranks(xp, y_true), _ranks(xp, y_pred))


def soft_spearman(library: Any, xp: Any, y_true: Any, y_pred: Any, **how: str) -> Any:
    """Ranks become `rank`."""
    soft = library.rank(y_pred, descending=False, **how)
    return correlation(xp, _ranks(xp, y_true), soft)


def _ranks(xp: Any, x: Any) -> Any:
    return 1.0 * xp.argsort(xp.argsort(x))


def recall(xp: Any, y_true: Any, y_pred: Any, share: float) -> Any:
    """The share of the positives that are among the best scores, which are a share of all."""
    k = int(share * len(y_pred))
    best = _top_k(xp)(y_pred, k)[1]
    return y_true[best].sum() / y_true.sum()


def soft_recall(library: Any, xp: Any, y_true: Any, y_pred: Any, share: float, **how: str) -> Any:
    """Positions become weights; a method without them gives the k-th best score to compare with."""
    k = int(share * len(y_pred))
    top_k = getattr(library, "top_k", None) or library.topk
    values, index = top_k(y_pred, k, **how)
    if index is None:
        return (library.greater_equal(y_pred, values[-1]) * y_true).sum() / y_true.sum()
    return (index @ y_true).sum() / y_true.sum()


def _top_k(xp: Any) -> Function:
    return xp.topk if hasattr(xp, "topk") else importlib.import_module("jax.lax").top_k


def f1(xp: Any, y_true: Any, y_pred: Any) -> Any:
    """F1, decided at one half by a cast."""
    hit = y_pred > 0.5
    return _f1(y_true, hit.float() if hasattr(hit, "float") else hit.astype(xp.float32))


def f1_by_where(xp: Any, y_true: Any, y_pred: Any) -> Any:
    """The same, decided by a choice of two numbers."""
    return _f1(y_true, xp.where(y_pred > 0.5, 1.0, 0.0))


def soft_f1(library: Any, xp: Any, y_true: Any, y_pred: Any) -> Any:
    """`>` becomes `greater`."""
    return _f1(y_true, library.greater(y_pred, 0.5))


def f1_by_hand(xp: Any, y_true: Any, y_pred: Any) -> Any:
    """`>` becomes a sigmoid."""
    sigmoid = getattr(xp, "sigmoid", None) or importlib.import_module("jax.nn").sigmoid
    return _f1(y_true, sigmoid((y_pred - 0.5) / 0.1))


def _f1(y_true: Any, hit: Any) -> Any:
    return 2 * (hit * y_true).sum() / (hit.sum() + y_true.sum())


def profit(xp: Any, table: Any, limits: Any) -> Any:
    """What loans by a rule with three limits bring; the limits are trained."""
    income, debt, savings, gain = table
    lends = (income > limits[0]) & (debt < limits[1]) | (savings > limits[2])
    return xp.where(lends, gain, 0.0).mean()


def soft_profit(library: Any, xp: Any, table: Any, limits: Any) -> Any:
    """Comparisons, `&`, `|` and `where` become their soft namesakes."""
    income, debt, savings, gain = table
    can_pay = library.logical_and(library.greater(income, limits[0]), library.less(debt, limits[1]))
    lends = library.logical_or(can_pay, library.greater(savings, limits[2]))
    return library.where(lends, gain, xp.zeros_like(gain)).mean()


def median_error(xp: Any, y_true: Any, y_pred: Any) -> Any:
    """The median of the absolute errors."""
    return xp.median(xp.abs(y_true - y_pred))


def soft_median_error(library: Any, xp: Any, y_true: Any, y_pred: Any, **how: str) -> Any:
    """`median` becomes soft; `abs` has a gradient as it is."""
    return library.median(xp.abs(y_true - y_pred), **how)


def _numbers(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    y = rng.normal(size=n)
    return y, y + rng.normal(size=n)


def _labels(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    y = rng.random(n) < 0.2
    return y, y + rng.normal(size=n)


def _chances(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    return rng.random(n) < 0.3, rng.random(n)


def _loans(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    income, debt, savings = rng.normal(size=(3, n))
    is_paid = income - debt + savings + rng.normal(size=n) > 0
    return np.stack([income, debt, savings, np.where(is_paid, 1, -2)]), np.array([0.3, 0.2, 1])


TENTH = {"share": 0.1}
METRICS = {
    "rank correlation": Metric(spearman, soft_spearman, SORTS, _numbers),
    "recall in the top tenth": Metric(
        partial(recall, **TENTH), partial(soft_recall, **TENTH), SORTS, _labels
    ),
    "F1, a cast": Metric(f1, soft_f1, ({},), _chances, f1_by_hand),
    "F1, by where": Metric(f1_by_where, soft_f1, ({},), _chances, f1_by_hand),
    "profit of a rule": Metric(profit, soft_profit, ({},), _loans),
    "median error": Metric(median_error, soft_median_error, SORTS, _numbers),
}


def calls(
    mode: str, fn: Function, y_true: np.ndarray, y_pred: np.ndarray
) -> tuple[Callable[[], tuple[Any, np.ndarray]], Callable[[], Any]]:
    """The calls for value and gradient, and for the value as it is."""
    if MODES[mode] == "jax":
        import jax
        import jax.numpy as jnp

        labels, scores = jnp.asarray(y_true), jnp.asarray(y_pred)
        both = jax.jit(jax.value_and_grad(fn, argnums=1))

        def run() -> Any:
            value, gradient = jax.block_until_ready(both(labels, scores))
            return value, np.asarray(gradient)

        return run, lambda: fn(labels, scores)

    import torch

    targets, x = torch.tensor(y_true), torch.tensor(y_pred)
    called = torch.compile(fn) if mode == COMPILED else fn

    def run_torch() -> Any:
        trained = x.clone().requires_grad_()
        value = called(targets, trained)
        gradient = torch.autograd.grad(value, trained)[0]
        return value.detach(), gradient.numpy()

    return run_torch, lambda: fn(targets, x)
