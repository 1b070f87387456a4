"""MobileNetV3 (Howard et al., 2019), from torchvision."""

from __future__ import annotations

import torchvision
from torch import Tensor

from vpr.errors import ConfigError
from vpr.models.backbones.base import Backbone
from vpr.models.weights import load_exactly, pretrained_state, torchvision_model, torchvision_origin
from vpr.types import Features, FeatureSpec


class MobileNetV3(Backbone):
    """The convolutional part of torchvision's MobileNetV3 (960 or 576 channels), stride 32.

    Args:
        name: mobilenet_v3_large or mobilenet_v3_small.
        weights: default (torchvision's best on ImageNet), none, or the PATH of a state dict.
        freeze: number of leading layers (large: of 17, small: of 13) that are not trained.
    """

    def __init__(self, name: str = "mobilenet_v3_large", weights: str = "default", freeze: int = 0) -> None:
        super().__init__()
        full = torchvision_model(name, torchvision.models.MobileNetV3)
        if not 0 <= freeze <= len(full.features):
            raise ConfigError(f"backbone.freeze={freeze}: {name} has {len(full.features)} layers.")
        self.features = full.features
        origin = torchvision_origin(name, "DEFAULT")
        state = pretrained_state(weights, origin)
        if state is not None:
            load_exactly(self, state, origin, dropped=full.state_dict())
        self.freeze(list(self.features)[:freeze], weights)
        self.spec = FeatureSpec(self.features[-1].out_channels, 32)

    def forward(self, images: Tensor) -> Features:
        return Features(self.features(images))
