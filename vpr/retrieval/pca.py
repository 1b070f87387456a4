"""Principal components of descriptors that need not fit into memory."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

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


# FOLDED vpr/retrieval/pca.py: Principal components on disk, in the layout in which OpenIBL and WAKD keep theirs
# beside a checkpoint. HDF5 with `U` (D, k), `lams` (k,), `mu` (D, 1) and `Utmu` (k, 1) = U^T mu, float32. Files of
# ours say in attributes to whose descriptors they were fitted; what files of others may have there is not read.


ORIGIN = {"model": str, "dataset": str, "photos": str, "samples": int, "seed": int, "components": int}
LAYOUT = "U (D, k), lams (k,), mu (D, 1)"


def pca_path(checkpoint: str | Path) -> Path:
    """Return where the components of a checkpoint lie: beside it, by its name up to the first dot."""
    path = Path(checkpoint)
    return path.with_name(f"pca_params_{path.name.partition('.')[0]}.h5")


def write_components(path: Path, components: Components, attributes: Mapping[str, str | int]) -> None:
    """Write components, completely or not at all.

    Raises:
        CheckpointError: the file cannot be written.
    """
    mean, directions, variances = (part.numpy() for part in components)
    try:
        with atomic_write(path) as temporary, h5py.File(temporary, "w") as file:
            file["U"], file["lams"], file["mu"] = directions, variances, mean[:, None]
            file["Utmu"] = directions.T @ mean[:, None]
            file.attrs.update(attributes)
    except OSError as error:
        raise CheckpointError(f"{path} cannot be written: {error}") from error


def read_attributes(path: Path) -> dict[str, Any]:
    """Return what a file of ours says of its origin, `ORIGIN`; empty where others made it. CheckpointError as
    `read_components`."""
    with _opened(path) as file:
        try:
            found = {name: file.attrs[name] for name in ORIGIN}
            if all(isinstance(value, str | np.generic) for value in found.values()):
                return {name: kind(found[name]) for name, kind in ORIGIN.items()}
        except (OSError, ValueError, TypeError, RuntimeError, KeyError):  # h5py has no error class of its own
            pass
    return {}


def read_components(path: Path) -> Components:
    """Return the components of a file, of whoever made it. `Utmu` is not read: it follows from the rest.

    Raises:
        CheckpointError: the file is missing or damaged, or holds something else.
    """
    with _opened(path) as file:
        absent = [name for name in ("U", "lams", "mu") if not isinstance(file.get(name), h5py.Dataset)]
        if absent:
            found = ", ".join(file) or "nothing"
            raise CheckpointError(f"{path} lacks {', '.join(absent)}: it holds {found}, and should hold {LAYOUT}.")
        shapes = {name: file[name].shape for name in ("U", "lams", "mu")}
        try:
            directions, variances, mean = (np.asarray(file[name], np.float32) for name in shapes)
        except (OSError, ValueError, TypeError, RuntimeError, KeyError) as error:
            raise CheckpointError(f"{path} is damaged: {error}. Delete it, or copy it again.") from error
    if directions.ndim != 2 or (variances.size, mean.size) != directions.shape[::-1]:
        raise CheckpointError(f"{path} does not hold {LAYOUT}: the shapes are {shapes}.")
    if not all(np.isfinite(part).all() for part in (directions, variances, mean)):
        raise CheckpointError(f"{path} holds numbers that are NaN or infinite. Delete it, or copy it again.")
    if (np.diff(variances.ravel()) > 0).any():
        raise CheckpointError(f"{path} is no such file: its variances (lams) do not fall.")
    return Components(*(torch.from_numpy(part) for part in (mean.ravel(), directions, variances.ravel())))


def _opened(path: Path) -> h5py.File:
    if not path.is_file():
        raise CheckpointError(f"{path}: there is no such file (looked in {path.absolute().parent}).")
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise CheckpointError(f"{path} is damaged or no HDF5 file ({error}). Delete it, or copy it again.") from error


# FOLDED vpr/retrieval/pca.py: Principal components of the descriptors of some photos, drawn at random.


SAMPLE = 10_000  # photos that principal components are fitted to


def sample(photos: Sequence[Path], count: int, seed: int) -> list[Path]:
    """Draw `count` photos, or all where there are no more, in their order."""
    rows = np.random.default_rng(seed).choice(len(photos), min(count, len(photos)), replace=False)
    return [photos[row] for row in np.sort(rows)]


def components_of_photos(
    extractor: Extractor,
    photos: Sequence[Path],
    dim: int,
    *,
    batch_size: int = 32,
    num_workers: int = 0,
    title: str = "PCA",
) -> Components | None:
    """Describe photos into a temporary file and return `dim` principal components; None on all ranks but the first.

    Unreadable photos are left out, as in training.

    Args:
        extractor: describes them; the matrices are decomposed on its device.
        title: of the bar.

    Raises:
        ConfigError: so many photos, or descriptors of this width, cannot have so many components.
        DataError: more than 1 % of the photos cannot be read, a descriptor is NaN, or the disk is too small.
    """
    check_dim(dim, len(photos), extractor.dim)  # before an hour goes into descriptors
    with files.working_folder() as folder:
        with distributed.raise_on_all_ranks():
            if distributed.rank() == 0:
                files.create(folder, len(photos), extractor.dim, "float32")
        descriptors = files.attach(folder)
        loader = image_loader(photos, extractor.preprocess, batch_size, num_workers)
        with image_progress(title, len(photos)) as advance:
            bad = extract(extractor, loader, descriptors, advance)
        good = np.setdiff1d(np.arange(len(photos)), list(bad))
        tally = BadImageTally("the data set's folder", minimum=0)  # all of them have been seen
        tally.add(len(good), list(bad.values()))
        found = None
        with distributed.raise_on_all_ranks():
            if distributed.rank() == 0:
                if bad:
                    files.compact(descriptors, good)
                found = principal_components(descriptors[: len(good)], dim, device=extractor.device, show=True)
        return found


# FOLDED vpr/retrieval/pca.py: PCA whitening of descriptors (Jegou & Chum, ECCV 2012): fewer dimensions, and none
# that counts more than another.


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


def whitened(content: Mapping[str, Any], whitening: Whitening) -> dict[str, Any]:
    """Return the content of a checkpoint whose describer whitens: the same one, and a linear layer behind it."""
    config = dict(content["config"])
    name = {"name": f"{config['name']}-pca{whitening.dim}"} if "name" in config else {}
    weights = {_moved(key): value for key, value in content["weights"].items()}
    layer = {"aggregator.projection.weight": whitening.matrix, "aggregator.projection.bias": whitening.bias}
    agg = projected_node(config["agg"], whitening.dim, bias=True)
    return {**content, "config": {**config, **name, "agg": agg}, "weights": weights | layer, "metrics": {}}


def _moved(key: str) -> str:
    return f"aggregator.{key}" if key.startswith("aggregator.") else key
