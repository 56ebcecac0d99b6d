"""What an operand can be while a program is relaxed: a plain tensor, or one of these soft values.

A plain tensor does not depend on what is trained. A soft value does, and stands for something that
the user's program computes hard:

    Real      a float that varies smoothly, or a count: an integer known by its expectation
    Prob      a bool, or a bool turned into 0 and 1, by the chance that it is true
    Mixture   a number that is one of a few values, each with a chance: a sign, a branch, a rounding
    Index     an integer that picks one of n, as weights over n on one more axis at the end
    Rounded   a number rounded to an integer, not yet looked at
    Stacked   several of these put side by side on one axis
    Selected  the rows that a soft mask picks, each with its chance: how many there are is soft

Elementwise operations act on each possible value; sums and everything else take the expectation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import Any

import numpy as np
from keras import ops as K

from bevel.errors import BevelTypeError

MAX_ATOMS = 8


class Soft:
    """A value that depends on what is trained. `dtype` is the one the user's program gave it."""

    dtype: str

    @cached_property
    def mean(self) -> Any:
        """The expectation, a float tensor of the value's shape."""
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class Elements:
    """Elements of a tensor.

    Attributes:
        root: The tensor.
        which: Gives their numbers in it, in the shape of what holds them; None where that is not
            known, as of what lies between two of them.
        by_value: Whether it was their order that told which.
    """

    root: Any
    which: Callable[[], Any] | None
    by_value: bool = False


@dataclass(frozen=True, eq=False)
class Real(Soft):
    """A float, or an integer count known by its expectation.

    Attributes:
        tensor: The value, floating-point (a variant for a list of tensors inside a loop).
        dtype: As in the user's program.
        origin: The larger tensor it was cut from, whose spread a single number has not; or, of
            what was computed from such a number, a function that gives it.
        extreme: Of a largest or smallest value: of what, along which axis, and `argmax` or
            `argmin`, softly.
        opposite: The number that this one is the negative of, if it was computed so.
        index: Of a rank, gives the weights of its possible values, an `Index`.
        shape_of: Of the shape of picked rows: the rows.
        elements: Of what was taken from a larger tensor, which of its elements.
        apart: Of a difference: what from what.
        clamped: Of what is kept between two bounds: what, and the bounds.
        parts: Of a share of whole numbers, how many parts make one.
        held: Gives where it does not move with the prediction: a bound or a mask holds it there.
    """

    tensor: Any
    dtype: str
    origin: Any = None
    extreme: tuple[Soft, int, Any] | None = None
    opposite: Real | None = None
    index: Callable[[], Index] | None = None
    shape_of: Selected | None = None
    elements: Elements | None = None
    apart: tuple[Real, Real] | None = None
    clamped: tuple[Real, Any, Any] | None = None
    parts: Any = None
    held: Callable[[], Any] | None = None

    @property
    def mean(self) -> Any:
        return self.tensor

    @property
    def is_count(self) -> bool:
        """Whether the user's program holds an integer here."""
        return "int" in self.dtype


class Mixture(Soft):
    """One of a few values: pairs of a chance and a value (a tensor, or a `Real` that varies
    itself).

    Chances and expectation are computed when asked for: a sum needs one, a square the others.

    Attributes:
        derived: How it was computed from a rounded number, if it was: the two integers nearest to
            that may lie on the same side of a comparison.
    """

    def __init__(
        self,
        atoms: Callable[[], list[tuple[Any, Any]]],
        count: int,
        dtype: str,
        mean: Callable[[], Any] | None = None,
    ) -> None:
        self._make_atoms = atoms
        self._make_mean = mean
        self.count = count
        self.dtype = dtype
        self.derived: Derived | None = None

    @cached_property
    def atoms(self) -> list[tuple[Any, Any]]:
        return self._make_atoms()

    @cached_property
    def mean(self) -> Any:
        if self._make_mean is not None:
            return self._make_mean()
        return expectation([(w, value_of(v)) for w, v in self.atoms])


class Prob(Soft):
    """A truth value by its chance, or a 0 and 1 made from it.

    Attributes:
        p: The chance, a float tensor.
        exact: Gives the hard truth, for an event that almost never happens (two floats being
        equal):
            whoever branches on it takes the hard truth.
        passes: Of an `all` or `any` of many elements, gives whether they agree: as a check that
            every element passes.
        asked: What was asked of a mixture, such as whether it is NaN: that mixture, and the answer
            for each of its values.
    """

    def __init__(
        self,
        p: Any,
        dtype: str = "bool",
        exact: Callable[[], Any] | None = None,
        passes: Callable[[], Any] | None = None,
        asked: tuple[Mixture, Sequence[Any]] | None = None,
    ) -> None:
        self.p = p
        self.dtype = dtype
        self.exact = exact
        self.passes = passes
        self.asked = asked

    @property
    def mean(self) -> Any:
        return self.p

    @cached_property
    def atoms(self) -> list[tuple[Any, Any]]:
        no, yes = (K.convert_to_tensor(v, dtype=self.dtype) for v in (False, True))
        return [(1 - self.p, no), (self.p, yes)]

    def hard(self) -> Any:
        """The truth itself."""
        return self.exact() if self.exact else self.p > 0.5


@dataclass(frozen=True, eq=False)
class Order:
    """The positions of the largest elements, whose weights are n x n: made when asked for.

    Attributes:
        make: Gives the weights, shape of the positions + (n,).
        sorted: What was sorted, shape (..., n).
        values: What is found at the positions, exactly.
        ranks: Gives the rank of every element, counted from 0 for the largest, softly; None where
            the positions are not those of all elements.
        found: The values as a soft value, where more is known of them than their expectation.
        between: Gives how likely each element has a rank from one number up to below another,
            without weights; None where those cost little.
        places: The ranks along the last axis of the positions, if they are known.
        elements: Which elements the values are.
    """

    make: Callable[[], Any]
    sorted: Real
    values: Any
    ranks: Callable[[], Any] | None = None
    found: Soft | None = None
    between: Callable[[int, int], Any] | None = None
    places: np.ndarray | None = None
    elements: Elements | None = None

    @cached_property
    def weights(self) -> Any:
        return self.make()

    @cached_property
    def members(self) -> Any:
        """How likely each element is at one of the positions, without weights; None if those are
        needed: the positions are not all ranks between two numbers.
        """
        if self.between is None or self.places is None or not self.places.size:
            return None
        first, last = int(self.places.min()), int(self.places.max())
        if len(np.unique(self.places)) != self.places.size or last - first >= self.places.size:
            return None
        return self.between(first, last + 1)


class Index(Soft):
    """An integer (or what was computed from it) that is one of n values.

    Attributes:
        weights: Chances, shape of the value + (n,).
        support: The n values, shape (n,) or the value's + (n,): a tensor, or a `Real`.
        is_position: Whether the support is 0 ... n-1 itself.
        order: Of the positions of a sort, or what was computed from them, that sort.
        source: What two values that move together have in common.
        among: Of a position among the rows that a mask picks, the chances of the mask.
    """

    def __init__(
        self,
        weights: Any,
        support: Any,
        dtype: str,
        is_position: bool = False,
        mean: Callable[[], Any] | None = None,
        among: Any = None,
    ) -> None:
        self.among = among
        self.source = weights
        self.order = weights if isinstance(weights, Order) else None
        self.support = support
        self.dtype = dtype
        self.is_position = is_position
        self._make_mean = mean

    @property
    def weights(self) -> Any:
        return self.source if self.order is None else self.order.weights

    @cached_property
    def mean(self) -> Any:
        if self._make_mean is not None:
            return self._make_mean()
        return weighted(self.weights, value_of(self.support), -1)


class Rounded(Soft):
    """floor(u) of a real u, kept so that it can be compared on u's own scale.

    Attributes:
        u: A float tensor.
        origin: The larger tensor that u was cut from, if any.
        window: As an `Index` over many integers, once it was asked for.
    """

    window: Any = None

    def __init__(
        self, u: Any, dtype: str, nearest: Callable[[Any], Any], origin: Any = None
    ) -> None:
        self.u = u
        self.dtype = dtype
        self.origin = origin
        self._nearest = nearest

    @property
    def derived(self) -> Derived:
        return Derived(self, lambda values, fit: K.cast(values, self.dtype), True)

    @cached_property
    def _step(self) -> tuple[Any, Any]:
        return self._nearest(self.u)

    @cached_property
    def mean(self) -> Any:
        k, p = self._step
        return k - 1 + p

    @property
    def mixture(self) -> Mixture:
        """The two integers that u is nearest to, with their chances."""
        k, p = self._step
        low, high = (K.cast(v, self.dtype) for v in (k - 1, k))
        return Mixture(lambda: [(1 - p, low), (p, high)], 2, self.dtype, lambda: self.mean)


@dataclass(frozen=True)
class Derived:
    """How a value was computed, element by element, from one rounded number.

    Attributes:
        source: The rounded number.
        at: What the value would be at other integers than the two nearest: a function of those, and
            of what fits the other operands to their shape.
        is_shift: Whether it is the integer itself, moved and bounded alike for every element.
    """

    source: Rounded
    at: Callable[[Any, Callable[[Any], Any]], Any]
    is_shift: bool


class Stacked(Soft):
    """Values side by side on one axis; an operation that takes positions takes them apart."""

    def __init__(self, parts: Sequence[Any], axis: int, dtype: str) -> None:
        self.parts = list(parts)
        self.axis = axis
        self.dtype = dtype

    @cached_property
    def mean(self) -> Any:
        floats = [value_of(p) for p in self.parts if isinstance(p, Soft)]
        return K.stack([as_float(value_of(p), floats[0]) for p in self.parts], axis=self.axis)


class Selected(Soft):
    """The rows that a mask picks: all of them, each with the chance that it is picked.

    Attributes:
        rows: A tensor or a soft value; its first axis is that of the chances.
        p: The chances, shape (n,).
        among: Of positions among rows that another mask has picked, the chances of that mask.
    """

    def __init__(self, rows: Any, p: Any, dtype: str, among: Any = None) -> None:
        self.rows = rows
        self.p = p
        self.dtype = dtype
        self.among = among

    @property
    def mean(self) -> Any:
        raise BevelTypeError(
            "the number of rows depends on the prediction, so they are no tensor; sum or average "
            "them."
        )


def value_of(value: Any) -> Any:
    """The expectation of a soft value, a plain tensor itself."""
    return value.mean if isinstance(value, Soft) else value


def as_float(value: Any, like: Any) -> Any:
    """A tensor in the float dtype of another one."""
    return K.cast(value, K.dtype(like) if "float" in K.dtype(like) else "float32")


def atoms_of(value: Prob | Mixture | Rounded) -> list[tuple[Any, Any]]:
    """Chances and values of anything that is one of a few values."""
    return value.mixture.atoms if isinstance(value, Rounded) else value.atoms


def expectation(atoms: Sequence[tuple[Any, Any]]) -> Any:
    """The sum of chance times value, where a value that is not finite counts only if it is
    likeliest.

    A branch that is not taken may be infinite or NaN; it is replaced by the likeliest value, so
    that it reaches neither the result nor a gradient. Where the likeliest one is not finite, it is
    the result, without a gradient.
    """
    weights = [w for w, _ in atoms]
    values = [as_float(v, w) for w, v in atoms]
    likeliest, best = values[0], weights[0]
    for weight, value in zip(weights[1:], values[1:], strict=True):
        tied = K.logical_and(weight == best, K.logical_not(K.isfinite(likeliest)))
        likeliest = K.where(K.logical_or(weight > best, tied), value, likeliest)
        best = K.maximum(best, weight)
    is_finite = K.isfinite(likeliest)
    stand_in = K.where(is_finite, likeliest, K.zeros_like(likeliest))
    total = 0.0
    for weight, value in zip(weights, values, strict=True):
        total = total + weight * K.where(K.isfinite(value), value, stand_in)
    return K.where(is_finite, total, likeliest)


def weighted(weights: Any, values: Any, axis: int) -> Any:
    """The sum of chance times value along an axis.

    As in `expectation`, a value that is not finite counts only where it is likeliest.

    Args:
        weights: Chances, float.
        values: A tensor that broadcasts to them.
        axis: Where the possible values lie.
    """
    if "float" not in K.dtype(values):
        return K.sum(weights * as_float(values, weights), axis=axis)
    values = as_float(values, weights)
    is_finite = K.isfinite(values)
    total = K.sum(weights * K.where(is_finite, values, 0.0), axis=axis)
    kept = K.sum(K.where(is_finite, weights, 0.0), axis=axis)
    lost = K.sum(K.where(is_finite, 0.0, weights), axis=axis)
    total = total + total * lost / K.where(kept > 0, kept, 1.0)
    is_likeliest = K.stop_gradient(weights == K.max(weights, axis=axis, keepdims=True))
    return total + K.sum(
        K.where(K.logical_and(is_likeliest, K.logical_not(is_finite)), values, 0.0), axis=axis
    )


def combine(results: Sequence[tuple[Any, Any]], dtype: str, mean: Any = None) -> Soft:
    """One value out of what an operation gave for each possible value of an operand.

    Args:
        results: Chances, and what was given.
        dtype: The dtype in the user's program.
        mean: Gives the expectation, where there is a better way than to sum over the values.
    """
    if dtype == "bool":
        chances = [(w, chance(r, like=w)) for w, r in results]
        if any(isinstance(r, Soft) for _, r in results):  # of a NaN, unlike a hard truth
            return Prob(expectation(chances))
        return Prob(sum(w * p for w, p in chances))
    mean = mean or (lambda: expectation([(w, value_of(r)) for w, r in results]))
    count = sum(_count(r) for _, r in results)
    if count > MAX_ATOMS:
        return Real(mean(), dtype)
    return Mixture(lambda: _flat(results, dtype), count, dtype, mean)


def _count(result: Any) -> int:
    """How many possible values a value adds to those of a mixture."""
    if isinstance(result, Mixture):
        return result.count
    return 2 if isinstance(result, Prob | Rounded) else 1


def _flat(results: Sequence[tuple[Any, Any]], dtype: str) -> list[tuple[Any, Any]]:
    flat: list[tuple[Any, Any]] = []
    best = reduce(K.maximum, (w for w, _ in results))
    for weight, result in results:
        if isinstance(result, Prob | Mixture | Rounded):
            shares = atoms_of(result)
            for share, value in shares:
                # the chances of a NaN are NaN: they show only where it is likeliest
                is_hidden = K.logical_and(K.isnan(share), weight < best)
                even = K.full_like(share, 1 / len(shares))
                flat.append((weight * K.where(is_hidden, even, share), value))
        elif isinstance(result, Soft) and not isinstance(result, Real):
            flat.append((weight, Real(result.mean, dtype)))
        else:
            flat.append((weight, result))
    return flat


def chance(truth: Any, like: Any) -> Any:
    """The chance of a truth value, hard or soft, as a float tensor."""
    return truth.p if isinstance(truth, Prob) else as_float(value_of(truth), like)
