"""Relational knowledge distillation (Park et al., CVPR 2019)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from vpr.distill.teacher import Outputs
from vpr.distill.terms.base import Term, off_diagonal, shared, similarities

# Squared distances below this are taken as this: images that look the same have no direction between them.
NEAREST = 1e-6
# Vertices whose angles are formed at once: memory is this * N^2 numbers, not N^3.
BLOCK = 32


class RKD(Term):
    """distance * mean_ij h(d_ij) + angle * mean_ijk h(a_ijk), h the Huber loss between student and teacher.

    d_ij = |x_i - x_j| / its mean over all pairs (eq. 6-8); a_ijk = the cosine of the angle at x_j between x_i and x_k
    (eq. 9-11); over all pairs and triplets of different images of the global batch. Of several teachers, the
    distances and cosines are averaged. Zero when student equals teacher; descriptors may have any dimensions.

    Args:
        weight: of the term in the training loss.
        distance, angle: of the two parts; the paper takes 1 and 2 for metric learning.
    """

    def __init__(self, weight: float = 1.0, distance: float = 1.0, angle: float = 2.0) -> None:
        super().__init__(weight)
        self.distance, self.angle = distance, angle

    def forward(self, student: Outputs, teachers: Sequence[Outputs], labels: Tensor) -> Tensor:
        distances = F.smooth_l1_loss(relative_distances(student), shared(teachers, relative_distances))
        total = self.distance * distances
        if self.angle:
            total = total + self.angle * self._angles(student, teachers)
        return total

    def _angles(self, student: Outputs, teachers: Sequence[Outputs]) -> Tensor:
        of_student, of_teachers = similarities(student), [(t.share, similarities(t)) for t in teachers]
        n = len(of_student)
        # The angles are formed again in the backward pass instead of kept.
        sums = [
            checkpoint(_huber_sum, of_student, of_teachers, vertices, use_reentrant=False)
            for vertices in torch.arange(n, device=of_student.device).split(BLOCK)
        ]
        return torch.stack(sums).sum() / max(1, n * (n - 1) * (n - 2))


def relative_distances(outputs: Outputs) -> Tensor:
    """Return the distances (N, N-1) of each row to the others, divided by their mean."""
    gram = similarities(outputs)
    distances = off_diagonal(_squared_distances(gram)).sqrt()
    return distances / distances.mean()


def cosines(gram: Tensor, vertices: Tensor) -> Tensor:
    """Return (V, N, N): the cosine at vertex j between i and k, from the inner products (N, N); 0 where two agree."""
    at = gram[vertices]
    lengths = _squared_distances(gram)[vertices].sqrt()
    norms = gram.diagonal()[vertices].view(-1, 1, 1)
    dots = gram - at.unsqueeze(2) - at.unsqueeze(1) + norms
    alike = torch.eye(len(gram), dtype=torch.bool, device=gram.device)
    degenerate = alike | alike[vertices].unsqueeze(2) | alike[vertices].unsqueeze(1)
    return (dots / (lengths.unsqueeze(2) * lengths.unsqueeze(1))).masked_fill(degenerate, 0)


def _squared_distances(gram: Tensor) -> Tensor:
    norms = gram.diagonal()
    return (norms.unsqueeze(1) + norms - 2 * gram).clamp_min(NEAREST)


def _huber_sum(of_student: Tensor, of_teachers: Sequence[tuple[float, Tensor]], vertices: Tensor) -> Tensor:
    target = torch.stack([share * cosines(gram, vertices) for share, gram in of_teachers]).sum(0)
    return F.smooth_l1_loss(cosines(of_student, vertices), target, reduction="sum")
