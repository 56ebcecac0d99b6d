"""A function in a saved configuration: by its name, never by its code.

Keras finds a function again if it was registered. One that stands at the top of a module is found
here too, if that module has been imported by then; nothing is imported, unpickled or evaluated.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import keras

from bevel.errors import BevelValueError


def function_config(fn: Callable[..., Any] | None) -> dict[str, str] | None:
    """The name of a function, or None.

    Raises:
        BevelValueError: It cannot be found by its name.
    """
    if fn is None:
        return None
    name = getattr(fn, "__qualname__", type(fn).__qualname__)
    config = {
        "module": getattr(fn, "__module__", None) or "",
        "name": name,
        "registered": keras.saving.get_registered_name(fn) or "",
    }
    if _found(config) is not fn:
        raise BevelValueError(
            f"`{name}` cannot be saved: it cannot be found again by its name. Define it at the top "
            "of a module, or mark it with keras.saving.register_keras_serializable()."
        )
    return config


def function_from(config: Any) -> Any:
    """The function of that name; what is no configuration of a function is given back.

    Raises:
        BevelValueError: There is none.
    """
    if not isinstance(config, dict) or config.keys() != {"module", "name", "registered"}:
        return config
    found = _found(config)
    if not callable(found):
        raise BevelValueError(
            f"no function `{config['name']}` of the module `{config['module']}` is known; import "
            "that module before loading."
        )
    return found


def _found(config: dict[str, str]) -> Any:
    registered = keras.saving.get_registered_object(config["registered"])
    if registered is not None:
        return registered
    found: Any = sys.modules.get(config["module"])
    for part in config["name"].split("."):
        found = getattr(found, part, None)
    return found
