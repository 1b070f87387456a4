"""Describers of random weights whose BatchNorm has seen photos, as small as they go."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from benchmarks.export import settled as build_settled
from vpr import checkpoint
from vpr.export.folder import drawn_photos
from vpr.models.describer import Describer

CONF = Path(__file__).parents[2] / "conf"
CROPPED = {"_target_": "vpr.models.backbones.efficientnet.EfficientNet", "name": "tf_efficientnet_lite0"}
CROPPED |= {"weights": "none", "crop": [3, 4, 5, 6]}
GEM = {"_target_": "vpr.models.aggregators.gem.GeM"}


@pytest.fixture(scope="session")
def photos() -> list[bytes]:
    """16 drawn photos, JPEG files."""
    return drawn_photos(16)


@pytest.fixture(scope="session")
def settled(photos: list[bytes]) -> Callable[..., Describer]:
    """Function that builds a describer and settles its BatchNorm: random networks explode else."""

    def make(backbone: dict[str, Any], agg: dict[str, Any], size: tuple[int, int] = (64, 64)) -> Describer:
        return build_settled(backbone, agg, size, photos)

    return make


@pytest.fixture(scope="session")
def small_ckpt(settled: Callable[..., Describer], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoint of a cropped lite0 with GeM, 64x64 pixels."""
    path = tmp_path_factory.mktemp("ckpt") / "small.ckpt"
    checkpoint.save(path, settled(CROPPED, GEM), {"name": "small", "backbone": CROPPED, "agg": GEM})
    return path


@pytest.fixture(scope="session")
def node() -> Callable[[str, str], dict[str, Any]]:
    """Function that reads conf/<group>/<name>.yaml, without pretrained weights or cluster files."""

    def read(group: str, name: str) -> dict[str, Any]:
        plain: Any = OmegaConf.to_container(OmegaConf.load(CONF / group / f"{name}.yaml"), resolve=True)
        if "weights" in plain:
            plain["weights"] = "none"
        if "allow_random_init" in plain:
            plain["allow_random_init"] = True
        return plain

    return read
