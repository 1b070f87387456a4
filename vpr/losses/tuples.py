"""Losses of tuples: a query (anchor), its positive and its negatives.

A formula takes `anchor` (T, D), `positive` (T, D) and `negatives` (T, n, D), and returns the mean over tuples, ().
`conf/loss/*.yaml` puts one of them into a `TupleLoss`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vpr.losses.pairs import LossResult

TEMPERATURE = 0.07  # of WAKD and SFRS

Formula = Callable[[Tensor, Tensor, Tensor], Tensor]


class TupleLoss(nn.Module):
    """A formula of `vpr.losses.tuples`, always computed in float32.

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
                violated = float((far.amin(1) < near).float().mean())
            return LossResult(self.formula(anchor, positive, negatives), violated)


def sare_independent(
    anchor: Tensor, positive: Tensor, negatives: Tensor, temperature: float | None = TEMPERATURE
) -> Tensor:
    """Return SARE against one negative at a time (Liu et al., ICCV 2019).

    The mean over the negatives of -log softmax([s(a, p), s(a, n)])_0, with s as in `likeness`.
    """
    near, far = likeness(anchor, positive, negatives, temperature)
    return F.softplus(far - near).mean()


def sare_joint(anchor: Tensor, positive: Tensor, negatives: Tensor, temperature: float | None = TEMPERATURE) -> Tensor:
    """Return SARE against all negatives of a tuple at once (Liu et al., ICCV 2019).

    -log softmax([s(a, p), s(a, n_1), ..., s(a, n_n)])_0, with s as in `likeness`.
    """
    near, far = likeness(anchor, positive, negatives, temperature)
    return (torch.logsumexp(torch.cat([near, far], 1), 1) - near.squeeze(1)).mean()


def triplet(anchor: Tensor, positive: Tensor, negatives: Tensor, margin: float = 0.1**0.5) -> Tensor:
    """Return the mean over the negatives of max(0, |a - p| - |a - n| + margin), distances and not their squares.

    The weakly supervised ranking loss of NetVLAD (Arandjelovic et al., CVPR 2016, section 4) uses squared distances
    and a margin of 0.1, of which this margin is the root: as OpenIBL and WAKD train.
    """
    a, p, n = torch.broadcast_tensors(anchor[:, None], positive[:, None], negatives)
    return F.triplet_margin_loss(a, p, n, margin=margin, p=2)


def likeness(anchor: Tensor, positive: Tensor, negatives: Tensor, temperature: float | None) -> tuple[Tensor, Tensor]:
    """Return the likeness of the anchor to its positive (T, 1), and to its negatives (T, n).

    The dot product divided by `temperature` (Ge et al., ECCV 2020; WAKD 2022), or, where that is None, minus the
    squared Euclidean distance (as SARE was published).
    """
    others = torch.cat([positive[:, None], negatives], 1)
    if temperature is None:
        alike = -(anchor[:, None] - others).square().sum(2)
    else:
        alike = torch.einsum("td,tnd->tn", anchor, others) / temperature
    return alike[:, :1], alike[:, 1:]
