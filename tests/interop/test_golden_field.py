"""SALAD, BoQ, MegaLoc, CosPlace, OpenVPRLab and deep-VG files become ours, with the published outputs at every size."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import vpr
from vpr.cli.compose import compose, plain
from vpr.cli.rules import check_rules
from vpr.interop import megaloc
from vpr.interop.__main__ import main
from vpr.interop.published import as_published
from vpr.models.describer import Describer
from vpr.training.distillation import make_teachers
from vpr.types import Features

PRESETS = {  # distillation/teacher: the golden file that stands for its weights
    "salad": "salad_vitb14",
    "boq": "boq_dinov2",
    "megaloc": "megaloc_512",
    "cosplace": "cosplace_resnet18_512",
    "eigenplaces": "cosplace_vgg16_512",
}


def compare(ours: Tensor, expected: np.ndarray) -> None:
    np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-5)


def compare_features(ours: Tensor, expected: np.ndarray) -> None:
    np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-4 * float(np.abs(expected).max()))


class Golden:
    """Inputs and outputs of one model; `check` compares a describer with them at every stored size."""

    def __init__(self, name: str, folder: Path, images: Callable[..., Tensor]) -> None:
        self.out = np.load(folder / f"{name}_out.npz")
        self.images = images
        sizes = [key.removeprefix("descriptor_") for key in self.out if key.startswith("descriptor_")]
        assert sizes
        self.features: dict[str, Features] = {}
        self.sizes = sizes

    def check(self, describer: Describer, most: int = 3) -> None:
        """Compare the first images, `most` of each size."""
        for size in self.sizes:
            expected = self.out[f"descriptor_{size}"][:most]
            images = self.images(*map(int, size.split("x")), len(expected))
            self.features[size] = describer.features(images)
            norm = np.linalg.norm(expected, axis=1, keepdims=True)  # the benchmark does not normalise GeM
            compare(describer.aggregator(self.features[size]), expected / norm)


@pytest.fixture(autouse=True)
def no_gradients() -> Iterator[None]:
    with torch.no_grad():
        yield


@pytest.fixture
def golden(shared: Path, field: ModuleType) -> Callable[[str], Golden]:
    return lambda name: Golden(name, shared / "golden2", field.images)


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Forbid sockets, torch.hub and a look into its folder."""

    def refused(*_args: Any, **_options: Any) -> Any:
        raise AssertionError("a network, torch.hub or its folder was asked")

    monkeypatch.setattr(socket, "socket", refused)
    monkeypatch.setattr(socket, "create_connection", refused)
    for name in ("load", "get_dir", "load_state_dict_from_url", "download_url_to_file"):
        monkeypatch.setattr(torch.hub, name, refused)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("VPR_CACHE", str(tmp_path / "cache"))


def of_preset(name: str, path: Path) -> Describer:
    """Return the network of the teacher that a command line with the preset and the path of a file makes."""
    options = [f"distillation/teacher={name}", f"distillation.teacher.ckpt={path}"]
    cfg = compose("train", ["distillation=similarity", *options])
    check_rules(cfg)
    (teacher,) = make_teachers(plain(cfg.distillation.teacher), plain(cfg.image), "cpu")
    assert isinstance(teacher.network, Describer) and len(teacher.digest) == 64
    return teacher.network


def test_salad(golden, published_field, no_network, tmp_path):
    model, expected = of_preset("salad", published_field("salad_vitb14")), golden("salad_vitb14")
    assert (model.preprocess.size, model.preprocess.interpolation, model.dim) == ((322, 322), "bilinear", 8448)
    expected.check(model, most=1)
    features = expected.features["224x224"]
    compare_features(features.map[:1, :, ::4, ::4], expected.out["feat_224x224"])
    compare_features(features.cls[:1], expected.out["token_224x224"])
    compare(model.aggregator.plan(features)[:1, :, ::4], expected.out["plan_224x224"])
    assert not list(tmp_path.iterdir())


def test_boq_with_dinov2(golden, published_field, no_network, tmp_path):
    model, expected = of_preset("boq", published_field("boq_dinov2")), golden("boq_dinov2")
    assert (model.preprocess.size, model.preprocess.interpolation, model.dim) == ((322, 322), "bicubic", 12288)
    expected.check(model, most=1)
    check_attention(model, expected, "224x224")
    assert not list(tmp_path.iterdir())


def test_megaloc(golden, published_field, no_network, tmp_path):
    model, expected = of_preset("megaloc", published_field("megaloc_512")), golden("megaloc_512")
    assert (model.preprocess.size, model.fixed_size, model.dim) == ((322, 322), False, 512)
    expected.check(model, most=1)  # also at 300x400, which it resizes to 294x406
    features = expected.features["322x322"]
    compare_features(features.map[:1, :, ::4, ::4], expected.out["feat_322x322"])
    compare_features(features.cls[:1], expected.out["token_322x322"])
    compare(model.aggregator.aggregator(features)[:1], expected.out["salad_322x322"])
    assert not list(tmp_path.iterdir())


def test_key_lists_of_megaloc_at_its_own_size(shared, monkeypatch):
    monkeypatch.setattr(megaloc, "assemble", lambda file, backbone, agg, image, weights, source: (agg, weights))
    manifest = json.loads((shared / "golden2" / "golden2_manifest.json").read_text())
    layouts = {name: entry["keys"] for name, entry in manifest.items() if name.startswith("megaloc_8448")}
    assert sorted(map(len, layouts.values())) == [189, 190]
    for keys in layouts.values():
        state = {key: torch.zeros(()).expand(shape) for key, (shape, _) in keys.items()}  # no memory for 228 million
        agg, weights = megaloc.convert_file(as_published(state, "megaloc", "x"))
        assert (agg["dim"], agg["bias"], agg["agg"]["cluster_dim"], len(weights)) == (8448, True, 256, 189)


@pytest.mark.parametrize("preset", ["cosplace", "eigenplaces"])
def test_cosplace_and_eigenplaces(preset, golden, published_field, no_network):
    name = PRESETS[preset]
    golden(name).check(of_preset(preset, published_field(name)), most=1 if preset == "eigenplaces" else 3)


def test_mixvpr(shared, published, no_network):
    model = of_preset("mixvpr", published("mixvpr_resnet50"))
    expected = np.load(shared / "golden" / "mixvpr_resnet50_out.npz")
    images = torch.from_numpy(np.load(shared / "golden" / "mixvpr_input_320.npz")["x"])
    compare(model(images[:1]), expected["descriptor_bs1"])


@pytest.mark.parametrize(
    ("name", "size", "interpolation"),
    [
        ("boq_resnet50", (384, 384), "bicubic"),
        ("openvprlab_boq_resnet18", (384, 384), "bicubic"),
        ("openvprlab_mixvpr_resnet50", (320, 320), "bicubic"),
        ("deepvg_resnet18_gem", (480, 640), "bilinear"),
    ],
)
def test_converted_files(name, size, interpolation, golden, published_field, tmp_path):
    assert main([str(published_field(name)), str(tmp_path / "ours.ckpt")]) == 0
    model, expected = vpr.load(tmp_path / "ours.ckpt"), golden(name)
    assert (model.preprocess.size, model.preprocess.interpolation) == (size, interpolation)
    expected.check(model)
    if name == "boq_resnet50":
        check_attention(model, expected, "320x320")
    for key in expected.out:
        if key.startswith("feat_"):
            of_size = expected.features[key.removeprefix("feat_")].map
            step = -(-of_size.shape[-1] // expected.out[key].shape[-1])
            compare_features(of_size[:1, :, ::step, ::step], expected.out[key])


def check_attention(model: Describer, expected: Golden, size: str) -> None:
    features = expected.features[size]
    compare_features(features.map[:1, :, ::4, ::4], expected.out[f"feat_{size}"])
    cells = model.aggregator.cells(features)
    for number, block in enumerate(model.aggregator.boqs):
        cells, _ = block(cells)
        compare(block.attention(cells)[:1, ::4], expected.out[f"attention{number}_{size}"])
