"""The backward pass of a recording, one event after another: where a gradient goes bad, or dies."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from bevel.backend import to_numpy
from bevel.recording import Event, Recording


@dataclass(frozen=True)
class Birth:
    """An event that turns finite cotangents into ones that are not.

    Attributes:
        event: The event.
        from_zero: Whether a zero arrived where something not finite left: 0 times infinity.
    """

    event: Event
    from_zero: bool


@dataclass(frozen=True)
class Flow:
    """What came back to an event and what left it: a cotangent for each result and operand.

    Attributes:
        event: The event.
        arriving: Cotangents of its results; None where nothing came.
        leaving: Those of its operands; None where nothing can go on.
    """

    event: Event
    arriving: list[Any]
    leaving: list[Any]


def flows(recording: Recording, executor: Any) -> Iterator[Flow]:
    """Walks a recording backwards, from results whose elements all count alike.

    Args:
        recording: A run.
        executor: Runs nodes with their derivative.
    """
    flowing: dict[int, Any] = {
        t: executor.ones(recording.values[t]) for t in recording.results if t in recording.live
    }
    for event in reversed(recording.events):
        arriving = [flowing.get(t) for t in event.outputs]
        if all(a is None for a in arriving) or not any(t in recording.live for t in event.inputs):
            continue
        if event.is_joint:
            leaving = [None] * (len(event.inputs) - len(arriving)) + arriving
        else:
            leaving = _pulled_back(event, arriving, executor)
        for n, token in enumerate(event.inputs):
            cotangent = leaving[n]
            if cotangent is None or token not in recording.live:
                leaving[n] = None
                continue
            known = flowing.get(token)
            flowing[token] = cotangent if known is None else known + cotangent
        yield Flow(event, arriving, leaving)


def births_of_nonfinite(walked: Iterable[Flow]) -> list[Birth]:
    """The events that turn a finite cotangent into one that is not, of what `flows` gave."""
    return [
        Birth(flow.event, _has_zero(flow.arriving))
        for flow in walked
        if all(a is None or _is_finite(a) for a in flow.arriving)
        and not all(c is None or _is_finite(c) for c in flow.leaving)
    ]


def deaths(recording: Recording, walked: Iterable[Flow]) -> list[Event]:
    """The events that turn a cotangent into zeros for whatever the recording is seen from.

    Args:
        recording: A run, perhaps seen from one trained value.
        walked: What `flows` gave for the whole run.
    """
    found = []
    for flow in walked:
        arriving = [
            a for t, a in zip(flow.event.outputs, flow.arriving, strict=True) if t in recording.live
        ]
        leaving = [
            c for t, c in zip(flow.event.inputs, flow.leaving, strict=True) if t in recording.live
        ]
        if leaving and any(map(_is_nonzero, arriving)) and not any(map(_is_nonzero, leaving)):
            found.append(flow.event)
    return found


def saturated(recording: Recording, executor: Any, end: Event) -> Event:
    """What made a gradient die in a product: the kink before it that is flat for all elements.

    A product of zeros has no derivative because of its factors: `relu(w) * relu(h)` of boxes that
    do not overlap. Other events are given back as they are.

    Args:
        recording: A run.
        executor: Runs nodes with their derivative.
        end: Where the gradient becomes zero.
    """
    if end.node.op != "multiply":
        return end
    wanted = set(end.inputs)
    for event in reversed(recording.events[: recording.events.index(end)]):
        if not any(t in wanted for t in event.outputs):
            continue
        wanted.update(event.inputs)
        is_live = any(t in recording.live for t in event.inputs)
        if event.node.nature == "kink" and event.node.op != "where" and is_live:
            arriving = [executor.ones(r) for r in event.results]
            leaving = _pulled_back(event, arriving, executor)
            live = [c for t, c in zip(event.inputs, leaving, strict=True) if t in recording.live]
            if not any(map(_is_nonzero, live)):
                return event
    return end


def _pulled_back(event: Event, arriving: Sequence[Any], executor: Any) -> list[Any]:
    _, pull_back = executor.vjp(event.node, event.operands)
    full = [
        a if a is not None else np.zeros(np.shape(r), np.float32)
        for a, r in zip(arriving, event.results, strict=True)
    ]
    return pull_back([executor.like(c, r) for c, r in zip(full, event.results, strict=True)])


def _has_zero(arriving: Sequence[Any]) -> bool:
    return any(a is not None and bool(np.any(to_numpy(a) == 0)) for a in arriving)


def _is_finite(value: Any) -> bool:
    return bool(np.all(np.isfinite(to_numpy(value).astype("float64"))))


def _is_nonzero(cotangent: Any) -> bool:
    return cotangent is not None and bool(np.any(to_numpy(cotangent) != 0))
