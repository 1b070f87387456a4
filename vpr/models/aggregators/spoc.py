"""SPoC (Babenko & Lempitsky, ICCV 2015): sum pooling, which after L2 is average pooling."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vpr.types import Features, FeatureSpec


class SPoC(nn.Module):
    """Sum of the cells, then L2: as many dimensions as the map has channels, and nothing to learn.

    Args:
        spec: of the features.
        l2_before: L2-normalise each cell first, as Berton et al. (CVPR 2022) do.
        centre_prior: weigh cells by a Gaussian around the centre of the image (the paper's equation 3), whose deviation
            is a third of the distance from the centre to the nearest border.
    """

    def __init__(self, spec: FeatureSpec, l2_before: bool = False, centre_prior: bool = False) -> None:
        super().__init__()
        self.dim = spec.channels
        self.l2_before, self.centre_prior = l2_before, centre_prior

    def forward(self, features: Features) -> Tensor:
        x = features.map.float()
        x = F.normalize(x, dim=1) if self.l2_before else x
        if self.centre_prior:
            x = x * centre_weights(*x.shape[-2:]).to(x.device)
        return F.normalize(x.mean(dim=(-2, -1)), dim=-1)


def centre_weights(height: int, width: int) -> Tensor:
    """Return weights (height, width) float32 of cells, exp(-d^2 / 2 s^2), d from the centre, s a third of half a side.

    >>> centre_weights(1, 3)[0, 1].item()
    1.0
    """
    deviation = min(height, width) / 6
    y, x = (torch.arange(side) + 0.5 - side / 2 for side in (height, width))
    return torch.exp(-(y[:, None] ** 2 + x**2) / (2 * deviation**2))
