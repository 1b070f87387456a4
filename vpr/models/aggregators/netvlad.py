"""NetVLAD (Arandjelovic et al., CVPR 2016, eq. 4): residuals to cluster centres, softly assigned and summed."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vpr.errors import CheckpointError, ConfigError
from vpr.models.cluster_file import ClusterFile, read_clusters
from vpr.types import Features, FeatureSpec

CHECKPOINT = "checkpoint"
CONTRAST = 0.01
"""The second nearest centre gets this share of what the nearest gets, for a descriptor with the mean gap."""


class NetVLAD(nn.Module):
    """V_k = sum over cells i of a_k(x_i) (x_i - c_k), intra-normalised, flattened cluster by cluster, L2-normalised.

    x_i are the cells of the map, L2-normalised over channels; a(x) = softmax over clusters of w_k . x, without bias.
    Everything is float32, also under autocast: the sums are small differences of large ones.

    Args:
        spec: of the features; maps of any size are taken.
        clusters: K; the descriptor has K * C dimensions.
        centroids: path of a cluster file; `checkpoint` where the values come next.
        allow_random_init: start from random centres, without a file.

    Raises:
        ConfigError: there is no cluster file, or it has another number of centres.
        CheckpointError: the cluster file is damaged, or of features with other channels.
    """

    def __init__(
        self,
        spec: FeatureSpec,
        clusters: int = 64,
        centroids: str | None = None,
        allow_random_init: bool = False,
    ) -> None:
        super().__init__()
        if centroids is None and not allow_random_init:
            raise ConfigError(
                "agg.centroids=null: NetVLAD starts from a cluster file. Make one with `python cluster.py backbone=... "
                "dataset=...`, or type agg.centroids=PATH. agg.allow_random_init=true starts from random centres."
            )
        self.dim = clusters * spec.channels
        self.conv = nn.Conv2d(spec.channels, clusters, 1, bias=False)
        self.centroids = nn.Parameter(F.normalize(torch.randn(clusters, spec.channels)))
        if centroids not in (None, CHECKPOINT):
            self._start_from(read_clusters(centroids), centroids)

    def forward(self, features: Features) -> Tensor:
        return normalise(self.residuals(features.map))

    def residuals(self, map: Tensor) -> Tensor:
        """Return V (B, K, C) float32, not normalised, of a map (B, C, h, w)."""
        x = self.descriptors(map)
        return self.sums(self.assign(x), x)

    def descriptors(self, map: Tensor) -> Tensor:
        """Return x (B, C, N) float32, the cells of a map (B, C, h, w), of unit norm over channels."""
        return F.normalize(map.flatten(2).float(), dim=1)

    def sums(self, assignment: Tensor, descriptors: Tensor) -> Tensor:
        """Return V (B, K, C) = A X^T - (A 1) c, of `assignment` A (B, K, N) and `descriptors` X (B, C, N)."""
        with torch.autocast(descriptors.device.type, enabled=False):
            weighted = assignment @ descriptors.transpose(1, 2)
            return weighted - assignment.sum(dim=2, keepdim=True) * self.centroids.float()

    def assign(self, x: Tensor) -> Tensor:
        """Return a (B, K, N) float32, the share of each cluster in each of the N cells of `descriptors` x (B, C, N)."""
        with torch.autocast(x.device.type, enabled=False):
            return (self.conv.weight.float().flatten(1) @ x).softmax(dim=1)

    @torch.no_grad()
    def _start_from(self, file: ClusterFile, path: object) -> None:
        """Take centres c, and w_k = alpha c_k / |c_k|, alpha such that the second nearest centre gets CONTRAST.

        alpha = -ln(CONTRAST) / mean over descriptors of (largest - second largest of x . c_k / |c_k|).
        """
        clusters, channels = self.centroids.shape
        if file.centroids.shape[1] != channels:
            raise CheckpointError(
                f"{path} holds centres of {file.centroids.shape[1]} channels, and the backbone gives {channels}: it "
                "was made for another backbone, or for one cut elsewhere. Make one for this backbone with cluster.py."
            )
        if len(file.centroids) != clusters:
            raise ConfigError(
                f"agg.clusters={clusters}, but {path} holds {len(file.centroids)} centres. Type "
                f"agg.clusters={len(file.centroids)}, or make a file with `cluster.py clusters={clusters}`."
            )
        centroids, x = torch.from_numpy(file.centroids), torch.from_numpy(file.descriptors)
        directions = F.normalize(centroids)
        nearest = (x @ directions.T).topk(2, dim=1).values.double()
        gap = float((nearest[:, 0] - nearest[:, 1]).mean())
        if not gap > 0:
            raise CheckpointError(f"{path}: no descriptor is nearer to one centre than to another. Make it again.")
        self.centroids.copy_(centroids)
        self.conv.weight.copy_((-math.log(CONTRAST) / gap * directions)[:, :, None, None])


def normalise(vlad: Tensor) -> Tensor:
    """Return descriptors (B, K * C): V (B, K, C) L2-normalised cluster by cluster, flattened, and L2-normalised."""
    return F.normalize(F.normalize(vlad, dim=2).flatten(1), dim=1)
