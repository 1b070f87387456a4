"""What a training batch is, and what its loss is."""

from __future__ import annotations

from torch import Tensor, nn

from vpr.losses.gather import gather_rows
from vpr.losses.mined import LossResult
from vpr.types import PlaceBatch


class PlacesObjective(nn.Module):
    """Images with place numbers: descriptors of one place are pulled together, those of different places pushed apart.

    The loss sees the global batch: descriptors and labels of all ranks.

    Args:
        loss: (descriptors (N, D) float32, labels (N,)) -> LossResult.
    """

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, descriptors: Tensor, batch: PlaceBatch) -> LossResult:
        """Return the loss of this rank's descriptors (n, D), gathered with those of the other ranks."""
        return self.loss(gather_rows(descriptors.float()), gather_rows(batch.labels))
