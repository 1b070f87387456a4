"""Descriptor distillation: the teacher's descriptor itself is the target."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vpr.distill.teacher import Outputs, Shape
from vpr.distill.terms.base import Term
from vpr.errors import ConfigError


class Descriptor(Term):
    """cosine * mean_i (1 - cos(P s_i, t_i)) + mse * mean_i |P s_i - t_i|^2 / D, over the global batch.

    P is a trained linear map from the student's space to the teacher's of D dimensions, one for each teacher; several
    teachers count by their shares. Where the dimensions agree P is the identity, so that student and teacher share a
    space (asymmetric retrieval; Budnik & Avrithis, CVPR 2021), and the term is zero when they are equal.

    Args:
        weight: of the term in the training loss.
        cosine, mse: of the two distances.
        project: train P also where the dimensions agree.
        keep: P s_i, L2-normalised, is the student's descriptor: for all losses, in the checkpoint and in retrieval.
            Otherwise P serves training alone, and the student's descriptor is s_i.
    """

    def __init__(
        self,
        weight: float = 1.0,
        cosine: float = 1.0,
        mse: float = 0.0,
        project: bool = False,
        keep: bool = False,
    ) -> None:
        super().__init__(weight)
        self.cosine, self.mse, self.project, self.keep = cosine, mse, project, keep
        self.projections = nn.ModuleList()

    def kept(self, name: str, student: Shape, teachers: Sequence[Shape]) -> int | None:
        if not self.keep:
            return None
        dims = {teacher.dim for teacher in teachers}
        if len(dims) > 1:
            sizes = ", ".join(f"{teacher.name} {teacher.dim:,}" for teacher in teachers)
            raise ConfigError(
                f"distillation.terms.{name}.keep=true makes one projection part of the student, and the teachers' "
                f"descriptors have different dimensions ({sizes}). Type distillation.terms.{name}.keep=false, or bring "
                "the teachers to the same dimensions: distillation.teacher.pca=512."
            )
        (dim,) = dims
        return dim if self._needed(student.dim, dim) else None

    def connect(self, name: str, student: Shape, teachers: Sequence[Shape]) -> None:
        super().connect(name, student, teachers)
        for teacher in teachers:
            needed = not self.keep and self._needed(student.dim, teacher.dim)
            self.projections.append(nn.Linear(student.dim, teacher.dim, bias=False) if needed else nn.Identity())

    def _needed(self, student: int, teacher: int) -> bool:
        return self.project or student != teacher

    def forward(self, student: Outputs, teachers: Sequence[Outputs], labels: Tensor) -> Tensor:
        losses = []
        for projection, teacher in zip(self.projections, teachers, strict=True):
            projected, target = projection(student.descriptors), teacher.descriptors
            cosine = 1 - F.cosine_similarity(projected, target).mean()
            losses.append(teacher.share * (self.cosine * cosine + self.mse * F.mse_loss(projected, target)))
        return torch.stack(losses).sum()
