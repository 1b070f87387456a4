"""Networks of torchvision and timm by name, and where their weights are published."""

from __future__ import annotations

import difflib
from typing import Any

import timm
import torchvision
from torch import nn

from vpr.errors import ConfigError
from vpr.models.weights import Origin


def torchvision_model(name: str, kind: type[nn.Module]) -> Any:
    """Return torchvision's network `name` with random values; ConfigError if it is not of class `kind`."""
    if name not in torchvision.models.list_models(torchvision.models):
        raise ConfigError(f"backbone.name={name}: torchvision has no such model.")
    model = torchvision.models.get_model(name, weights=None)
    return _of_kind(model, name, kind)


def torchvision_origin(name: str, version: str = "IMAGENET1K_V1") -> Origin:
    """Return where torchvision publishes the ImageNet weights of `name`."""
    return Origin(name, torchvision.models.get_model_weights(name)[version].url)


def timm_model(name: str, kind: type[nn.Module], **options: Any) -> Any:
    """Return timm's network `name`, random unless told otherwise; ConfigError if it is not of class `kind`."""
    if not timm.is_model(name):
        near = ", ".join(difflib.get_close_matches(name, timm.list_models(), 3))
        raise ConfigError(f"backbone.name={name}: timm has no such model" + (f"; near it are {near}." if near else "."))
    return _of_kind(timm.create_model(name, **options), name, kind)


def timm_origin(name: str, package: str = "") -> Origin:
    """Return where timm publishes the weights of `name` (with or without a tag)."""
    published = timm.get_pretrained_cfg(name)
    if published is None:
        return Origin(name, package=package)
    return Origin(name, str(published.url or ""), published.hf_hub_id or "", package)


def _of_kind(model: nn.Module, name: str, kind: type[nn.Module]) -> nn.Module:
    if not isinstance(model, kind):
        raise ConfigError(
            f"backbone.name={name} is a {type(model).__name__}, and this backbone takes a {kind.__name__}."
        )
    return model
