"""What all executors do alike: running a program node by node, and standing aside of replicas."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from bevel.program import Node, Program

_replicas = threading.local()


def run_all(
    program: Program,
    operands: Sequence[Any],
    run_node: Callable[[Node, Sequence[Any]], list[Any]],
) -> list[Any]:
    """Runs a program natively on values for its inputs and captures; gives its results."""
    heads = (*program.inputs, *program.captures)
    env = {value.id: operand for value, operand in zip(heads, operands, strict=True)}
    for node in program.nodes:
        results = run_node(node, [env[i] for i in node.inputs])
        env.update(zip((v.id for v in node.outputs), results, strict=True))
    return [env[i] for i in program.outputs]


@contextlib.contextmanager
def as_one_replica() -> Iterator[None]:
    """A context for what is the same on all replicas already, so that nothing is added up."""
    with _set("alone", True):
        yield


def is_alone() -> bool:
    """Whether this is inside of `as_one_replica`."""
    return getattr(_replicas, "alone", False)


@contextlib.contextmanager
def along(axis: str | None) -> Iterator[None]:
    """A context that says which of JAX's mapped axes the replicas of a batch lie along."""
    with _set("axis", axis):
        yield


def mapped_axis() -> str | None:
    """The axis that `along` says, or None."""
    return getattr(_replicas, "axis", None)


@contextlib.contextmanager
def _set(name: str, value: Any) -> Iterator[None]:
    before = getattr(_replicas, name, None)
    setattr(_replicas, name, value)
    try:
        yield
    finally:
        setattr(_replicas, name, before)
