"""From what an audit saw to what it says: codes, sentences and advice for each kind of cut."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import replace

from bevel.errors import TraceError
from bevel.probing import Probe
from bevel.program import Loc
from bevel.recording import Event, Recording
from bevel.report import SEVERITIES, Finding

# For the nature of a cut: its code, and what the marked piece of the line is.
_CUTS = {
    "step": ("B101", "a step: its derivative is 0 wherever it exists"),
    "wrap": ("B101", "a jump where it starts again; between jumps it has a slope"),
    "index": ("B102", "a position: an integer has no derivative"),
    "cast": ("B103", "a cast that drops the fraction: a step"),
    "python": ("B104", "this runs outside of the graph"),
    "state": ("B104", "kept in a variable: what is read back has no gradient to what was put in"),
    "stop": ("B105", "declared to pass no gradient"),
    "opaque": ("B106", "no derivative is known for this operation"),
    "random": ("B106", "drawn at random: how it depends on its operands is not followed"),
    "position": ("B108", "values used only as positions or counts"),
    "control": ("B107", "a branch: the choice has no derivative"),
}
_COUNTING = frozenset({"HistogramFixedWidth", "Bincount", "DenseBincount"})
_HELP = {
    "B104": "write it with operations of the framework, or keras.ops",
    "B105": "take the `stop_gradient` out, or leave it if it is meant",
    "B106": "write the line with operations that have a derivative, or that Bevel relaxes",
}

# The share of a small change from which on a gradient that does not promise it leaves a term out;
# float32 and curvature leave less.
LASTING = 0.01

# A factor that is told as one, and not as what is missing, differs from 1 by more than this.
_NEARLY = 0.05

_RELAX = "bevel.relax makes a loss of it as it is"


def note(code: str, severity: str, message: str, help: str = "") -> Finding:
    """A finding about the whole function."""
    return Finding(code, severity, "", "", None, message, help)


def cut_finding(event: Event, prediction: str) -> Finding:
    """An operation that stops a gradient which the value would need."""
    node = event.node
    code, label = _CUTS.get(node.nature, _CUTS["opaque"])
    if node.op == "py_call":
        code, label = _CUTS["python"]
    if node.native in _COUNTING:
        code, label = _CUTS["position"]
    help = _HELP["B106"] if node.nature in ("opaque", "random") else _HELP.get(code, _RELAX)
    if node.nature == "state":
        help = _RELAX
    if code == "B101" and _decides(node.loc, "while "):
        code, label = "B107", "the end of a loop: how many rounds it takes has no derivative"
        help = "bevel.relax keeps the number of rounds as it is; let the body decide what counts"
    elif code == "B101" and _decides(node.loc, "if ", "elif "):
        code, label = "B107", "a branch: the choice has no derivative"
    what = _piece(node.loc) or node.name
    message = f"no gradient reaches {prediction} through `{what}`"
    return Finding(code, "error", node.name, node.native, node.loc, message, help, label)


def branch_note(event: Event) -> Finding:
    """A cut that costs nothing: the value does not jump where it changes."""
    node = event.node
    text = (
        f"`{_piece(node.loc) or node.name}` has no derivative itself, and the value does not jump "
        "where it changes; that is fine"
    )
    return Finding("B501", "note", node.name, node.native, node.loc, text)


def python_note(event: Event) -> Finding:
    """Python code on the way that TensorFlow differentiates as it runs."""
    node = event.node
    return Finding(
        "B104", "note", node.name, node.native, node.loc,
        "this runs outside of the graph; its gradient is taken as it runs, and it can be neither "
        "compiled nor relaxed",
        _HELP["B104"],
    )  # fmt: skip


def flat_finding(event: Event, found: Finding) -> Finding:
    """The same finding, at the operation whose derivative is 0 for all elements here."""
    node = event.node
    return replace(
        found, op=node.name, native_op=node.native, loc=node.loc,
        label=f"the derivative of `{node.name}` is 0 at all these elements",
    )  # fmt: skip


def zero_finding(event: Event, prediction: str) -> Finding:
    """An operation that has a derivative, which is 0 although the value changes."""
    node = event.node
    what = _piece(node.loc) or node.name
    return Finding(
        "B101", "error", node.name, node.native, node.loc,
        f"no gradient reaches {prediction} through `{what}`", _RELAX,
        "its derivative is 0 at all these elements, while the value changes",
    )  # fmt: skip


def failed_finding(error: Exception, event: Event | None, prediction: str) -> Finding:
    """A gradient that the framework cannot take: values that it needs were written over."""
    reason = str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
    op, native = (event.node.name, event.node.native) if event else ("", "")
    return Finding(
        "B106", "error", op, native, event.node.loc if event else None,
        f"no gradient reaches {prediction}: to take it is an error", "write it without changing "
        "values in place: `x = x + 1`, `torch.where`", reason[:200],
    )  # fmt: skip


# A call of a method that writes in place, an assignment to elements, `+=` and its like.
_IN_PLACE = re.compile(r"\.\w+[a-z]_\(|\]\s*[-+*/]?=(?!=)|[-+*/]=")


def writes_in_place(loc: Loc | None) -> bool:
    """Whether a line looks as if it wrote over values."""
    return loc is not None and bool(_IN_PLACE.search(loc.text))


def singular_finding(event: Event, is_trap: bool, prediction: str) -> Finding:
    """Where a gradient becomes NaN or infinite."""
    node = event.node
    if is_trap:
        return Finding(
            "B302", "error", node.name, node.native, node.loc,
            f"the gradient to {prediction} becomes not finite here: the branch that is not taken "
            "computes 0 times infinity",
            "give the branch a safe argument with a second `where`; bevel.relax does so",
            f"the derivative of `{node.name}` is infinite or undefined at one of these elements",
        )  # fmt: skip
    return Finding(
        "B301", "error", node.name, node.native, node.loc,
        f"the gradient to {prediction} becomes not finite here",
        "keep the argument away from the point with a small constant; bevel.relax lets no "
        "gradient through there",
        f"the derivative of `{node.name}` is infinite or undefined at one of these elements",
    )  # fmt: skip


def declared_findings(
    recording: Recording, seen: Probe, is_step: Callable[[Event], bool]
) -> list[Finding]:
    """What is to be said of custom gradients and of `stop_gradient`s that cost nothing.

    Args:
        recording: A run.
        seen: What was measured around it.
        is_step: Whether the function of a custom gradient is piecewise constant.
    """
    cuts = recording.cuts(recording.reaching(through_declared=True))
    customs = {e.node.loc: e for e in recording.events if e.node.nature == "custom"}
    stepped = any(e.node.nature in ("step", "index", "cast") for e in cuts) and (
        bool(seen.jumps) or seen.inconsistent > 0.5
    )
    cosine, slope = seen.agreement
    stops = {e.node.loc: e for e in cuts if e.node.nature == "stop"}
    found = []
    for event in customs.values():
        node = event.node
        is_stepped = stepped or is_step(event)
        if not is_stepped and (seen.inconsistent > 0.5 or seen.unexplained > LASTING):
            how = f"over the lines tried, the value changes {slope:.2g} times as much as declared"
            if abs(slope - 1) < _NEARLY:
                how = f"{seen.unexplained:.0%} of what the value does is not declared"
            text = (
                f"the gradient declared here disagrees with the measured derivative: {how} (cosine "
                f"{cosine:.2f})"
            )
            help = (
                "check the sign and the factors of the declared gradient; see `bevel explain B401`"
            )
            found.append(Finding("B401", "warning", node.name, node.native, node.loc, text, help))
        elif is_stepped and cosine < 0:
            text = (
                "the gradient declared here points away from the smoothed one (cosine "
                f"{cosine:.2f})"
            )
            found.append(Finding("B401", "warning", node.name, node.native, node.loc, text))
        elif is_stepped:
            found.append(_straight_through(event, cosine))
        else:
            text = "a declared gradient is used here; it agrees with the measured derivative"
            found.append(Finding("B402", "note", node.name, node.native, node.loc, text))
    for event in stops.values():
        node = event.node
        if recording.is_stepped(event):
            if not customs:
                found.append(_straight_through(event, cosine))
        else:
            text = (
                "a `stop_gradient`; the gradient agrees with the measured derivative all the same"
            )
            if seen.unexplained > LASTING:
                text = (
                    "a `stop_gradient` inside a term that has a gradient: taken as meant, as for a "
                    f"target or a weight; {min(seen.unexplained, 1):.0%} of what the value does "
                    "goes through it"
                )
            found.append(Finding("B402", "note", node.name, node.native, node.loc, text))
    return found


def unresponsive_findings(recording: Recording) -> list[Finding]:
    """The custom gradients of a value that responds, where all that is declared comes to zero."""
    customs = {e.node.loc: e for e in recording.events if e.node.nature == "custom"}
    text = "the gradient declared here is zero, while the value changes"
    help = "correct the declared gradient, or delete it; see `bevel explain B401`"
    return [
        Finding("B401", "error", e.node.name, e.node.native, e.node.loc, text, help)
        for e in customs.values()
    ]


def _straight_through(event: Event, cosine: float) -> Finding:
    node = event.node
    text = (
        "a straight-through estimator: not the derivative, by design; it agrees in direction with "
        f"the smoothed one to cosine {cosine:.2f}"
    )
    return Finding("B403", "note", node.name, node.native, node.loc, text)


def escape_finding(error: TraceError, severity: str, prediction: str) -> Finding:
    """The line at which a function leaves the graph."""
    loc = error.loc if isinstance(error.loc, Loc) else None
    what = _piece(loc)
    where = f" through `{what}`" if what else ""
    message = f"no gradient reaches {prediction}{where}: the function leaves the graph"
    if severity == "note":
        message = "the function leaves the graph here, so it cannot be compiled or relaxed"
    return Finding(
        "B104", severity, "py_call", "py:" + (what or "call"), loc, message, _HELP["B104"],
        error.label,
    )  # fmt: skip


def sort_findings(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Most severe first; else in the order given."""
    return tuple(sorted(findings, key=lambda f: SEVERITIES.index(f.severity)))


def _piece(loc: Loc | None) -> str:
    """The marked piece of a line, or the line."""
    if loc is None:
        return ""
    if loc.column is None:
        return loc.text.strip()
    return loc.text[loc.column : loc.end_column].strip()


def _decides(loc: Loc | None, *words: str) -> bool:
    """Whether a comparison stands as the condition of such a statement."""
    return loc is not None and loc.text.lstrip().startswith(words)
