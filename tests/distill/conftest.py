"""Small networks and batches for distillation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from vpr.distill.teacher import Teacher
from vpr.models.describer import Describer, build_describer
from vpr.types import PlaceBatch

MIXVPR = {"_target_": "vpr.models.aggregators.mixvpr.MixVPR", "out_channels": 8, "out_rows": 2, "mix_depth": 1}
GEM = {"_target_": "vpr.models.aggregators.gem.GeM"}
RESNET = {"_target_": "vpr.models.backbones.resnet.ResNet", "name": "resnet18", "weights": "none"}


def describer(seed: int, crop: list[int], agg: dict[str, Any], side: int = 48, **image: Any) -> Describer:
    torch.manual_seed(seed)
    return build_describer({**RESNET, "crop": crop}, agg, {"size": [side, side], **image})


@pytest.fixture
def student() -> Describer:
    """16-d descriptors, a map of 128 channels."""
    return describer(0, [3, 4], MIXVPR)


@pytest.fixture
def teacher() -> Callable[..., Teacher]:
    """A network of 256-d descriptors and channels, of another image size and mean than the student's."""

    def make(seed: int = 1, **options: Any) -> Teacher:
        return Teacher(describer(seed, [4], GEM, side=64, mean=[0.4, 0.5, 0.6]), f"teacher{seed}", **options)

    return make


@pytest.fixture
def batch() -> PlaceBatch:
    """4 places of 2 images."""
    generator = torch.Generator().manual_seed(1)
    coarse = torch.rand(4, 1, 3, 6, 6, generator=generator).repeat(1, 2, 1, 1, 1).flatten(0, 1)
    smooth = torch.nn.functional.interpolate(coarse, (48, 48), mode="bilinear")
    noise = torch.rand(8, 3, 48, 48, generator=generator) * 0.2
    return PlaceBatch(((smooth + noise) * 200).to(torch.uint8), torch.arange(4).repeat_interleave(2))
