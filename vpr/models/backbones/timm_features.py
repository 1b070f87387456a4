"""Feature extractors of timm, any of them by name."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
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

    A transformer that was made for another image size is made for the one at hand where it can be (timm's argument
    `img_size`), its position embedding resampled.

    Args:
        name: timm name, e.g. mobilenetv4_conv_small, convnext_atto or swinv2_tiny_window8_256.
        weights: default (timm's), none, or the PATH of a state dict as timm reads it.
        options: further arguments of timm.create_model, e.g. {img_size: [320, 320]} for a transformer.
        image_size: (height, width) in pixels of the images.
        crop: feature levels dropped at the end, of those that timm numbers from 0: [4] of five leaves stride 16.
        freeze: number of leading parts that are not trained, as timm groups the layers: 1 is the stem, 2 is the stem
            and the first stage.

    Raises:
        ConfigError: timm has no such network, the image size cannot be cut into its patches, or it has no such levels
            or parts.
    """

    def __init__(
        self,
        name: str,
        weights: str = "default",
        options: Mapping[str, Any] | None = None,
        image_size: Sequence[int] | None = None,
        crop: Sequence[int] = (),
        freeze: int = 0,
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
        levels = len(self.model.feature_info)
        self.level = levels - 1 - len(crop)
        if sorted(crop) != list(range(self.level + 1, levels)) or self.level < 0:
            example = f"such as [{levels - 1}]" if levels > 1 else "and here is one alone"
            raise ConfigError(f"backbone.crop={list(crop)}: {name} has {levels} levels; the last can go, {example}.")
        if crop:
            self.model.prune_intermediate_layers([self.level], prune_norm=True, prune_head=True)
        else:
            self.model.prune_intermediate_layers(1, prune_norm=False, prune_head=True)
        self.freeze(self._leading(name, freeze), weights)
        last = self.model.feature_info[self.level]
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
        options: dict[str, Any] = {"output_fmt": "NCHW", "intermediates_only": True}
        last = self.level == len(self.model.feature_info) - 1
        maps = self.model.forward_intermediates(images, indices=1 if last else [self.level], norm=last, **options)
        return Features(maps[-1])

    def _leading(self, name: str, count: int) -> list[nn.Module | nn.Parameter]:
        """Return the layers of the first `count` parts that timm groups its parameters into."""
        if count == 0:
            return []
        if not hasattr(self.model, "group_matcher"):
            raise ConfigError(f"backbone.freeze={count}: timm does not say what the stages of {name} are. Type 0.")
        from timm.models import group_parameters  # here, since timm takes a second to import

        groups = group_parameters(self.model, self.model.group_matcher(coarse=True))
        parts = [names for _, names in sorted(groups.items())]
        if not 0 < count <= len(parts):
            raise ConfigError(f"backbone.freeze={count}: {name} has {len(parts)} parts, 0 to {len(parts)}.")
        layers: dict[str, nn.Module | nn.Parameter] = {}
        for parameter in (parameter for names in parts[:count] for parameter in names):
            layer = parameter.rpartition(".")[0] or parameter  # a class token belongs to no layer
            layers[layer] = operator.attrgetter(layer)(self.model)
        return list(layers.values())


def _sized(name: str, options: dict[str, Any], image_size: Sequence[int] | None) -> dict[str, Any]:
    """Return `options`, with `img_size` where the network was made for another size alone and is not told of this."""
    import timm

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
