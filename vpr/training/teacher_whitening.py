"""PCA whitening of teachers' descriptors: fitted once to the training images, and kept.

A whitened describer is kept as an ordinary checkpoint, which can describe a database, too; of a model of torch.hub the
projection alone is kept.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from vpr import checkpoint, distributed
from vpr.checkpoint import model_name, read_any
from vpr.data.image_paths import ImagePaths
from vpr.data.places import Places
from vpr.distill.teacher import Teacher
from vpr.distributed import exclusive_lock
from vpr.errors import CheckpointError, DataError
from vpr.files import atomic_write
from vpr.models.describer import Describer
from vpr.retrieval.extractor import AUTOCAST, Extractor
from vpr.retrieval.pca import PCA, SAMPLE, PCAProjection, sample

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Whitener:
    """Makes PCA-whitened copies of teachers, or takes those that were made before.

    Args:
        dim: dimensions of their descriptors; `student`: as many as the student's.
        folder: where the copies lie.
        device: where the teachers extract descriptors.
    """

    dim: int | str
    folder: Path
    device: torch.device
    batch_size: int = 32
    num_workers: int = 0

    def __call__(self, teachers: Sequence[Teacher], student: int, sources: Sequence[Places]) -> list[Teacher]:
        """Return the whitened copies of teachers.

        Args:
            student: dimensions of the student's descriptors.
            sources: training images, to which whitening is fitted.

        Raises:
            ConfigError: the images or the descriptors are too few for so many dimensions.
        """
        images = ImagePaths(sources)
        digest = images.digest()
        dim = student if isinstance(self.dim, str) else self.dim
        return [self._whitened(teacher, dim, images, digest) for teacher in teachers]

    def _whitened(self, teacher: Teacher, dim: int, images: ImagePaths, digest: str) -> Teacher:
        identity = [teacher.digest, teacher.preprocess, str(teacher.dtype), dim, digest, SAMPLE]
        key = hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:12]
        assert teacher.config is not None
        content = checkpoint.pack(teacher.network, teacher.config, images=teacher.images)
        is_describer = isinstance(teacher.network, Describer)
        name = f"{model_name(content, teacher.name)}-pca{dim}-{key}"
        path = self.folder / f"{name}{'.ckpt' if is_describer else '.pt'}"
        with exclusive_lock(path, f"Another run fits {path}: waiting for it."):
            if not path.is_file():
                pca = self._pca(teacher, dim, images)
                with distributed.raise_on_all_ranks():
                    if pca and is_describer:
                        checkpoint.write(path, pca.projection(dim).behind(content))
                        log.info("The PCA-whitened teacher is %s; with gallery_ckpt= it describes a database.", path)
                    elif pca:
                        save_whitening(pca.projection(dim), path)
        size, dtype = teacher.preprocess.size, teacher.dtype
        if is_describer:
            content = checkpoint.read(path)
            digest, config = checkpoint.digest(content), content["config"]
            return Teacher(checkpoint.unpack(content, str(path)), str(path), teacher.share, size, dtype, digest, config)
        network = WhitenedNetwork(teacher.network, load_whitening(path))
        whitened = hashlib.sha256(f"{teacher.digest} {key}".encode()).hexdigest()
        return Teacher(network, teacher.name, teacher.share, size, dtype, whitened, teacher.config)

    def _pca(self, teacher: Teacher, dim: int, images: ImagePaths) -> PCA | None:
        precision = next(name for name, dtype in AUTOCAST.items() if dtype == teacher.dtype)
        teacher.to(self.device)
        try:
            return PCA.of_images(
                Extractor(_AtItsSize(teacher), self.device, precision),
                sample(images, SAMPLE, 0),
                dim,
                batch_size=self.batch_size,
                num_workers=self.num_workers,
                title=f"{Path(teacher.name).name}: PCA",
            )
        finally:
            teacher.to("cpu")


class WhitenedNetwork(nn.Module):
    """A network and PCA behind it, as `Teacher` takes it: normalised images (n, 3, h, w) -> (n, dim) of unit norm."""

    def __init__(self, network: nn.Module, projection: PCAProjection) -> None:
        super().__init__()
        self.network, self.projection = network, projection
        self.preprocess, self.dim = network.preprocess, projection.dim

    def forward(self, images: Tensor) -> Tensor:
        return self.projection(self.network(images))


class _AtItsSize:
    """A teacher's network as an `Extractor` runs it, at the teacher's image size: its checkpoint may have another."""

    fixed_size = True

    def __init__(self, teacher: Teacher) -> None:
        self.teacher = teacher
        self.preprocess, self.dim = teacher.preprocess, teacher.shape.dim

    def normalise(self, images: Tensor) -> Tensor:
        return self.teacher.prepare(images)

    def __call__(self, images: Tensor) -> Tensor:
        return self.teacher.network(images)


def load_whitening(path: Path) -> PCAProjection:
    """Read what `save_whitening` wrote; DataError if it is damaged."""
    try:
        state = read_any(path)
        return PCAProjection(state["mean"], state["matrix"])
    except (CheckpointError, KeyError, TypeError) as error:
        raise DataError(f"{path} is damaged ({error}). Delete it and what lies beside it; it is made again.") from error


def save_whitening(whitening: PCAProjection, path: Path) -> None:
    """Write a projection."""
    with atomic_write(path) as temporary:
        torch.save(whitening.state_dict(), temporary)
