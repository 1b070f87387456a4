"""Metric losses on mined pairs or triplets."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn


class LossResult(NamedTuple):
    """Value of a loss.

    Attributes:
        value: the scalar to minimise.
        mined: share (0..1) of the batch's images that the miner picked, or of its tuples that violate their order.
        parts: by name, the unweighted scalars of which `value` is made, where it is made of several.
    """

    value: Tensor
    mined: float
    parts: Mapping[str, Tensor] = MappingProxyType({})


class MinedLoss(nn.Module):
    """A loss of pytorch-metric-learning on the pairs that its miner picks, always computed in float32.

    Args:
        loss: a loss of pytorch-metric-learning, e.g. MultiSimilarityLoss (Wang et al., 2019).
        miner: a miner of the same library; None takes all pairs.
    """

    def __init__(self, loss: Any, miner: Any = None) -> None:
        super().__init__()
        self.loss = loss
        self.miner = miner

    def forward(self, descriptors: Tensor, labels: Tensor) -> LossResult:
        """Return the loss of descriptors (N, D) with place numbers `labels` (N,)."""
        with torch.autocast(descriptors.device.type, enabled=False):
            descriptors = descriptors.float()
            if self.miner is None:
                return LossResult(self.loss(descriptors, labels), 1.0)
            pairs = self.miner(descriptors, labels)
            # Anchors stand first in what miners return. The published "b_acc" is 1 - mined.
            mined = len(torch.unique(pairs[0])) / max(1, len(labels))
            return LossResult(self.loss(descriptors, labels, pairs), mined)
