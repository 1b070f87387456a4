"""PCA whitening of teachers' descriptors: fitted once to the training images, and kept as ordinary checkpoints."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from vpr import checkpoint, distributed
from vpr.checkpoint import model_name
from vpr.data.image_paths import ImagePaths
from vpr.data.places import Places
from vpr.distill.teacher import Teacher
from vpr.distributed import exclusive_lock
from vpr.models.describer import Describer
from vpr.retrieval.extractor import AUTOCAST, Extractor
from vpr.retrieval.pca import PCA, SAMPLE, sample

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
        """Return the whitened copies of teachers that are describers with a `config`.

        Args:
            student: dimensions of the student's descriptors.
            sources: training places, to whose images whitening is fitted.

        Raises:
            ConfigError: the images or the descriptors are too few for so many dimensions.
        """
        images = ImagePaths(sources)
        digest = images.digest()
        dim = student if isinstance(self.dim, str) else self.dim
        return [self._whitened(teacher, dim, images, digest) for teacher in teachers]

    def _whitened(self, teacher: Teacher, dim: int, images: ImagePaths, digest: str) -> Teacher:
        assert teacher.config is not None
        identity = [teacher.digest, teacher.preprocess, str(teacher.dtype), dim, digest, SAMPLE]
        key = hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:12]
        content = checkpoint.pack(teacher.network, teacher.config)
        path = self.folder / f"{model_name(content, teacher.name)}-pca{dim}-{key}.ckpt"
        with exclusive_lock(path, f"Another run fits {path}: waiting for it."):
            if not path.is_file():
                pca = self._pca(teacher, dim, images)
                with distributed.raise_on_all_ranks():
                    if pca:
                        checkpoint.write(path, pca.projection(dim).behind(content))
                        log.info("The PCA-whitened teacher is %s; with gallery_ckpt= it describes a database.", path)
        content = checkpoint.read(path)
        network = checkpoint.unpack(content, str(path))
        size, digest = teacher.preprocess.size, checkpoint.digest(content)
        return Teacher(network, str(path), teacher.share, size, teacher.dtype, digest, content["config"])

    def _pca(self, teacher: Teacher, dim: int, images: ImagePaths) -> PCA | None:
        network = teacher.network
        assert isinstance(network, Describer)
        # At the teacher's image size, which need not be that of its checkpoint.
        describer = Describer(network.backbone, network.aggregator, teacher.preprocess).to(self.device).eval()
        precision = next(name for name, dtype in AUTOCAST.items() if dtype == teacher.dtype)
        try:
            return PCA.of_images(
                Extractor(describer, self.device, precision),
                sample(images, SAMPLE, 0),
                dim,
                batch_size=self.batch_size,
                num_workers=self.num_workers,
                title=f"{Path(teacher.name).name}: PCA",
            )
        finally:
            teacher.to("cpu")
