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
        self._usable: np.ndarray | None = None
        self._whole: list[Tensor] | None = None

    def __call__(self, teachers: Sequence[CachedTeacher], numbers: Tensor, step: int) -> Bank:
        """Return the bank of a step; `numbers` (N,) int64 are the images of the global batch, through all sources."""
        if self._usable is None:
            self._usable = _usable(teachers)
        drawn = self.size is not None and self.size < len(self._usable)
        rows = self._draw(self._usable, step) if drawn else self._usable
        descriptors = self._whole or [_read(teacher, rows, numbers.device) for teacher in teachers]
        if not drawn:
            self._whole = descriptors
        return Bank(descriptors, numbers.unsqueeze(1) == torch.from_numpy(rows).to(numbers.device))

    def _draw(self, usable: np.ndarray, step: int) -> np.ndarray:
        rng = np.random.default_rng((self.seed, step))
        return usable[np.sort(rng.choice(len(usable), self.size, replace=False, shuffle=False))]


def _usable(teachers: Sequence[CachedTeacher]) -> np.ndarray:
    """Return the images (int64, rising) of which all teachers have a descriptor."""
    assert teachers[0].rows is not None
    bad = sorted(set().union(*(teacher.bad for teacher in teachers)))
    return np.setdiff1d(np.arange(len(teachers[0].rows)), bad)


def _read(teacher: CachedTeacher, rows: np.ndarray, device: torch.device) -> Tensor:
    assert teacher.rows is not None
    return F.normalize(torch.from_numpy(teacher.rows[rows]).to(device).float(), dim=1)
