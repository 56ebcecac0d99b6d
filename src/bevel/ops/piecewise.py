"""Kernels made of polynomials, and the sums over sorted numbers that they turn into.

Between whole numbers of its own width a compact kernel is a polynomial. Let v = c + u be a number
with its whole part c and 0 <= u < 1. Against an element v' = c' + u' the difference is z = u - u' +
(c - c'), and

    P(z) = sum over m of Q_m(u) u'^m,   Q_m(u) = (-1)^m P^(m)(u + c - c') / m!,

so that a sum over neighbours in a sorted array needs the sums of w u'^m up to a few places only.
`terms` lists the places and the coefficients of those sums; no term is larger than its kernel, so
nothing cancels but what lies outside of the window.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import factorial
from typing import NamedTuple

import numpy as np
from numpy.polynomial import Polynomial

Coefficients = tuple[float, ...]

# Differences of coefficients below this are those of rounding.
_NOTHING = 1e-12


class Place(NamedTuple):
    """A place in a sorted array, seen from one of its elements.

    An `edge` comes before the first element that is not smaller than this one by more than `offset`
    units, a `cell` before the first one whose whole part is not smaller by more than that. `tie` 0
    comes before all that are equal to it and -1 after them; `row` 0 and 1 are where its row, or its
    segment of the row, starts and ends.
    """

    kind: str
    offset: int = 0

    @property
    def opposite(self) -> Place:
        """Where the elements end whose own such place does not come after this one."""
        return Place(self.kind, -self.offset if self.kind == "edge" else -1 - self.offset)


@dataclass(frozen=True)
class Piecewise:
    """A kernel in units of its own width: a polynomial in z on each of the cells around 0.

    Attributes:
        pieces: Ascending coefficients for [-h, -h + 1), ..., [h - 1, h), h of them on each side.
        beyond: The value for z >= h.
        below: The value for z < -h.
    """

    pieces: tuple[Coefficients, ...]
    beyond: float = 0.0
    below: float = 0.0

    @property
    def reach(self) -> int:
        """How far from 0 the kernel is not constant, in units."""
        return len(self.pieces) // 2

    @property
    def degree(self) -> int:
        """Of the highest power."""
        return max(len(p) for p in self.pieces) - 1

    @cached_property
    def derivative(self) -> Piecewise:
        """K'(z), inside of the pieces; a jump between two of them is not counted."""
        return Piecewise(tuple(tuple(Polynomial(p).deriv().coef) for p in self.pieces))

    @cached_property
    def mirrored(self) -> Piecewise:
        """K(-z)."""
        turned = tuple(tuple((-1) ** n * a for n, a in enumerate(p)) for p in reversed(self.pieces))
        return Piecewise(turned, self.below, self.beyond)

    def __call__(self, z: np.ndarray) -> np.ndarray:
        """The kernel itself at float64 numbers."""
        z = np.asarray(z, "float64")
        cell = np.clip(np.floor(z), -self.reach, self.reach - 1)
        value = np.zeros_like(z)
        for n, p in enumerate(self.pieces):
            value = np.where(cell == n - self.reach, Polynomial(p)(z), value)
        value = np.where(z >= self.reach, self.beyond, value)
        return np.where(z < -self.reach, self.below, value)

    @cached_property
    def terms(self) -> tuple[tuple[Place, int, Coefficients], ...]:
        """Places, powers m of u', and ascending coefficients in u of the sum up to there.

        Walking the sorted array, each stretch between two places has one polynomial; a place gets
        what ends there less what begins there.
        """
        h = self.reach
        stretches = [(Place("row", 0), self._constant(self.beyond))]
        for offset in range(h, -h, -1):
            piece = self.pieces[offset - 1 + h]
            stretches.append((Place("edge", offset), self._moments(piece, offset)))
            stretches.append((Place("cell", offset - 1), self._moments(piece, offset - 1)))
        stretches.append((Place("edge", -h), self._constant(self.below)))
        stretches.append((Place("row", 1), self._constant(0.0)))
        before = self._constant(0.0)
        terms = []
        for place, moments in stretches:
            for m, (old, new) in enumerate(zip(before, moments, strict=True)):
                change = (old - new).trim(_NOTHING)
                if np.any(change.coef != 0):
                    for at, share in self._at(place):
                        terms.append((at, m, tuple(share * float(a) for a in change.coef)))
            before = moments
        return tuple(terms)

    def _at(self, place: Place) -> tuple[tuple[Place, float], ...]:
        """Where a term is taken: at a jump at 0 midway, so that equal elements count half."""
        left, right = (Polynomial(p)(0.0) for p in self.pieces[self.reach - 1 : self.reach + 1])
        if place != Place("edge", 0) or abs(left - right) < _NOTHING:
            return ((place, 1.0),)
        return (Place("tie", 0), 0.5), (Place("tie", -1), 0.5)

    @cached_property
    def places(self) -> frozenset[Place]:
        """All that this kernel and its derivatives ask for."""
        own = frozenset(place for place, _, _ in self.terms)
        return own | self.derivative.places if self.degree > 0 else own

    def _moments(self, piece: Coefficients, offset: int) -> list[Polynomial]:
        """Q_m for one stretch, as polynomials in u."""
        shifted = Polynomial(piece)(Polynomial([offset, 1.0]))
        derivatives = (shifted.deriv(m) for m in range(self.degree + 1))
        return [Polynomial(q.coef) * ((-1) ** m / factorial(m)) for m, q in enumerate(derivatives)]

    def _constant(self, value: float) -> list[Polynomial]:
        return [Polynomial([value])] + [Polynomial([0.0])] * self.degree


@dataclass(frozen=True)
class Hinge:
    """factor max(0, 1 + sign z)^power: not compact, and not bounded.

    Attributes:
        power: 0, 1 or 2.
        factor: What it is multiplied by.
        sign: 1 where it rises to the right, -1 to the left.
    """

    power: int
    factor: float = 1.0
    sign: int = 1
    reach = 1
    places = frozenset({Place("edge", 1), Place("edge", -1), Place("row", 0), Place("row", 1)})

    @property
    def derivative(self) -> Hinge:
        """K'(z); at its corner that of the right side. The jump of power 0 is not counted."""
        power = max(self.power - 1, 0)
        return Hinge(power, self.factor * self.power * self.sign, self.sign)

    @property
    def mirrored(self) -> Hinge:
        """K(-z)."""
        return Hinge(self.power, self.factor, -self.sign)

    def __call__(self, z: np.ndarray) -> np.ndarray:
        """The kernel itself at float64 numbers."""
        left = 1 + self.sign * np.asarray(z, "float64")
        return self.factor * np.where(left < 0, 0.0, np.maximum(left, 0.0) ** self.power)


Shape = Piecewise | Hinge


class Kernel(NamedTuple):
    """A shape with its width: how many temperatures one of its units is."""

    width: float
    shape: Shape


_LINEAR, _QUADRATIC, _CUBIC = 2.754930618251, 4.141545463441, 3.677537359367

KERNELS: dict[str, Kernel] = {
    "linear": Kernel(_LINEAR, Piecewise(((0.5, 0.5),) * 2, beyond=1.0)),
    "quadratic": Kernel(_QUADRATIC, Piecewise(((0.5, 1.0, 0.5), (0.5, 1.0, -0.5)), beyond=1.0)),
    "cubic": Kernel(_CUBIC, Piecewise(((0.5, 0.75, 0.0, -0.25),) * 2, beyond=1.0)),
    "triangular": Kernel(_QUADRATIC, Piecewise(((1.0, 1.0), (1.0, -1.0)))),
    "epanechnikov": Kernel(_CUBIC, Piecewise(((1.0, 0.0, -1.0),) * 2)),
    "hinge": Kernel(1.0, Hinge(1)),
    "squared_hinge": Kernel(1.0, Hinge(2)),
}
"""The kernels by name. The first three rise from 0 to 1 and are stretched as those of `kernels`
are; the two bumps are derivatives of the second and third, scaled to 1 at 0."""
