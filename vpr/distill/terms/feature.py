"""Feature distillation (FitNets; Romero et al., ICLR 2015)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vpr.distill.teacher import Outputs, Shape
from vpr.distill.terms.base import Term
from vpr.distributed import gather_rows


class Feature(Term):
    """1/2 mean over images, channels and cells of (r(F_s) - F_t)^2 (eq. 3), r a trained 1x1 convolution.

    The teacher's map is resized to the student's grid. Each teacher has its convolution, several count by their shares.

    Args:
        weight: of the term in the training loss.
        normalise: compare the directions of the cells' vectors, sum over channels instead of mean: the scale of a
            teacher's activations no longer matters. False is as published.
    """

    needs_map = True

    def __init__(self, weight: float = 1.0, normalise: bool = True) -> None:
        super().__init__(weight)
        self.normalise = normalise
        self.projections = nn.ModuleList()

    def connect(self, name: str, student: Shape, teachers: Sequence[Shape]) -> None:
        super().connect(name, student, teachers)
        for teacher in teachers:
            assert student.channels is not None and teacher.channels is not None
            self.projections.append(nn.Conv2d(student.channels, teacher.channels, 1))

    def forward(self, student: Outputs, teachers: Sequence[Outputs], labels: Tensor) -> Tensor:
        assert student.map is not None
        losses = []
        for projection, teacher in zip(self.projections, teachers, strict=True):
            assert teacher.map is not None
            of_student = projection(student.map)
            of_teacher = F.interpolate(teacher.map, of_student.shape[-2:], mode="bilinear", antialias=True)
            channels = of_student.shape[1]
            if self.normalise:
                of_student, of_teacher, channels = F.normalize(of_student, dim=1), F.normalize(of_teacher, dim=1), 1
            per_image = (of_student - of_teacher).square().sum(1).mean((1, 2)) / (2 * channels)
            losses.append(teacher.share * gather_rows(per_image).mean())
        return torch.stack(losses).sum()
