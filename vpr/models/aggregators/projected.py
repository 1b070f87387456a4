"""An aggregator with a linear map behind it, which takes its descriptors to another space."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vpr.models.describer import make_network
from vpr.types import Features, FeatureSpec


class Projected(nn.Module):
    """W d + b, L2-normalised, of another aggregator's descriptor d.

    Distillation leaves one in a student that describes in its teacher's space, and fitted PCA whitening is one: with a
    bias it is the PCA layer of OpenIBL's vgg16_netvlad, a 1x1 convolution there.

    Args:
        spec: of the features.
        agg: the node of the other aggregator, or that aggregator itself.
        dim: dimensions of the descriptor.
        bias: whether there is a b.
    """

    def __init__(self, spec: FeatureSpec, agg: Mapping[str, Any] | nn.Module, dim: int, bias: bool = False) -> None:
        super().__init__()
        self.aggregator = agg if isinstance(agg, nn.Module) else make_network(agg, "agg.agg", spec)
        self.projection = nn.Linear(int(self.aggregator.dim), dim, bias=bias)  # type: ignore[arg-type]
        self.dim = dim

    @property
    def fixed_grid(self) -> bool:
        return bool(getattr(self.aggregator, "fixed_grid", False))

    def forward(self, features: Features) -> Tensor:
        descriptors = self.aggregator(features).float()
        with torch.autocast(descriptors.device.type, enabled=False):  # whitening takes differences of large numbers
            return F.normalize(self.projection(descriptors), dim=-1)


def projected_node(agg: Mapping[str, Any], dim: int, bias: bool = False) -> dict[str, Any]:
    """Return the node from which a describer with `Projected` behind the aggregator of the node `agg` is built."""
    return {"_target_": f"{__name__}.Projected", "agg": dict(agg), "dim": dim, "bias": bias}


def inner_node(agg: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the node of the aggregator itself, without a `Projected` around it."""
    return agg["agg"] if agg.get("_target_") == f"{__name__}.Projected" else agg
