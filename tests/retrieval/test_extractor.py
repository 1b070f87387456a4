from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from vpr.errors import ConfigError
from vpr.retrieval.extractor import Extractor, pick_device


class Tiny(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.seen: Tensor | None = None

    def normalise(self, images: Tensor) -> Tensor:
        return images.float() / 255

    def forward(self, images: Tensor) -> Tensor:
        self.seen = self.conv(images)
        assert torch.is_inference_mode_enabled()
        return self.seen.mean((2, 3))


IMAGES = torch.randint(0, 256, (2, 3, 4, 4), dtype=torch.uint8)


def test_normalises_and_describes() -> None:
    model = Tiny().eval()
    expected = model.conv(IMAGES.float() / 255).mean((2, 3))
    assert torch.allclose(Extractor(model, "cpu")(IMAGES), expected, atol=1e-6)


def test_mixed_precision_computes_in_16_bits_and_returns_32() -> None:
    model = Tiny().eval()
    assert Extractor(model, "cpu", "bf16-mixed")(IMAGES).dtype == torch.float32
    assert model.seen is not None and model.seen.dtype == torch.bfloat16


def test_channels_last() -> None:
    model = Tiny().eval()
    Extractor(model, "cpu", channels_last=True)(IMAGES)
    assert model.seen is not None and model.seen.is_contiguous(memory_format=torch.channels_last)


def test_refuses_training_mode() -> None:
    with pytest.raises(RuntimeError, match="training mode"):
        Extractor(Tiny(), "cpu")(IMAGES)


def test_unknown_precision_and_device() -> None:
    with pytest.raises(ConfigError, match="choose 32, 32-true, 16-mixed, bf16-mixed"):
        Extractor(Tiny(), "cpu", "8bit")
    with pytest.raises(ConfigError, match="choose auto, cpu or cuda"):
        pick_device("gpu0")


def test_auto_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert pick_device("auto") == torch.device("cpu")
    with pytest.raises(ConfigError, match="finds no CUDA device"):
        pick_device("cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert pick_device("auto") == torch.device("cuda")
