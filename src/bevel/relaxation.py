"""`relax`: from a metric to a function with the same signature that a gradient passes through.

The function is traced once per signature, its program is run by the interpreter
(`bevel.interpreter`) with the rule table (`bevel.rules`), and the result is compiled graph code in
the user's framework.
"""

from __future__ import annotations

import functools
import inspect
import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import keras

from bevel import frontends
from bevel.accumulating import is_accumulating
from bevel.backend import dtype_name, is_concrete, is_float, to_numpy
from bevel.broadcasting import check_broadcasts
from bevel.errors import (
    BevelError,
    BevelTypeError,
    BevelValueError,
    ConstantWarning,
    StateWarning,
    excerpt,
    printable,
)
from bevel.frontends.arguments import Arguments, select
from bevel.program import Program
from bevel.stateless import pure

KERNELS = ("logistic", "arctan", "algebraic", "linear", "gaussian")
FORWARDS = ("soft", "hard")
ON_UNKNOWN = ("error", "keep")

# Ways through a function that branches on values, whose interpretation is kept.
_MOST_WAYS = 8


def relax(
    fn: Callable[..., Any],
    *,
    temperature: Any = 0.1,
    kernel: str = "algebraic",
    forward: str = "soft",
    wrt: Any = None,
    on_unknown: str = "error",
) -> Any:
    """Makes a function trainable without touching its code.

    Args:
        fn: A function of tensors, such as a metric `(y_true, y_pred)`; a metric object of Keras
            or torchmetrics, which is taken as its value of one batch and not changed; or a Keras
            layer, which becomes a layer that is relaxed in training and hard in inference
            (`bevel.relaxed_layer.RelaxedLayer`).
        temperature: How soft: a number >= 0, or a scalar tensor or variable that may change without
            a new trace. It has no unit: each comparison is measured against the spread of what it
            compares. 0 is the hard function itself.
        kernel: What a step becomes: `logistic`, `arctan`, `algebraic`, `linear` or `gaussian`. The
            default has a heavy tail, so a mistake that is far off still gets a gradient.
        forward: `soft` returns the surrogate's value, `hard` the exact value with the surrogate's
            gradient (a straight-through estimator).
        wrt: What is trained: a parameter's name, a position, or several; by default the parameter
            `y_pred` where there is one, else the last positional argument (in `(logits, target)`
            the names tell which is meant).
        on_unknown: `error` raises at an operation without a rule, `keep` runs it as it is and takes
            it as a constant.

    Returns:
        A callable with the same signature, which returns the same structure.

    Raises:
        BevelValueError: An argument cannot be used.
        BevelTypeError: `fn` is not callable.

    Example:
        >>> import numpy as np, tensorflow as tf
        >>> def accuracy(y_true, y_pred):
        ...     return tf.reduce_mean(tf.cast((y_pred > 0.5) == (y_true > 0.5), "float32"))
        >>> soft = relax(accuracy)
        >>> y, p = np.array([0.0, 1.0], "float32"), tf.constant([0.4, 0.2])
        >>> with tf.GradientTape() as tape:
        ...     tape.watch(p)
        ...     value = soft(y, p)
        >>> [float(g) for g in tf.sign(tape.gradient(value, p))]
        [-1.0, 1.0]
    """
    if isinstance(fn, keras.layers.Layer):
        from bevel.relaxed_layer import RelaxedLayer

        if wrt is not None:
            raise BevelValueError("`wrt` is not for layers: their inputs and weights are trained.")
        return RelaxedLayer(fn, temperature, kernel, forward, on_unknown)
    if not callable(fn) and not is_accumulating(fn):
        raise BevelTypeError(f"`fn` must be a function; got {type(fn).__name__}.")
    if inspect.isclass(fn):
        raise BevelTypeError(
            f"`fn` must be a function; got the class {fn.__name__}.", help="pass an instance"
        )
    _check_temperature(temperature)
    for name, value, choices in (
        ("kernel", kernel, KERNELS),
        ("forward", forward, FORWARDS),
        ("on_unknown", on_unknown, ON_UNKNOWN),
    ):
        if value not in choices:
            raise BevelValueError(f"`{name}` must be one of {', '.join(choices)}; got {value!r}.")
    return Relaxed(fn, temperature, kernel, forward, wrt, on_unknown)


@keras.saving.register_keras_serializable(package="bevel")
class Relaxed:
    """A relaxed function; made by `relax`.

    As the loss of a compiled model it is saved with it; the function must then be registered with
    `keras.saving.register_keras_serializable`, and `bevel.relax` imported before loading.
    """

    # AutoGraph leaves alone what carries this attribute.
    autograph_info__: ClassVar[None] = None

    def __init__(
        self,
        fn: Callable[..., Any],
        temperature: Any,
        kernel: str,
        forward: str,
        wrt: Any,
        on_unknown: str,
    ) -> None:
        self.fn = fn
        self._pure = pure(fn)
        self.temperature = temperature
        self.kernel = kernel
        self.forward = forward
        self.wrt = wrt
        self.on_unknown = on_unknown
        self._made: dict[Any, tuple[Callable[..., Any], Callable[..., Any]]] = {}
        self._seen: dict[Any, tuple[Any, ...] | None] = {}
        self._ways: list[tuple[Any, Any]] = []  # through a function that branches on values
        self._earlier: list[Any] = []
        functools.update_wrapper(self, fn, updated=())
        if not hasattr(self, "__name__"):
            self.__name__ = type(fn).__name__

    def __repr__(self) -> str:
        return f"<relaxed {self.__name__}, temperature={self.temperature}, kernel={self.kernel}>"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The relaxed value, in the structure that the function returns."""
        return frontends.executor().called(self._run, args, kwargs)

    def _run(self, *args: Any, **kwargs: Any) -> Any:
        frontend = frontends.frontend()
        call = frontend.arguments(self._pure, args, kwargs)
        executor = frontends.executor()
        if executor.in_graph():
            # it becomes a part of the user's graph, compiled as that graph is; a loop is traced
            # otherwise for XLA, which wants to know how long it may last
            plain, _ = self._made_for(call, tuple(map(frontend.spec, call.leaves)))
            return plain(*call.leaves)
        compiled = self._for_any_batch(call)
        try:
            return compiled(*call.leaves)
        except BevelError:
            raise
        except Exception:
            self._refuse(call)
            raise

    def _made_for(self, call: Arguments, specs: Sequence[Any]) -> tuple[Any, Any]:
        """The interpretation for these shapes, as it is and compiled; made once."""
        executor = frontends.executor()
        key = (call.key, specs, executor.in_xla())
        if key in self._made:
            return self._made[key]
        given = call if frontends.needs_values() else replace(call, leaves=specs)
        trace, trained = self._traced(given)
        for known, made in self._ways:
            if known is trace:
                return made
        plain = self._interpretation(trace, trained, [])
        state = None if isinstance(self.temperature, int | float) else self._softness
        made = plain, executor.function(plain, state=state)
        if frontends.depends_on_values(trace):
            self._ways = [*self._ways, (trace, made)][-_MOST_WAYS:]
        else:
            self._made[key] = made
        return made

    def _for_any_batch(self, call: Arguments) -> Callable[..., Any]:
        """The compiled interpretation; lengths that were seen to vary are left open, if possible,
        so that not every size of a batch is traced anew.
        """
        specs = tuple(map(frontends.frontend().spec, call.leaves))
        kind = (call.key, tuple(map(frontends.frontend().kind, specs)))
        known = self._seen.get(kind, specs)
        if known is not None:
            wide = tuple(map(frontends.frontend().common_spec, known, specs))
            if wide == known or wide == specs:
                self._seen[kind] = wide
                return self._made_for(call, wide)[1]
            try:
                _, compiled = self._made_for(call, wide)
                frontends.executor().prepare(compiled, wide)
            except BevelError:
                self._seen[kind] = None  # something needs to know the lengths
            else:
                self._seen[kind] = wide
                return compiled
        return self._made_for(call, specs)[1]

    def _refuse(self, call: Arguments) -> None:
        """After an error on values: raises one that names the user's line, if the hard function
        fails on them too.
        """
        from bevel.recording import record

        trace = frontends.frontend().trace_call(self._pure, call)
        record(trace.program, [*call.leaves, *trace.captured], (), frontends.executor())

    def get_config(self) -> dict[str, Any]:
        """For Keras, which writes a compiled loss into a model's file; the function by its name."""
        return {
            "fn": keras.saving.serialize_keras_object(self.fn),
            "temperature": float(keras.ops.convert_to_numpy(keras.ops.copy(self.temperature))),
            "kernel": self.kernel,
            "forward": self.forward,
            "wrt": self.wrt,
            "on_unknown": self.on_unknown,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Relaxed:
        """The relaxed function that `get_config` describes; its function must be registered."""
        return relax(
            keras.saving.deserialize_keras_object(config["fn"]),
            **{k: v for k, v in config.items() if k != "fn"},
        )

    def explain(self, *args: Any, **kwargs: Any) -> Explanation:
        """What is replaced by what, for one call's shapes: `str` gives it line by line."""
        frontend = frontends.frontend()
        call = frontend.arguments(self._pure, args, kwargs)
        log: list[Any] = []
        executor = frontends.executor()
        interpretation = executor.function(self._interpretation(*self._traced(call), log))
        specs = tuple(map(frontend.spec, call.leaves))
        executor.prepare(interpretation, call.leaves if frontends.needs_values() else specs)
        return Explanation(self.__name__, tuple(log), self._is_hard)

    def _softness(self) -> Any:
        """The temperature now: a layer computes it from a weight, in whatever graph it is used."""
        return self.temperature() if callable(self.temperature) else self.temperature

    @property
    def _is_hard(self) -> bool:
        """Whether it is the hard function itself, known without running anything."""
        return isinstance(self.temperature, int | float) and self.temperature == 0

    def _traced(self, call: Arguments) -> tuple[Any, Sequence[int]]:
        """The trace that serves a call, and which of its leaves are trained."""
        trained = select(call, self.wrt)
        for n in trained:
            if not self._is_hard and not is_float(call.leaves[n]):
                raise BevelTypeError(
                    f"`{call.names[n]}` has dtype {dtype_name(call.leaves[n])}; a gradient can "
                    "only reach floats. Pass float32 predictions, or name another argument with "
                    "`wrt`."
                )
        trace = frontends.trace_for(self._pure, call, trained, self._earlier)
        check_broadcasts(trace.program, call.names)
        return trace, trained

    def _interpretation(
        self, trace: Any, trained: Sequence[int], log: list[Any]
    ) -> Callable[..., Any]:
        """A function of the leaves that runs the traced program by the rules."""
        from bevel.grain import grains, least_large
        from bevel.interpreter import Interpreter
        from bevel.rules.singular import chooses
        from bevel.soft import Real, Soft, value_of

        _warn_of_state(trace.program)
        executor = frontends.executor()
        inputs = len(trace.program.inputs) + len(trace.program.captures)
        are_trained = [n in trained for n in range(inputs)]
        guarded, known = chooses(trace.program, are_trained), grains(trace.program, are_trained)
        # processes that talk to each other must do the same, and each captures values of its own
        seen = trace.captured if executor.replicas() == 1 else ()
        large = least_large(trace.program, list(map(executor.static_value, seen)))

        def relaxed(*leaves: Any, state: Any = None) -> Any:
            operands = [*leaves, *trace.captured]
            if self._is_hard:
                return trace.pack(executor.run_program(trace.program, operands))
            soft = [
                Real(t, dtype_name(t)) if n in trained and is_float(t) else t
                for n, t in enumerate(operands)
            ]
            softness = self._softness() if state is None else state
            interpreter = Interpreter(
                executor,
                softness,
                self.kernel,
                self.on_unknown,
                guarded,
                known,
                large,
                log,
            )
            results = interpreter.run(trace.program, soft, operands.__getitem__)
            if self.on_unknown == "error":
                interpreter.check_result(results)
            values = [value_of(r) for r in results]
            if frontends.depends_on_values(trace) and not any(isinstance(r, Soft) for r in results):
                _warn_of_a_constant(trace)
                values = executor.connected(values, [operands[n] for n in trained])
            if self.forward == "hard":
                exact = executor.run_program(trace.program, operands)
                values = [_straight_through(h, v) for h, v in zip(exact, values, strict=True)]
            return trace.pack(values)

        return relaxed


def _warn_of_state(program: Program) -> None:
    """Warns at the user's line where a variable will not be changed as the hard function does."""
    for node in program.walk():
        if node.param("lasts") and node.loc is not None:
            message = (
                "the relaxed function does not change the variable that is assigned here; what is "
                "read back from it is followed as a value"
            )
            warnings.warn_explicit(message, StateWarning, node.loc.file, node.loc.line)


def _warn_of_a_constant(trace: Any) -> None:
    """Warns at the branch, if it is known, that took a way without a gradient."""
    message = (
        f"`{trace.name}` took a way on which nothing depends on the prediction: the gradient of "
        "this call is 0"
    )
    places = sorted((c for c in trace.checks if c is not None), key=lambda c: (c.file, c.line))
    if places:
        warnings.warn_explicit(message, ConstantWarning, places[-1].file, places[-1].line)
    else:
        warnings.warn(message, ConstantWarning, stacklevel=2)


@dataclass(frozen=True)
class Explanation:
    """What a relaxation replaced.

    Attributes:
        name: The function's name.
        entries: Replacements in the order of the program: `op`, `native`, `says` and `loc`.
        is_hard: Whether the temperature is 0, so that nothing is replaced.
    """

    name: str
    entries: Sequence[Any]
    is_hard: bool = False

    def __str__(self) -> str:
        if self.is_hard:
            return f"`{self.name}` at temperature 0 is the hard function itself."
        if not self.entries:
            return f"`{self.name}` needs no relaxing: nothing in it stops the gradient."
        lines = [f"`{self.name}`, relaxed:"]
        place = None
        for entry in self.entries:
            here = (entry.loc.file, entry.loc.line) if entry.loc else None
            if here != place or here is None:
                lines.append(excerpt(entry.loc) if entry.loc else "  (no line known)")
                place = here
            lines.append(printable(f"        {entry.op} becomes {entry.says}"))
        return "\n".join(lines)


def _straight_through(hard: Any, soft: Any) -> Any:
    """The hard value, exactly, with the gradient of the soft one."""
    from keras import ops as K

    return K.cast(hard, soft.dtype) + (soft - K.stop_gradient(soft))


def _check_tensor(temperature: Any) -> None:
    """A tensor or variable must be one float; its value is looked at where it has one."""
    if tuple(temperature.shape) or "float" not in str(temperature.dtype):
        raise BevelTypeError(
            f"`temperature` must be a scalar float; got shape {tuple(temperature.shape)} and dtype "
            f"{temperature.dtype}."
        )
    if is_concrete(temperature):
        _check_temperature(float(to_numpy(keras.ops.convert_to_tensor(temperature))))


def _check_temperature(temperature: Any) -> None:
    if isinstance(temperature, bool) or not isinstance(temperature, int | float):
        if hasattr(temperature, "dtype"):
            _check_tensor(temperature)
            return
        raise BevelTypeError(
            f"`temperature` must be a number or a scalar tensor; got {type(temperature).__name__}."
        )
    if not math.isfinite(temperature) or temperature < 0:
        raise BevelValueError(f"`temperature` must be a finite number >= 0; got {temperature}.")
