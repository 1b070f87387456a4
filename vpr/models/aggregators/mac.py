"""MAC, maximum activations of convolutions (Tolias et al., ICLR 2016)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from vpr.types import Features, FeatureSpec


class MAC(nn.Module):
    """Maximum over cells, then L2: as many dimensions as the map has channels, and nothing to learn.

    Args:
        spec: of the features.
        l2_before: L2-normalise each cell first, as Berton et al. (CVPR 2022) do.
    """

    def __init__(self, spec: FeatureSpec, l2_before: bool = False) -> None:
        super().__init__()
        self.dim = spec.channels
        self.l2_before = l2_before

    def forward(self, features: Features) -> Tensor:
        x = features.map.float()
        x = F.normalize(x, dim=1) if self.l2_before else x
        return F.normalize(x.amax(dim=(-2, -1)), dim=-1)
