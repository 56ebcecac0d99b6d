"""What a function's value does when the prediction moves, against what its gradient promises.

Ordinary gradient checkers cannot see a step: its derivative is 0, and so is its difference
quotient. Here the function is followed along straight lines. Between two points, the change of the
value that the gradient does not explain is either a jump, which stays as the points close in, or a
lasting disagreement, which a declared gradient leaves everywhere, or the curvature, which vanishes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Evaluate = Callable[[Sequence[np.ndarray]], tuple[float, Sequence[np.ndarray | None]]]

STEPS = 40
_HALVINGS = 16
_JUMPS_PER_LINE = 6


@dataclass(frozen=True)
class Jump:
    """A jump of the value between two predictions that are nearly the same."""

    before: tuple[np.ndarray, ...]
    after: tuple[np.ndarray, ...]
    size: float


@dataclass
class Probe:
    """What was seen along all lines.

    Attributes:
        jumps: Places where the value jumps.
        rises: Whether the value was seen to rise above that at the start, beyond noise.
        falls: Whether it was seen to fall below.
        responds_nearby: Whether it changed on the shortest line.
        changes: Change of the value along each line.
        promised: What the gradient promised for it.
        inconsistent: Share of the steps without a jump on which value and gradient disagree.
        unexplained: Share of the change on the shortest lines, jumps apart, that the gradient does
            not promise: curvature leaves nothing there, a term without a gradient its own share.
    """

    jumps: list[Jump] = field(default_factory=list)
    rises: bool = False
    falls: bool = False
    responds_nearby: bool = False
    changes: list[float] = field(default_factory=list)
    promised: list[float] = field(default_factory=list)
    inconsistent: float = 0.0
    unexplained: float = 0.0

    @property
    def responds(self) -> bool:
        """Whether the value changed anywhere."""
        return self.rises or self.falls

    def take(self, line: _Line) -> None:
        """Adds what was seen along a line."""
        self.jumps.extend(line.jumps)
        self.rises |= line.rises
        self.falls |= line.falls

    @property
    def agreement(self) -> tuple[float, float]:
        """Cosine between changes and promises over the lines, and the slope between them."""
        changes, promised = np.asarray(self.changes), np.asarray(self.promised)
        lengths = np.linalg.norm(changes) * np.linalg.norm(promised)
        if not lengths:
            return 0.0, 0.0
        dot = float(changes @ promised)
        return dot / float(lengths), dot / float(promised @ promised)


def targets(
    prediction: Sequence[np.ndarray], rng: np.random.Generator
) -> tuple[list[tuple[np.ndarray, ...]], list[tuple[np.ndarray, ...]]]:
    """Where to go from a prediction: other predictions of its kind, far off and close by.

    Some lines move every element by itself, two move all of them together, since a condition on a
    mean hardly notices the former. Rows of probabilities go to other rows of probabilities, values
    between 0 and 1 stay there, and everything else gets normal noise of its own spread.
    """
    lines = [tuple(_other(p, rng) for p in prediction) for _ in range(3)]
    shifts = [tuple(_shifted(p, up) for p in prediction) for up in (True, False)]
    near = [
        tuple(p + (q - p) * 0.02 for p, q in zip(prediction, line, strict=True)) for line in lines
    ]
    wide = [
        tuple(
            p + 4 * (q - p) if kind_of(p) == "real" else q
            for p, q in zip(prediction, end, strict=True)
        )
        for end in (tuple(_other(p, rng) for p in prediction),)
    ]
    return [*lines, *shifts, *wide], near


def kind_of(p: np.ndarray) -> str:
    """`simplex` for rows that sum to 1, `unit` for values in [0, 1], else `real`."""
    if p.size == 0 or p.min() < 0 or p.max() > 1:
        return "real"
    if p.ndim > 1 and p.shape[-1] > 1 and np.allclose(p.sum(-1), 1, atol=1e-3):
        return "simplex"
    return "unit"


def _other(p: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    kind = kind_of(p)
    if kind == "simplex":
        drawn = rng.gamma(0.6, size=p.shape) + 1e-6
        drawn = drawn / drawn.sum(-1, keepdims=True)
    elif kind == "unit":
        drawn = rng.uniform(0.02, 0.98, size=p.shape)
    else:
        drawn = p + rng.normal(size=p.shape) * spread_of(p)
    return drawn.astype(p.dtype)


def _shifted(p: np.ndarray, up: bool) -> np.ndarray:
    """All elements moved the same way: far up, or far down."""
    kind = kind_of(p)
    if kind == "unit":
        return np.full_like(p, 0.98 if up else 0.02)
    if kind == "simplex":
        favoured = np.zeros_like(p)
        favoured[..., 0 if up else -1] = 1
        return (0.1 * p + 0.9 * favoured).astype(p.dtype)
    size = np.abs(p).mean() + 2 * spread_of(p)
    return (p + (size if up else -size)).astype(p.dtype)


def spread_of(p: np.ndarray) -> float:
    """A typical size of a change of a prediction: its standard deviation, or its size, or 1."""
    wide = np.asarray(p, dtype="float64")
    for size in (wide.std() if wide.size > 1 else 0.0, np.abs(wide).mean() if wide.size else 0.0):
        if size > 0 and np.isfinite(size):
            return float(size)
    return 1.0


def is_piecewise_constant(
    run: Callable[[list[np.ndarray]], Sequence[np.ndarray]], operands: Sequence[np.ndarray]
) -> bool:
    """Whether nearly all that a function gives stays as it is when its operands move a little.

    Args:
        run: The function, from arrays to arrays.
        operands: Where it is looked at; what is no float stays.
    """
    rng = np.random.default_rng(0)
    moved = list(map(np.asarray, operands))
    for n, p in enumerate(moved):
        if p.dtype.kind == "f":  # by more than rounding takes away again
            size = np.maximum(1e-4 * spread_of(p), 8 * np.spacing(np.abs(p)))
            moved[n] = (p + size * rng.choice([-1, 1], p.shape)).astype(p.dtype)
    if not any(np.any(p != q) for p, q in zip(operands, moved, strict=True)):
        return False
    pairs = zip(run(list(operands)), run(moved), strict=True)
    same = [np.ravel(a == b) for a, b in pairs if np.asarray(a).dtype.kind == "f"]
    return bool(same and np.mean(np.concatenate(same)) > 0.9)


def probe(
    evaluate: Evaluate,
    prediction: Sequence[np.ndarray],
    rng: np.random.Generator,
    steps: int = STEPS,
) -> Probe:
    """Follows the function along a few lines from a prediction.

    Args:
        evaluate: Gives value and gradient at a prediction.
        prediction: The arrays that a gradient must reach.
        rng: Source of the directions.
        steps: How finely each line is followed. It is not chosen by the clock: the same seed
            gives the same probe on any machine.
    """
    result = Probe()
    start, _ = evaluate(prediction)
    far, near = targets(prediction, rng)
    doubtful = plain = 0
    for end in far:
        line = _Line(evaluate, prediction, end, start)
        disagreeing, regular = line.follow(steps)
        doubtful, plain = doubtful + disagreeing, plain + regular
        result.take(line)
        result.changes.append(line.change)
        result.promised.append(line.promise)
    result.inconsistent = doubtful / max(1, doubtful + plain)
    gaps = []
    for end in near:
        line = _Line(evaluate, prediction, end, start)
        line.follow(max(2, steps // 4))
        result.take(line)
        result.responds_nearby |= line.rises or line.falls
        gaps.append(line.gap)
    result.unexplained = float(np.median(gaps))
    return result


def follow_to(
    evaluate: Evaluate,
    prediction: Sequence[np.ndarray],
    ends: Iterable[Sequence[np.ndarray]],
    result: Probe,
    steps: int = STEPS,
) -> None:
    """Goes on with a probe that saw no response: to the first of some ends that has another value.

    Args:
        evaluate: Gives value and gradient at a prediction.
        prediction: The arrays that a gradient must reach.
        ends: Where to look.
        result: The probe; what is seen is added.
        steps: How finely the line is followed.
    """
    start, _ = evaluate(prediction)
    for end in ends:
        line = _Line(evaluate, prediction, end, start)
        value, _ = evaluate(end)
        if np.isfinite(value) and abs(value - start) > line.noise:
            line.follow(steps)
            result.take(line)
            return


class _Line:
    """The way from one prediction to another."""

    def __init__(
        self,
        evaluate: Evaluate,
        start: Sequence[np.ndarray],
        end: Sequence[np.ndarray],
        value: float,
    ) -> None:
        self._evaluate = evaluate
        self._start = start
        self._value = value
        self._way = [q.astype("float64") - p for p, q in zip(start, end, strict=True)]
        self.noise = 4e-6 * max(abs(value), 1e-3)
        self.highest = self.lowest = value
        self.change = self.promise = self.gap = 0.0
        self.jumps: list[Jump] = []

    @property
    def rises(self) -> bool:
        return self.highest > self._value + self.noise

    @property
    def falls(self) -> bool:
        return self.lowest < self._value - self.noise

    def at(self, t: float) -> tuple[float, float]:
        """Value, and its slope along the line as the gradient has it."""
        value, gradients = self._evaluate(self.point(t))
        slope = 0.0
        for way, gradient in zip(self._way, gradients, strict=True):
            if gradient is not None:
                slope += float(np.sum(way * gradient))
        return value, slope

    def point(self, t: float) -> tuple[np.ndarray, ...]:
        return tuple(
            (p + t * way).astype(p.dtype) for p, way in zip(self._start, self._way, strict=True)
        )

    def follow(self, steps: int) -> tuple[int, int]:
        """Goes along; gives how many steps disagree and agree with the gradient."""
        places = [i / steps for i in range(steps + 1)]
        seen = [self.at(t) for t in places]
        finite = [(v, s) for v, s in seen if np.isfinite(v) and np.isfinite(s)]
        if finite:
            self.highest = max(v for v, _ in finite)
            self.lowest = min(v for v, _ in finite)
            self.noise = max(self.noise, 4e-6 * max(abs(v) for v, _ in finite))
        rest = []
        for i in range(steps):
            (a, slope_a), (b, slope_b) = seen[i], seen[i + 1]
            if not np.all(np.isfinite([a, slope_a, b, slope_b])):
                continue
            promise = (slope_a + slope_b) / 2 / steps
            self.change, self.promise = self.change + b - a, self.promise + promise
            rest.append((abs(b - a - promise), i, b - a, promise))
        rest.sort(reverse=True)
        jumped = set()
        for size, i, _, _ in rest[:_JUMPS_PER_LINE]:
            if size > self.noise:
                jump = self._close_in(places[i], places[i + 1], seen[i], seen[i + 1], size)
                if jump is not None:
                    self.jumps.append(jump)
                    jumped.add(i)
        plain = [(r, change, promise) for r, i, change, promise in rest if i not in jumped]
        doubtful = sum(
            r > 0.2 * (abs(change) + abs(promise)) and r > self.noise
            for r, change, promise in plain
        )
        change, promise = (sum(step[n] for step in plain) for n in (1, 2))
        if abs(change - promise) > 8 * self.noise:
            self.gap = abs(change - promise) / (abs(change) + abs(promise))
        return doubtful, len(plain) - doubtful

    def _close_in(self, a: float, b: float, at_a: Any, at_b: Any, size: float) -> Jump | None:
        """Halves a step again and again, always keeping the half that is explained worse.

        A jump stays as large as it is; what a corner or a cusp leaves goes on shrinking.
        """
        sizes = []
        for _ in range(_HALVINGS):
            middle = (a + b) / 2
            at_middle = self.at(middle)
            left = self._unexplained(a, middle, at_a, at_middle)
            right = self._unexplained(middle, b, at_middle, at_b)
            if not np.isfinite(left + right):
                return None
            if left >= right:
                b, at_b = middle, at_middle
            else:
                a, at_a = middle, at_middle
            sizes.append(min(max(left, right), abs(at_b[0] - at_a[0])))
        if sizes[-1] < max(self.noise, size / 64, 0.4 * max(sizes[6:9])):
            return None
        return Jump(self.point(a), self.point(b), sizes[-1])

    @staticmethod
    def _unexplained(a: float, b: float, at_a: Any, at_b: Any) -> float:
        return abs(at_b[0] - at_a[0] - (b - a) * (at_a[1] + at_b[1]) / 2)


def smoothed_derivative(
    value: Callable[[Sequence[np.ndarray]], float],
    prediction: Sequence[np.ndarray],
    rng: np.random.Generator,
    samples: int = 128,
    width: float = 0.25,
) -> tuple[float, float]:
    """Norm and standard error of the gradient of E[f(x + s e)], e normal, by antithetic
    differences.

    The norm is that of the mean over samples with the sampling noise taken out: the products of two
    different samples have the squared norm as their expectation.

    Args:
        value: The function.
        prediction: Where.
        rng: Source of the noise.
        samples: Pairs of evaluations.
        width: s, in units of the prediction's spread.
    """
    rows = []
    for _ in range(samples):
        noise = [rng.normal(size=p.shape) for p in prediction]
        scales = [width * spread_of(p) for p in prediction]
        ends = [
            tuple(
                _inside(p, p + sign * s * e)
                for p, s, e in zip(prediction, scales, noise, strict=True)
            )
            for sign in (1.0, -1.0)
        ]
        difference = value(ends[0]) - value(ends[1])
        rows.append(
            np.concatenate(
                [np.ravel(e) * difference / (2 * s) for s, e in zip(scales, noise, strict=True)]
            )
        )
    drawn = np.asarray(rows)
    drawn = drawn[np.all(np.isfinite(drawn), axis=1)]
    if len(drawn) < 4:
        return float("nan"), float("nan")
    gram = drawn @ drawn.T
    return _norm(gram), _jackknife_error(gram)


def _inside(p: np.ndarray, moved: np.ndarray) -> np.ndarray:
    """Noise does not take a probability out of [0, 1]."""
    if kind_of(p) != "real":
        moved = np.clip(moved, 0.0, 1.0)
    return moved.astype(p.dtype)


def _norm(gram: np.ndarray) -> float:
    """The norm of the mean of independent vectors, from the products of each with each."""
    n = len(gram)
    squared = (gram.sum() - np.trace(gram)) / (n * (n - 1))
    return float(np.sqrt(max(0.0, squared)))


def _jackknife_error(gram: np.ndarray) -> float:
    n = len(gram)
    keep = [np.delete(np.arange(n), i) for i in range(n)]
    left_out = [_norm(gram[np.ix_(k, k)]) for k in keep]
    return float(np.sqrt((n - 1) * np.var(left_out)))
