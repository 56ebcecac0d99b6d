"""Free-prediction descent on JAX: `tests.descent` with a compiled loop of this framework."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from tests.links import STEPS, Descent, logits_of

LINKS: dict[str, Callable[[Any], Any]] = {
    "identity": lambda x: x,
    "sigmoid": jax.nn.sigmoid,
    "softmax": jax.nn.softmax,
    "exp": jnp.exp,
}


class Descender:
    """Runs Adam from predictions of one shape; compiled once for all of them."""

    def __init__(
        self, hard: Callable[..., Any], relaxed: Callable[..., Any], link: str, *, maximize: bool
    ) -> None:
        self.link, self.maximize = link, maximize
        sign = -1.0 if maximize else 1.0

        def loss(z: Any, y: Any) -> Any:
            return sign * jnp.mean(relaxed(y, LINKS[link](z)))

        def step(i: Any, state: Any, y: Any) -> Any:
            z, first, second = state
            gradient = jax.grad(loss)(z, y)
            n = i.astype("float32")
            rate = 0.05 * 0.5 * (1 + jnp.cos(np.pi * n / STEPS))
            first = 0.9 * first + 0.1 * gradient
            second = 0.999 * second + 0.001 * gradient**2
            move = first / (1 - 0.9 ** (n + 1))
            size = jnp.sqrt(second / (1 - 0.999 ** (n + 1)))
            return z - rate * move / (size + 1e-12), first, second

        @jax.jit
        def run(begin: Any, end: Any, state: Any, y: Any) -> Any:
            return lax.fori_loop(begin, end, lambda i, s: step(i, s, y), state)

        self._run = run
        self._hard = lambda z, y: float(jnp.mean(hard(y, LINKS[link](z))))

    def __call__(self, y: np.ndarray, prediction: np.ndarray) -> Descent:
        """Hard values at the start and the end (the best of the last few looks)."""
        z = jnp.asarray(logits_of(prediction, self.link), "float32")
        state = (z, jnp.zeros_like(z), jnp.zeros_like(z))
        start, ends = self._hard(z, y), []
        looks = [0, int(0.9 * STEPS), int(0.95 * STEPS), STEPS]
        for begin, end in itertools.pairwise(looks):
            state = self._run(begin, end, state, y)
            ends.append(self._hard(state[0], y))
        return Descent(start, max(ends) if self.maximize else min(ends))
