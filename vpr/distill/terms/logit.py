"""Logit distillation: the probabilities of an image to belong to each place of the batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from vpr.distill.teacher import Outputs
from vpr.distill.terms.base import Term, shared


class Logit(Term):
    """Mean over images of KL(softmax(L_t / temperature) || softmax(L_s / temperature)), L the logits over places.

    Soft targets (Hinton et al., 2015, without the factor temperature^2) over prototypes (Snell et al., NeurIPS 2017):
    a place is the mean of its descriptors in the global batch, scaled to unit norm, and a logit the cosine to it; each
    network has prototypes in its own space. Zero when student equals teacher; of several teachers, logits are averaged.

    Args:
        weight: of the term in the training loss.
        temperature: of the softmax.
    """

    needs_places = True

    def __init__(self, weight: float = 1.0, temperature: float = 0.05) -> None:
        super().__init__(weight)
        self.temperature = temperature

    def forward(self, student: Outputs, teachers: Sequence[Outputs], labels: Tensor) -> Tensor:
        member = F.one_hot(labels.unique(return_inverse=True)[1]).to(student.descriptors.dtype)
        of_student = _logits(student, member) / self.temperature
        of_teachers = shared(teachers, lambda teacher: _logits(teacher, member)) / self.temperature
        return F.kl_div(of_student.log_softmax(1), of_teachers.log_softmax(1), reduction="batchmean", log_target=True)


def _logits(outputs: Outputs, member: Tensor) -> Tensor:
    # The sum points where the mean does.
    return outputs.descriptors @ F.normalize(member.T @ outputs.descriptors, dim=1).T
