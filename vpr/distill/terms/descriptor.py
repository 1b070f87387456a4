"""Descriptor distillation: the teacher's descriptor itself is the target."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vpr.distill.bank import Bank
from vpr.distill.teacher import Outputs, Shape
from vpr.distill.terms.base import SELF_SIMILARITY, Term
from vpr.errors import ConfigError


class Descriptor(Term):
    """cosine * mean_i (1 - cos(P s_i, t_i)) + mse * mean_i |P s_i - t_i|^2 / D, over the global batch; and contrast.

    P is a trained linear map from the student's space to the teacher's of D dimensions, one for each teacher; several
    teachers count by their shares. Where the dimensions agree P is the identity, so that student and teacher share a
    space (asymmetric retrieval; Budnik & Avrithis, CVPR 2021), and the term is zero when they are equal.

    With a bank b, contrast * mean_i -log(e_ii / (e_ii + sum_j exp(cos(P s_i, b_j) / temperature))) is added, where
    e_ii = exp(cos(P s_i, t_i) / temperature) and b_j are the images of the bank but i: each image's own target is to be
    told from those of others (InfoNCE, van den Oord et al. 2018; between student and teacher: Tian et al., ICLR 2020).

    Args:
        weight: of the term in the training loss.
        cosine, mse: of the two distances.
        contrast: of the comparison with the bank.
        temperature: of that comparison.
        project: train P also where the dimensions agree.
        keep: P s_i, L2-normalised, is the student's descriptor: for all losses, in the checkpoint and in retrieval.
            Otherwise P serves training alone, and the student's descriptor is s_i.
    """

    takes_bank = True

    def __init__(
        self,
        weight: float = 1.0,
        cosine: float = 1.0,
        mse: float = 0.0,
        project: bool = False,
        keep: bool = False,
        contrast: float = 0.0,
        temperature: float = 0.05,
    ) -> None:
        super().__init__(weight)
        self.cosine, self.mse, self.project, self.keep = cosine, mse, project, keep
        self.contrast, self.temperature = contrast, temperature
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
        if self.contrast and not self.has_bank:
            raise ConfigError(
                f"distillation.terms.{name}.contrast={self.contrast:g} compares with a bank, and there is none. Type "
                "distillation.cache=true distillation.bank=2048 as well."
            )
        for teacher in teachers:
            needed = not self.keep and self._needed(student.dim, teacher.dim)
            self.projections.append(nn.Linear(student.dim, teacher.dim, bias=False) if needed else nn.Identity())

    def _needed(self, student: int, teacher: int) -> bool:
        return self.project or student != teacher

    def forward(
        self, student: Outputs, teachers: Sequence[Outputs], labels: Tensor, bank: Bank | None = None
    ) -> Tensor:
        losses = []
        for number, (projection, teacher) in enumerate(zip(self.projections, teachers, strict=True)):
            projected, target = projection(student.descriptors), teacher.descriptors
            cosines = F.cosine_similarity(projected, target)
            value = self.cosine * (1 - cosines.mean()) + self.mse * F.mse_loss(projected, target)
            if self.contrast and bank:
                others = F.normalize(projected, dim=1) @ bank.descriptors[number].T
                logits = (
                    torch.cat([cosines.unsqueeze(1), others.masked_fill(bank.same, SELF_SIMILARITY)], 1)
                    / self.temperature
                )
                value = value + self.contrast * -logits.log_softmax(1)[:, 0].mean()
            losses.append(teacher.share * value)
        return torch.stack(losses).sum()
