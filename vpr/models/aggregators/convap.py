"""Conv-AP (Ali-bey et al., GSV-Cities, Neurocomputing 2022)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from vpr.types import Features, FeatureSpec


class ConvAP(nn.Module):
    """A 1x1 convolution, adaptive average pooling to rows x columns cells, L2 over all.

    Args:
        spec: of the features.
        out_channels: of the convolution.
        rows, columns: of the pooled map; the descriptor has out_channels * rows * columns dimensions.
    """

    def __init__(self, spec: FeatureSpec, out_channels: int = 512, rows: int = 2, columns: int = 2) -> None:
        super().__init__()
        self.channel_proj = nn.Conv2d(spec.channels, out_channels, 1)
        self.pool = nn.AdaptiveAvgPool2d((rows, columns))
        self.dim = out_channels * rows * columns

    def forward(self, features: Features) -> Tensor:
        x = self.pool(self.channel_proj(features.map))
        return F.normalize(x.flatten(1).float(), dim=-1)
