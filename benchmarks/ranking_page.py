"""`docs/ranking.md` from the figures that `ranking_quality.py` kept.

On lists a difference is paired by query, and its interval comes from drawing queries anew; on rows
it is paired by seed, as in `training_page.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from training_page import difference

PAGE = Path(__file__).parents[1] / "docs" / "ranking.md"
BASELINES = ("squared error", "ListwiseSoftmax")
DRAWS = 10_000
HEAD = """\
# Do ranking losses rank better?
"""


def interval(pairs: np.ndarray) -> tuple[float, float, float]:
    """The mean of the differences of queries, and the 95 % interval of it if they are drawn anew."""
    places = np.random.default_rng(0).integers(len(pairs), size=(DRAWS, len(pairs)))
    low, high = np.percentile(pairs[places].mean(axis=1), [2.5, 97.5])
    return float(pairs.mean()), float(low), float(high)


def page(stored: dict[str, Any]) -> str:
    """The text of `docs/ranking.md`."""
    return HEAD
