"""Principal components of descriptors that need not fit into memory."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vpr.errors import ConfigError, DataError
from vpr.retrieval.progress import progress

log = logging.getLogger(__name__)

LONG = 4000  # rows of a matrix whose decomposition takes so long that it is announced


class Components(NamedTuple):
    """What a principal component analysis finds, float32 on the CPU.

    Attributes:
        mean: (D,).
        directions: (D, k) orthonormal, those of the largest variances; which sign one has is arbitrary.
        variances: (k,) falling, sums over N - 1.
    """

    mean: Tensor
    directions: Tensor
    variances: Tensor


def principal_components(
    descriptors: np.ndarray, dim: int, block: int = 1024, device: torch.device | str = "cpu", show: bool = False
) -> Components:
    """Find `dim` principal components in float64, from the covariance, or from the Gram matrix where N <= D.

    Neither the descriptors nor their covariance beyond the smaller of N x N and D x D are held in memory.

    Args:
        descriptors: (N, D) array or memmap, float16 or float32, read `block` rows or columns at a time.
        device: where the matrices are multiplied and decomposed.
        show: show a bar.

    Raises:
        ConfigError: `dim` is more than the descriptors can give: D, or N - 1.
        DataError: some number is NaN or infinite.
    """
    rows, columns = descriptors.shape
    check_dim(dim, rows, columns)
    dual = rows <= columns
    length = columns if dual else rows
    total = 2 * len(range(0, length, block))

    with progress(f"PCA of {rows:,} x {columns:,}", total, show) as advance:

        def blocks() -> Iterator[Tensor]:
            for start in range(0, length, block):
                part = descriptors[:, start : start + block] if dual else descriptors[start : start + block]
                yield torch.from_numpy(np.array(part, np.float64)).to(device)
                if advance:
                    advance(1)

        mean, variances, directions = (_by_gram if dual else _by_covariance)(blocks, rows, dim)
    return Components(mean.float().cpu(), directions.float().cpu(), variances.float().cpu())


def check_dim(dim: int, rows: int, columns: int) -> None:
    """Raise ConfigError where `rows` descriptors of `columns` numbers have fewer than `dim` principal components."""
    most = max(0, min(columns, rows - 1))
    if not 1 <= dim <= most:
        raise ConfigError(
            f"PCA to {dim:,} dimensions: {rows:,} descriptors of {columns:,} numbers give {most:,} at most. "
            "Ask for fewer dimensions, or give more images."
        )


Blocks = Callable[[], Iterator[Tensor]]


def _by_covariance(blocks: Blocks, rows: int, dim: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return mean, variances and directions from blocks of rows."""
    mean = _finite(torch.stack([part.sum(0) for part in blocks()]).sum(0) / rows)
    covariance = mean.new_zeros(len(mean), len(mean))
    for part in blocks():
        part -= mean
        covariance.addmm_(part.T, part, alpha=1 / (rows - 1))
    return mean, *_largest(covariance, dim)


def _by_gram(blocks: Blocks, rows: int, dim: int) -> tuple[Tensor, Tensor, Tensor]:
    """The same from blocks of columns: where v is an eigenvector of X X^T, X^T v is one of X^T X.

    A direction without variance, of which it has any number, is zero.
    """
    means: list[Tensor] = []
    gram: Tensor | None = None
    for part in blocks():
        means.append(_finite(part.mean(0)))
        part -= means[-1]
        gram = part.new_zeros(rows, rows) if gram is None else gram
        gram.addmm_(part, part.T, alpha=1 / (rows - 1))
    assert gram is not None
    variances, vectors = _largest(gram, dim)
    least = variances[0] * rows * torch.finfo(variances.dtype).eps
    vectors *= torch.where(variances > least, 1 / (variances * (rows - 1)).sqrt(), 0)
    directions = torch.cat([((part - mean).T @ vectors).float() for part, mean in zip(blocks(), means, strict=True)])
    return torch.cat(means), variances, directions


def _largest(symmetric: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Return the largest eigenvalues, falling, and their vectors as columns."""
    if len(symmetric) >= LONG:
        log.info("PCA: decomposing a matrix of %d x %d, which takes minutes on a CPU.", *symmetric.shape)
    values, vectors = torch.linalg.eigh(symmetric)
    return values[-dim:].flip(0), vectors[:, -dim:].flip(1)


def _finite(mean: Tensor) -> Tensor:
    if not mean.isfinite().all():
        raise DataError(
            "Descriptors to which PCA should be fitted are NaN or infinite: the weights have diverged, or 16-bit "
            "arithmetic overflows. Try precision=32-true, and look at the loss of their training."
        )
    return mean
