"""WAKD: relations between attention maps and between descriptors (Xu et al., ICPR 2022)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from vpr.distill.teacher import Outputs
from vpr.distill.terms.base import Term, shared, similarities
from vpr.distributed import gather_rows

# Maps whose maximum is below this are faded instead of blown up; an all-zero map stays zero, which published code
# turned into NaN.
FAINTEST = 1e-6


class WAKD(Term):
    """maps * MSE(g(M_s), g(M_t)) + descriptors * MSE(g(V_s), g(V_t)), with g(X) = X X^T, each row divided by its norm.

    M are attention maps, one row an image; their grids may differ. V are descriptors. Published for VLAD vectors whose
    clusters have unit norm each: those differ from unit descriptors by one factor, which g takes out. Over the global
    batch; of several teachers, g is averaged. Zero when student equals teacher.

    Args:
        weight: of the term in the training loss; published with 100.
        maps, descriptors: of the two parts.
    """

    def __init__(self, weight: float = 100.0, maps: float = 1.0, descriptors: float = 1.0) -> None:
        super().__init__(weight)
        self.maps, self.descriptors = maps, descriptors
        self.needs_map = bool(maps)

    def forward(self, student: Outputs, teachers: Sequence[Outputs], labels: Tensor) -> Tensor:
        parts = [(self.maps, _map_relations), (self.descriptors, _descriptor_relations)]
        used = [weight * _distance(relation, student, teachers) for weight, relation in parts if weight]
        return torch.stack(used).sum()


def attention_maps(features: Tensor) -> Tensor:
    """Return maps (n, h, w) in 0..1 of feature maps (n, C, h, w).

    With A = ReLU(F), p = softmax over channels of the mean of A over cells and s = max_c p_c, the published weight of a
    channel is the mean over cells of ds/dA_c = s (1[c = argmax] - p_c) / (h w), and the map is the ReLU of the weighted
    mean of A over channels, divided by its maximum. A positive factor of the weights cancels in that, so here they are
    1 for the strongest channel and -p_c / (1 - s) for the others: the softmax over those others, which does not vanish
    where s is nearly 1. No gradient flows through the weights.
    """
    active = features.relu()
    weighted = (active * channel_weights(active)[:, :, None, None]).sum(1).relu()
    return weighted / weighted.amax((1, 2), keepdim=True).clamp_min(FAINTEST)


def channel_weights(active: Tensor) -> Tensor:
    """Return the weights (n, C) of the channels of activations (n, C, h, w), without gradient."""
    means = active.detach().mean((2, 3))
    strongest = F.one_hot(means.argmax(1), means.shape[1]).bool()
    others = means.masked_fill(strongest, -torch.inf).softmax(1)
    return torch.where(strongest, 1.0, -others)


def relations(rows: Tensor) -> Tensor:
    """Return the inner products (N, N) of rows (N, X), each row of them divided by its norm; a zero row stays zero."""
    return F.normalize(rows @ rows.T, dim=1)


def _map_relations(outputs: Outputs) -> Tensor:
    assert outputs.map is not None
    return relations(gather_rows(attention_maps(outputs.map).flatten(1)))


def _descriptor_relations(outputs: Outputs) -> Tensor:
    return F.normalize(similarities(outputs), dim=1)


def _distance(relation: Callable[[Outputs], Tensor], student: Outputs, teachers: Sequence[Outputs]) -> Tensor:
    return F.mse_loss(relation(student), shared(teachers, relation))
