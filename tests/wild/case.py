"""The record of one case, and the generators of inputs that the cases share."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass
class Case:
    name: str
    url: str                    # page actually read (mirror url where only a mirror was found)
    framework: str              # tensorflow | keras | torch | jax
    symptom: str                # none | zero | nan | fine   (gradient of loss w.r.t. y_pred, checked)
    blockers: list[str]         # op names as traced; "py:..." = leaves the graph through Python
    goal: str
    make: Callable              # seed -> (y_true, y_pred) numpy
    loss: Callable              # (y_true, y_pred) -> scalar tensor, the hard original
    lower_is_better: bool = True
    # extras
    title: str = ""
    reported: str = ""          # symptom as the asker reported it
    fix: str = ""               # accepted / maintainers' answer, "" if none seen
    kind: str = "failing"       # failing | partial (gradient flows, one term is dead) | control
    note: str = ""


def R(seed):
    return np.random.RandomState(seed + 7)


def f32(*a):
    return tuple(np.asarray(x, np.float32) for x in a)


def binary(n=16):
    def make(seed):
        r = R(seed)
        y = (r.rand(n) < 0.5).astype(np.float32)
        y[:2] = [0.0, 1.0]
        p = np.clip(0.5 + 0.35 * (y - 0.5) + 0.3 * r.randn(n), 0.03, 0.97)
        return f32(y, p)
    return make


def probs(n=12, c=4):
    """one-hot labels, softmax predictions"""
    def make(seed):
        r = R(seed)
        k = np.arange(n) % c
        z = r.randn(n, c) + 0.8 * np.eye(c)[k]
        p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
        return f32(np.eye(c)[k], p)
    return make


def series(n=20, scale=1.0):
    def make(seed):
        r = R(seed)
        y = np.cumsum(r.randn(n)) * scale
        return f32(y, y + 0.7 * scale * r.randn(n))
    return make


def scores(n=12):
    """graded relevance 0..3 and real scores"""
    def make(seed):
        r = R(seed)
        y = r.randint(0, 4, n)
        return f32(y, 0.5 * y + r.randn(n))
    return make
