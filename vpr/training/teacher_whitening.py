"""Teachers whose descriptors are PCA-whitened: fitted once to the training photos, and kept as ordinary checkpoints."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from vpr import checkpoint, distributed
from vpr.catalog.photos import Photos
from vpr.checkpoint import model_name
from vpr.data.places import Places
from vpr.distill.teacher import Teacher
from vpr.distributed import exclusive_lock
from vpr.retrieval.pca import SAMPLE, Components, components_of_photos, from_components, sample, whitened

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Whitener:
    """Makes whitened copies of teachers, or finds those that were made before.

    Args:
        dim: length of their descriptors.
        sources: training places, to whose photos whitening is fitted.
        folder: where the copies lie.
        device: where the teachers describe.
    """

    dim: int
    sources: Sequence[Places]
    folder: Path
    device: torch.device
    batch_size: int = 32
    num_workers: int = 0

    def __call__(self, teachers: Sequence[Teacher]) -> list[Teacher]:
        """Return the whitened copies of teachers that are describers with a `config`.

        Raises:
            ConfigError: the photos or the descriptors are too few for so many dimensions.
        """
        photos = Photos(self.sources)
        digest = photos.digest()
        return [self._whitened(teacher, photos, digest) for teacher in teachers]

    def _whitened(self, teacher: Teacher, photos: Photos, digest: str) -> Teacher:
        assert teacher.config is not None
        identity = [teacher.digest, teacher.preprocess, str(teacher.dtype), self.dim, digest, SAMPLE]
        key = hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:12]
        content = {**checkpoint.pack(teacher.network, teacher.config)}
        path = self.folder / f"{model_name(content, teacher.name)}-pca{self.dim}-{key}.ckpt"
        with exclusive_lock(path, f"Another run fits {path}: waiting for it."):
            if not path.is_file():
                components = self._components(teacher, photos)
                with distributed.raise_on_all_ranks():
                    if components:
                        checkpoint.write(path, whitened(content, from_components(components, self.dim)))
                        log.info("The PCA-whitened teacher is %s; with gallery_ckpt= it describes a database.", path)
        content = checkpoint.read(path)
        network = checkpoint.unpack(content, str(path))
        size, shown = teacher.preprocess.size, str(path)
        return Teacher(
            network, shown, teacher.share, size, teacher.dtype, checkpoint.digest(content), content["config"]
        )

    def _components(self, teacher: Teacher, photos: Photos) -> Components | None:
        teacher.to(self.device)
        try:
            return components_of_photos(
                lambda images: teacher(images.to(self.device)).descriptors,
                teacher.shape.dim,
                teacher.preprocess,
                sample(photos, SAMPLE, 0),
                self.dim,
                batch_size=self.batch_size,
                num_workers=self.num_workers,
                device=self.device,
                title=f"{Path(teacher.name).name}: PCA",
            )
        finally:
            teacher.to("cpu")
