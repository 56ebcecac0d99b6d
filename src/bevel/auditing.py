"""`audit`: does a loss send a useful gradient to the prediction, and which line stops it if not?

Structure and value together. A recording of one run says where a gradient can get and what cuts it
off; a probe says whether the value responds to the prediction in a way that the gradient does not.
A cut that costs nothing, as the comparison inside a Huber loss, is no finding; a cut behind which
the value jumps is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bevel import frontends
from bevel.backend import dtype_name, is_concrete, to_numpy
from bevel.backward import births_of_nonfinite, deaths, flows, saturated
from bevel.broadcasting import check_broadcasts
from bevel.errors import BevelTypeError, BevelValueError, TraceError
from bevel.findings import (
    LASTING,
    branch_note,
    cut_finding,
    declared_findings,
    escape_finding,
    failed_finding,
    flat_finding,
    note,
    python_note,
    singular_finding,
    sort_findings,
    unresponsive_findings,
    writes_in_place,
    zero_finding,
)
from bevel.frontends.arguments import Arguments, select
from bevel.model_audit import audit_model, is_model
from bevel.probing import (
    STEPS,
    Probe,
    follow_to,
    is_piecewise_constant,
    probe,
    smoothed_derivative,
)
from bevel.recording import Event, Recording, is_print, record
from bevel.report import Finding, Gradient, Report
from bevel.searching import far_off
from bevel.stateless import pure

_DECLARED = frozenset({"stop", "custom"})
_HIDDEN = frozenset({"python", "opaque"})


def audit(fn: Callable[..., Any], *args: Any, wrt: Any = None, seed: int = 0, **kwargs: Any) -> Any:
    """Says whether a loss trains at the given inputs, and if not, which line stops the gradient.

    The function is run many times, at the inputs and around them. A Keras model is audited as
    `audit(model, x, y, loss=None)`: a row for each of its weights, see `bevel.ModelReport`.

    Args:
        fn: A loss or metric of tensors, such as `(y_true, y_pred)`, whose result is averaged; or a
            `keras.Model`.
        *args: Its arguments: tensors, numpy arrays, or lists of numbers.
        wrt: What a gradient must reach: a parameter's name, a position, or several; by default the
            parameter `y_pred` where there is one, else the last positional argument (in
            `(logits, target)` the names tell which is meant).
        seed: Seeds the directions that are tried; the same seed gives the same report.
        **kwargs: Arguments by name.

    Returns:
        The report: a verdict, findings with places, and the measured gradient. Of a model, a
        `ModelReport`.

    Raises:
        TraceError: The function raises, traced and run alike.
        BevelTypeError: What is trained holds no floats.
        BevelValueError: What is trained is empty, or holds NaN or infinity.

    Example:
        >>> import numpy as np, tensorflow as tf
        >>> def errors(y_true, y_pred):
        ...     return tf.reduce_mean(tf.abs(y_true - tf.round(y_pred)))
        >>> report = audit(errors, np.array([0.0, 1.0], "float32"), np.array([0.3, 0.4], "float32"))
        >>> report.verdict, report.findings[0].code, report.findings[0].op
        ('blocked', 'B101', 'round')
    """
    if is_model(fn) and (len(args) + len(kwargs) > 1 or fn.weights):
        return audit_model(fn, *args, **kwargs)
    frontend, executor = frontends.frontend(), frontends.executor()
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise BevelValueError(f"`seed` must be an integer >= 0; got {seed!r}.")
    fn = pure(fn)
    call = frontend.arguments(fn, args, kwargs)
    trained = select(call, wrt)
    _check(call, trained)
    try:
        trace = frontends.trace_for(fn, call, trained)
    except TraceError as error:
        return _untraced(fn, call, trained, seed, executor, error)
    check_broadcasts(trace.program, call.names)
    return _Audit(fn, call, trained, seed, executor, trace).report()


def _untraced(
    fn: Callable[..., Any],
    call: Arguments,
    trained: Sequence[int],
    seed: int,
    executor: Any,
    error: TraceError,
) -> Report:
    """An audit of a function that leaves the graph: maybe only with what is not trained."""
    own, places, first = call.of(trained), range(len(trained)), error
    if len(own.leaves) < len(call.leaves) and not frontends.needs_values():
        try:
            trace = frontends.trace_for(executor.at_once_if_known(fn), own, places)
        except TraceError as again:
            error = again
        else:
            report = _Audit(fn, own, places, seed, executor, trace).report()
            left = escape_finding(error, "note", "")
            return replace(report, findings=sort_findings([*report.findings, left]))
    return _BlackBox(fn, call, trained, seed, executor, error, first).report()


def _check(call: Arguments, trained: Sequence[int]) -> None:
    for i in trained:
        leaf, name = call.leaves[i], call.names[i]
        dtype = dtype_name(leaf)
        if not is_concrete(leaf):
            raise BevelValueError(
                f"`{name}` has no value, only a shape {tuple(leaf.shape)}; an audit runs the "
                "function, so pass an array."
            )
        if "float" not in dtype:
            raise BevelTypeError(
                f"`{name}` has dtype {dtype}; a gradient can only reach floats. Pass float32 "
                "predictions, or name another argument with `wrt`."
            )
        values = to_numpy(leaf).astype("float64")
        if values.size == 0:
            raise BevelValueError(
                f"`{name}` is empty (shape {values.shape}); an audit needs at least one prediction."
            )
        bad = np.argwhere(~np.isfinite(values))
        if len(bad):
            place = tuple(int(k) for k in bad[0])
            raise BevelValueError(
                f"`{name}` holds {values[place]} at index {place}; an audit needs finite "
                "predictions."
            )


@dataclass
class _Measured:
    """What was measured of a function, however it is run."""

    value: float
    gradients: list[np.ndarray | None]
    probe: Probe
    gradient: Gradient
    is_random: bool

    @property
    def is_zero(self) -> bool:
        return all(g is None or not np.any(g) for g in self.gradients)

    @property
    def is_finite(self) -> bool:
        return all(g is None or bool(np.all(np.isfinite(g))) for g in self.gradients)


@dataclass
class _Run:
    """One audit: the function, the call, and what both kinds of audit share."""

    fn: Callable[..., Any]
    call: Arguments
    trained: Sequence[int]
    seed: int
    executor: Any

    @property
    def repeats(self) -> int:
        """How often the value is asked for again, to see whether it is drawn at random."""
        return 1

    @property
    def steps(self) -> int:
        """How finely lines are followed: a black box may be slow, and is run as Python."""
        return STEPS // 4

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(self.call.names[i] for i in self.trained))

    @property
    def shown(self) -> str:
        return " and ".join(f"`{n}`" for n in self.names)

    @property
    def start(self) -> tuple[np.ndarray, ...]:
        return tuple(to_numpy(self.call.leaves[i]) for i in self.trained)

    def leaves(self, prediction: Sequence[np.ndarray]) -> list[Any]:
        """The call's leaves with other predictions."""
        leaves = list(self.call.leaves)
        for i, p in zip(self.trained, prediction, strict=True):
            leaves[i] = p
        return leaves

    def measure(self, run: Callable[..., Any]) -> _Measured:
        rng = np.random.default_rng(self.seed)

        def evaluate(prediction: Sequence[np.ndarray]) -> tuple[float, list[np.ndarray | None]]:
            return run(self.leaves(prediction))

        def tried(prediction: Sequence[np.ndarray]) -> tuple[float, list[np.ndarray | None]]:
            """Elsewhere the function may refuse its arguments; then there is nothing to see."""
            try:
                return evaluate(prediction)
            except Exception:  # an assertion or a look-up of the user's, in any framework's words
                return math.nan, [None] * len(self.trained)

        value, gradients = evaluate(self.start)
        is_random = any(_differs(value, evaluate(self.start)[0]) for _ in range(self.repeats))
        probed = Probe()
        smoothed = (float("nan"), float("nan"))
        if math.isfinite(value) and not is_random:
            probed = probe(tried, self.start, rng, self.steps)
            if not probed.responds:
                follow_to(tried, self.start, far_off(self.start, rng), probed, self.steps)
            smoothed = smoothed_derivative(lambda p: tried(p)[0], self.start, rng)
        return _Measured(value, gradients, probed, self._summary(gradients, smoothed), is_random)

    def _summary(
        self, gradients: Sequence[np.ndarray | None], smoothed: tuple[float, float]
    ) -> Gradient:
        parts = [
            np.zeros(p.size) if g is None else np.ravel(g).astype("float64")
            for g, p in zip(gradients, self.start, strict=True)
        ]
        flat = np.concatenate(parts)
        finite = np.isfinite(flat)
        return Gradient(
            norm=float(np.linalg.norm(flat[finite])),
            zero_share=float(np.mean(flat == 0)),
            nonfinite_share=float(np.mean(~finite)),
            smoothed_norm=smoothed[0],
            smoothed_error=smoothed[1],
        )

    def build(self, verdict: str, measured: _Measured, findings: Iterable[Finding]) -> Report:
        name = getattr(self.fn, "__name__", type(self.fn).__name__)
        if measured.is_random:
            findings = [*findings, note("B701", "warning", "the value differs from run to run, so "
                                        "it could not be measured how it responds")]  # fmt: skip
        return Report(
            name, self.names, verdict, measured.value, measured.gradient, sort_findings(findings)
        )


@dataclass
class _Audit(_Run):
    """An audit of a function that could be traced.

    Attributes:
        trace: The function.
        failure: What differentiation raised, if it did.
    """

    trace: Any
    failure: Exception | None = None

    @property
    def repeats(self) -> int:
        draws = any(node.nature == "random" for node in self.trace.program.walk())
        return 8 if draws else 1

    @property
    def steps(self) -> int:
        """Fewer where a run is long, as with a loop over many rows."""
        return max(STEPS // 5, min(STEPS, 200 * STEPS // max(1, len(self.recording.events))))

    def report(self) -> Report:
        self.recording = self.record(self.start)
        run = self._runner()
        if not self.recording.depends:
            measured = _Measured(
                run(self.call.leaves)[0], [None] * len(self.trained), Probe(),
                self._summary([None] * len(self.trained), (0.0, 0.0)), False,
            )  # fmt: skip
            return self.build("independent", measured, [self._unused()])
        measured = self.measure(run)
        if not math.isfinite(measured.value):
            return self.build("nonfinite", measured, [self._bad_value()])
        if not measured.is_finite:
            return self.build("nonfinite", measured, self._bad_gradient())
        if measured.is_zero:
            return self._without_gradient(measured)
        return self._with_gradient(measured)

    def _runner(self) -> Callable[..., Any]:
        """Value and gradient, compiled; the value alone where differentiation fails."""
        executor = self.executor
        # elsewhere a loop may never end
        program = self.trace.program.bounded(self.recording.rounds).without(is_print)
        trace = replace(self.trace, program=program)

        def fn(*leaves: Any) -> Any:
            return executor.execute(trace, leaves)

        run = executor.value_and_gradient(fn, self.trained, compiled=True)
        try:
            run(self.call.leaves)
        except Exception as error:  # a gradient function of the framework's or the user's raised
            self.failure = error
            return executor.value_and_gradient(fn, (), compiled=True, missing=len(self.trained))
        return run

    def record(self, prediction: Sequence[np.ndarray]) -> Recording:
        """Writes down a run at a prediction."""
        operands = [self.executor.tensor(leaf) for leaf in self.leaves(prediction)]
        trace = frontends.trace_at(self.trace, operands)
        return record(trace.program, [*operands, *trace.captured], self.trained, self.executor)

    # The four ways an audit can end, after the trivial ones.

    def _without_gradient(self, measured: _Measured) -> Report:
        seen, recording = measured.probe, self.recording
        reached = recording.reaching(through_declared=True)
        cuts = recording.cuts(reached)
        blocked = seen.jumps or (seen.responds and not recording.flows) or (
            seen.responds and seen.inconsistent > 0.5
        ) or (measured.is_random and not recording.flows)  # fmt: skip
        if blocked:
            if seen.jumps and recording.flows:
                cuts = self._blamed(seen) or cuts
            found = self._errors(cuts) or unresponsive_findings(recording) or self._unseen()
            return self.build("blocked", measured, [*found, *self._kinks()])
        if self._is_optimum(measured):
            text = f"{self.shown} is at an optimum here: the gradient is zero, and rightly so"
            return self.build("trains", measured, [note("B202", "note", text), *self._kinks()])
        text = f"nothing responds to {self.shown} here: neither the gradient nor the value"
        if seen.responds:
            text = f"the value is flat around {self.shown} here; it responds only further away"
        help = "try inputs such as a fresh model gives; see `bevel explain B201`"
        found = note("B201", "warning", text, help)
        ends = deaths(recording, flows(recording, self.executor)) if recording.flows else []
        if ends:
            found = flat_finding(saturated(recording, self.executor, ends[0]), found)
        return self.build("flat", measured, [found, *self._suspects(cuts)])

    def _with_gradient(self, measured: _Measured) -> Report:
        seen, recording = measured.probe, self.recording
        is_declared = any(e.node.nature in _DECLARED for e in recording.events)
        open_cuts = recording.cuts(recording.reaching(through_declared=False))
        blamed = [e for e in self._blamed(seen) if _contains(open_cuts, e)]
        hidden = [e for e in open_cuts if e.node.nature in _HIDDEN]
        stops = self._dropped(measured)
        findings: list[Finding] = []
        lost = [*blamed, *stops]
        if measured.is_random:
            lost = [e for e in open_cuts if e.node.nature != "random"]
        elif hidden and seen.inconsistent > 0.5:
            lost += hidden
        findings += self._errors(lost)
        if is_declared and not stops:
            findings += declared_findings(recording, seen, self._is_step)
        through = [e for e in recording.events if e.node.op == "py_call"]
        findings += [python_note(e) for e in through if e.node.nature == "wrap"]
        findings += self._kinks() + self._meeting_branches(open_cuts, lost)
        findings += self._dead(measured, bool(lost) or measured.probe.unexplained > LASTING)
        return self.build("partial" if lost else "trains", measured, findings)

    def _is_step(self, declared: Event) -> bool:
        """Whether what a gradient is declared for is piecewise constant."""

        def run(operands: Sequence[np.ndarray]) -> list[np.ndarray]:
            tensors = [self.executor.tensor(p) for p in operands]
            return [to_numpy(r) for r in self.executor.run_node(declared.node, tensors)]

        return is_piecewise_constant(run, [to_numpy(p) for p in declared.operands])

    def _bad_gradient(self) -> list[Finding]:
        births = births_of_nonfinite(flows(self.recording, self.executor))
        choices = any(e.node.op in ("where", "maximum", "minimum") for e in self.recording.events)
        return [
            singular_finding(birth.event, choices and birth.from_zero, self.shown)
            for birth in births
        ] or [note("B301", "error", f"the gradient to {self.shown} is not finite")]

    def _bad_value(self) -> Finding:
        for event in self.recording.events:
            if _nonfinite(event.results) and not _nonfinite(event.operands):
                text = f"the value is not finite: `{event.node.name}` makes it so"
                return _finding_at(event, "B303", text)
        return note("B303", "error", "the value is not finite; do the inputs hold NaN or infinity?")

    # What the parts of a report are made of.

    def _blamed(self, seen: Probe) -> list[Event]:
        """The cuts whose results differ on the two sides of a jump."""
        found: dict[Any, Event] = {}
        for jump in seen.jumps:
            before, after = self.record(jump.before), self.record(jump.after)
            others = {(e.node, e.nth): e for e in after.events}
            reached = before.reaching(through_declared=True)
            edge = before.cuts(reached) + [e for e in before.events if e.node.nature == "wrap"]
            for event in edge:
                other = others.get((event.node, event.nth))
                if other is not None and _jumped(event, other):
                    found.setdefault((event.node.loc, event.node.native), event)
        return list(found.values())

    def _dropped(self, measured: _Measured) -> list[Event]:
        """What hides a smooth part of what the value responds to: `stop_gradient`s, `.item()`s."""
        if measured.probe.unexplained <= LASTING and measured.probe.inconsistent <= 0.5:
            return []
        recording = self.recording
        cuts = recording.cuts(recording.reaching(through_declared=True))
        hiding = [e for e in cuts if e.node.nature in ("stop", "python")]
        lost = recording.behind_lost_terms()
        return [
            e
            for e in hiding
            # a stop within a term that has a gradient is meant: a target, a weight, a normaliser
            if not recording.is_stepped(e)
            and (e.node.nature == "python" or not lost.isdisjoint(e.outputs))
        ]

    def _errors(self, cuts: Sequence[Event]) -> list[Finding]:
        unique = {(e.node.loc, e.node.native): e for e in reversed(cuts)}
        return [cut_finding(e, self.shown) for e in reversed(_written(unique.values()))]

    def _unseen(self) -> list[Finding]:
        """What stops a gradient that no operation stops: an error, or a derivative of 0."""
        recording = self.recording
        if self.failure is not None:
            writes = (e for e in recording.events if writes_in_place(e.node.loc))
            return [failed_finding(self.failure, next(writes, None), self.shown)]
        ends = deaths(recording, flows(recording, self.executor)) if recording.flows else []
        return [zero_finding(saturated(recording, self.executor, e), self.shown) for e in ends[:1]]

    def _suspects(self, cuts: Sequence[Event]) -> list[Finding]:
        return [] if self.recording.flows else self._errors(cuts)

    def _kinks(self) -> list[Finding]:
        reached = self.recording.reaching(through_declared=False)
        found = {
            (e.node.loc, e.node.native): e
            for e in self.recording.events
            if e.node.nature == "kink" and e.node.op != "where"
            and any(t in self.recording.live for t in e.inputs)
            and any(t in reached for t in e.outputs)
        }  # fmt: skip
        text = "a kink: a subgradient is used at the corner; that is fine"
        return [
            _finding_at(e, "B501", f"`{e.node.name}` has {text}", "note") for e in found.values()
        ]

    def _meeting_branches(self, cuts: Sequence[Event], lost: Sequence[Event]) -> list[Finding]:
        rest = [e for e in cuts if not _contains(lost, e) and e.node.nature not in _DECLARED]
        unique = {(e.node.loc, e.node.native): e for e in rest}
        return [branch_note(e) for e in unique.values()]

    def _dead(self, measured: _Measured, is_lost: bool) -> list[Finding]:
        share = measured.gradient.zero_share
        if not share:
            return []
        text = f"{share:.0%} of the elements of {self.shown} get no gradient here"
        if not is_lost:
            text += "; the value does not seem to respond to them either"
        return [note("B602", "note", text)]

    def _is_optimum(self, measured: _Measured) -> bool:
        """Whether a zero gradient is that of an optimum: a perfect prediction, or one way only."""
        seen = measured.probe
        if not self.recording.flows or not seen.responds:
            return False
        perfect = self._value_of_truth()
        if perfect is not None and math.isclose(
            perfect, measured.value, rel_tol=1e-5, abs_tol=1e-7
        ):
            return True
        one_way = seen.rises and not seen.falls  # else a saddle, or a loss at its worst
        return one_way and (seen.responds_nearby or perfect is None)

    def _value_of_truth(self) -> float | None:
        """The value where the labels themselves are the prediction, if they can be."""
        if len(self.trained) != 1:
            return None
        own = self.start[0]
        for i, leaf in enumerate(self.call.leaves):
            other = to_numpy(leaf)
            if i not in self.trained and other.shape == own.shape and other.dtype == own.dtype:
                leaves = [self.executor.tensor(v) for v in self.leaves((other,))]
                return float(self.executor.scalar(self.executor.execute(self.trace, leaves)))
        return None

    def _unused(self) -> Finding:
        return note(
            "B601", "error", f"the value does not depend on {self.shown} at all",
            "look for the place where it should be used; or name what is trained with `wrt`",
        )  # fmt: skip


@dataclass
class _BlackBox(_Run):
    """An audit of a function that cannot be traced: it is run as it is, and only watched.

    Attributes:
        error: Where it leaves the graph with what is trained.
        refusal: What is raised if it cannot be run either.
    """

    error: TraceError
    refusal: TraceError

    def report(self) -> Report:
        def run(*leaves: Any) -> Any:
            positional, named = self.call.rebuild(leaves)
            return self.fn(*positional, **named)

        try:
            measured = self.measure(
                self.executor.value_and_gradient(run, self.trained, compiled=False)
            )
        except Exception as failure:
            raise self.refusal from failure
        seen = measured.probe
        if not math.isfinite(measured.value) or not measured.is_finite:
            text = f"the value or its gradient to {self.shown} is not finite"
            return self.build("nonfinite", measured, [note("B303", "error", text)])
        is_whole = not seen.jumps and seen.inconsistent < 0.5 and seen.unexplained <= LASTING
        if not measured.is_zero and is_whole:
            return self.build("trains", measured, [escape_finding(self.error, "note", self.shown)])
        finding = escape_finding(self.error, "error", self.shown)
        if not measured.is_zero:
            return self.build("partial", measured, [finding])
        return self.build("blocked" if seen.responds else "flat", measured, [finding])


def _written(cuts: Iterable[Event]) -> list[Event]:
    """The cuts that a user wrote, without those inside a framework's function on the same line."""
    cuts = list(cuts)
    found = {
        (e.node.loc.file, e.node.loc.line) for e in cuts if e.node.loc and e.node.loc.end_column
    }
    return [
        e
        for e in cuts
        if not e.node.loc
        or e.node.loc.column is not None
        or (e.node.loc.file, e.node.loc.line) not in found
    ]


def _finding_at(event: Event, code: str, text: str, severity: str = "error") -> Finding:
    node = event.node
    return Finding(code, severity, node.name, node.native, node.loc, text)


def _differs(a: float, b: float) -> bool:
    return a != b and not (math.isnan(a) and math.isnan(b))


def _nonfinite(values: Sequence[Any]) -> bool:
    arrays = [to_numpy(v) for v in values if is_concrete(v)]
    return any(a.dtype.kind == "f" and not np.all(np.isfinite(a)) for a in arrays)


def _jumped(before: Event, after: Event) -> bool:
    """Whether what an event gave differs by more than its operands do."""
    moved = _distance(before.operands, after.operands)
    return _distance(before.results, after.results) > 1e-9 + 1e3 * moved


def _distance(a: Sequence[Any], b: Sequence[Any]) -> float:
    """How far two lists of tensors are apart, each on its own scale: prices may be large."""
    largest = 0.0
    for x, y in zip(a, b, strict=True):
        if not is_concrete(x):
            continue
        p, q = to_numpy(x), to_numpy(y)
        if p.shape != q.shape:
            return math.inf
        if p.size and p.dtype.kind in "biuf":
            p, q = p.astype("float64"), q.astype("float64")
            size = float(max(np.max(np.abs(p)), np.max(np.abs(q))))
            largest = max(largest, float(np.max(np.abs(p - q))) / size if size else 0.0)
    return largest


def _contains(events: Sequence[Event], event: Event) -> bool:
    return any(e.node is event.node or e.node == event.node for e in events)
