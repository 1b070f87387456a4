"""The model: image -> backbone -> features -> aggregator -> descriptor.

`Describer` is that line as a module; `build_describer` makes one of plain config nodes, for training and for loading a
checkpoint alike.
"""

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
    """Backbone, aggregator and preprocessing in one module: it is trained, saved, distilled from and exported.

        describer(describer.normalise(images))  # (B, 3, H, W) uint8 -> (B, dim), rows of unit norm

    Args:
        backbone: normalised images (B, 3, H, W) -> `Features`.
        aggregator: `Features` -> descriptors (B, dim), rows L2-normalised. Its constructor takes the backbone's
            `spec: FeatureSpec` first; it has `dim: int`, and `fixed_grid = True` where it takes only maps of the size
            `spec.grid` (any other is a ConfigError). One file of vpr/models/aggregators, one YAML of conf/agg.
        preprocess: size and interpolation of the images, which only travel with the model; mean and std, which
            `normalise` applies.
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
        """Dimensions of a descriptor."""
        return int(self.aggregator.dim)  # type: ignore[arg-type]

    @property
    def fixed_size(self) -> bool:
        """True where images of other sizes than `preprocess.size` cannot be described."""
        return self.backbone.fixed_size or bool(getattr(self.aggregator, "fixed_grid", False))

    def normalise(self, images: Tensor) -> Tensor:
        """Turn uint8 images (B, 3, H, W) in 0..255 into floats with mean 0 and deviation 1, on their device."""
        return (images.to(self.mean.dtype) / 255 - self.mean) / self.std

    def features(self, images: Tensor) -> Features:
        """Return the features of normalised images (B, 3, H, W): a map (B, C, h, w), and perhaps a class token."""
        return self.backbone(images)

    def forward(self, images: Tensor) -> Tensor:
        """Return L2-normalised descriptors (B, dim) of normalised images (B, 3, H, W)."""
        features = self.features(images)
        return self.aggregator(features)


def build_describer(backbone: Mapping[str, Any], agg: Mapping[str, Any], image: Mapping[str, Any]) -> Describer:
    """Make backbone and aggregator, and fit them to each other at the image size.

    The aggregator gets the `spec` of the backbone, whose `grid` is found by one forward pass of zeros.

    Args:
        backbone, agg: `_target_` and the arguments of a class of vpr.models, as plain containers.
        image: fields of `Preprocess`. Where mean or std is missing or null, the backbone's hold.

    Raises:
        ConfigError: a `_target_` is not a network of vpr.models, an argument is unknown, or a value does not fit.
        WeightsUnavailable: pretrained weights were asked for and cannot be had.
    """
    network = make_network(backbone, "backbone", image_size=_size(image))
    if not isinstance(network, Backbone):
        raise ConfigError(f"backbone._target_={backbone['_target_']} is not a backbone.")
    preprocess = _preprocess(image, network)
    try:
        grid = feature_grid(network, preprocess.size)
    except (AssertionError, RuntimeError, ValueError) as error:  # libraries refuse image sizes in all these ways
        height, width = preprocess.size
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        raise ConfigError(
            f"image.size=[{height},{width}]: backbone {backbone.get('name', '')} cannot take such images ({reason}). "
            f"{network.size_advice(height, width)}"
        ) from error
    return Describer(network, make_network(agg, "agg", network.spec._replace(grid=grid)), preprocess)


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


def make_network(node: Mapping[str, Any], name: str, *first: Any, **offered: Any) -> nn.Module:
    """Make one network of vpr.models from its node; `name` is for messages.

    Args:
        first: positional arguments.
        offered: arguments that are given to a network that has them, and whose node does not.

    Raises:
        ConfigError: the `_target_` is no such network, or an argument is unknown.
    """
    options = {k: v for k, v in node.items() if k not in ("_target_", "_partial_", "_convert_", "_recursive_")}
    network = _network_class(node.get("_target_"), name)
    signature = inspect.signature(network)
    options = {k: v for k, v in offered.items() if k in signature.parameters} | options
    try:
        signature.bind(*first, **options)
    except TypeError as error:
        raise ConfigError(f"{name}: {network.__name__} {error}.") from error
    return network(*first, **options)


def _network_class(target: object, name: str) -> type[nn.Module]:
    module, _, attribute = str(target).rpartition(".")
    if not module.startswith("vpr.models."):
        raise ConfigError(f"{name}._target_={target}: only networks of vpr.models can be built.")
    try:
        network = getattr(importlib.import_module(module), attribute, None)
    except ModuleNotFoundError as error:
        raise ConfigError(f"{name}._target_={target}: there is no module {error.name}.") from error
    is_network = isinstance(network, type) and issubclass(network, nn.Module)
    if network is None or not is_network or not network.__module__.startswith("vpr.models."):
        raise ConfigError(f"{name}._target_={target}: {module} has no network {attribute}.")
    return network


def _preprocess(image: Mapping[str, Any], backbone: Backbone) -> Preprocess:
    unknown = sorted(image.keys() - set(Preprocess._fields))
    if unknown:
        raise ConfigError(f"image.{unknown[0]} is not known; there are {', '.join(Preprocess._fields)}.")
    given = {name: value for name, value in image.items() if value is not None}
    return Preprocess(
        size=_size(image),
        mean=_rgb(given.get("mean", backbone.mean), "mean"),
        std=_rgb(given.get("std", backbone.std), "std"),
        interpolation=str(given.get("interpolation", Preprocess().interpolation)),
    )


def _size(image: Mapping[str, Any]) -> tuple[int, int]:
    size = image.get("size") or Preprocess().size
    if not isinstance(size, list | tuple) or len(size) != 2 or not all(isinstance(x, int) and x > 0 for x in size):
        raise ConfigError(f"image.size={size}: give height and width in pixels, e.g. [320,320].")
    return size[0], size[1]


def _rgb(values: Any, name: str) -> tuple[float, float, float]:
    if not isinstance(values, list | tuple) or len(values) != 3:
        raise ConfigError(f"image.{name}={values}: give three numbers, for red, green and blue in 0..1.")
    return float(values[0]), float(values[1]), float(values[2])
