"""Similarity distillation: the similarities between the images of the batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from vpr.distill.teacher import Outputs
from vpr.distill.terms.base import Term, off_diagonal, shared, similarities


class Similarity(Term):
    """Mean over rows i of KL(softmax_j(T_ij / temperature) || softmax_j(S_ij / temperature)), j != i.

    S and T are the cosine similarities of the global batch by student and teacher (several teachers: their mean), so
    descriptors may have any dimensions. Zero when student equals teacher. After PKT (Passalis & Tefas, ECCV 2018) with
    the softmax over similarities of S2SD (Roth et al., ICML 2021), without its factor temperature^2.

    Args:
        weight: of the term in the training loss.
        temperature: small values look at the nearest neighbours only.
    """

    def __init__(self, weight: float = 1.0, temperature: float = 0.05) -> None:
        super().__init__(weight)
        self.temperature = temperature

    def forward(self, student: Outputs, teachers: Sequence[Outputs], labels: Tensor) -> Tensor:
        of_student = off_diagonal(similarities(student)) / self.temperature
        of_teachers = off_diagonal(shared(teachers, similarities)) / self.temperature
        return F.kl_div(of_student.log_softmax(1), of_teachers.log_softmax(1), reduction="batchmean", log_target=True)
