"""PCA whitening of descriptors (Jegou & Chum, ECCV 2012): fewer dimensions, and none that counts more than another."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vpr.retrieval.components import Components, principal_components

FLOOR = 1e-9  # of a variance: directions in which nothing varies are not blown up without limit


class Whitening(nn.Module):
    """y = W (x - mean) / |W (x - mean)|, for rows x; `fit` makes one.

    Its values are buffers: they travel with `state_dict` and are not trained.

    Args:
        mean: (D,) of the descriptors that it was fitted to.
        matrix: W (k, D).

    Attributes:
        dim: k, the length of what it returns.
    """

    mean: Tensor
    matrix: Tensor

    def __init__(self, mean: Tensor, matrix: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("matrix", matrix)

    @property
    def dim(self) -> int:
        return len(self.matrix)

    @property
    def bias(self) -> Tensor:
        """-W mean: with it, whitening is the linear layer W x + bias before the normalisation."""
        mean = self.mean.double()
        return -torch.cat([rows.double() @ mean for rows in self.matrix.split(256)]).to(self.matrix.dtype)

    def forward(self, descriptors: Tensor) -> Tensor:
        """Return (N, k) rows of unit norm, float32, for descriptors (N, D)."""
        with torch.autocast(descriptors.device.type, enabled=False):
            return F.normalize((descriptors.float() - self.mean) @ self.matrix.T, dim=1)


def fit(
    descriptors: np.ndarray,
    dim: int,
    whiten: bool = True,
    block: int = 1024,
    device: torch.device | str = "cpu",
) -> Whitening:
    """Fit whitening to descriptors (N, D); see `principal_components` and `from_components`.

    Raises:
        ConfigError: `dim` is more than the descriptors can give: D, or N - 1.
        DataError: some number is NaN or infinite.
    """
    return from_components(principal_components(descriptors, dim, block, device), dim, whiten)


def from_components(components: Components, dim: int, whiten: bool = True) -> Whitening:
    """Return W = diag(variances)^-1/2 U^T of the first `dim` directions U; without `whiten`, W = U^T."""
    matrix = components.directions[:, :dim].T.contiguous()
    if whiten:
        matrix /= components.variances[:dim, None].clamp_min(FLOOR).sqrt()
    return Whitening(components.mean, matrix)
