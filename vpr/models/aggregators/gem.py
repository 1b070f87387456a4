"""Generalised-mean pooling (Radenovic et al., TPAMI 2018, eq. 3)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vpr.types import Features, FeatureSpec


class GeMPool(nn.Module):
    """(mean over cells of x^p)^(1/p) of each channel, x clamped to at least `eps`; (B, C, h, w) -> (B, C), float32.

    Computed in float32 also under autocast: powers of half-precision numbers overflow.
    """

    def __init__(self, p: float = 3.0, eps: float = 1e-6) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.tensor([float(p)]))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            p = self.p.float()
            return x.float().clamp(min=self.eps).pow(p).mean(dim=(-2, -1)).pow(1 / p)


class GeM(nn.Module):
    """GeM pooling and L2 normalisation: as many dimensions as the map has channels.

    Args:
        spec: of the features.
        p: initial exponent, which is learned; 1 is the mean, infinity the maximum.
        eps: lower bound of the activations.
        l2_before: L2-normalise each cell first, as Berton et al. (CVPR 2022) do.
    """

    def __init__(self, spec: FeatureSpec, p: float = 3.0, eps: float = 1e-6, l2_before: bool = False) -> None:
        super().__init__()
        self.pool = GeMPool(p, eps)
        self.l2_before = l2_before
        self.dim = spec.channels

    def forward(self, features: Features) -> Tensor:
        cells = F.normalize(features.map.float(), dim=1) if self.l2_before else features.map
        return F.normalize(self.pool(cells), dim=-1)
