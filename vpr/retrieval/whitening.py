"""PCA whitening of descriptors (Jegou & Chum, ECCV 2012): fewer dimensions, and none that counts more than another."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vpr.errors import ConfigError

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
        return -(self.matrix.double() @ self.mean.double()).to(self.matrix.dtype)

    def forward(self, descriptors: Tensor) -> Tensor:
        """Return (N, k) rows of unit norm, float32, for descriptors (N, D)."""
        with torch.autocast(descriptors.device.type, enabled=False):
            return F.normalize((descriptors.float() - self.mean) @ self.matrix.T, dim=1)


def fit(
    descriptors: np.ndarray,
    dim: int,
    whiten: bool = True,
    block: int = 4096,
    device: torch.device | str = "cpu",
) -> Whitening:
    """Fit W = diag(variances)^-1/2 U^T, U the `dim` directions of largest variance (without `whiten`: W = U^T).

    Covariance, or the Gram matrix where there are fewer rows than columns, in float64; variances are sums over N - 1.
    Which sign a direction has is arbitrary.

    Args:
        descriptors: (N, D) array or memmap, float16 or float32, read `block` rows at a time.
        device: where the matrices are multiplied and decomposed.

    Raises:
        ConfigError: `dim` is more than the descriptors can give: D, or N - 1.
    """
    rows, columns = descriptors.shape
    if not 1 <= dim <= min(columns, rows - 1):
        raise ConfigError(
            f"PCA to {dim:,} dimensions: {rows:,} descriptors of {columns:,} numbers give "
            f"{max(0, min(columns, rows - 1)):,} at most. Ask for fewer dimensions, or give more images."
        )

    def blocks() -> Iterator[Tensor]:
        for start in range(0, rows, block):
            yield torch.from_numpy(np.asarray(descriptors[start : start + block], np.float64)).to(device)

    mean = torch.stack([part.sum(0) for part in blocks()]).sum(0) / rows
    decompose = _from_covariance if rows > columns else _from_gram
    variances, directions = decompose(lambda: (part - mean for part in blocks()), rows, dim)
    if whiten:
        directions = directions / variances.clamp_min(FLOOR).sqrt()
    return Whitening(mean.float().cpu(), directions.T.float().contiguous().cpu())


Centred = Callable[[], Iterator[Tensor]]


def _from_covariance(centred: Centred, rows: int, dim: int) -> tuple[Tensor, Tensor]:
    """Return the largest variances (dim,), falling, and their directions (D, dim)."""
    covariance = sum(part.T @ part for part in centred()) / (rows - 1)
    assert isinstance(covariance, Tensor)
    variances, directions = torch.linalg.eigh(covariance)
    return variances[-dim:].flip(0), directions[:, -dim:].flip(1)


def _from_gram(centred: Centred, rows: int, dim: int) -> tuple[Tensor, Tensor]:
    """The same by the smaller matrix X X^T: where v is an eigenvector of it, X^T v is one of X^T X."""
    gram = torch.cat([torch.cat([left @ right.T for right in centred()], 1) for left in centred()])
    variances, vectors = torch.linalg.eigh(gram / (rows - 1))
    vectors = vectors[:, -dim:].flip(1)
    parts = vectors.split([len(part) for part in centred()])
    directions = torch.stack([part.T @ own for part, own in zip(centred(), parts, strict=True)]).sum(0)
    return variances[-dim:].flip(0), F.normalize(directions, dim=0)
