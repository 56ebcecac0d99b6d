"""How a recorder gets to see the operations of a running function."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from importlib import import_module
from typing import Any

from torch.utils._python_dispatch import TorchDispatchMode

from bevel.frontends.torch.recorder import Recorder


class _Active(threading.local):
    """The recorders at work in this thread."""

    def __init__(self) -> None:
        self.recorders: list[Recorder] = []


_active = _Active()


def outside_transforms() -> Any:
    """A context in which operations run on plain tensors, within `torch.func` too."""
    try:
        functorch: Any = import_module("torch._functorch.pyfunctorch")
        return functorch.temporarily_clear_interpreter_stack()
    except (ImportError, AttributeError):  # another PyTorch keeps it elsewhere
        return nullcontext()


@contextmanager
def outside() -> Iterator[None]:
    """A context for what runs inside of a recorded function without being a part of it."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(outside_transforms())
        for recorder in _active.recorders:
            stack.enter_context(recorder.pause())
        yield


class Dispatch(TorchDispatchMode):
    """Hands every operation to a recorder."""

    def __init__(self, recorder: Recorder) -> None:
        super().__init__()
        self._recorder = recorder

    def __enter__(self) -> Any:
        _active.recorders.append(self._recorder)
        return super().__enter__()

    def __exit__(self, *error: Any) -> Any:
        _active.recorders.remove(self._recorder)
        return super().__exit__(*error)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if self._recorder.paused:
            return func(*args, **(kwargs or {}))
        with self._recorder.pause():
            return self._recorder.operation(func, args, kwargs or {})
