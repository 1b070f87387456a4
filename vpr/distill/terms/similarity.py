"""Similarity distillation: the similarities between images."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from vpr.distill.bank import Bank
from vpr.distill.teacher import Outputs
from vpr.distill.terms.base import Relational


class Similarity(Relational):
    """Mean over rows i of KL(softmax_j(T_ij / temperature) || softmax_j(S_ij / temperature)), j != i.

    S and T are the cosine similarities of the global batch by student and teacher (several teachers: their mean), so
    descriptors may have any dimensions; with a bank j counts its images, and S is in the teacher's space (as SEED has
    it, Fang et al., ICLR 2021, with a queue). Zero when student equals teacher. After PKT (Passalis & Tefas, ECCV 2018)
    with the softmax over similarities of S2SD (Roth et al., ICML 2021), without its factor temperature^2.

    Args:
        weight: of the term in the training loss.
        temperature: small values look at the nearest neighbours only.
    """

    def __init__(self, weight: float = 1.0, temperature: float = 0.05) -> None:
        super().__init__(weight)
        self.temperature = temperature

    def forward(
        self, student: Outputs, teachers: Sequence[Outputs], labels: Tensor, bank: Bank | None = None
    ) -> Tensor:
        of_student, of_teachers = self.relations(student, teachers, bank)
        return F.kl_div(
            (of_student / self.temperature).log_softmax(1),
            (of_teachers / self.temperature).log_softmax(1),
            reduction="batchmean",
            log_target=True,
        )
