"""Rank distillation: the teacher's order of images."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from vpr.distill.bank import Bank
from vpr.distill.teacher import Outputs
from vpr.distill.terms.base import Relational


class Rank(Relational):
    """Negative log-likelihood of the teacher's ranking under the student, mean over queries and positions.

    Each image i of the global batch is a query; pi orders the others, or the images of the bank, by the teacher's
    similarity to i (several teachers: their mean). With scores s_ij = S_ij / temperature of the student, the likelihood
    is Plackett-Luce's: -log p = sum_k [log sum_{l >= k} exp(s_i,pi(l)) - s_i,pi(k)]. ListMLE (Xia et al., ICML 2008),
    used for distillation as "hard" DarkRank (Chen et al., AAAI 2018). Only the order counts, not how near; so it is not
    zero for a student that equals its teacher, but falls as the student separates what the teacher orders.

    Args:
        weight: of the term in the training loss.
        temperature: of the student's similarities.
        top: positions that count, from the nearest; None counts all.
    """

    def __init__(self, weight: float = 1.0, temperature: float = 0.05, top: int | None = None) -> None:
        super().__init__(weight)
        self.temperature, self.top = temperature, top

    def forward(
        self, student: Outputs, teachers: Sequence[Outputs], labels: Tensor, bank: Bank | None = None
    ) -> Tensor:
        of_student, of_teachers = self.relations(student, teachers, bank)
        order = of_teachers.argsort(dim=1, descending=True, stable=True)
        scores = (of_student / self.temperature).gather(1, order)
        not_yet_placed = scores.flip(1).logcumsumexp(1).flip(1)
        return (not_yet_placed - scores)[:, : self.top].mean()
