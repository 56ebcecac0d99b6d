"""What an audit found, as plain data: a verdict, findings with places, and the measured gradient.

A report prints like a compiler's messages, is written as versioned JSON, and is rebuilt from it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from bevel.codes import PAGES
from bevel.errors import BevelValueError, printable, render
from bevel.program import Loc

VERDICTS = {
    "trains": "a finite gradient reaches the prediction",
    "partial": "a gradient arrives, but a term or some elements of the prediction get none",
    "blocked": "the value responds to the prediction, the gradient does not",
    "flat": "here, for these inputs, nothing responds",
    "nonfinite": "the value or the gradient is NaN or infinite",
    "independent": "the loss does not use the prediction",
}
SEVERITIES = ("error", "warning", "note")
VERSION = 1


@dataclass(frozen=True)
class Finding:
    """One thing to know about a loss.

    Attributes:
        code: A stable code with a page (`bevel explain B101`).
        severity: `error`, `warning` or `note`.
        op: The vocabulary's name of the operation ("" where there is none).
        native_op: The framework's own name ("" where there is none).
        loc: The user's line, or None.
        message: One sentence that says what is wrong.
        help: What to do about it.
        label: What the marked piece of the line is.
    """

    code: str
    severity: str
    op: str
    native_op: str
    loc: Loc | None
    message: str
    help: str = ""
    label: str = ""

    def __str__(self) -> str:
        return render(self.code, self.severity, self.message, self.loc, self.label, self.help)


@dataclass(frozen=True)
class Gradient:
    """What was measured at the given inputs.

    Attributes:
        norm: Euclidean norm of the gradient to the prediction (finite elements only; 0 for None).
        zero_share: Share of its elements that are 0 or missing.
        nonfinite_share: Share of its elements that are NaN or infinite.
        smoothed_norm: Norm of the smoothed derivative, that of E[f(x + s e)] for normal e: what the
            value responds to, whether or not the framework says so.
        smoothed_error: Its standard error.
    """

    norm: float
    zero_share: float
    nonfinite_share: float
    smoothed_norm: float
    smoothed_error: float


@dataclass(frozen=True)
class Report:
    """The answer to: does this loss train?

    Attributes:
        name: The function's name.
        wrt: The arguments that a gradient must reach.
        verdict: A word of `VERDICTS`.
        value: The loss at the given inputs (the mean over what it returns).
        gradient: The measured gradient.
        findings: Most severe first, then in the order of the program.
    """

    name: str
    wrt: tuple[str, ...]
    verdict: str
    value: float
    gradient: Gradient
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether the loss trains as it is."""
        return self.verdict == "trains"

    def __str__(self) -> str:
        g = self.gradient
        lines = [
            f"{printable(self.name)}: {self.verdict} ({VERDICTS[self.verdict]})",
            (
                f"  value {self.value:.6g}; gradient to {printable(', '.join(self.wrt))}: "
                f"norm {g.norm:.3g}, {g.zero_share:.0%} zero, {g.nonfinite_share:.0%} not finite; "
                f"smoothed derivative {g.smoothed_norm:.3g} +- {g.smoothed_error:.1g}"
            ),
        ]
        return "\n\n".join(["\n".join(lines), *map(str, self.findings)])

    def to_json(self) -> str:
        """The report as JSON, with a version.

        JSON has no NaN and no infinity: those are written as the words `nan`, `inf` and `-inf`.
        """
        data = {"format": "bevel.report", "version": VERSION, **asdict(self)}
        data["value"] = _to_number(self.value)
        data["gradient"] = {k: _to_number(v) for k, v in data["gradient"].items()}
        return json.dumps(data, indent=2, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Report:
        """Rebuilds a report from `to_json`.

        Raises:
            BevelValueError: The text is not such a report, or has keys, words or types that this
                version does not know.
        """
        try:
            data = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise BevelValueError(f"the report is not JSON: {error}.") from None
        if not isinstance(data, dict) or data.pop("format", None) != "bevel.report":
            raise BevelValueError('the JSON is no report: it lacks "format": "bevel.report".')
        version = data.pop("version", None)
        if version != VERSION:
            raise BevelValueError(f"the report has version {version!r}; expected {VERSION}.")
        return _report(data)


def _report(data: Any) -> Report:
    _check_keys(data, Report)
    for key in ("wrt", "findings"):
        if not isinstance(data[key], list):
            raise BevelValueError(f"the report's `{key}` must be a list; got {data[key]!r}.")
    if not all(isinstance(name, str) for name in data["wrt"]):
        raise BevelValueError(f"the report's `wrt` must hold names; got {data['wrt']!r}.")
    report = _build(
        Report,
        {
            **data,
            "wrt": tuple(data["wrt"]),
            "value": _from_number(data["value"]),
            "gradient": _gradient(data["gradient"]),
            "findings": tuple(map(_finding, data["findings"])),
        },
    )
    if report.verdict not in VERDICTS:
        raise BevelValueError(
            f"the report's verdict is {report.verdict!r}; expected one of {', '.join(VERDICTS)}."
        )
    return report


def _gradient(data: Any) -> Gradient:
    _check_keys(data, Gradient)
    return _build(Gradient, {k: _from_number(v) for k, v in data.items()})


def _finding(data: Any) -> Finding:
    if isinstance(data, dict) and data.get("loc") is not None:
        data = {**data, "loc": _build(Loc, data["loc"])}
    finding = _build(Finding, data)
    if finding.code not in PAGES or finding.severity not in SEVERITIES:
        raise BevelValueError(
            f"the report has an unknown code or severity: {finding.code!r}, {finding.severity!r}."
        )
    return finding


def _build(kind: Any, data: Any) -> Any:
    _check_keys(data, kind)
    for f in fields(kind):
        value, allowed = data[f.name], _TYPES.get(f.type)
        if allowed and (not isinstance(value, allowed) or isinstance(value, bool)):
            raise BevelValueError(
                f"the report's {kind.__name__.lower()} has {f.name} {value!r}; expected {f.type}."
            )
    return kind(**data)


# What a field's annotation allows; the other fields are built, not taken over.
_TYPES: dict[Any, Any] = {
    "str": str,
    "float": int | float,
    "int": int,
    "int | None": int | None,
    "Loc | None": Loc | None,
}


def _to_number(value: float) -> float | str:
    return value if math.isfinite(value) else str(float(value))


def _from_number(value: Any) -> Any:
    return float(value) if value in ("nan", "inf", "-inf") else value


def _check_keys(data: Any, kind: Any) -> None:
    wanted = {f.name for f in fields(kind)}
    if not isinstance(data, Mapping) or set(data) != wanted:
        found = sorted(data) if isinstance(data, Mapping) else type(data).__name__
        raise BevelValueError(
            f"the report's {kind.__name__.lower()} must have the keys {sorted(wanted)}; "
            f"got {found}."
        )
