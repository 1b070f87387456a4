"""MobileNetV2 (Sandler et al., 2018), from torchvision, also with the head of Lightweight-MixVPR."""

from __future__ import annotations

import torchvision
from torch import Tensor, nn

from vpr.errors import ConfigError
from vpr.models.backbones.base import Backbone
from vpr.models.weights import load_exactly, pretrained_state, torchvision_model, torchvision_origin
from vpr.types import Features, FeatureSpec

LAST = 18  # features.18 is the 1x1 convolution to 1280 channels


class MobileNetV2(Backbone):
    """The convolutional part of torchvision's MobileNetV2.

    Args:
        name: mobilenet_v2.
        weights: default (ImageNet, IMAGENET1K_V1), none, or the PATH of a state dict.
        head: `none` keeps the network as it is, 1280 channels at stride 32. `lw_mixvpr` puts a 1x1 convolution to
            512 channels, BatchNorm and bilinear upsampling to 20x20 cells in place of the last layer.
        freeze: number of leading layers (of 18 blocks with the stem) that are not trained.
    """

    def __init__(
        self, name: str = "mobilenet_v2", weights: str = "default", head: str = "none", freeze: int = 0
    ) -> None:
        super().__init__()
        if head not in ("none", "lw_mixvpr"):
            raise ConfigError(f"backbone.head={head}: choose none or lw_mixvpr.")
        if not 0 <= freeze <= LAST:
            raise ConfigError(f"backbone.freeze={freeze}: {name} has {LAST} blocks.")
        full = torchvision_model(name, torchvision.models.MobileNetV2)
        lw_head = head == "lw_mixvpr"
        self.features: nn.Sequential = full.features[:LAST] if lw_head else full.features
        origin = torchvision_origin(name)
        state = pretrained_state(weights, origin)
        if state is not None:
            load_exactly(self, state, origin, dropped=full.state_dict())
        if lw_head:
            upsample = nn.Upsample(size=(20, 20), mode="bilinear", align_corners=False)
            self.random_layers = (f"features.{LAST}", f"features.{LAST + 1}")
            self.features.extend([nn.Conv2d(320, 512, 1), nn.BatchNorm2d(512), upsample])
        self.freeze(list(self.features)[:freeze], weights)
        # nominal for that head: at 320x320 pixels 20x20 cells are 16 pixels apart
        self.spec = FeatureSpec(512, 16) if lw_head else FeatureSpec(full.last_channel, 32)

    def forward(self, images: Tensor) -> Features:
        return Features(self.features(images))
