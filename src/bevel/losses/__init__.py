"""Losses made from metrics: what is reported is what is trained on."""

from __future__ import annotations

from bevel.losses.metric_loss import MetricLoss

__all__ = ["MetricLoss"]
