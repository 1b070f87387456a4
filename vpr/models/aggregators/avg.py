"""Plain average pooling, the simplest descriptor."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from vpr.types import Features, FeatureSpec


class Avg(nn.Module):
    """Mean over cells, then L2 normalisation: as many dimensions as the map has channels, and nothing to learn."""

    def __init__(self, spec: FeatureSpec) -> None:
        super().__init__()
        self.dim = spec.channels

    def forward(self, features: Features) -> Tensor:
        return F.normalize(features.map.float().mean(dim=(-2, -1)), dim=-1)
