"""Cached targets: before training each teacher describes the clean photos once, unless it has done so before."""

from __future__ import annotations

import hashlib
import json
import logging
import pickle
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch
from filelock import FileLock, Timeout
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from vpr.data.bad_images import BadImageTally
from vpr.data.places import PlacesDataset
from vpr.distill.cache import CachedTeacher
from vpr.distill.target_file import TargetFile
from vpr.engine.photos import Photos
from vpr.errors import DataError
from vpr.retrieval import ranks
from vpr.retrieval.extract import extract, image_loader
from vpr.retrieval.progress import image_progress
from vpr.retrieval.whitening import Whitening, fit
from vpr.types import PlaceBatch

log = logging.getLogger(__name__)

SAMPLE = 20_000
"""Photos that PCA is fitted to."""
PATIENCE = 30.0
"""Seconds after which a rank that waits for another run tells its fellows, whose collectives time out otherwise."""


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
        digest = ranks.broadcast(photos.digest() if ranks.rank() == 0 else "")
        left_out: set[int] = set()
        for teacher in self.teachers:
            build = Build(teacher, photos, digest, trainer.strategy.root_device, self.batch_size, self.num_workers)
            left_out |= set(build.run(self.folder))
        self.dataset.leave_out = frozenset(left_out)


@dataclass
class Build:
    """The targets of one teacher for the photos of one training set; `run` makes or finds them."""

    teacher: CachedTeacher
    photos: Photos
    digest: str
    device: torch.device
    batch_size: int = 32
    num_workers: int = 0

    def run(self, root: Path) -> Collection[int]:
        """Fill the teacher's file below `root`, or find it filled; open it; return the photos that have no target.

        Raises:
            DataError: more than 1 % of the photos cannot be read, or a descriptor is NaN.
            ConfigError: there are too few photos for so many principal components.
        """
        self.identity = self.teacher.identity(self.digest)
        key = hashlib.sha256(json.dumps(self.identity, sort_keys=True).encode()).hexdigest()
        folder = root / key[:16]
        self.whitening_file = folder / "whitening.pt"
        targets = self._file(folder, "targets", len(self.photos), self.teacher.shape.dim)
        with alone(folder):
            if not _begun(targets):
                self._fill(targets)
            bad = ranks.broadcast(targets.bad() if ranks.rank() == 0 else {})
        self.teacher.open(targets)
        if bad and ranks.rank() == 0:
            log.warning(
                "%d of %d training photos have no target of the teacher %s and are left out (first: %s). Once they can "
                "be read again, delete %s.",
                *(len(bad), len(self.photos), self.teacher.name, next(iter(bad.values())).rstrip("."), folder),
            )
        return bad

    def _file(self, folder: Path, name: str, rows: int, dim: int) -> TargetFile:
        return TargetFile(folder, name, self.identity, rows, dim)

    def _fill(self, targets: TargetFile) -> None:
        network = self.teacher.network
        assert network is not None
        network.to(self.device)
        if self.teacher.pca is None:
            self._describe(self.photos, targets, self.teacher.describe)
            return
        sample = self._file(targets.values.parent, "sample", min(SAMPLE, len(self.photos)), network.shape.dim)
        rows = np.sort(np.random.default_rng(0).choice(len(self.photos), sample.shape[0], replace=False))
        # The directions are found once: found again, half of the targets could point along other ones.
        if not ranks.broadcast(ranks.rank() == 0 and self.whitening_file.exists()):
            if not _begun(sample):
                self._describe([self.photos[row] for row in rows], sample, self.teacher.describe)
            if ranks.rank() == 0:
                self._fit(sample)
            ranks.gather(None)
        whitening = load_whitening(self.whitening_file).to(self.device)
        if ranks.rank() == 0 and sample.label.exists():
            _project(sample, targets, rows, whitening)
        self._describe(self.photos, targets, lambda images: self.teacher.describe(images, whitening))
        if ranks.rank() == 0:
            sample.delete()

    def _fit(self, sample: TargetFile) -> None:
        values, bad = sample.attach("r"), list(sample.bad())
        whitening = fit(np.delete(values, bad, axis=0) if bad else values, self.teacher.shape.dim, device=self.device)
        temporary = self.whitening_file.with_suffix(".tmp")
        torch.save(whitening.state_dict(), temporary)
        temporary.replace(self.whitening_file)

    def _describe(self, paths: Sequence[Path], file: TargetFile, describe: Callable[[Tensor], Tensor]) -> None:
        """Describe what is missing in `file`, the ranks in turn, and seal it."""
        missing = ranks.broadcast(file.missing() if ranks.rank() == 0 else np.empty(0, np.int64))
        network = self.teacher.network
        assert network is not None
        if ranks.rank() == 0:
            log.info(
                "The teacher %s describes %d of %d photos, once: %s",
                *(self.teacher.name, len(missing), len(paths), file.values),
            )
        loader = image_loader(paths, network.preprocess, self.batch_size, self.num_workers, rows=missing)
        with image_progress(f"{self.teacher.name}: {file.values.stem}", len(missing)) as advance:
            bad = extract(describe, loader, file.attach(), advance)
        if ranks.rank() == 0:
            tally = BadImageTally(minimum=0)  # all of them have been seen
            tally.add(PlaceBatch(torch.empty(0), torch.empty(len(paths) - len(bad)), tuple(bad.values())))
            lost = np.setdiff1d(file.missing(), list(bad))
            if len(lost):
                raise DataError(
                    f"{len(lost):,} of {len(paths):,} descriptors of the teacher {self.teacher.name} are zero or were "
                    f"lost on their way to {file.values} (first: of {paths[lost[0]]}). Look at the teacher, or set "
                    "paths.runs to another disk; the same command describes only what is missing."
                )
            file.seal(bad)
        ranks.gather(None)


def load_whitening(path: Path) -> Whitening:
    """Read the whitening of a cache; DataError if it is damaged."""
    try:
        state = torch.load(path, weights_only=True)
        return Whitening(state["mean"], state["matrix"])
    except (OSError, RuntimeError, KeyError, TypeError, pickle.UnpicklingError) as error:
        raise DataError(f"{path} is damaged ({error}). Delete {path.parent}; it will be made again.") from error


def _begun(file: TargetFile) -> bool:
    return ranks.broadcast(ranks.rank() == 0 and file.begin())


def _project(sample: TargetFile, targets: TargetFile, rows: np.ndarray, whitening: Whitening) -> None:
    """Turn the descriptors of the sample into targets, so that its photos need not be described again."""
    described, out = sample.attach("r"), targets.attach()
    good = np.setdiff1d(np.arange(len(rows)), list(sample.bad()))
    for start in range(0, len(good), 4096):
        part = good[start : start + 4096]
        values = torch.from_numpy(np.asarray(described[part], np.float32)).to(whitening.mean.device)
        out[rows[part]] = whitening(values).cpu().numpy()


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Let one run at a time work in `folder`, with all its ranks; another one is waited for."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.with_suffix(".lock"))
    if not ranks.broadcast(ranks.rank() == 0 and _acquired(lock, 0)):
        if ranks.rank() == 0:
            log.info("Another run describes these photos with the same teacher: waiting for it (%s).", folder)
        while not ranks.broadcast(ranks.rank() == 0 and _acquired(lock, PATIENCE)):
            pass
    try:
        yield
    finally:
        lock.release()


def _acquired(lock: FileLock, seconds: float) -> bool:
    try:
        lock.acquire(timeout=seconds)
    except Timeout:
        return False
    return True
