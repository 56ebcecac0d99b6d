"""Free-prediction descent on PyTorch, as `tests.descent` does it on TensorFlow."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from tests.links import STEPS, Descent, link_of, logits_of

LINKS: dict[str, Callable[[Any], Any]] = {
    "identity": lambda z: z * 1.0,
    "sigmoid": torch.sigmoid,
    "softmax": lambda z: torch.softmax(z, -1),
    "exp": torch.exp,
}


def descend(
    hard: Callable[..., Any],
    relaxed: Callable[..., Any],
    y_true: np.ndarray,
    prediction: np.ndarray,
    *,
    maximize: bool,
    link: str | None = None,
    steps: int = STEPS,
    learning_rate: float = 0.05,
) -> Descent:
    """Runs Adam on the relaxed value of free predictions, and looks at the hard value."""
    link = link or link_of(prediction)
    y = torch.tensor(y_true)
    z = torch.tensor(logits_of(prediction, link).astype("float32"), requires_grad=True)
    adam = torch.optim.Adam([z], lr=learning_rate, eps=1e-12)
    looks = {int(0.9 * steps), int(0.95 * steps), steps}

    def value() -> float:
        with torch.no_grad():
            return float(hard(y.clone(), LINKS[link](z)).detach())

    start, ends = value(), []
    for n in range(steps):
        # the rate falls to zero, so that what oscillates around a kink settles
        adam.param_groups[0]["lr"] = learning_rate * 0.5 * (1 + math.cos(math.pi * n / steps))
        adam.zero_grad()
        loss = relaxed(y, LINKS[link](z))
        (-loss if maximize else loss).backward()
        adam.step()
        if n + 1 in looks:
            ends.append(value())
    return Descent(start, max(ends) if maximize else min(ends))
