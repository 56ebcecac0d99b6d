"""Relaxed functions under `torch.compile`, which cannot look into what records other code.

It compiles what is around them. What they do themselves is written down by their second call
(`replay`); that graph goes to the same compiler by itself, once for each shape. Only the compiler
that comes with PyTorch takes it: other backends are there to show or to skip that very step.

This module loads the compiler, which takes its time, so it is imported where that is loaded anyway.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch._dynamo.symbolic_convert import InstructionTranslator

from bevel.frontends.torch.replay import compiled_replays

_left_alone: Any = torch.compiler.disable


def called(fn: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """What a function returns, itself never compiled."""
    if torch.compiler.is_compiling() and _is_by_inductor():
        return _inside(fn, args, kwargs)
    return _beside(fn, args, kwargs)


@_left_alone
def _beside(fn: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    return fn(*args, **kwargs)


@_left_alone
def _inside(fn: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    with compiled_replays():
        return fn(*args, **kwargs)


@torch.compiler.assume_constant_result
def _is_by_inductor() -> Any:
    """Whether code is being compiled by the compiler that comes with PyTorch."""
    backend = InstructionTranslator.current_tx().output.compiler_fn
    return getattr(backend, "__name__", "") == "inductor"
