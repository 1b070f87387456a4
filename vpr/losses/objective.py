"""Objectives: the loss of a training batch, (features, descriptors, batch) -> `LossResult`, by its supervision."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vpr.data.tuples import TupleBatch
from vpr.distributed import gather_rows
from vpr.errors import ConfigError
from vpr.losses.pairs import LossResult
from vpr.losses.tuples import TupleLoss
from vpr.types import Features, PlaceBatch


class PlacesObjective(nn.Module):
    """Images with place numbers: descriptors of one place are pulled together, those of different places pushed apart.

    The loss sees the global batch: descriptors and labels of all ranks.

    Args:
        loss: (descriptors (N, D) float32, labels (N,)) -> LossResult.

    Raises:
        ConfigError: a loss of tuples.
    """

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        if isinstance(loss, TupleLoss):
            raise ConfigError(
                "loss: it compares a query with its positive and its negatives, and supervision=places has batches of "
                "places. Type loss=multi_similarity (or another one of places), or supervision=tuples."
            )
        self.loss = loss

    def forward(self, features: Features, descriptors: Tensor, batch: PlaceBatch) -> LossResult:
        """Return the loss of this rank's descriptors (n, D), gathered with those of the other ranks."""
        return self.loss(gather_rows(descriptors.float()), gather_rows(batch.labels))


class TuplesObjective(nn.Module):
    """Queries with a positive and negatives: a query's descriptor is to be nearer to that of its positive.

    The loss is the mean over the tuples of all ranks. Difficult positives are no part of it: they are for soft labels.

    Args:
        loss: of tuples.

    Raises:
        ConfigError: a loss of places.
    """

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        if not isinstance(loss, TupleLoss):
            raise ConfigError(
                "loss: it compares places, and supervision=tuples has queries with a positive and negatives. "
                "Type loss=sare_independent, sare_joint or triplet_tuples, or supervision=places."
            )
        self.loss = loss

    def forward(self, features: Features, descriptors: Tensor, batch: TupleBatch) -> LossResult:
        """Return the loss of this rank's descriptors (n, D), tuple by tuple, gathered with those of the other ranks."""
        tuples = gather_rows(descriptors.float().unflatten(0, (-1, batch.size)))
        return self.loss(tuples[:, 0], tuples[:, 1], tuples[:, 2 : 2 + batch.negatives])


class NoObjective(nn.Module):
    """Images without labels: the loss is zero, and the terms of distillation are all that trains."""

    def forward(self, features: Features, descriptors: Tensor, batch: PlaceBatch) -> LossResult:
        """Return zero, and that nothing was mined."""
        return LossResult(descriptors.new_zeros((), dtype=torch.float32), 0.0)
