"""image=matconvnet: mean-subtracted values of 0..255, in training and in whatever loads the checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from vpr import checkpoint
from vpr.cli.compose import compose, plain
from vpr.models.describer import Describer
from vpr.training.build import make_describer


def test_a_checkpoint_keeps_it(tmp_path: Path) -> None:
    options = ["backbone=mobilenet_v3_small", "backbone.weights=none", "agg=gem", "image=matconvnet"]

    def made(*overrides: str) -> tuple[Describer, dict[str, Any]]:
        cfg = compose("train", [*overrides, "image.size=[64,96]"])
        return make_describer(plain(cfg))

    describer, parts = made(*options)
    checkpoint.save(tmp_path / "best.ckpt", describer, parts)
    loaded = checkpoint.load(tmp_path / "best.ckpt")
    assert loaded.preprocess.size == (64, 96)
    pixels = torch.tensor([[0, 255], [17, 100]], dtype=torch.uint8).expand(1, 3, 2, 2)
    means = torch.tensor([123.68, 116.779, 103.939]).view(3, 1, 1)  # of RGB, as MatConvNet's VGG was trained
    torch.testing.assert_close(loaded.normalise(pixels), pixels.float() - means, rtol=0, atol=1e-4)
    default, _ = made(*options[:3])
    assert default.preprocess.std == (0.229, 0.224, 0.225)
