"""Attention transfer (Zagoruyko & Komodakis, ICLR 2017)."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from vpr.distill.teacher import Outputs
from vpr.distill.terms.base import Term, shared
from vpr.distributed import gather_rows


class Attention(Term):
    """Mean over images of |Q_s / |Q_s| - Q_t / |Q_t||^2 (eq. 2, squared), Q = sum over channels of |F|^p at each cell.

    It compares the cells that count, whatever the channels mean. The teacher's Q is resized to the student's grid. Zero
    when student equals teacher; several teachers count by their shares.

    Args:
        weight: of the term in the training loss.
        p: exponent; the paper's best is 2.
    """

    needs_map = True

    def __init__(self, weight: float = 1.0, p: float = 2.0) -> None:
        super().__init__(weight)
        self.p = p

    def forward(self, student: Outputs, teachers: Sequence[Outputs], labels: Tensor) -> Tensor:
        assert student.map is not None
        grid = student.map.shape[-2:]
        of_student = self._attention(student, grid)
        per_image = shared(teachers, lambda t: (of_student - self._attention(t, grid)).square().sum(1))
        return gather_rows(per_image).mean()

    def _attention(self, outputs: Outputs, grid: Sequence[int]) -> Tensor:
        assert outputs.map is not None
        cells = outputs.map.abs().pow(self.p).sum(1, keepdim=True)
        return F.normalize(F.interpolate(cells, tuple(grid), mode="bilinear", antialias=True).flatten(1), dim=1)
