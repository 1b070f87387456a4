"""Cached targets: before training each teacher describes the clean training images once, unless they are on disk."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from vpr import distributed
from vpr.data.image_paths import ImagePaths
from vpr.data.loading import BadImageTally
from vpr.data.places import PlacesDataset
from vpr.distill.cached_teacher import CachedTeacher
from vpr.distill.descriptor_cache import BLOCK, DescriptorCache
from vpr.distributed import exclusive_lock
from vpr.errors import DataError
from vpr.retrieval.extractor import extract, image_loader, image_progress
from vpr.retrieval.pca import PCA, PCAProjection
from vpr.training.teacher_whitening import load_whitening, save_whitening

log = logging.getLogger(__name__)

SAMPLE = 20_000  # images that PCA is fitted to


class TeacherTargets(Callback):
    """Have the cached teachers describe the images of a data set, and leave images out that have no target.

    Runs before training, on the trainer's device; the ranks share the work.

    Args:
        teachers: may be none.
        dataset: its `sources` are described, its `leave_out` is set.
        folder: holds the caches, each below a name of its own; runs share it.
        batch_size, num_workers: for describing.
    """

    def __init__(
        self,
        teachers: Sequence[CachedTeacher],
        dataset: PlacesDataset,
        folder: Path,
        batch_size: int = 32,
        num_workers: int = 0,
    ) -> None:
        self.teachers = teachers
        self.dataset = dataset
        self.folder = folder
        self.batch_size, self.num_workers = batch_size, num_workers

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if not self.teachers:
            return
        images = ImagePaths(self.dataset.sources)
        digest = distributed.on_rank_zero(images.digest)
        left_out: set[int] = set()
        for teacher in self.teachers:
            build = TargetBuild(teacher, images, digest, self.folder, self.batch_size, self.num_workers)
            bad = build.run(trainer.strategy.root_device)
            if bad and distributed.rank() == 0:
                log.warning(
                    "%d of %d training images have no target of the teacher %s and are left out (first: %s). Once they "
                    "can be read again, delete %s.",
                    *(len(bad), len(images), teacher.name, next(iter(bad.values())).rstrip("."), build.folder),
                )
            left_out |= set(bad)
        self.dataset.leave_out = frozenset(left_out)


class TargetBuild:
    """Build of the targets of one teacher for the images of one training set; the ranks share the work.

    Args:
        digest: of the images, `ImagePaths.digest()`.
        root: folder of the caches.

    Attributes:
        folder: of this cache, named by all that decides the targets.
    """

    def __init__(
        self,
        teacher: CachedTeacher,
        images: ImagePaths,
        digest: str,
        root: Path,
        batch_size: int = 32,
        num_workers: int = 0,
    ) -> None:
        self.teacher, self.images = teacher, images
        self.batch_size, self.num_workers = batch_size, num_workers
        self.identity = teacher.identity(digest)
        self.folder = root / hashlib.sha256(json.dumps(self.identity, sort_keys=True).encode()).hexdigest()[:16]

    def run(self, device: torch.device) -> dict[int, str]:
        """Fill the teacher's file unless it is complete, and open it; return the images that have no target, and why.

        Raises:
            DataError: more than 1 % of the images cannot be read, or a descriptor is NaN.
            ConfigError: there are too few images for so many principal components.
        """
        targets = self._file("targets", len(self.images), self.teacher.shape.dim)
        waiting = f"Another run has the teacher {self.teacher.name} describe the same images: waiting for it."
        with exclusive_lock(self.folder, waiting):
            if not distributed.on_rank_zero(targets.begin):
                assert self.teacher.network is not None
                self.teacher.network.to(device)
                if self.teacher.pca is None:
                    self._describe(self.images, targets, self.teacher.describe)
                else:
                    self._fill_whitened(targets, device)
            bad = distributed.on_rank_zero(targets.bad)
        self.teacher.open(targets)
        return bad

    def _file(self, name: str, rows: int, dim: int) -> DescriptorCache:
        return DescriptorCache(self.folder, name, self.identity, rows, dim)

    def _fill_whitened(self, targets: DescriptorCache, device: torch.device) -> None:
        """Describe a sample, fit the whitening to it, and describe the rest, whitened."""
        assert self.teacher.network is not None
        sample = self._file("sample", min(SAMPLE, len(self.images)), self.teacher.network.shape.dim)
        rows = np.sort(np.random.default_rng(0).choice(len(self.images), sample.shape[0], replace=False))
        path = self.folder / "whitening.pt"
        # Fitted once: fitted again, the directions could point the other way for half of the targets.
        if not distributed.on_rank_zero(path.exists):
            if not distributed.on_rank_zero(sample.begin):
                self._describe([self.images[row] for row in rows], sample, self.teacher.describe)
            distributed.on_rank_zero(lambda: save_whitening(_fitted(sample, targets.shape[1], device), path))
        whitening = load_whitening(path).to(device)
        with distributed.raise_on_all_ranks():
            if distributed.rank() == 0 and sample.label.exists():
                _project(sample, targets, rows, whitening)
        self._describe(self.images, targets, lambda images: self.teacher.describe(images, whitening))
        if distributed.rank() == 0:
            sample.delete()

    def _describe(self, paths: Sequence[Path], file: DescriptorCache, describe: Callable[[Tensor], Tensor]) -> None:
        """Describe what is missing in `file`, the ranks in turn, and seal it."""
        network, name = self.teacher.network, self.teacher.name
        assert network is not None
        missing = distributed.on_rank_zero(file.missing)
        if distributed.rank() == 0 and len(missing):
            log.info("The teacher %s describes %d of %d images: %s", name, len(missing), len(paths), file.values)
        loader = image_loader(paths, network.preprocess, self.batch_size, self.num_workers, rows=missing)
        with image_progress(f"{Path(name).name} describes images", len(missing)) as advance:
            bad = extract(describe, loader, file.attach(), advance)
        distributed.on_rank_zero(lambda: self._seal(paths, file, bad))

    def _seal(self, paths: Sequence[Path], file: DescriptorCache, bad: dict[int, str]) -> None:
        tally = BadImageTally("the data set's folder", minimum=0)  # all of them have been seen
        tally.add(len(paths) - len(bad), list(bad.values()))
        lost = np.setdiff1d(file.missing(), list(bad))
        if len(lost):
            raise DataError(
                f"{len(lost):,} of {len(paths):,} descriptors of the teacher {self.teacher.name} are zero or were lost "
                f"on their way to {file.values} (first: of {paths[lost[0]]}). Look at the teacher, or set paths.runs "
                "to another disk; the same command describes only what is missing."
            )
        file.seal(bad)


def _fitted(sample: DescriptorCache, dim: int, device: torch.device) -> PCAProjection:
    values, bad = sample.attach("r"), list(sample.bad())
    return PCA.fit(np.delete(values, bad, axis=0) if bad else values, dim, device=device).projection()


def _project(sample: DescriptorCache, targets: DescriptorCache, rows: np.ndarray, whitening: PCAProjection) -> None:
    """Turn the descriptors of the sample into targets, so that its images are not described again."""
    descriptors, out = sample.attach("r"), targets.attach()
    good = np.setdiff1d(np.arange(len(rows)), list(sample.bad()))
    for start in range(0, len(good), BLOCK):
        part = good[start : start + BLOCK]
        values = torch.from_numpy(np.asarray(descriptors[part], np.float32)).to(whitening.mean.device)
        out[rows[part]] = whitening(values).cpu().numpy()
