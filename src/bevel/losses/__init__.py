"""Losses: any metric relaxed, and the ones whose sums are worth writing by hand.

`MetricLoss` makes a loss of a Keras metric or of a function. The others are exact and log-linear
forms of metrics that compare all rows with all (`ranking`, `lists`, `top`), and of those of regions
(`segmentation`), of confusion matrices (`confusion`) and of real numbers (`regression`), on every
backend.
"""

from __future__ import annotations

from bevel.losses.confusion import MCC, BalancedAccuracy, CohenKappa, FBeta
from bevel.losses.lists import NDCG, MeanAveragePrecision
from bevel.losses.metric_loss import MetricLoss
from bevel.losses.ranking import AUC, AveragePrecision, Spearman
from bevel.losses.regression import ConcordanceCorrelation, Quantile
from bevel.losses.segmentation import Dice, Jaccard, Lovasz, Tversky
from bevel.losses.top import PrecisionAtK, RecallAtK

__all__ = [
    "AUC",
    "MCC",
    "NDCG",
    "AveragePrecision",
    "BalancedAccuracy",
    "CohenKappa",
    "ConcordanceCorrelation",
    "Dice",
    "FBeta",
    "Jaccard",
    "Lovasz",
    "MeanAveragePrecision",
    "MetricLoss",
    "PrecisionAtK",
    "Quantile",
    "RecallAtK",
    "Spearman",
    "Tversky",
]
