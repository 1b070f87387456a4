"""Bank of cached teacher descriptors: the images of a whole set, to compare those of a batch with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from vpr.distill.cached_teacher import CachedTeacher


class Bank(NamedTuple):
    """Descriptors of M images by each teacher.

    Attributes:
        descriptors: of each teacher (M, D) float32, rows of unit norm; row j is the same image for all teachers.
        same: (N, M) bool, whether image j of the bank is image i of the global batch.
    """

    descriptors: Sequence[Tensor]
    same: Tensor


class BankSampler:
    """Draws a bank for each step from the files of cached teachers, or takes all that they hold.

    The draw follows from seed and step alone, so it is the same on all ranks and in a resumed run. Files stay mapped:
    a step reads the rows of its own bank, and memory holds no more than these.

    Args:
        size: images of a bank; None: all, which are then kept in float32 on the device. A set that has no more images
            than `size` is taken as a whole, too.
        seed: of the draws.
    """

    def __init__(self, size: int | None, seed: int = 0) -> None:
        self.size, self.seed = size, seed
        self._rows: np.ndarray | None = None
        self._whole: list[Tensor] | None = None

    def __call__(self, teachers: Sequence[CachedTeacher], numbers: Tensor, step: int) -> Bank:
        """Return the bank of a step; `numbers` (N,) int64 are the images of the global batch, through all sources."""
        rows = self._draw(teachers, step)
        if self._whole is not None:
            descriptors = self._whole
        else:
            descriptors = [_read(teacher, rows, numbers.device) for teacher in teachers]
            if len(rows) == len(self._usable(teachers)):
                self._whole = descriptors
        return Bank(descriptors, numbers.unsqueeze(1) == torch.from_numpy(rows).to(numbers.device))

    def _draw(self, teachers: Sequence[CachedTeacher], step: int) -> np.ndarray:
        usable = self._usable(teachers)
        if self.size is None or self.size >= len(usable):
            return usable
        chosen = np.random.default_rng((self.seed, step)).choice(len(usable), self.size, replace=False, shuffle=False)
        return usable[np.sort(chosen)]

    def _usable(self, teachers: Sequence[CachedTeacher]) -> np.ndarray:
        """Return the images (int64, rising) of which all teachers have a descriptor."""
        if self._rows is None:
            assert teachers[0].rows is not None
            bad = sorted(set().union(*(teacher.bad for teacher in teachers)))
            self._rows = np.setdiff1d(np.arange(len(teachers[0].rows)), bad)
        return self._rows


def _read(teacher: CachedTeacher, rows: np.ndarray, device: torch.device) -> Tensor:
    assert teacher.rows is not None
    return F.normalize(torch.from_numpy(teacher.rows[rows]).to(device).float(), dim=1)
