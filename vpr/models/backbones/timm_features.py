"""Any feature extractor of timm, by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from vpr.errors import ConfigError
from vpr.models.backbones.base import Backbone
from vpr.models.weights import Origin, State, pretrained_state, timm_model, timm_origin
from vpr.types import Features, FeatureSpec

# a checkpoint names the options, too, and loading one neither downloads nor opens other files
RESERVED = {"pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path", "cache_dir"}


class TimmFeatures(Backbone):
    """The last feature map of a timm network; layers behind it, such as the classifier, are left out.

    Args:
        name: timm name, e.g. mobilenetv4_conv_small, convnext_atto or swinv2_tiny_window8_256.
        weights: default (timm's), none, or the PATH of a state dict as timm reads it.
        options: further arguments of timm.create_model, e.g. {img_size: [320, 320]} for a transformer.
    """

    def __init__(self, name: str, weights: str = "default", options: Mapping[str, Any] | None = None) -> None:
        super().__init__()
        reserved = sorted(RESERVED & (options or {}).keys())
        if reserved:
            raise ConfigError(f"backbone.options.{reserved[0]}: weights are chosen by backbone.weights alone.")
        origin = timm_origin(name)
        self.model = strict_timm_model(name, nn.Module, pretrained_state(weights, origin), origin, **(options or {}))
        if not hasattr(self.model, "forward_intermediates"):
            raise ConfigError(f"backbone.name={name}: timm cannot take feature maps out of this network.")
        self.model.prune_intermediate_layers(1, prune_norm=False, prune_head=True)
        last = self.model.feature_info[-1]
        self.mean, self.std = self.model.pretrained_cfg["mean"], self.model.pretrained_cfg["std"]
        self.fixed_size = bool(self.model.pretrained_cfg.get("fixed_input_size", False))
        self.spec = FeatureSpec(last["num_chs"], last["reduction"])

    def forward(self, images: Tensor) -> Features:
        # NCHW also where the network itself works on (B, H, W, C) or on tokens
        maps = self.model.forward_intermediates(
            images, indices=1, norm=True, output_fmt="NCHW", intermediates_only=True
        )
        return Features(maps[-1])


def strict_timm_model(name: str, kind: type[nn.Module], state: State | None, origin: Origin, **options: Any) -> Any:
    """Return a timm network with the values of `state`, which timm may rename first; no tensor may be missing."""
    if state is None:
        return timm_model(name, kind, **options)
    try:
        model = timm_model(name, kind, pretrained=True, pretrained_cfg_overlay={"state_dict": state}, **options)
    except RuntimeError as error:
        details = " ".join(str(error).split())
        raise ConfigError(
            f"The weights given for {name} do not fit it ({details}). Expected: {origin.address}"
        ) from error
    model.pretrained_cfg.pop("state_dict")  # timm would keep a second copy of all tensors
    return model
