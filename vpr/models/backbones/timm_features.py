"""Any feature extractor of timm, by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import timm
from torch import Tensor, nn

from vpr.errors import ConfigError
from vpr.models.backbones.base import Backbone
from vpr.models.weights import Origin, State, pretrained_state, timm_model, timm_origin
from vpr.types import Features, FeatureSpec

# a checkpoint names the options, too, and loading one neither downloads nor opens other files
RESERVED = {"pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path", "cache_dir"}


class TimmFeatures(Backbone):
    """The last feature map of a timm network; layers behind it, such as the classifier, are left out.

    A transformer that was made for another image size is made for the one at hand where it can be (timm's argument
    `img_size`), its position embedding resampled.

    Args:
        name: timm name, e.g. mobilenetv4_conv_small, convnext_atto or swinv2_tiny_window8_256.
        weights: default (timm's), none, or the PATH of a state dict as timm reads it.
        options: further arguments of timm.create_model, e.g. {img_size: [320, 320]} for a transformer.
        image_size: (height, width) in pixels of the images.

    Raises:
        ConfigError: timm has no such network, or the image size cannot be cut into its patches.
    """

    def __init__(
        self,
        name: str,
        weights: str = "default",
        options: Mapping[str, Any] | None = None,
        image_size: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        options, origin = checked_options(options), timm_origin(name)
        state, sized = pretrained_state(weights, origin), _sized(name, options, image_size)
        try:
            self.model = strict_timm_model(name, nn.Module, state, origin, **sized)
        except ConfigError:
            if sized == options:
                raise
            self.model = strict_timm_model(name, nn.Module, state, origin, **options)  # it takes no such img_size
        if not hasattr(self.model, "forward_intermediates"):
            raise ConfigError(f"backbone.name={name}: timm cannot take feature maps out of this network.")
        self.model.prune_intermediate_layers(1, prune_norm=False, prune_head=True)
        last = self.model.feature_info[-1]
        self.mean, self.std = self.model.pretrained_cfg["mean"], self.model.pretrained_cfg["std"]
        self.fixed_size = bool(self.model.pretrained_cfg.get("fixed_input_size", False))
        self.spec = FeatureSpec(last["num_chs"], last["reduction"])
        self.made_for: tuple[int, int] = tuple(self.model.pretrained_cfg["input_size"][1:])
        patch = getattr(getattr(self.model, "patch_embed", None), "patch_size", None)
        if "img_size" in sized and isinstance(patch, tuple) and image_size and any(map(int.__mod__, image_size, patch)):
            near = ",".join(str(max(1, round(side / p)) * p) for side, p in zip(image_size, patch, strict=True))
            raise ConfigError(
                f"image.size={list(image_size)}: {name} cuts images into patches of {patch[0]}x{patch[1]} pixels, and "
                f"both sides must be multiples of that. Type 'image.size=[{near}]' (with the quotes)."
            )

    def size_advice(self, height: int, width: int) -> str:
        if not self.fixed_size:
            return super().size_advice(height, width)
        return (
            f"It was made for 'image.size=[{self.made_for[0]},{self.made_for[1]}]'. Type that, or, for a network of "
            f"timm that has this option, 'backbone.options={{img_size:[{height},{width}]}}' (with the quotes)."
        )

    def forward(self, images: Tensor) -> Features:
        # NCHW also where the network itself works on (B, H, W, C) or on tokens
        maps = self.model.forward_intermediates(
            images, indices=1, norm=True, output_fmt="NCHW", intermediates_only=True
        )
        return Features(maps[-1])


def _sized(name: str, options: dict[str, Any], image_size: Sequence[int] | None) -> dict[str, Any]:
    """Return `options`, with `img_size` where the network was made for another size alone and is not told of this."""
    config = timm.get_pretrained_cfg(name) if timm.is_model(name) else None
    size_options = options.keys() & {"img_size", "dynamic_img_size"}
    if config is None or not config.fixed_input_size or size_options or not image_size:
        return options
    return options if tuple(config.input_size[1:]) == tuple(image_size) else {**options, "img_size": tuple(image_size)}


def checked_options(options: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return `backbone.options`, further arguments of timm.create_model; ConfigError where they choose weights."""
    reserved = sorted(RESERVED & (options or {}).keys())
    if reserved:
        raise ConfigError(f"backbone.options.{reserved[0]}: weights are chosen by backbone.weights alone.")
    return dict(options or {})


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
