"""The model: image -> backbone -> features -> aggregator -> descriptor."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from vpr.errors import ConfigError
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


# FOLDED vpr/models/describer.py: Make a describer from plain config nodes; training and loading a checkpoint use
# this same function.


def build_describer(backbone: Mapping[str, Any], agg: Mapping[str, Any], image: Mapping[str, Any]) -> Describer:
    """Make backbone and aggregator and fit them together at the image size.

    Args:
        backbone, agg: `_target_` and the arguments of a class of vpr.models, as plain containers.
        image: fields of `Preprocess`. Where mean or std is missing or null, the backbone's own hold.

    Raises:
        ConfigError: a `_target_` is not a network of vpr.models, an argument is unknown, or a value does not fit.
        WeightsUnavailable: pretrained weights were asked for and cannot be had.
    """
    made = make_network(backbone, "backbone")
    if not isinstance(made, Backbone):
        raise ConfigError(f"backbone._target_={backbone['_target_']} is not a backbone.")
    preprocess = _preprocess(image, made)
    spec = made.spec._replace(grid=feature_grid(made, preprocess.size))
    return Describer(made, make_network(agg, "agg", spec), preprocess)


def feature_grid(backbone: nn.Module, size: tuple[int, int]) -> tuple[int, int]:
    """Return (h, w) of the feature map of images of `size` = (height, width) pixels."""
    training = backbone.training
    backbone.eval()
    try:
        with torch.no_grad():
            height, width = backbone(torch.zeros(1, 3, *size)).map.shape[-2:]
    finally:
        backbone.train(training)
    return int(height), int(width)


def make_network(node: Mapping[str, Any], name: str, *first: Any) -> nn.Module:
    """Make one network of vpr.models from its node, with the positional arguments `first`; `name` is for messages.

    Raises:
        ConfigError: the `_target_` is no such network, or an argument is unknown.
    """
    target = node.get("_target_")
    options = {k: v for k, v in node.items() if k not in ("_target_", "_partial_", "_convert_", "_recursive_")}
    made = _network_class(target, name)
    try:
        inspect.signature(made).bind(*first, **options)
    except TypeError as error:
        raise ConfigError(f"{name}: {made.__name__} {error}.") from error
    return made(*first, **options)


def _network_class(target: object, name: str) -> type[nn.Module]:
    module, _, attribute = str(target).rpartition(".")
    if not module.startswith("vpr.models."):
        raise ConfigError(f"{name}._target_={target}: only networks of vpr.models can be built.")
    try:
        found = getattr(importlib.import_module(module), attribute, None)
    except ModuleNotFoundError as error:
        raise ConfigError(f"{name}._target_={target}: there is no module {error.name}.") from error
    ours = isinstance(found, type) and issubclass(found, nn.Module) and found.__module__.startswith("vpr.models.")
    if found is None or not ours:
        raise ConfigError(f"{name}._target_={target}: {module} has no network {attribute}.")
    return found


def _preprocess(image: Mapping[str, Any], backbone: Backbone) -> Preprocess:
    unknown = sorted(image.keys() - set(Preprocess._fields))
    if unknown:
        raise ConfigError(f"image.{unknown[0]} is not known; there are {', '.join(Preprocess._fields)}.")
    given = {name: value for name, value in image.items() if value is not None}
    size = given.get("size", Preprocess().size)
    if not isinstance(size, list | tuple) or len(size) != 2 or not all(isinstance(x, int) and x > 0 for x in size):
        raise ConfigError(f"image.size={size}: give height and width in pixels, e.g. [320,320].")
    return Preprocess(
        size=(size[0], size[1]),
        mean=_rgb(given.get("mean", backbone.mean), "mean"),
        std=_rgb(given.get("std", backbone.std), "std"),
        interpolation=str(given.get("interpolation", Preprocess().interpolation)),
    )


def _rgb(values: Any, name: str) -> tuple[float, float, float]:
    if not isinstance(values, list | tuple) or len(values) != 3:
        raise ConfigError(f"image.{name}={values}: give three numbers, for red, green and blue in 0..1.")
    return float(values[0]), float(values[1]), float(values[2])
