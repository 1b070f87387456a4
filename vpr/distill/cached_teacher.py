"""Cached teacher: its descriptors of the training images lie on disk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vpr.distill.descriptor_cache import DescriptorCache
from vpr.distill.teacher import Outputs, Shape, Teacher
from vpr.errors import ConfigError
from vpr.types import PlaceBatch

FORMAT = 1


class CachedTeacher:
    """A teacher that describes each training image once, clean and at its own size, instead of each augmented batch.

    Its targets are those of `Teacher`, from a file that is known by the digests of teacher and images.
    `vpr.training.teacher_cache` fills the file before training; until it is opened the network is held, too.

    Args:
        teacher: the network.
        pca: dimensions to which its descriptors are PCA-whitened; None keeps them as they are.

    Attributes:
        rows: (N, D) float16, mapped: its targets of all training images; None until `open`.
        bad: rows without a target, as their images cannot be read.

    Raises:
        ConfigError: `pca` is more than the descriptors have, or nothing tells this teacher from another one.
    """

    def __init__(self, teacher: Teacher, pca: int | None = None) -> None:
        if not teacher.digest:
            raise ConfigError(
                f"The teacher {teacher.name} has no digest to know its cache by: distillation.cache=false."
            )
        if pca is not None and pca > teacher.shape.dim:
            raise ConfigError(
                f"distillation.teacher.pca={pca}: the descriptors of the teacher {teacher.name} have "
                f"{teacher.shape.dim} dimensions. Type distillation.teacher.pca=null, or fewer."
            )
        self.network: Teacher | None = teacher
        self.name, self.share, self.digest, self.pca = teacher.name, teacher.share, teacher.digest, pca
        self.shape = Shape(pca or teacher.shape.dim, None, teacher.name)
        self.rows: np.ndarray | None = None
        self.bad: frozenset[int] = frozenset()

    def __deepcopy__(self, memo: dict[int, Any]) -> CachedTeacher:
        """Return itself, as a teacher that is no cached one does."""
        return self

    def to(self, device: torch.device | str) -> CachedTeacher:
        """Stay on disk."""
        return self

    def identity(self, images: str) -> dict[str, Any]:
        """Return the values that decide the targets of the images with this digest."""
        assert self.network is not None
        preprocess = self.network.preprocess._asdict()
        arithmetic = str(self.network.dtype or torch.float32)
        return {
            **{"format": FORMAT, "teacher": self.digest, "photos": images, "preprocess": preprocess},
            **{"precision": arithmetic, "pca": self.pca},
        }

    @torch.no_grad()
    def describe(self, images: Tensor, whitening: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """Return the targets (n, dim) of unit norm of clean uint8 images (n, 3, h, w) of the teacher's own size.

        `whitening` turns the network's descriptors into those that are kept.
        """
        assert self.network is not None
        images = images.to(self.network.mean.device, non_blocking=True)
        descriptors = F.normalize(self.network(images).descriptors, dim=1)
        return whitening(descriptors) if whitening else descriptors

    def open(self, file: DescriptorCache) -> None:
        """Take the targets from a complete file, and let the network go."""
        self.rows, self.bad, self.network = file.attach("r"), frozenset(file.bad()), None

    def targets(self, batch: PlaceBatch) -> Outputs:
        """Return the targets of the images of this rank's batch, on its device."""
        assert self.rows is not None and batch.numbers is not None
        rows = torch.from_numpy(np.asarray(self.rows[batch.numbers])).to(batch.images.device, non_blocking=True)
        return Outputs(F.normalize(rows.float(), dim=1), None, self.share)
