"""What every rule is given beside its operands: the settings, and a way to run operations."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from keras import ops as K

from bevel import ops
from bevel.grain import UNKNOWN, Grain, Grains, are_relative
from bevel.program import Node
from bevel.soft import Real, Soft, as_float, value_of

# How much wider a step of a staircase is than that of a comparison. Chosen by descent: at 1 the
# middle of a stair is so flat that a quantised value stays where it is; at 3 it moves on.
STAIR = 3.0

# How many times as wide as others half of a step is, at a threshold that moves with what it
# divides. By descent: up to 10 it helps, above that peaks are lost among what is near them.
_WIDE = 10.0

# How many times the typical size a number has that stands for nothing, and where it is put instead,
# in units of the largest of the others: its weight is then below 1e-6.
_BEYOND = 10.0
_EDGE = 1e3

# A chance whose complement still has a logarithm with a usable derivative.
NEARLY_ONE = 1 - 1e-6


@dataclass(frozen=True)
class Call:
    """One node with the operands it meets.

    Attributes:
        node: The node.
        inputs: Its operands of any kind, in the framework's order.
        run: Runs a node on plain tensors by its own framework; gives a list.
        exact: Gives the hard value of an id, or None inside of a lifted operation.
    """

    node: Node
    inputs: Sequence[Any]
    run: Callable[[Node, Sequence[Any]], list[Any]]
    exact: Callable[[int], Any] | None = None

    @property
    def op(self) -> str:
        """The vocabulary's name of the operation."""
        return self.node.op

    @property
    def dtype(self) -> str:
        """The dtype that the user's program gives the first result."""
        return self.node.outputs[0].dtype

    @property
    def args(self) -> tuple[Any, ...]:
        """The operands in the vocabulary's order."""
        return tuple(self.inputs[i] for i in self.node.operands)

    def param(self, name: str) -> Any:
        """A parameter of the node, or None."""
        return self.node.param(name)

    def hard(self, position: int) -> Any:
        """The hard value of a vocabulary operand."""
        return self._hard_input(self.node.operands[position])

    def native(self, *values: Any) -> Any:
        """The framework's own first result, with `values` for the vocabulary's operands.

        The other operands are sizes and axes: those stay what the user's program makes them.
        """
        spoken_of = dict(zip(self.node.operands, values, strict=True))
        operands = [
            value_of(spoken_of[n]) if n in spoken_of else self._hard_input(n)
            for n in range(len(self.inputs))
        ]
        return self.run(self.node, operands)[0]

    def _hard_input(self, n: int) -> Any:
        if not isinstance(self.inputs[n], Soft) or self.exact is None:
            return value_of(self.inputs[n])
        return self.exact(self.node.inputs[n])


@dataclass(frozen=True)
class Context:
    """Settings of a relaxation and the interpreter behind it.

    Attributes:
        temperature: How soft; a number or a scalar tensor.
        kernel: Cumulative kernel of comparisons and roundings.
        chooses: Whether the program chooses between values, so that one of them may be infinite.
        apply: Runs a node on operands of any kind by the rules; gives a list.
        all_sum: The sum over all replicas, where a batch is spread over several.
        static: The array that a tensor holds for any input, or None.
        grains: How the operands of each node move with what is trained.
        shared: What was made in this run of this program, for tensors that it is known by.
    """

    temperature: Any
    kernel: str
    chooses: bool
    apply: Callable[[Node, Sequence[Any]], list[Any]]
    all_sum: Callable[[Any], Any] | None = None
    static: Callable[[Any], Any] = lambda _: None
    grains: Grains = field(default_factory=dict)
    large: float | None = None
    shared: dict[Any, tuple[Any, Any]] = field(default_factory=dict)

    def once(self, name: Any, tensor: Any, make: Callable[[], Any]) -> Any:
        """What was made of a tensor under a name, at the first time."""
        key = (name, id(tensor))
        if key not in self.shared:
            self.shared[key] = (tensor, make())  # the tensor too, lest another one gets its id
        return self.shared[key][1]

    def made(self, name: Any, tensor: Any) -> Any:
        """The same, or None if there is none."""
        return self.shared.get((name, id(tensor)), (None, None))[1]

    def grains_of(self, call: Call) -> list[Grain]:
        """How each operand of the vocabulary moves with what is trained."""
        known = self.grains.get(id(call.node))
        return [UNKNOWN if known is None else known[n] for n in call.node.operands]

    def step(self, d: Any, scale: Any) -> Any:
        """The chance that d > 0."""
        return ops.step(d, temperature=self.temperature, kernel=self.kernel, scale=scale)

    def crossing(self, call: Call, d: Any, scale: Any) -> Any:
        """The chance that d > 0, for an answer that the node gives to its operands.

        A threshold that is a summary of the very numbers it divides has a slope that all of them
        share, and near it that is larger than what a narrow step leaves to one far off: of such a
        step half is wide.
        """
        p = self.step(d, scale)
        if not are_relative(self.grains_of(call)):
            return p
        return 0.5 * p + 0.5 * self.step(d, _WIDE * scale)

    def bump(self, d: Any, scale: Any) -> Any:
        """The chance that d is 0."""
        return ops.equal(d, 0.0, temperature=self.temperature, kernel=self.kernel, scale=scale)

    def nearest(self, u: Any) -> tuple[Any, Any]:
        """The integer threshold nearest to u, and the chance that floor(u) is at or above it."""
        return ops.nearest_step(u, temperature=self.temperature, kernel=self.kernel, scale=STAIR)

    def mean(self, x: Any) -> Any:
        """The mean over a batch: over those of all replicas, where there are several."""
        if self.all_sum is None:
            return K.mean(x)
        count = K.cast(K.size(x), K.dtype(x))
        total, number = K.unstack(self.all_sum(K.stack([K.sum(x), count])))
        return total / K.maximum(number, 1.0)

    def spread(self, d: Any, x: Any = None, y: Any = None) -> Any:
        """The size of a typical difference, a constant for the gradient: the mean of |d|.

        A single number has no spread of its own: where it was cut from a larger tensor, the spread
        of that tensor counts, else the size of the operands. It is 1 where all of that is 0 or
        infinite.

        Args:
            d: The differences, a float tensor of any shape.
            x: The left operand, if any.
            y: The right operand, if any.
        """
        size = self._mean_of(K.abs(d), self._near(d))
        if self._is_single(d):
            wide = [v for v in (x, y) if origin_of(v) is not None]
            if wide:
                origin = whole_of(wide[0])
                other = y if wide[0] is x else x
                offset = 0.0 if other is None else K.reshape(as_float(value_of(other), d), ())
                size = self.mean(K.abs(as_float(origin, d) - offset))
            else:
                operands = [v for v in (x, y) if v is not None]
                sizes = [K.abs(K.reshape(as_float(value_of(v), d), ())) for v in operands]
                size = K.maximum(size, sum(sizes) / 2) if sizes else size
        return _usable(size)

    def spread_of_rows(self, x: Any, axis: int = -1) -> Any:
        """The same of the differences of numbers from the mean of their row along an axis."""
        near = self._near(x)
        if near is None:
            return self.spread(x - K.mean(x, axis=axis, keepdims=True))
        inside, counts = K.where(near, x, K.zeros_like(x)), K.cast(near, K.dtype(x))
        number = K.maximum(K.sum(counts, axis=axis, keepdims=True), 1)
        center = K.sum(inside, axis=axis, keepdims=True) / number
        return _usable(self._mean_of(K.abs(inside - center), near))

    def drawn_in(self, x: Any) -> Any:
        """Numbers to be put in order, where those that stand for nothing are no further off than
        is needed: with -1e9 or -inf among them no digits would be left for the others.
        """
        near = self._near(x)
        if near is None:
            return x
        edge = _EDGE * K.max(K.where(near, K.abs(x), K.zeros_like(x)))
        found = K.where(near, x, K.stop_gradient(K.sign(x) * edge))
        self.once("near", found, lambda: near)
        return found

    def _near(self, x: Any) -> Any:
        """Which numbers are not far beyond all others; None where the program knows of none that
        may be.

        Zeros and infinities have no part in what is typical.
        """
        if self.large is None:
            return None
        known = self.made("near", x)
        if known is not None:
            return known
        size = K.stop_gradient(K.abs(x))
        is_finite = size < math.inf
        counts = K.logical_and(is_finite, size > 0)
        typical = K.exp(self._mean_of(K.log(K.where(counts, size, K.ones_like(size))), counts))
        return K.logical_and(is_finite, size <= K.maximum(_BEYOND * typical, self.large))

    def _mean_of(self, x: Any, which: Any) -> Any:
        """The mean of those that count, over a batch; of all where that is not said."""
        if which is None:
            return self.mean(x)
        share = self.mean(K.cast(which, K.dtype(x)))
        total = self.mean(K.where(which, x, K.zeros_like(x)))
        return total / K.where(share > 0, share, K.ones_like(share))

    def _is_single(self, d: Any) -> bool:
        """Whether there is one number only; a replica may have one of many."""
        shape = tuple(d.shape)
        return not shape if self.all_sum is not None else all(n == 1 for n in shape)


def _usable(size: Any) -> Any:
    """A size to divide by, a constant for the gradient: 1 where it is 0, infinite or NaN."""
    usable = K.logical_and(size > 0, size < math.inf)
    return K.stop_gradient(K.where(usable, size, K.ones_like(size)))


def between(passed: Any) -> Any:
    """Chances of the cells between and beyond thresholds, from those of having passed each.

    Args:
        passed: The chances, falling along the last axis.
    """
    edge = K.ones_like(passed[..., :1])
    passed = K.concatenate([edge, passed, K.zeros_like(edge)], axis=-1)
    return passed[..., :-1] - passed[..., 1:]


def origin_of(value: Any) -> Any:
    """The larger tensor that a value was cut from, or None."""
    return value.origin if isinstance(value, Real) else None


def whole_of(value: Any) -> Any:
    """The larger tensor that a value was cut from, or computed from what was."""
    origin = origin_of(value)
    return origin() if callable(origin) else origin


def is_soft(value: Any) -> bool:
    """Whether a value depends on what is trained."""
    return isinstance(value, Soft)
