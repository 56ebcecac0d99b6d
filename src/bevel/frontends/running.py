"""What all executors do alike: running a program node by node, and standing aside of replicas."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from bevel.program import Node, Program

_alone = threading.local()


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
    before = is_alone()
    _alone.here = True
    try:
        yield
    finally:
        _alone.here = before


def is_alone() -> bool:
    """Whether this is inside of `as_one_replica`."""
    return getattr(_alone, "here", False)
