"""SALAD (Izquierdo & Civera, CVPR 2024): cells shared out over clusters by optimal transport, with a dustbin."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vpr.errors import ConfigError
from vpr.types import Features, FeatureSpec


class SALAD(nn.Module):
    """Class token, and for each cluster the sum of its cells' features, weighted by the transport plan; L2 over all.

    Of n cells each is shared out wholly, each cluster takes as much as one cell, and the dustbin the rest, n - m. A
    backbone without a class token gives the mean of its cells instead, which is not in the paper. MegaLoc (2025) is
    this aggregator with `cluster_dim=256` and a linear layer behind it (conf/agg/megaloc.yaml).

    Args:
        spec: of the features.
        clusters: m; maps must have more cells than that.
        cluster_dim: features of a cluster.
        token_dim: features of the class token; the descriptor has clusters * cluster_dim + token_dim dimensions.
        hidden: units of the three perceptrons.
        dropout: share of the hidden units of cells that are dropped in training.
        iterations: of Sinkhorn's algorithm.

    Raises:
        ConfigError: the map has too few cells for the clusters.
    """

    def __init__(
        self,
        spec: FeatureSpec,
        clusters: int = 64,
        cluster_dim: int = 128,
        token_dim: int = 256,
        hidden: int = 512,
        dropout: float = 0.3,
        iterations: int = 3,
    ) -> None:
        super().__init__()
        self.spec, self.clusters, self.iterations = spec, clusters, iterations
        self.dim = clusters * cluster_dim + token_dim
        if spec.grid is not None:
            self._check_cells(*spec.grid)
        self.dust_bin = nn.Parameter(torch.tensor(1.0))
        self.token_features = nn.Sequential(nn.Linear(spec.channels, hidden), nn.ReLU(), nn.Linear(hidden, token_dim))
        self.cluster_features = _of_cells(spec.channels, hidden, cluster_dim, dropout)
        self.score = _of_cells(spec.channels, hidden, clusters, dropout)

    def forward(self, features: Features) -> Tensor:
        self._check_cells(*features.map.shape[-2:])
        token = features.map.mean(dim=(-2, -1)) if features.cls is None else features.cls
        token = F.normalize(self.token_features(token).float(), dim=-1)
        cells = self.cluster_features(features.map).flatten(2).float()
        plan = self.plan(features)[:, :-1]
        with torch.autocast(cells.device.type, enabled=False):
            sums = F.normalize(cells @ plan.transpose(1, 2), dim=1)  # (B, cluster_dim, m): clusters innermost
        return F.normalize(torch.cat([token, sums.flatten(1)], dim=1), dim=-1)

    def plan(self, features: Features) -> Tensor:
        """Return the transport plan (B, m + 1, n) float32, the dustbin last; each column sums to 1."""
        scores = self.score(features.map).flatten(2).float()
        return log_transport(scores, self.dust_bin, self.iterations).exp()

    def _check_cells(self, height: int, width: int) -> None:
        if height * width > self.clusters:
            return
        side = (math.isqrt(self.clusters) + 1) * self.spec.stride
        raise ConfigError(
            f"SALAD with {self.clusters} clusters needs more cells than that, and a feature map of {height}x{width} "
            f"has {height * width}. Type 'image.size=[{side},{side}]' or larger, or fewer agg.clusters."
        )


def log_transport(scores: Tensor, dustbin: Tensor, iterations: int = 3) -> Tensor:
    """Return the logarithm of the plan (B, m + 1, n) that shares out n cells over m clusters and a dustbin.

    Sinkhorn's algorithm in logarithms with regularisation 1 (Cuturi, 2013; with a dustbin Sarlin et al., 2020, section
    3.2): rows and columns of exp(M + u + v) are scaled in turn to the marginals, m ones and n - m, and n ones.

    Args:
        scores: of cells for clusters, (B, m, n), n > m, float32.
        dustbin: its score, the same for all cells, ().
        iterations: number of pairs of scalings; the columns come last, so they are exact.
    """
    batch, clusters, cells = scores.shape
    with torch.autocast(scores.device.type, enabled=False):
        scores = torch.cat([scores, dustbin.float().expand(batch, 1, cells)], dim=1)
        # Marginals in units of a cell: log 1 = 0 for clusters and cells, log(n - m) for the dustbin.
        rows = F.pad(scores.new_zeros(clusters), (0, 1), value=math.log(cells - clusters))[:, None]
        of_cells = scores.new_zeros(batch, 1, cells)
        for _ in range(iterations):
            of_rows = rows - (scores + of_cells).logsumexp(dim=2, keepdim=True)
            of_cells = -(scores + of_rows).logsumexp(dim=1, keepdim=True)
        return scores + of_rows + of_cells


def _of_cells(channels: int, hidden: int, out: int, dropout: float) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(channels, hidden, 1), nn.Dropout(dropout), nn.ReLU(), nn.Conv2d(hidden, out, 1))
