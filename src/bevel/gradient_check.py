"""`check_gradient`: is a declared gradient the derivative of what it is declared for?

Finite differences at one point cannot tell: they see neither a step nor a branch a little further
on. Each element x_j is moved by random lengths t around several widths; two slopes are compared,

    (f(x + t e_j) - f(x - t e_j)) / 2t    and    the mean of g_j between x - t e_j and x + t e_j,

which are equal for every t if g is the derivative of f, corners included. The second is drawn at
random places, so the difference of the two comes with a standard error.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bevel import frontends
from bevel.errors import BevelTypeError, BevelValueError
from bevel.frontends.arguments import select
from bevel.probing import spread_of

WIDTHS = (0.01, 0.1, 0.5)

_DRAWS = 16
_ELEMENTS = 24
_TINY = 0.05  # a disagreement below this share of the gradient's size is none


@dataclass(frozen=True)
class ElementCheck:
    """One element at one width.

    Attributes:
        index: Its place in the argument.
        width: How far it was moved, in units of the argument's spread.
        declared: The mean of the declared gradient.
        measured: The mean slope of the value.
        error: Standard error of the difference between the two.
    """

    index: tuple[int, ...]
    width: float
    declared: float
    measured: float
    error: float

    @property
    def gap(self) -> float:
        return abs(self.declared - self.measured)


@dataclass(frozen=True)
class GradientCheck:
    """What was found.

    Attributes:
        verdict: `agrees`, `disagrees`, `straight-through` (the value is piecewise constant, so its
            derivative is 0 and another gradient was declared on purpose) or `missing` (the value
            responds, and there is no gradient).
        cosine: Between declared and measured, over all elements at the largest width.
        slope: How many times as large as declared the measured derivative is.
        elements: What was measured.
        worst: The element that disagrees most.
    """

    verdict: str
    cosine: float
    slope: float
    elements: tuple[ElementCheck, ...]
    worst: ElementCheck

    @property
    def ok(self) -> bool:
        """Whether the gradient is the derivative."""
        return self.verdict == "agrees"

    def __str__(self) -> str:
        w = self.worst
        at = (
            f"worst at index {w.index}, width {w.width:g}: declared {w.declared:.4g}, measured "
            f"{w.measured:.4g} +- {w.error:.1g}"
        )
        if self.verdict == "agrees":
            return f"the gradient is the derivative, as far as can be measured; {at}"
        if self.verdict == "missing":
            return f"the value responds, and no gradient is declared; {at}"
        if self.verdict == "straight-through":
            return (
                "not the derivative, by design: the value is piecewise constant; the declared "
                f"gradient agrees in direction with the smoothed one: cosine {self.cosine:.2f}"
            )
        return (
            f"the gradient is not the derivative: that is {self.slope:.3g} times as large (cosine "
            f"{self.cosine:.2f}); {at}"
        )


def check_gradient(
    fn: Callable[..., Any],
    *args: Any,
    wrt: Any = None,
    widths: Sequence[float] = WIDTHS,
    seed: int = 0,
    **kwargs: Any,
) -> GradientCheck:
    """Holds the gradient that a framework gives for a function against its slope.

    Args:
        fn: A function of tensors; what it returns is averaged.
        *args: Its arguments.
        wrt: The argument to look at, by name or position; by default the parameter `y_pred` where
            there is one, else the last positional argument (in `(logits, target)` the names tell
            which is meant).
        widths: How far elements are moved, in units of the argument's spread.
        seed: Seeds the lengths and the choice of elements (at most 24 are looked at).
        **kwargs: Arguments by name.

    Returns:
        The verdict, with every element that was looked at.

    Raises:
        BevelValueError: A width is not positive, or more than one argument is named.
        BevelTypeError: The argument holds no floats.

    Example:
        >>> import numpy as np, tensorflow as tf
        >>> @tf.custom_gradient
        ... def cube(x):
        ...     return x**3, lambda upstream: -3 * x**2 * upstream
        >>> print(check_gradient(cube, np.array([1.0, 2.0], "float32")).verdict)
        disagrees
    """
    if not widths or any(not np.isfinite(w) or w <= 0 for w in widths):
        raise BevelValueError(f"`widths` must be positive numbers; got {list(widths)}.")
    frontend, executor = frontends.frontend(), frontends.executor()
    call = frontend.arguments(fn, args, kwargs)
    places = select(call, wrt)
    if len(places) != 1:
        raise BevelValueError(f"`wrt` must name one array; it names {len(places)}.")
    (place,) = places
    start = np.asarray(call.leaves[place])
    if start.dtype.kind != "f" or not start.size:
        raise BevelTypeError(
            f"`{call.names[place]}` has dtype {start.dtype} and shape {start.shape}; expected "
            "floats, at least one."
        )

    def computed(*leaves: Any) -> Any:
        positional, named = call.rebuild(leaves)
        return fn(*positional, **named)

    run = executor.value_and_gradient(computed, (place,), compiled=True)
    try:
        run(call.leaves)
    except Exception:  # Python code that needs values; as it is, it may well run
        run = executor.value_and_gradient(computed, (place,), compiled=False)

    def at(point: np.ndarray) -> tuple[float, np.ndarray]:
        leaves = list(call.leaves)
        leaves[place] = point.astype(start.dtype)
        value, (gradient,) = run(leaves)
        return value, np.zeros(start.shape) if gradient is None else np.asarray(gradient)

    rng = np.random.default_rng(seed)
    chosen = rng.permutation(start.size)[:_ELEMENTS]
    size = spread_of(start)
    elements = [
        _element(at, start, np.unravel_index(int(j), start.shape), width, width * size, rng)
        for width in widths
        for j in chosen
    ]
    return _judged(elements, max(widths))


def _element(
    at: Callable[[np.ndarray], tuple[float, np.ndarray]],
    start: np.ndarray,
    index: tuple[Any, ...],
    width: float,
    scale: float,
    rng: np.random.Generator,
) -> ElementCheck:
    def moved(by: float) -> np.ndarray:
        point = start.astype("float64")
        point[index] += by
        return point

    declared, measured = [], []
    # the places in between are spread evenly, so that a corner is met as often as it should be
    places = (rng.permutation(_DRAWS) + rng.random(_DRAWS)) / _DRAWS
    for t, share in zip(scale * rng.uniform(0.5, 1.5, _DRAWS), places, strict=True):
        # what float32 keeps of the move is the move
        up, down = (moved(sign * t).astype(start.dtype) for sign in (1, -1))
        between = share * t
        step = float(up[index]) - float(down[index])
        measured.append((at(up)[0] - at(down)[0]) / step)
        declared.append(np.mean([at(moved(sign * between))[1][index] for sign in (1, -1)]))
    error = float(np.std(np.subtract(measured, declared), ddof=1) / np.sqrt(_DRAWS))
    place = tuple(int(i) for i in index)
    return ElementCheck(place, width, float(np.mean(declared)), float(np.mean(measured)), error)


def _judged(elements: Sequence[ElementCheck], widest: float) -> GradientCheck:
    wide = [e for e in elements if e.width == widest]
    declared = np.array([e.declared for e in wide])
    measured = np.array([e.measured for e in wide])
    lengths = np.linalg.norm(declared) * np.linalg.norm(measured)
    cosine = float(declared @ measured / lengths) if lengths else 0.0
    slope = float(declared @ measured / (declared @ declared)) if np.any(declared) else np.inf
    scale = max(max(abs(e.declared), abs(e.measured)) for e in elements)
    worst = max(elements, key=lambda e: e.gap - 4 * e.error)
    apart = [e for e in elements if e.gap > 4 * e.error + _TINY * scale]
    narrow = [e for e in elements if e.width < widest] or wide
    if not any(e.declared for e in elements) and any(e.measured for e in elements):
        verdict = "missing"
    elif not apart:
        verdict = "agrees"
    elif any(e.declared for e in narrow) and _mostly_flat(narrow):
        verdict = "straight-through"
    else:
        verdict = "disagrees"
    return GradientCheck(verdict, cosine, slope, tuple(elements), worst)


def _mostly_flat(elements: Sequence[ElementCheck]) -> bool:
    """Whether the value does not respond at all near most elements, as between two steps."""
    narrowest = min(e.width for e in elements)
    near = [e for e in elements if e.width == narrowest]
    return sum(e.measured == 0 for e in near) > len(near) / 2
