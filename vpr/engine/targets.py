"""Cached targets: before training each teacher describes the clean photos once, unless it has done so before."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from vpr.data.places import PlacesDataset
from vpr.distill.cache import CachedTeacher
from vpr.engine.photos import Photos
from vpr.engine.target_build import TargetBuild
from vpr.retrieval import ranks

log = logging.getLogger(__name__)


class TeacherTargets(Callback):
    """Have the cached teachers describe the photos of a data set, and leave photos out that have no target.

    Runs before training, on the trainer's device; the ranks share the work.

    Args:
        teachers: may be none.
        dataset: its `sources` are described, its `leave_out` is set.
        folder: the caches' place, each below a name of its own; runs share it.
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
        photos = Photos(self.dataset.sources)
        digest = ranks.on_first(photos.digest)
        left_out: set[int] = set()
        for teacher in self.teachers:
            build = TargetBuild(teacher, photos, digest, self.folder, self.batch_size, self.num_workers)
            bad = build.run(trainer.strategy.root_device)
            if bad and ranks.rank() == 0:
                log.warning(
                    "%d of %d training photos have no target of the teacher %s and are left out (first: %s). Once they "
                    "can be read again, delete %s.",
                    *(len(bad), len(photos), teacher.name, next(iter(bad.values())).rstrip("."), build.folder),
                )
            left_out |= set(bad)
        self.dataset.leave_out = frozenset(left_out)
