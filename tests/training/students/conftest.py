"""A teacher, a folder of photos and two tiny candidates."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from vpr import checkpoint
from vpr.models.describer import build_describer

TINY = "backbone=resnet18 backbone.weights=none backbone.crop=[3,4] agg=gem"


@pytest.fixture(scope="session")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random ResNet18 of 256 dimensions at 64 x 64 pixels."""
    torch.manual_seed(1)
    parts = {
        "backbone": {
            **{"_target_": "vpr.models.backbones.resnet.ResNet", "name": "resnet18", "weights": "none"},
            "crop": [4],
        },
        "agg": {"_target_": "vpr.models.aggregators.gem.GeM"},
    }
    path = tmp_path_factory.mktemp("teacher") / "best.ckpt"
    checkpoint.save(path, build_describer(**parts, image={"size": [64, 64]}), parts)
    return path


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of 120 photos of 30 patterns."""
    root, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for place in range(30):
        pattern = cv2.resize(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8), (48, 48))
        for view in range(4):
            image = cv2.add(pattern, rng.integers(0, 30, pattern.shape, dtype=np.uint8))
            cv2.imwrite(str(root / f"{place:02d}-{view}.png"), image)
    return root


@pytest.fixture
def typed(teacher: Path, folder: Path, tmp_path: Path) -> list[str]:
    """Words of distil.py: candidates `small`, `large`, and `absent`, whose weights cannot be had."""
    names = ["own-128", "own-192", "own-cut-128", "lite0-cut-128", "lite0-cut-192", "lite0-short-192"]
    names += [f"mobilenet_v{version}-{side}" for version in ("3_small", "2") for side in (192, 256)]
    return [
        *(f"teacher={teacher}", f"images={folder}", f"paths.runs={tmp_path}/runs", f"paths.data={tmp_path}"),
        *("budget=1Mparams", "brief=2", "full=4", f"out={tmp_path}/out", "device=cpu", "num_workers=0"),
        "recipe='experiment=kd_for_map logger=none trainer=cpu trainer.num_workers=0 supervision.images=60'",
        *(f"~candidates.{name}" for name in names),
        f"+candidates.large='{TINY} image.size=[48,48]'",
        f"+candidates.small='{TINY} image.size=[32,32]'",
        f"+candidates.huge='{TINY} backbone.crop=[] image.size=[32,32]'",
        "+candidates.absent='backbone=mobilenet_v2 backbone.weights=/nowhere.pth agg=gem image.size=[32,32]'",
    ]
