from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor, nn

from vpr import checkpoint
from vpr.errors import ConfigError
from vpr.models.describer import build_describer
from vpr.retrieval.extractor import Extractor, pick_device
from vpr.retrieval.pca import PCA


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


PARTS = {
    "backbone": {"_target_": "vpr.models.backbones.resnet.ResNet", "name": "resnet18", "weights": "none", "crop": [4]},
    "agg": {"_target_": "vpr.models.aggregators.gem.GeM"},
}


@pytest.fixture
def ckpt(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    checkpoint.save(tmp_path / "best.ckpt", build_describer(**PARTS, image={"size": [4, 4]}), PARTS | {"name": "a/b"})
    return tmp_path / "best.ckpt"


def test_loads_a_checkpoint(ckpt: Path) -> None:
    extractor, content = Extractor.load(ckpt, "cpu", "bf16-mixed"), checkpoint.read(ckpt)
    assert (extractor.name, extractor.digest, extractor.dim) == ("a-b", checkpoint.digest(content), 256)
    assert (extractor.preprocess.size, extractor.fixed_size, extractor.precision) == ((4, 4), False, "bf16-mixed")
    assert checkpoint.digest(extractor.content()) == extractor.digest and extractor.content().keys() == content.keys()


def test_loads_a_published_file(tmp_path: Path) -> None:
    torch.manual_seed(0)
    trunk = nn.Sequential(*list(torchvision.models.resnet18(weights=None).children())[:-2])
    state = {f"backbone.{key}": value for key, value in trunk.state_dict().items()}
    head = {"1.p": torch.tensor([3.0]), "3.weight": torch.eye(8, 512), "3.bias": torch.zeros(8)}
    torch.save(state | {f"aggregation.{key}": value for key, value in head.items()}, tmp_path / "ResNet18.pth")
    extractor = Extractor.load(tmp_path / "ResNet18.pth", "cpu")
    assert (extractor.name, extractor.dim) == ("ResNet18", 8)
    torch.testing.assert_close(extractor(IMAGES).norm(dim=1), torch.ones(2))


def test_pca_behind_a_model(ckpt: Path) -> None:
    extractor = Extractor.load(ckpt, "cpu")
    pca = PCA.fit(np.random.default_rng(0).normal(size=(40, 256)).astype(np.float32), 7)
    projected, fewer = extractor.with_pca(pca), extractor.with_pca(pca, 3, whiten=False)
    assert (projected.name, projected.dim, fewer.name, fewer.dim) == ("a-b-pca7", 7, "a-b-pca3", 3)
    assert len({extractor.digest, projected.digest, fewer.digest}) == 3
    torch.testing.assert_close(projected(IMAGES), pca.projection()(extractor(IMAGES)), atol=1e-5, rtol=1e-4)
    assert "metrics" in projected.content() and "pca" not in extractor.content()["config"]
