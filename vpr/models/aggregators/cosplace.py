"""CosPlace's head (Berton et al., CVPR 2022, section 3.3)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from vpr.models.aggregators.gem import GeMPool
from vpr.types import Features, FeatureSpec


class CosPlace(nn.Module):
    """L2 over channels, GeM pooling, a linear layer, L2.

    Args:
        spec: of the features.
        out_dim: dimensions of the descriptor.
        p: initial exponent of GeM, which is learned.
        l2_before: false leaves the first L2 out, as the deep-VG benchmark can (Berton et al., CVPR 2022).
    """

    def __init__(self, spec: FeatureSpec, out_dim: int = 512, p: float = 3.0, l2_before: bool = True) -> None:
        super().__init__()
        self.l2_before = l2_before
        self.pool = GeMPool(p)
        self.fc = nn.Linear(spec.channels, out_dim)
        self.dim = out_dim

    def forward(self, features: Features) -> Tensor:
        x = F.normalize(features.map.float(), dim=1) if self.l2_before else features.map
        return F.normalize(self.fc(self.pool(x)).float(), dim=-1)
