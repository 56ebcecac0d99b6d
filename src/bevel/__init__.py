"""Train on the metric you mean.

Bevel traces a metric written in ordinary framework code, audits it (does a useful gradient reach
the prediction, and which line stops it?), and relaxes it into a loss that can be trained on.

The public names are loaded when first used: importing `bevel` imports no framework. It does choose
the backend that Keras will start with, see `bevel.backend`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from bevel.backend import choose_backend, follow_imports, require_any

if TYPE_CHECKING:
    from bevel import callbacks, codes, decide, errors, layers, losses, ops, plots, recipes
    from bevel.auditing import audit
    from bevel.codes import explain
    from bevel.frontends import trace
    from bevel.gradient_check import GradientCheck, check_gradient
    from bevel.model_audit import ModelReport
    from bevel.program import Loc, Program
    from bevel.python_layers import activation, custom_gradient
    from bevel.relaxation import Relaxed, relax
    from bevel.report import Finding, Report

__version__ = "0.1.0"

_SOURCES = {
    "Finding": "bevel.report",
    "GradientCheck": "bevel.gradient_check",
    "ModelReport": "bevel.model_audit",
    "Loc": "bevel.program",
    "Program": "bevel.program",
    "Relaxed": "bevel.relaxation",
    "Report": "bevel.report",
    "activation": "bevel.python_layers",
    "audit": "bevel.auditing",
    "check_gradient": "bevel.gradient_check",
    "custom_gradient": "bevel.python_layers",
    "explain": "bevel.codes",
    "relax": "bevel.relaxation",
    "trace": "bevel.frontends",
}
_MODULES = ("callbacks", "codes", "decide", "errors", "layers", "losses", "ops", "plots", "recipes")
_ON_KERAS = frozenset({"callbacks", "layers", "losses", "ops"})

__all__ = [
    "Finding",
    "GradientCheck",
    "Loc",
    "ModelReport",
    "Program",
    "Relaxed",
    "Report",
    "__version__",
    "activation",
    "audit",
    "callbacks",
    "check_gradient",
    "codes",
    "custom_gradient",
    "decide",
    "errors",
    "explain",
    "layers",
    "losses",
    "ops",
    "plots",
    "recipes",
    "relax",
    "trace",
]

choose_backend()


def __getattr__(name: str) -> Any:
    if name in _MODULES or name in _SOURCES:
        follow_imports()
    if name in _ON_KERAS:
        require_any()
    if name in _MODULES:
        return import_module(f"bevel.{name}")
    if name in _SOURCES:
        value = getattr(import_module(_SOURCES[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'bevel' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
