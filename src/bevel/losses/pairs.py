"""Losses of pairs of items in ranked lists: of two, the one of larger label should score higher.

Hinges over all such pairs are sums over two orders (`bevel.losses.dominance`), O(L log^2 L) for a
list of L items. The logistic loss has no end, and LambdaRank's weights differ from pair to pair:
these take L x L numbers for each list.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import keras
from keras import ops as K

from bevel.losses.dominance import keys, sum_before, weight_before
from bevel.losses.lists import GAINS, HINGES, Lists, best_gain, gains_of
from bevel.losses.surrogate import present, ratio
from bevel.ops import pairwise_sum
from bevel.ops.arguments import choose

FORMS = ("logistic", *HINGES)
WEIGHTINGS = ("none", "ndcg")


@keras.saving.register_keras_serializable(package="bevel")
class Pairwise(Lists):
    """The mean over pairs of items with y_i > y_j of phi((s_i - s_j) / temperature), for each list.

    | form | phi(z) | source |
    |---|---|---|
    | `logistic` | log(1 + exp(-z)) | RankNet: Burges et al., ICML 2005 |
    | `hinge` | max(0, 1 - z) | ranking SVM: Joachims, KDD 2002 |
    | `squared_hinge` | max(0, 1 - z)^2 | the same, squared |

    With `weighting="ndcg"` it is LambdaRank (Burges, 2010): the sum over these pairs of abs(G_i -
    G_j) abs(1 / D_i - 1 / D_j) phi, with the gains G of the labels over the best DCG and D =
    log2(1 + rank) by the ranks that the scores have now, both constants for the gradient: what NDCG
    changes by if the two change places. By LambdaLoss (Wang, Li, Golbandi, Bendersky and Najork,
    CIKM 2018) its steps lower a bound of a metric. Equal scores share their mean rank.

    Args:
        form: `logistic`, `hinge` or `squared_hinge`.
        weighting: `none` or `ndcg`.
        gain: For `ndcg`: `exponential`, 2^label - 1, or `linear`.
        temperature: What differences are divided by: the margin of a hinge, 1 / sigma of RankNet.
            Scores are taken as they are, not in units of their spread: without weighting the loss
            is convex in them.
        reduction: Over the lists: `sum_over_batch_size` (their mean by weight; lists without two
            different labels are left out), `sum`, or None for one loss each.
        name: Name of the loss.
        dtype: The dtype to compute in.

    Raises:
        BevelValueError: an argument cannot be used; shapes or weights do not fit when called.

    Call arguments: as of `NDCG`. Time and memory are O(lists L^2) for `logistic` and for `ndcg`,
    O(lists L log^2 L) else.

    Example:
        >>> import numpy as np
        >>> labels = np.array([[2.0, 0.0, 1.0, -1.0]], "float32")
        >>> scores = np.array([[3.0, 2.5, 1.0, 0.0]], "float32")
        >>> round(float(Pairwise(form="hinge")(labels, scores)), 4)
        1.0
    """

    in_spreads: ClassVar[bool] = False
    form: str
    weighting: str
    gain: str
    temperature: float

    def __init__(
        self,
        *,
        form: str = "logistic",
        weighting: str = "none",
        gain: str = "exponential",
        temperature: float = 1.0,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        choose("form", form, FORMS)
        choose("weighting", weighting, WEIGHTINGS)
        choose("gain", gain, GAINS)
        super().__init__(
            reduction, name, dtype, form=form, weighting=weighting, gain=gain,
            temperature=temperature,
        )  # fmt: skip

    def of_lists(self, y: Any, scores: Any, here: Any) -> tuple[Any, Any]:
        key = keys(y)
        pairs = K.sum(here * weight_before(key, here), axis=-1)
        some = present(pairs)
        if self.weighting == "none" and self.form in HINGES:
            each = sum_before(-scores, key, here, self.form, self.temperature)
            return ratio(K.sum(here * each, axis=-1), pairs), some
        share = here[:, :, None] * here[:, None, :] * K.cast(y[:, :, None] > y[:, None, :], y.dtype)
        if self.weighting == "ndcg":
            share = share * _exchanged(gains_of(y, here, self.gain), scores, here)
        else:
            share = share / K.where(some > 0, pairs, K.ones_like(pairs))[:, None, None]
        ahead = (scores[:, :, None] - scores[:, None, :]) / self.temperature
        return K.sum(share * self._phi(ahead), axis=(1, 2)), some

    def _phi(self, z: Any) -> Any:
        if self.form == "logistic":
            return K.softplus(-z)
        short = K.relu(1 - z)
        return short if self.form == "hinge" else short * short


def _exchanged(gains: Any, scores: Any, here: Any) -> Any:
    """By how much NDCG changes if two items change places, shape (lists, items, items)."""
    before = pairwise_sum(-K.stop_gradient(scores), weights=here, temperature=0)
    worth = ratio(gains, best_gain(gains)[:, None])
    # each item counts half against itself, so that ranks begin at 1
    discount = math.log(2) / K.log1p(K.where(here > 0, before + 0.5, K.ones_like(before)))
    apart = [K.abs(t[:, :, None] - t[:, None, :]) for t in (worth, discount)]
    return apart[0] * apart[1]
