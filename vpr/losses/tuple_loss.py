"""A loss of tuples as an experiment chooses it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from vpr.losses.mined import LossResult

Formula = Callable[[Tensor, Tensor, Tensor], Tensor]


class TupleLoss(nn.Module):
    """A formula of `vpr.losses.sare`, always computed in float32.

    Args:
        formula: (anchor (T, D), positive (T, D), negatives (T, n, D)) -> mean over the tuples.
    """

    def __init__(self, formula: Formula) -> None:
        super().__init__()
        self.formula = formula

    def forward(self, anchor: Tensor, positive: Tensor, negatives: Tensor) -> LossResult:
        """Return the loss; `mined` is the share of tuples with a negative that looks more like the query."""
        with torch.autocast(anchor.device.type, enabled=False):
            anchor, positive, negatives = anchor.float(), positive.float(), negatives.float()
            with torch.no_grad():
                near = torch.linalg.vector_norm(anchor - positive, dim=1)
                far = torch.linalg.vector_norm(anchor[:, None] - negatives, dim=2)
                wrong = float((far.amin(1) < near).float().mean())
            return LossResult(self.formula(anchor, positive, negatives), wrong)
