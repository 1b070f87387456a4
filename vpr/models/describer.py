"""The model: image -> backbone -> features -> aggregator -> descriptor."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vpr.models.backbones.base import Backbone
from vpr.types import Features, Preprocess


class Describer(nn.Module):
    """Backbone, aggregator and preprocessing: what is trained, saved, distilled from and exported.

    Attributes:
        preprocess: how photos become the images that it takes; size and interpolation only travel with the model,
            mean and std are applied by `normalise`.
        dim: length of a descriptor.
    """

    backbone: Backbone
    mean: Tensor
    std: Tensor

    def __init__(self, backbone: Backbone, aggregator: nn.Module, preprocess: Preprocess) -> None:
        super().__init__()
        self.backbone = backbone
        self.aggregator = aggregator
        self.preprocess = preprocess
        self.register_buffer("mean", torch.tensor(preprocess.mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(preprocess.std).view(3, 1, 1), persistent=False)

    @property
    def dim(self) -> int:
        return int(self.aggregator.dim)  # type: ignore[arg-type]

    @property
    def fixed_size(self) -> bool:
        """Whether images of other sizes than `preprocess.size` cannot be described."""
        return self.backbone.fixed_size or bool(getattr(self.aggregator, "fixed_grid", False))

    def normalise(self, images: Tensor) -> Tensor:
        """Turn uint8 images (B, 3, H, W) in 0..255 into floats with mean 0 and deviation 1, on their device."""
        return (images.to(self.mean.dtype) / 255 - self.mean) / self.std

    def features(self, images: Tensor) -> Features:
        """Return the feature map of normalised images (B, 3, H, W)."""
        return self.backbone(images)

    def forward(self, images: Tensor) -> Tensor:
        """Return L2-normalised descriptors (B, dim) of normalised images (B, 3, H, W)."""
        return self.aggregator(self.features(images))
