"""Which framework Keras starts with, and clear words when a needed package is absent.

Keras decides once, when it is first imported. `choose_backend` runs before that, on `import bevel`,
and takes the framework which the user has already imported, else an installed one. It imports none
itself. A backend that the user chose, in the environment or in Keras's own configuration file, is
left alone.
"""

from __future__ import annotations

import json
import os
import re
import sys
import tempfile
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bevel.errors import BevelTypeError, MissingFrameworkError, printable

FRAMEWORKS = ("tensorflow", "jax", "torch")
"""The frameworks that Keras runs on, in the order in which an installed one is taken."""

EXTRAS = {
    "tensorflow": "tensorflow",
    "jax": "jax",
    "torch": "torch",
    "sklearn": "tensorflow",
    "matplotlib": "plot",
}
"""Importable package to the extra of this distribution that installs it."""

# Keras writes its configuration file itself when there is none, always with this backend. Found
# there, it says nothing about what the user wants.
_WRITTEN_BY_KERAS = "tensorflow"

# What native code writes while TensorFlow is loaded: notes on the processor and absent drivers.
_NOTES = re.compile(rb"I\d{4} |WARNING: All log messages before absl")

_chosen: str | None = None


def choose_backend() -> str | None:
    """Set the environment variable `KERAS_BACKEND`, unless the user did or Keras is imported.

    Returns:
        The framework chosen here, or None where the choice was left as it is.
    """
    global _chosen
    if "keras" in sys.modules or os.environ.get("KERAS_BACKEND") or _configured():
        return None
    imported = [name for name in FRAMEWORKS if name in sys.modules]
    # a generator, so that no framework is looked for once one is found
    candidates = imported or (name for name in FRAMEWORKS if _installed(name))
    _chosen = next(iter(candidates), None)
    if _chosen is not None:
        os.environ["KERAS_BACKEND"] = _chosen
    return _chosen


def follow_imports() -> None:
    """Choose again, where the framework chosen here is none of those imported since.

    `import bevel` often comes before the import of the user's own framework.
    """
    imported = [name for name in FRAMEWORKS if name in sys.modules]
    if _chosen is not None and os.environ.get("KERAS_BACKEND") == _chosen and imported:
        if _chosen not in imported and "keras" not in sys.modules:
            del os.environ["KERAS_BACKEND"]
            choose_backend()


def require(package: str) -> None:
    """Raise unless `package` can be imported; nothing is imported.

    Args:
        package: One of the keys of `EXTRAS`.

    Raises:
        MissingFrameworkError: It is not installed. The message names the extra that installs it.

    Example:
        >>> require("tensorflow")
    """
    if not _installed(package):
        raise MissingFrameworkError(
            f"{package} is needed here and is not installed.",
            help=f'pip install "bevel[{EXTRAS[package]}]"',
        )


def require_any() -> None:
    """Raise unless Keras can start: one framework is installed, and the one that was chosen exists.

    Raises:
        MissingFrameworkError: No framework is installed, or KERAS_BACKEND names none.
    """
    chosen = os.environ.get("KERAS_BACKEND")
    if chosen and chosen not in FRAMEWORKS and "keras" not in sys.modules:
        raise MissingFrameworkError(
            f"KERAS_BACKEND is {printable(chosen)!r}; Bevel runs on {', '.join(FRAMEWORKS)}."
        )
    if not any(map(_installed, FRAMEWORKS)):
        raise MissingFrameworkError(
            f"none of {', '.join(FRAMEWORKS)} is installed, and Keras needs one.",
            help=f'pip install "bevel[{EXTRAS["tensorflow"]}]"',
        )


def load_quietly(package: str) -> None:
    """Import a package without the notes that TensorFlow's native code writes meanwhile.

    No log level reaches them, since they come before it is read. All other lines are passed on.

    Args:
        package: Its name; Keras brings its backend with it.
    """
    sys.stderr.flush()
    terminal = os.dup(2)
    with tempfile.TemporaryFile() as written:
        os.dup2(written.fileno(), 2)
        try:
            import_module(package)
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)
            written.seek(0)
            for line in written:
                if not _NOTES.match(line):
                    os.write(2, line)


def check_active(framework: str) -> None:
    """Raise unless tensors of `framework` are what Keras computes with.

    Where Keras is not imported yet and its backend was chosen here, the choice is changed instead:
    `import bevel` often comes before the import of the user's own framework.

    Args:
        framework: The framework that the caller's tensors belong to, one of `FRAMEWORKS`.

    Raises:
        MissingFrameworkError: The framework is not installed.
        BevelTypeError: Keras has been started with another framework. The message says how to
            switch.
    """
    require(framework)
    if "keras" not in sys.modules and _chosen is not None:
        os.environ["KERAS_BACKEND"] = framework
    import keras

    active = keras.config.backend()
    if active != framework:
        raise BevelTypeError(
            f"received {framework} tensors, expected {active} tensors: Keras was started with"
            f" {active}, and its backend cannot change in a running process.",
            help=f"set the environment variable KERAS_BACKEND={framework}, or import {framework}"
            " before bevel and keras; then start Python anew.",
        )


def dtype_name(x: Any) -> str:
    """The name of a tensor's dtype, the same in all frameworks: "float32", "bool", "int64"."""
    from keras.backend import standardize_dtype

    return standardize_dtype(x.dtype)


def is_float(x: Any) -> bool:
    """Whether a tensor holds floats, of whichever precision."""
    return "float" in str(x.dtype)


def is_concrete(x: Any) -> bool:
    """Whether a tensor of the active framework has values now, and is not being traced."""
    import keras

    if keras.config.backend() == "tensorflow":
        import tensorflow as tf

        return tf.executing_eagerly() and hasattr(x, "numpy") and x.dtype != tf.variant
    if keras.config.backend() == "jax":
        from jax.core import Tracer

        return not isinstance(x, Tracer)
    torch = sys.modules["torch"]
    # within torch.func a tensor is a stand-in for one derivative, or for several rows at once
    wrapped = getattr(torch._C._functorch, "is_functorch_wrapped_tensor", lambda _: False)
    return not (torch.compiler.is_compiling() or (isinstance(x, torch.Tensor) and wrapped(x)))


def to_numpy(x: Any) -> Any:
    """The values of an array, a number or a tensor, with or without a gradient."""
    import numpy as np

    torch = sys.modules.get("torch")
    if torch is None or not isinstance(x, torch.Tensor):
        return np.asarray(x)
    x = x.detach().cpu()
    return (x.float() if x.dtype == torch.bfloat16 else x).numpy()


def _configured() -> str | None:
    """The backend that the user wrote into Keras's configuration file, if any."""
    home = os.environ.get("KERAS_HOME") or Path.home() / ".keras"
    try:
        config = json.loads((Path(home) / "keras.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    backend = config.get("backend") if isinstance(config, dict) else None
    return backend if backend != _WRITTEN_BY_KERAS else None


def _installed(package: str) -> bool:
    return package in sys.modules or find_spec(package) is not None
