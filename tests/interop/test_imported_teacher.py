"""A published checkpoint teaches as its authors' code describes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from vpr.checkpoint import write
from vpr.cli.compose import compose, plain
from vpr.interop.mixvpr import convert
from vpr.training.distillation import make_teachers


def test_with_the_published_outputs(
    shared: Path, published: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "ours.ckpt", convert(published("mixvpr_kd_resnet18")))
    options = [f"distillation.teacher.ckpt={tmp_path}/ours.ckpt", "distillation.teacher.precision=32-true"]
    cfg = compose("train", ["distillation=similarity", *options])
    (teacher,) = make_teachers(plain(cfg.distillation.teacher), plain(cfg.image), "cpu")
    assert teacher.preprocess.size == (320, 320)
    # The published images are normalised already.
    normalised = torch.from_numpy(np.load(shared / "golden" / "mixvpr_input_320.npz")["x"])
    monkeypatch.setattr(teacher, "prepare", lambda images: normalised)
    outputs = teacher(torch.zeros(3, 3, 224, 224, dtype=torch.uint8))
    golden = np.load(shared / "golden" / "mixvpr_kd_resnet18_out.npz")
    np.testing.assert_allclose(outputs.descriptors, golden["descriptor"], rtol=1e-4, atol=1e-5)
    shown = golden["backbone_feat"]
    np.testing.assert_allclose(outputs.map[1:2], shown, rtol=1e-4, atol=1e-4 * float(np.abs(shown).max()))
