"""What a comparison of training methods found: figures, intervals, and the sentence they bear.

Plain data and arithmetic, no framework. The interval of a mean is a bootstrap that draws seeds with
replacement and, for every seed drawn, its held-out rows with replacement; differences are paired,
on the same seeds and rows. A plain percentile interval of five values is too narrow (simulated: it
covers 84 to 90 % where 95 % is said), so the percentiles are moved outwards as Hesterberg (2015)
does, to those that a t interval would need: 95 % and more. Seeds split the same data anew, so an
interval speaks of this data set.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

VERSION = 1
DRAWS = 10_000

METHODS = {
    "ce": "cross-entropy, decision at 0.5",
    "weighted": "class-weighted cross-entropy, decision at 0.5",
    "tuned": "cross-entropy, decision tuned on validation",
    "relaxed": "relaxed metric, decision at 0.5",
}


@dataclass(frozen=True)
class Estimate:
    """A mean over seeds with its 95 % bootstrap interval."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.4g} [{self.low:.4g}, {self.high:.4g}]"

    @property
    def sign(self) -> int:
        """1 or -1 if the interval excludes 0 on that side, else 0."""
        return int(self.low > 0) - int(self.high < 0)


@dataclass(frozen=True)
class Comparison:
    """The hard metric of each method on held-out rows.

    Attributes:
        metric: Its name.
        data: What it was trained on.
        arrangement: The shapes the metric was called with.
        maximize: Whether higher is better.
        inferred: Whether that was inferred.
        verdict: The audit's verdict on the metric.
        seeds: The number of seeds, each with its own split and first weights.
        epochs: Full-batch steps of each training run.
        perfect: The metric for perfect predictions.
        values: Held-out metric of each method for each seed.
        estimates: Mean and interval of each method.
        against: Of `relaxed` minus each other method, paired.
        curves: Validation metric by epoch, mean over seeds, of `ce` and then `relaxed`.
        seconds: What it took.
        notes: What a reader must know about this run.
    """

    metric: str
    data: str
    arrangement: str
    maximize: bool
    inferred: bool
    verdict: str
    seeds: int
    epochs: int
    perfect: float
    values: dict[str, list[float]]
    estimates: dict[str, Estimate]
    against: dict[str, Estimate]
    curves: dict[str, list[float]]
    seconds: float
    notes: list[str] = field(default_factory=list)

    @property
    def outcome(self) -> str:
        """`wins`, `loses` or `tie`: the relaxed metric against the tuned decision."""
        sign = self.against["tuned"].sign * (1 if self.maximize else -1)
        return {1: "wins", 0: "tie", -1: "loses"}[sign]

    def words(self) -> str:
        """The outcome in sentences, the tuned decision always named."""
        tuned, plain = self.against["tuned"], self.against["ce"]
        first = {
            "wins": "The relaxed metric wins against cross-entropy with a tuned decision",
            "loses": "The relaxed metric loses to cross-entropy with a tuned decision",
            "tie": "A tie: the relaxed metric and cross-entropy with a tuned decision do not "
            "differ beyond chance",
        }[self.outcome]
        gain = plain.sign * (1 if self.maximize else -1)
        second = {
            1: "It is better than cross-entropy decided at 0.5",
            0: "Nor can it be told from cross-entropy decided at 0.5"
            if self.outcome == "tie"
            else "It cannot be told from cross-entropy decided at 0.5",
            -1: "It is worse than cross-entropy decided at 0.5",
        }[gain]
        return f"{first} (difference {_signed(tuned)}). {second} ({_signed(plain)})."

    def to_json(self) -> str:
        """All figures as JSON, with a version."""
        content: dict[str, Any] = {"version": VERSION, **asdict(self)}
        content |= {"outcome": self.outcome, "words": self.words(), "methods": METHODS}
        return json.dumps(_plain(content), indent=1, allow_nan=False) + "\n"


def bootstrap(resampled: np.ndarray, observed: np.ndarray, seed: int = 0) -> Estimate:
    """The mean over seeds with a 95 % expanded percentile interval over seeds and rows.

    With S seeds the percentiles are those at Φ(∓√(S/(S−1))·t), t the 97.5 % quantile of Student's
    distribution with S − 1 degrees of freedom (Hesterberg, The American Statistician 69:4, 2015).

    Args:
        resampled: The statistic on resampled rows, shape (seeds, resamples); NaN where undefined.
        observed: The statistic on the rows themselves, shape (seeds,).
        seed: Of the draws.

    Returns:
        The estimate, with NaN bounds if more than half of the draws are undefined.

    Example:
        >>> bootstrap(np.full((3, 10), 2.0), np.full(3, 2.0))
        Estimate(mean=2.0, low=2.0, high=2.0)
    """
    from scipy import stats

    rng = np.random.default_rng(seed)
    seeds, resamples = resampled.shape
    which = rng.integers(seeds, size=(DRAWS, seeds))
    rows = rng.integers(resamples, size=(DRAWS, seeds))
    means = resampled[which, rows].mean(axis=1)
    defined = means[np.isfinite(means)]
    mean = float(observed.mean())
    if len(defined) < DRAWS / 2:
        return Estimate(mean, float("nan"), float("nan"))
    tail = stats.norm.cdf(-np.sqrt(seeds / (seeds - 1)) * stats.t.ppf(0.975, seeds - 1))
    low, high = np.quantile(defined, [tail, 1.0 - tail])
    return Estimate(mean, float(low), float(high))


def _signed(estimate: Estimate) -> str:
    return f"{estimate.mean:+.3g}, 95 % interval {estimate.low:+.3g} to {estimate.high:+.3g}"


def _plain(value: Any) -> Any:
    """`value` with rounded floats, and None for what is not finite: JSON has no NaN."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if np.isfinite(value) else None
    return value
