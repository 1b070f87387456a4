"""MixVPR (Ali-bey et al., WACV 2023): feature maps mixed as a whole by multi-layer perceptrons."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from vpr.errors import ConfigError
from vpr.types import Features, FeatureSpec


class FeatureMixer(nn.Module):
    """x + MLP(LayerNorm(x)) over the last axis, the cells of one channel."""

    def __init__(self, cells: int, mlp_ratio: float = 1) -> None:
        super().__init__()
        hidden = int(cells * mlp_ratio)
        self.mix = nn.Sequential(nn.LayerNorm(cells), nn.Linear(cells, hidden), nn.ReLU(), nn.Linear(hidden, cells))
        for layer in self.mix:
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.mix(x)


class MixVPR(nn.Module):
    """Mix the cells of each channel `mix_depth` times, then project channels and cells (the paper's figure 2).

    The weights belong to one grid of cells, so the image size of a trained model is fixed.

    Args:
        spec: of the features; `spec.grid` must be known.
        out_channels, out_rows: their product is the number of dimensions of the descriptor.
        mix_depth: number of mixers.
        mlp_ratio: hidden units of a mixer per cell.

    Raises:
        ConfigError: features of another grid come in.
    """

    fixed_grid = True

    def __init__(
        self,
        spec: FeatureSpec,
        out_channels: int = 512,
        out_rows: int = 4,
        mix_depth: int = 4,
        mlp_ratio: float = 1,
    ) -> None:
        super().__init__()
        if spec.grid is None:
            raise ConfigError("MixVPR needs to know the grid of the features: build it at a fixed image size.")
        self.grid = tuple(spec.grid)
        self.dim = out_channels * out_rows
        cells = self.grid[0] * self.grid[1]
        self.mix = nn.Sequential(*(FeatureMixer(cells, mlp_ratio) for _ in range(mix_depth)))
        self.channel_proj = nn.Linear(spec.channels, out_channels)
        self.row_proj = nn.Linear(cells, out_rows)

    def forward(self, features: Features) -> Tensor:
        x = features.map
        if tuple(x.shape[-2:]) != self.grid:
            raise ConfigError(
                f"MixVPR was built for a feature map of {_cells(self.grid)} cells and got {_cells(x.shape[-2:])}: "
                "use the image size that the model was made for, or another aggregator (agg=gem takes any size)."
            )
        x = self.mix(x.flatten(2))
        x = self.channel_proj(x.transpose(1, 2)).transpose(1, 2)
        x = self.row_proj(x)
        return F.normalize(x.flatten(1).float(), dim=-1)


def _cells(grid: tuple[int, ...]) -> str:
    return "x".join(map(str, grid))
