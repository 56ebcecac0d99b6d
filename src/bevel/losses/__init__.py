"""Losses: any metric relaxed, and the ones whose sums are worth writing by hand.

`MetricLoss` makes a loss of a Keras metric or of a function. The others are exact and log-linear
forms of metrics that compare all rows with all (`ranking`, `partial`, `operating`, `concordance`,
`top`), that do so within lists (`lists`, `pairs`, `listwise`), and of those of regions
(`segmentation`), of confusion matrices (`confusion`), of costs (`cost`) and of real numbers
(`regression`, `robust`), on every backend.
"""

from __future__ import annotations

from bevel.losses.concordance import ConcordanceIndex, Kendall
from bevel.losses.confusion import MCC, BalancedAccuracy, CohenKappa, FBeta
from bevel.losses.cost import ExpectedCost
from bevel.losses.lists import MRR, NDCG, MeanAveragePrecision
from bevel.losses.listwise import ListwiseSoftmax
from bevel.losses.metric_loss import MetricLoss
from bevel.losses.operating import PrecisionAtRecall, RecallAtPrecision
from bevel.losses.pairs import Pairwise
from bevel.losses.partial import PartialAUC
from bevel.losses.ranking import AUC, AveragePrecision, Spearman
from bevel.losses.regression import ConcordanceCorrelation, Quantile
from bevel.losses.robust import MedianAbsoluteError, ToleranceAccuracy
from bevel.losses.segmentation import Dice, Jaccard, Lovasz, Tversky
from bevel.losses.top import PrecisionAtK, RecallAtK

__all__ = [
    "AUC",
    "MCC",
    "MRR",
    "NDCG",
    "AveragePrecision",
    "BalancedAccuracy",
    "CohenKappa",
    "ConcordanceCorrelation",
    "ConcordanceIndex",
    "Dice",
    "ExpectedCost",
    "FBeta",
    "Jaccard",
    "Kendall",
    "ListwiseSoftmax",
    "Lovasz",
    "MeanAveragePrecision",
    "MedianAbsoluteError",
    "MetricLoss",
    "Pairwise",
    "PartialAUC",
    "PrecisionAtK",
    "PrecisionAtRecall",
    "Quantile",
    "RecallAtK",
    "RecallAtPrecision",
    "Spearman",
    "ToleranceAccuracy",
    "Tversky",
]
