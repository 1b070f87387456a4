"""PCA of descriptors that need not fit into memory, PCA whitening, and the file that keeps it beside a checkpoint.

The file has the layout of OpenIBL and WAKD: HDF5 with `U` (D, k), `lams` (k,), `mu` (D, 1) and `Utmu` (k, 1) = U^T mu,
float32. Files of ours say in attributes to whose descriptors they were fitted; those of others are not read.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vpr import distributed
from vpr.data.loading import BadImageTally
from vpr.errors import CheckpointError, ConfigError, DataError
from vpr.files import atomic_write
from vpr.models.aggregators.projected import projected_node
from vpr.retrieval import extractor as files
from vpr.retrieval.extractor import Extractor, extract, image_loader, image_progress, progress

log = logging.getLogger(__name__)

SAMPLE = 10_000  # images that PCA is fitted to
LARGE = 4000  # rows of a matrix whose decomposition takes so long that it is announced
FLOOR = 1e-9  # of a variance: directions in which nothing varies are not blown up without limit
ORIGIN = {"model": str, "dataset": str, "photos": str, "samples": int, "seed": int, "components": int}
LAYOUT = "U (D, k), lams (k,), mu (D, 1)"

Blocks = Callable[[], Iterator[Tensor]]


@dataclass(frozen=True, eq=False)
class PCA:
    """Principal component analysis of descriptors, float32 on the CPU.

    Attributes:
        mean: (D,).
        basis: (D, k) orthonormal columns, the directions of the largest variances; the sign of each is arbitrary.
        variances: (k,) falling, sums over N - 1.
    """

    mean: Tensor
    basis: Tensor
    variances: Tensor

    @property
    def dim(self) -> int:
        """Number of components, k."""
        return self.basis.shape[1]

    @classmethod
    def fit(
        cls,
        descriptors: np.ndarray,
        dim: int,
        block: int = 1024,
        device: torch.device | str = "cpu",
        show: bool = False,
    ) -> PCA:
        """Fit `dim` components in float64, from the covariance, or from the Gram matrix where N <= D.

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
        size = columns if dual else rows
        total = 2 * len(range(0, size, block))

        with progress(f"PCA of {rows:,} x {columns:,}", total, show) as advance:

            def blocks() -> Iterator[Tensor]:
                for start in range(0, size, block):
                    part = descriptors[:, start : start + block] if dual else descriptors[start : start + block]
                    yield torch.from_numpy(np.array(part, np.float64)).to(device)
                    if advance:
                        advance(1)

            mean, variances, basis = (_by_gram if dual else _by_covariance)(blocks, rows, dim)
        return cls(mean.float().cpu(), basis.float().cpu(), variances.float().cpu())

    @classmethod
    def of_images(
        cls,
        extractor: Extractor,
        paths: Sequence[Path],
        dim: int,
        *,
        batch_size: int = 32,
        num_workers: int = 0,
        title: str = "PCA",
    ) -> PCA | None:
        """Fit `dim` components to the descriptors of images; None on all ranks but the first.

        Descriptors go into a temporary file; the matrices are decomposed on the extractor's device. Unreadable images
        are left out, as in training. `title` is that of the bar.

        Raises:
            ConfigError: so many images, or descriptors of these dimensions, cannot have so many components.
            DataError: more than 1 % of the images cannot be read, a descriptor is NaN, or the disk is too small.
        """
        check_dim(dim, len(paths), extractor.dim)  # before an hour goes into descriptors
        with files.working_folder() as folder:
            with distributed.raise_on_all_ranks():
                if distributed.rank() == 0:
                    files.create(folder, len(paths), extractor.dim, "float32")
            descriptors = files.attach(folder)
            loader = image_loader(paths, extractor.preprocess, batch_size, num_workers)
            with image_progress(title, len(paths)) as advance:
                bad = extract(extractor, loader, descriptors, advance)
            good = np.setdiff1d(np.arange(len(paths)), list(bad))
            tally = BadImageTally("the data set's folder", minimum=0)  # all of them have been seen
            tally.add(len(good), list(bad.values()))
            pca = None
            with distributed.raise_on_all_ranks():
                if distributed.rank() == 0:
                    if bad:
                        files.compact(descriptors, good)
                    pca = cls.fit(descriptors[: len(good)], dim, device=extractor.device, show=True)
            return pca

    def projection(self, dim: int | None = None, whiten: bool = True) -> PCAProjection:
        """Return the layer W = diag(variances)^-1/2 U^T of the first `dim` components U; W = U^T without `whiten`."""
        dim = dim or self.dim
        matrix = self.basis[:, :dim].T.contiguous()
        if whiten:
            matrix /= self.variances[:dim, None].clamp_min(FLOOR).sqrt()
        return PCAProjection(self.mean, matrix)

    def write(self, path: Path, origin: Mapping[str, str | int]) -> None:
        """Write the file, completely or not at all; `origin` becomes its attributes.

        Raises:
            DiskError: the file cannot be written.
        """
        mean, basis, variances = (part.numpy() for part in (self.mean, self.basis, self.variances))
        with atomic_write(path) as temporary, h5py.File(temporary, "w") as file:
            parts = {"U": basis, "lams": variances, "mu": mean[:, None], "Utmu": basis.T @ mean[:, None]}
            for name, values in parts.items():
                file.create_dataset(name, data=values, fletcher32=True)  # a checksum
            file.attrs.update(origin)

    @classmethod
    def read(cls, path: Path) -> PCA:
        """Read a file, of whoever made it. `Utmu` is not read: it follows from the rest.

        Raises:
            CheckpointError: the file is missing or damaged, or holds something else.
        """
        try:
            basis, variances, mean, shapes = cls._parts(path)
        except (OSError, ValueError, TypeError, RuntimeError, KeyError) as error:  # h5py has no error class of its own
            raise CheckpointError(f"{path} is damaged: {error}. Delete it, or copy it again.") from error
        if basis.ndim != 2 or (variances.size, mean.size) != basis.shape[::-1]:
            raise CheckpointError(f"{path} does not hold {LAYOUT}: the shapes are {shapes}.")
        if not all(np.isfinite(part).all() for part in (basis, variances, mean)):
            raise CheckpointError(f"{path} holds numbers that are NaN or infinite. Delete it, or copy it again.")
        if (np.diff(variances.ravel()) > 0).any():
            raise CheckpointError(f"{path} is no such file: its variances (lams) do not fall.")
        if variances.min(initial=0) < -1e-3 * np.abs(variances).max(initial=0):
            raise CheckpointError(f"{path} is damaged: variances (lams) are negative. Delete it, or copy it again.")
        lengths = np.linalg.norm(basis, axis=0)
        if (np.minimum(np.abs(lengths - 1), lengths) > 0.01).any():  # zero: a direction without variance
            raise CheckpointError(f"{path} is damaged: the columns of U are no unit vectors. Delete or copy it again.")
        return cls(*(torch.from_numpy(part) for part in (mean.ravel(), basis, variances.ravel())))

    @staticmethod
    def _parts(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, dict[str, tuple[int, ...]]]:
        """Return U, lams and mu as float32, and their shapes in the file; CheckpointError where one is not there."""
        with _opened(path) as file:
            absent = [name for name in ("U", "lams", "mu") if not isinstance(file.get(name), h5py.Dataset)]
            if absent:
                entries = ", ".join(file) or "nothing"
                raise CheckpointError(
                    f"{path} lacks {', '.join(absent)}: it holds {entries}, and should hold {LAYOUT}."
                )
            shapes = {name: file[name].shape for name in ("U", "lams", "mu")}
            basis, variances, mean = (np.asarray(file[name], np.float32) for name in shapes)
        return basis, variances, mean, shapes


class PCAProjection(nn.Module):
    """y = W (x - mean) / |W (x - mean)|, for rows x: PCA, with or without whitening (Jegou & Chum, ECCV 2012).

    Its values are buffers: they travel with `state_dict` and are not trained.

    Args:
        mean: (D,) of the descriptors that PCA was fitted to.
        matrix: W (k, D).
    """

    mean: Tensor
    matrix: Tensor

    def __init__(self, mean: Tensor, matrix: Tensor) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("matrix", matrix)

    @property
    def dim(self) -> int:
        """Dimensions of what it returns, k."""
        return len(self.matrix)

    @property
    def bias(self) -> Tensor:
        """-W mean: with it, the projection is the linear layer W x + bias before the normalisation."""
        mean = self.mean.double()
        return -torch.cat([rows.double() @ mean for rows in self.matrix.split(256)]).to(self.matrix.dtype)

    def forward(self, descriptors: Tensor) -> Tensor:
        """Return (N, k) rows of unit norm, float32, for descriptors (N, D)."""
        with torch.autocast(descriptors.device.type, enabled=False):
            return F.normalize((descriptors.float() - self.mean) @ self.matrix.T, dim=1)

    def behind(self, content: Mapping[str, Any]) -> dict[str, Any]:
        """Return the content of a checkpoint whose describer is that of `content` with this layer at its end."""
        config = dict(content["config"])
        name = {"name": f"{config['name']}-pca{self.dim}"} if "name" in config else {}
        weights = {_wrapped(key): value for key, value in content["weights"].items()}
        layer = {"aggregator.projection.weight": self.matrix, "aggregator.projection.bias": self.bias}
        agg = projected_node(config["agg"], self.dim, bias=True)
        return {**content, "config": {**config, **name, "agg": agg}, "weights": weights | layer, "metrics": {}}


def _wrapped(key: str) -> str:
    return f"aggregator.{key}" if key.startswith("aggregator.") else key


def pca_path(checkpoint: str | Path) -> Path:
    """Return where the PCA of a checkpoint lies: beside it, by its name up to the first dot."""
    path = Path(checkpoint)
    return path.with_name(f"pca_params_{path.name.partition('.')[0]}.h5")


def read_origin(path: Path) -> dict[str, Any]:
    """Return the attributes `ORIGIN` of a file of ours; empty where others made it. CheckpointError as `PCA.read`."""
    with _opened(path) as file:
        try:
            values = {name: file.attrs[name] for name in ORIGIN}
            if all(isinstance(value, str | np.generic) for value in values.values()):
                return {name: kind(values[name]) for name, kind in ORIGIN.items()}
        except (OSError, ValueError, TypeError, RuntimeError, KeyError):  # h5py has no error class of its own
            pass
    return {}


def _opened(path: Path) -> h5py.File:
    if not os.path.isfile(path):
        raise CheckpointError(f"{path}: there is no such file (looked in {path.absolute().parent}).")
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise CheckpointError(f"{path} is damaged or no HDF5 file ({error}). Delete it, or copy it again.") from error


def sample(paths: Sequence[Path], count: int, seed: int) -> list[Path]:
    """Draw `count` images, or all where there are no more, in their order."""
    rows = np.random.default_rng(seed).choice(len(paths), min(count, len(paths)), replace=False)
    return [paths[row] for row in np.sort(rows)]


def check_dim(dim: int, rows: int, columns: int) -> None:
    """Raise ConfigError where `rows` descriptors of `columns` dimensions have fewer than `dim` principal components."""
    most = max(0, min(columns, rows - 1))
    if not 1 <= dim <= most:
        raise ConfigError(
            f"PCA to {dim:,} dimensions: {rows:,} descriptors of {columns:,} numbers give {most:,} at most. "
            "Ask for fewer dimensions, or give more images."
        )


def _by_covariance(blocks: Blocks, rows: int, dim: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return mean, variances and basis from blocks of rows."""
    mean = _finite(torch.stack([part.sum(0) for part in blocks()]).sum(0) / rows)
    covariance = mean.new_zeros(len(mean), len(mean))
    for part in blocks():
        part -= mean
        covariance.addmm_(part.T, part, alpha=1 / (rows - 1))
    return mean, *_largest(covariance, dim)


def _by_gram(blocks: Blocks, rows: int, dim: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return the same from blocks of columns: where v is an eigenvector of X X^T, X^T v is one of X^T X.

    A direction without variance, of which there is any number, is zero.
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
    basis = torch.cat([((part - mean).T @ vectors).float() for part, mean in zip(blocks(), means, strict=True)])
    return torch.cat(means), variances, basis


def _largest(symmetric: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Return the largest eigenvalues, falling, and their vectors as columns."""
    if len(symmetric) >= LARGE:
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
