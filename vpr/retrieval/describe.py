"""The callable that extraction calls: uint8 images in, descriptors out."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Protocol

import torch
from torch import Tensor

from vpr.errors import ConfigError

AUTOCAST = {"32": None, "32-true": None, "16-mixed": torch.float16, "bf16-mixed": torch.bfloat16}

Describe = Callable[[Tensor], Tensor]


class DescriberLike(Protocol):
    """What `describe_fn` needs of a model, which lies on its device already."""

    def normalise(self, images: Tensor) -> Tensor: ...

    def __call__(self, images: Tensor) -> Tensor: ...


def describe_fn(
    describer: DescriberLike, device: torch.device | str, precision: str = "32-true", channels_last: bool = False
) -> Describe:
    """Make `describe(images: (B, 3, H, W) uint8, anywhere) -> (B, D) float32 on device` of a describer in eval mode.

    `precision` takes Lightning's names: 32-true, 16-mixed, bf16-mixed; ConfigError for another one.
    """
    if str(precision) not in AUTOCAST:
        raise ConfigError(f"precision={precision} cannot be used to describe images; choose {', '.join(AUTOCAST)}.")
    device, dtype = torch.device(device), AUTOCAST[str(precision)]
    layout = torch.channels_last if channels_last else torch.contiguous_format

    def describe(images: Tensor) -> Tensor:
        if getattr(describer, "training", False):
            raise RuntimeError("the describer is in training mode: call .eval() first")
        context = torch.autocast(device.type, dtype) if dtype else nullcontext()
        with torch.inference_mode(), context:
            batch = describer.normalise(images.to(device, non_blocking=True)).contiguous(memory_format=layout)
            return describer(batch).float()

    return describe


def pick_device(name: str) -> torch.device:
    """Turn `auto`, `cpu`, `cuda` or `cuda:N` into a device; ConfigError where it is not one of this machine."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError(f"device={name}, but torch finds no CUDA device here. Pass device=cpu or device=auto.")
    try:
        return torch.device(name)
    except RuntimeError:
        raise ConfigError(f"device={name} is not a device; choose auto, cpu or cuda.") from None
