"""`audit(model, x, y)`: which weights of a Keras model get a gradient, and what stops it.

The model and its loss become one function of the weights, which is traced, run once and written
down. Seen from each weight alone, the recording says whether the loss depends on it and where the
way back ends; the backward pass of the same run says where a gradient that may flow becomes zero.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import keras
import numpy as np
from keras import ops as K

from bevel import frontends
from bevel.backward import Flow, births_of_nonfinite, deaths, flows
from bevel.errors import BevelTypeError, BevelValueError, TargetError, excerpt, printable
from bevel.program import Loc
from bevel.recording import Event, Recording, record
from bevel.relaxed_layer import mode
from bevel.source import is_own

VERSION = 1

STATES = {
    "arrives": "a gradient arrives",
    "partial": "some of its elements get no gradient on this batch",
    "dead": "no gradient arrives",
    "nonfinite": "the gradient is NaN or infinite",
    "frozen": "frozen by hand: its layer, or it itself, is not trainable",
}

_CAUSES = {
    "stop": "`stop_gradient` cuts it off",
    "step": "a step cuts it off: its derivative is 0 wherever it exists",
    "index": "a position cuts it off: an integer has no derivative",
    "position": "it is used only as a position or a count",
    "cast": "a cast to an integer cuts it off",
    "python": "the way leaves the graph here",
    "state": "it is kept in a variable, and what is read back has no gradient to it",
}
_SATURATED = frozenset({"Sigmoid", "Tanh", "Softsign", "Softmax", "Erf", "minimum", "maximum",
                        "clip", "relu6"})  # fmt: skip


_PRODUCTS = frozenset({"MatMul", "BatchMatMul", "BatchMatMulV2", "BatchMatMulV3", "multiply",
                       "Einsum", "Conv1D", "Conv2D", "Conv3D"})  # fmt: skip


@dataclass(frozen=True)
class WeightRow:
    """What became of the gradient of one weight.

    Attributes:
        path: The weight's path in the model, such as `dense/kernel`.
        shape: Its shape.
        state: A word of `STATES`.
        norm: The norm of its gradient; 0 where there is none.
        zero_share: The share of its elements without a gradient.
        cause: What stops the gradient, or "".
        op: The operation that does, or "".
        loc: The user's line, or None.
    """

    path: str
    shape: tuple[int, ...]
    state: str
    norm: float
    zero_share: float
    cause: str = ""
    op: str = ""
    loc: Loc | None = None


@dataclass(frozen=True)
class ModelReport:
    """The answer to: does this model train?

    Attributes:
        name: The model's name.
        value: The loss of the batch.
        rows: One for each weight that is trained or was frozen.
    """

    name: str
    value: float
    rows: tuple[WeightRow, ...]

    @property
    def verdict(self) -> str:
        """`trains`, `partial` (some weights are dead), `blocked` (all are), or `nonfinite`."""
        states = [r.state for r in self.rows if r.state != "frozen"]
        if "nonfinite" in states or not np.isfinite(self.value):
            return "nonfinite"
        if "dead" not in states and states:
            return "trains"
        return "partial" if any(s in ("arrives", "partial") for s in states) else "blocked"

    @property
    def ok(self) -> bool:
        """Whether every weight that is to be trained gets a gradient."""
        return self.verdict == "trains"

    def __str__(self) -> str:
        from io import StringIO

        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(box=None, pad_edge=False)
        for header in ("weight", "shape", "gradient", "norm", "zero"):
            table.add_column(header, justify="right" if header in ("norm", "zero") else "left")
        for row in self.rows:
            table.add_row(
                Text(printable(row.path)), str(row.shape), row.state, f"{row.norm:.3g}",
                f"{row.zero_share:.0%}",
            )  # fmt: skip
        buffer = StringIO()
        Console(file=buffer, width=160).print(table)
        lines = [f"{printable(self.name)}: {self.verdict}, loss {self.value:.6g}", ""]
        lines += [line.rstrip() for line in buffer.getvalue().rstrip().splitlines()]
        said: dict[tuple[str, Loc | None], list[str]] = {}
        for row in self.rows:
            if row.cause:
                said.setdefault((row.cause, row.loc), []).append(row.path)
        for (cause, loc), paths in said.items():
            lines += ["", f"{printable(', '.join(paths))}: {printable(cause)}"]
            lines += [excerpt(loc)] if loc else []
        return "\n".join(lines)

    def to_json(self) -> str:
        """The report as versioned JSON."""
        return json.dumps({"version": VERSION, "verdict": self.verdict, **asdict(self)}, indent=1)


def is_model(fn: Any) -> bool:
    """Whether a callable is a Keras model or layer with weights."""
    return isinstance(fn, keras.layers.Layer)


def audit_model(model: Any, x: Any = None, y: Any = None, loss: Any = None) -> ModelReport:
    """Audits a model on one batch, in training mode.

    Args:
        model: A Keras model; it is built by a call if need be.
        x: A batch of inputs.
        y: Its labels.
        loss: A loss, its name, or a function (y_true, y_pred); by default the one that the model
            was compiled with.

    Raises:
        BevelValueError: There is no loss, or no weight.
        BevelTypeError: The loss is none, or there is no batch.
        TraceError: The model or the loss cannot be traced.
    """
    if x is None or y is None:
        raise BevelTypeError(
            f"`{model.name}` is a model: pass a batch and its labels, as in audit(model, x, y)."
        )
    loss = _loss_of(model, loss)
    frontend, executor = frontends.frontend(), frontends.executor()
    model(x)  # a model may make its weights only now
    trained = list(model.trainable_variables)
    frozen = [v for v in _weights(model) if not any(v is t for t in trained)]
    if not trained and not frozen:
        raise BevelValueError(f"`{model.name}` has no weights; there is nothing to train.")
    others = [K.copy(v) for v in model.non_trainable_variables]

    def computed(*weights: Any) -> Any:
        outputs, _ = model.stateless_call(list(weights), others, x, **mode(model, True))
        return K.mean(loss(y, outputs))

    computed.__name__ = model.name
    call = frontend.arguments(computed, [K.copy(v) for v in trained], {})
    trace = frontend.trace_call(computed, call)

    def run(*leaves: Any) -> Any:
        return executor.execute(trace, leaves)

    order = tuple(range(len(trained)))
    value, gradients = executor.value_and_gradient(run, order, compiled=True)(call.leaves)
    recording = record(trace.program, [*call.leaves, *trace.captured], order, executor)
    walked = list(flows(recording, executor)) if recording.flows else []
    births = births_of_nonfinite(walked)
    rows = [
        _row(v, g, recording.of(token), walked, [b.event for b in births])
        for v, g, token in zip(trained, gradients, recording.trained, strict=True)
    ]
    rows += [WeightRow(v.path, tuple(v.shape), "frozen", 0.0, 1.0) for v in frozen]
    return ModelReport(model.name, value, tuple(rows))


def model_sample(made: Any) -> tuple[Any, ...]:
    """The arguments of an audit, from what a function of the user's returned.

    Args:
        made: A compiled model, whose inputs and labels are then drawn, or (model, x, y), or
            (model, x, y, loss).

    Raises:
        TargetError: It is something else, or nothing can be drawn for the model.
    """
    if isinstance(made, tuple):
        if len(made) in (3, 4) and is_model(made[0]):
            return made
        made = made[0] if made else None
    if not is_model(made) or not isinstance(getattr(made, "input_shape", None), tuple):
        raise TargetError(
            f"the function returned {type(made).__name__}; expected a Keras model of one input, or "
            "(model, x, y)",
            help="return (model, x, y) with one batch",
        )
    rng = np.random.default_rng(0)
    inputs = tuple(8 if n is None else n for n in made.input_shape[1:])
    outputs = tuple(8 if n is None else n for n in made.output_shape[1:])
    x = rng.normal(size=(32, *inputs)).astype("float32")
    if "sparse" in str(getattr(made.loss, "name", made.loss)):
        return made, x, rng.integers(0, outputs[-1], (32, *outputs[:-1]))
    return made, x, (rng.random((32, *outputs)) < 0.5).astype("float32")


def _loss_of(model: Any, loss: Any) -> Any:
    loss = getattr(model, "loss", None) if loss is None else loss
    if loss is None:
        raise BevelValueError(f"`{model.name}` is not compiled; pass a loss, as in loss='mse'.")
    if isinstance(loss, str):
        return keras.losses.get(loss)
    if not callable(loss):
        raise BevelTypeError(
            f"`loss` must be a loss, its name or a function (y_true, y_pred); got "
            f"{type(loss).__name__}."
        )
    return loss


def _weights(model: Any) -> list[Any]:
    """What would be trained if nothing were frozen."""
    found = []
    for layer in model._flatten_layers():
        found += [v for v in layer._trainable_variables if not any(v is f for f in found)]
    return found


def _row(
    variable: Any,
    gradient: np.ndarray | None,
    seen: Recording,
    walked: Sequence[Flow],
    births: Sequence[Event],
) -> WeightRow:
    path, shape = variable.path, tuple(variable.shape)
    values = np.zeros(shape) if gradient is None else np.asarray(gradient)
    finite = values[np.isfinite(values)]
    zeros = float(np.mean(values == 0)) if values.size else 1.0
    norm = float(np.linalg.norm(finite))
    if finite.size < values.size:
        own = [e for e in births if any(t in seen.live for t in e.inputs)]
        cause = "the derivative of this operation is infinite or undefined here" if own else ""
        return _blamed(path, shape, "nonfinite", norm, zeros, cause, own)
    if norm:
        return WeightRow(path, shape, "partial" if zeros else "arrives", norm, zeros)
    if not seen.depends:
        return WeightRow(path, shape, "dead", 0.0, 1.0, "never connected: the loss does not use it")
    if not seen.flows:
        # the outermost cut is the one that leaves no way; the user's own comes before Keras's
        cuts = seen.cuts(seen.reaching(through_declared=True))[::-1]
        cuts.sort(key=lambda e: not (e.node.loc and is_own(e.node.loc.file)))
        cause = _CAUSES.get(cuts[0].node.nature, "an operation without a derivative cuts it off")
        return _blamed(path, shape, "dead", 0.0, 1.0, cause, cuts)
    ends = deaths(seen, walked)
    return _blamed(path, shape, "dead", 0.0, 1.0, _end(ends), ends)


def _end(ends: Sequence[Event]) -> str:
    """Why a gradient that may flow is zero on this batch."""
    if not ends:
        return "its gradient is zero on this batch"
    name = ends[0].node.name
    if name in ("relu", "Relu", "leaky_relu"):
        return "all its ReLUs are dead on this batch"
    if name in _PRODUCTS:
        return "what it is multiplied with is all 0 on this batch"
    if name in _SATURATED:
        return f"`{name}` is saturated on this batch: its slope is 0"
    return f"the derivative of `{name}` is 0 on this batch"


def _blamed(
    path: str,
    shape: tuple[int, ...],
    state: str,
    norm: float,
    zeros: float,
    cause: str,
    events: Sequence[Event],
) -> WeightRow:
    if not events:
        return WeightRow(path, shape, state, norm, zeros, cause)
    node = events[0].node
    loc = node.loc if node.loc and is_own(node.loc.file) else None  # no line of Keras's own
    return WeightRow(path, shape, state, norm, zeros, cause, node.name, loc)
