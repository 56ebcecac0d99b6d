"""Predictions far from the first one, where a value that seems constant may respond after all.

A metric of rare hits, such as the recall at 3 of one positive among 20, keeps its value along most
lines between two random predictions. Before it is called flat, the prediction's own entries are
put in other orders, and single entries and whole rows are pushed to the extremes of their range.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from bevel.probing import kind_of, spread_of

_ORDERS = 48
_PUSHES = 160


def far_off(
    prediction: Sequence[np.ndarray], rng: np.random.Generator
) -> Iterator[tuple[np.ndarray, ...]]:
    """Predictions of the same kind as the given one, as unlike it as its range allows.

    Args:
        prediction: The arrays that a gradient must reach.
        rng: Source of the orders and of the entries that are pushed.
    """
    yield tuple(_reversed(p) for p in prediction)
    for _ in range(_ORDERS):
        yield tuple(_reordered(p, rng) for p in prediction)
    sizes = np.array([p.size for p in prediction])
    for n in range(_PUSHES):
        which = int(rng.choice(len(prediction), p=sizes / sizes.sum()))
        changed = list(prediction)
        changed[which] = _pushed(prediction[which], rng, up=n % 2 == 0)
        yield tuple(changed)


def _reversed(p: np.ndarray) -> np.ndarray:
    """The order of all entries turned round, along the last axis."""
    if kind_of(p) == "real":
        return (p.max(initial=-np.inf) + p.min(initial=np.inf) - p).astype(p.dtype)
    return 1 - p if kind_of(p) == "unit" else p[..., ::-1]


def _reordered(p: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The same entries in another order: rows keep together where they are probabilities."""
    if kind_of(p) == "simplex":
        return rng.permuted(p, axis=-1)
    return rng.permutation(p.ravel()).reshape(p.shape)


def _pushed(p: np.ndarray, rng: np.random.Generator, up: bool) -> np.ndarray:
    """One entry at the end of its range; of a row of probabilities, all the others shrink."""
    changed = np.array(p)
    place = np.unravel_index(int(rng.integers(p.size)), p.shape)
    kind = kind_of(p)
    if kind == "simplex":
        share = 0.98 if up else 0.02
        others = changed[place[:-1]] + 1e-6  # a row may have all of its weight in one place
        others[place[-1]] = 0
        changed[place[:-1]] = others * ((1 - share) / others.sum())
        changed[place] = share
    elif kind == "unit":
        changed[place] = 0.98 if up else 0.02
    else:
        far = 2 * spread_of(p)
        changed[place] = p.max() + far if up else p.min() - far
    return changed
