"""ResNet (He et al., 2016), from torchvision."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torchvision
from torch import Tensor, nn

from vpr.errors import ConfigError
from vpr.models.backbones.base import Backbone
from vpr.models.weights import load_exactly, pretrained_state, torchvision_model, torchvision_origin
from vpr.types import Features, FeatureSpec


class ResNet(Backbone):
    """The convolutional part of a torchvision ResNet.

    Args:
        name: resnet18, resnet34, resnet50, resnet101 or another torchvision model with the same layers.
        weights: default (ImageNet, IMAGENET1K_V1), none, or the PATH of a state dict.
        crop: stages dropped at the end, e.g. [4], or [3, 4]. Stride 32 without, 16 with [4].
        freeze: number of stages that are not trained; 2 means conv1, bn1, layer1 and layer2.

    Raises:
        ConfigError: the stages in `crop` are not the last ones, or `freeze` exceeds the stages that are left.
    """

    def __init__(
        self, name: str = "resnet50", weights: str = "default", crop: Sequence[int] = (), freeze: int = 0
    ) -> None:
        super().__init__()
        stages = 4 - len(crop)
        if sorted(crop) != list(range(stages + 1, 5)) or stages < 1:
            raise ConfigError(f"backbone.crop={list(crop)}: only the last stages can go: [], [4], [3, 4] or [2, 3, 4].")
        if not 0 <= freeze <= stages:
            raise ConfigError(f"backbone.freeze={freeze}: {name} cropped by {list(crop)} has the stages 1 to {stages}.")
        full = torchvision_model(name, torchvision.models.ResNet)
        stem = ["conv1", "bn1", "relu", "maxpool"]
        layers = [f"layer{i}" for i in range(1, stages + 1)]
        self.model = nn.Sequential(OrderedDict((part, full.get_submodule(part)) for part in stem + layers))
        origin = torchvision_origin(name)
        state = pretrained_state(weights, origin)
        if state is not None:
            load_exactly(self.model, state, origin, dropped=full.state_dict())
        frozen = stem + layers[:freeze] if freeze else []
        self.freeze([self.model.get_submodule(part) for part in frozen], weights)
        expansion = full.get_submodule(f"layer{stages}.0").expansion
        self.spec = FeatureSpec(channels=2 ** (5 + stages) * int(expansion), stride=2 ** (stages + 1))

    def forward(self, images: Tensor) -> Features:
        return Features(self.model(images))
