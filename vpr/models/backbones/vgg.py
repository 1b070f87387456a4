"""VGG (Simonyan and Zisserman, 2015) up to its last convolution, from torchvision."""

from __future__ import annotations

import torchvision
from torch import Tensor, nn

from vpr.errors import ConfigError
from vpr.models.backbones.base import Backbone
from vpr.models.weights import load_exactly, pretrained_state, torchvision_model, torchvision_origin
from vpr.types import Features, FeatureSpec


class VGG(Backbone):
    """VGG to conv5_3, without the ReLU and the pooling after it, as NetVLAD uses it; 512 channels at stride 16.

    Args:
        name: vgg16, or another of torchvision's.
        weights: default (ImageNet, IMAGENET1K_V1), none, or the PATH of a state dict.
        freeze: number of leading stages (of 5) that are not trained; 4 trains conv5_1 to conv5_3.
    """

    def __init__(self, name: str = "vgg16", weights: str = "default", freeze: int = 0) -> None:
        super().__init__()
        full = torchvision_model(name, torchvision.models.VGG)
        self.features = full.features[:-2]
        pools = [i for i, layer in enumerate(self.features) if isinstance(layer, nn.MaxPool2d)]
        ends = [0, *(i + 1 for i in pools), len(self.features)]
        if not 0 <= freeze < len(ends):
            raise ConfigError(f"backbone.freeze={freeze}: {name} has the stages 1 to {len(ends) - 1}.")
        origin = torchvision_origin(name)
        state = pretrained_state(weights, origin)
        if state is not None:
            load_exactly(self, state, origin, dropped=full.state_dict())
        self.freeze(list(self.features)[: ends[freeze]], weights)
        self.spec = FeatureSpec(512, 2 ** len(pools))

    def forward(self, images: Tensor) -> Features:
        return Features(self.features(images))
