"""Two threads that trace at once do not mix, whatever the framework."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops as K

import bevel

X = np.linspace(0.05, 0.95, 12).astype("float32")
Y = (np.arange(12) % 3 == 0).astype("float32")


def rounded(y_true, y_pred):
    total = K.zeros((), "float32")
    for n in range(12):
        total = total + K.abs(K.round(y_pred[n]) - y_true[n])
    return total


def compared(y_true, y_pred):
    total = K.zeros((), "float32")
    for n in range(12):
        total = total + K.cast(y_pred[n] > 0.5, "float32") * y_true[n]
    return total


def traced_together(
    functions: dict[str, Callable[..., Any]], args: tuple[Any, ...], rounds: int = 2
) -> dict[str, list[Any]]:
    """The programs of each function, traced over and over beside the others'."""
    start = threading.Barrier(len(functions))
    found: dict[str, list[Any]] = {name: [] for name in functions}

    def work(name: str) -> None:
        start.wait()
        for _ in range(rounds):
            try:
                found[name].append([n.op for n in bevel.trace(functions[name], *args).nodes])
                float(bevel.relax(functions[name])(*args))
            except Exception as error:
                found[name].append(error)

    threads = [threading.Thread(target=work, args=(name,)) for name in functions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


@pytest.fixture
def switching():
    """Threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


@pytest.mark.filterwarnings("ignore:Converting a tensor with requires_grad")
def test_threads_do_not_mix(switching):
    functions = {"rounded": rounded, "compared": compared}
    given = tuple(map(K.convert_to_tensor, (Y, X)))
    alone = {name: [n.op for n in bevel.trace(fn, *given).nodes] for name, fn in functions.items()}
    found = traced_together(functions, given)
    for name, programs in found.items():
        assert all(p == alone[name] for p in programs), (name, programs[:3])


@pytest.mark.skipif(keras.backend.backend() != "torch", reason="of PyTorch")
def test_a_declared_gradient_is_restored_after_two_traces(switching):
    import torch

    before = torch.autograd.Function.__dict__["apply"]
    traced_together({"a": rounded, "b": compared}, (torch.tensor(Y), torch.tensor(X)), rounds=3)
    assert torch.autograd.Function.__dict__["apply"] is before
