"""WAKD's MobileNetV3: the published outputs and counts, its gates, and the ImageNet file that does not quite fit."""

from __future__ import annotations

import importlib.util
import json
import logging

import numpy as np
import pytest
import torch

from vpr.errors import ConfigError
from vpr.models.backbones.mobilenet_v3_wakd import Gate, MobileNetV3WAKD, gate_of, our_names
from vpr.models.backbones.vgg import VGG

PREFIX = "module.base_model."


@pytest.fixture(scope="module")
def large(shared):
    """Tensors of the published large network, under the published names."""
    spec = importlib.util.spec_from_file_location("build_checkpoints", shared / "golden" / "build_checkpoints.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    state = module.state_dict("wakd_mobilenetv3_large")
    return {k.removeprefix(PREFIX): v for k, v in state.items() if k.startswith(PREFIX)}


@torch.no_grad()
def test_maps_equal_the_published_ones(large, shared, tmp_path):
    torch.save(large, tmp_path / "theirs.pth")
    backbone = MobileNetV3WAKD(weights=str(tmp_path / "theirs.pth"), gate="per_pixel").eval()
    images = torch.from_numpy(np.load(shared / "golden" / "wakd_input_240x320.npz")["x"])
    maps, golden = backbone(images).map, np.load(shared / "golden" / "wakd_mobilenetv3_large_out.npz")
    for actual, expected in ((maps[:1], golden["feat"]), (maps[..., :7, :7].mean((2, 3)), golden["pool"])):
        np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-4 * float(np.abs(expected).max()))
    pooled = MobileNetV3WAKD(weights=str(tmp_path / "theirs.pth"), gate="pooled").eval()
    assert (pooled(images[:1]).map - maps[:1]).abs().max() > 0.1, "the gate makes a difference"


@pytest.mark.parametrize(("size", "gate"), [("large", "per_pixel"), ("small", "pooled")])
def test_tensors_are_the_published_ones(size, gate, shared):
    published = json.loads((shared / "golden" / "wakd_manifest.json").read_text())[f"mobilenetv3_{size}"]
    keys = {k.removeprefix(PREFIX): shape for k, (shape, _) in published["keys"].items() if k.startswith(PREFIX)}
    backbone = MobileNetV3WAKD(f"mobilenet_v3_{size}_wakd", "none", gate)
    names = our_names(keys)
    assert {names[k]: shape for k, shape in keys.items()} == {k: [*v.shape] for k, v in backbone.state_dict().items()}
    assert sum(p.numel() for p in backbone.parameters()) == {"large": 1_934_820, "small": 481_356}[size]
    assert gate_of(keys) == gate


def test_vgg16_has_the_published_count():
    backbone = VGG("vgg16", "checkpoint", freeze=4)
    assert sum(p.numel() for p in backbone.parameters()) == 14_714_688
    trained = {name for name, p in backbone.named_parameters() if p.requires_grad}
    assert trained == {f"features.{i}.{t}" for i in (24, 26, 28) for t in ("weight", "bias")}


def test_a_pooled_gate_weighs_channels_and_the_other_one_each_cell():
    per_pixel, pooled = Gate(8, pooled=False).eval(), Gate(8, pooled=True).eval()
    pooled.load_state_dict(per_pixel.state_dict())
    x = 5 * torch.randn(2, 8, 3, 4)
    means = x.mean((2, 3), keepdim=True)
    weights = per_pixel(means) / means
    torch.testing.assert_close(pooled(x), x * weights)
    one_cell = x[:, :, 1:2, 2:3]
    torch.testing.assert_close(per_pixel(x)[:, :, 1:2, 2:3], per_pixel(one_cell))
    assert not torch.allclose(per_pixel(x), pooled(x))


def imagenet_file(large, path):
    """Write what mbv3_large.pth.tar holds: no 512-channel layer, but a classifier whose bn3 has 1280 channels."""
    state = {k: v for k, v in large.items() if not k.startswith(("conv3.", "bn3."))}
    state |= {f"bn3.{t}": torch.rand(1280) for t in ("weight", "bias", "running_mean", "running_var")}
    state |= {"bn3.num_batches_tracked": torch.tensor(7), "linear3.weight": torch.rand(1280, 960)}
    state |= {"linear3.bias": torch.rand(1280), "linear4.weight": torch.rand(10, 1280), "linear4.bias": torch.rand(10)}
    torch.save({"state_dict": {f"module.{k}": v for k, v in state.items()}, "epoch": 3}, path)
    return str(path)


def test_the_imagenet_file_fills_all_but_the_last_layer_and_says_so(large, tmp_path, caplog):
    path = imagenet_file(large, tmp_path / "mbv3_large.pth.tar")
    with caplog.at_level(logging.WARNING):
        backbone = MobileNetV3WAKD(weights=path, gate="per_pixel", freeze=17)
    for part in (
        "head.1.0 (512, 960, 1, 1), head.1.1 (512,) stays random",
        "bn3 (1280,), linear3 (1280, 960), linear4 (10, 1280)",
    ):
        assert part in caplog.text
    state, names = backbone.state_dict(), our_names(large)
    for name, value in large.items():
        if not name.startswith(("conv3.", "bn3.")):
            torch.testing.assert_close(state[names[name]], value)
    assert torch.equal(state["head.1.1.weight"], torch.ones(512))
    trained = {n for n, p in backbone.named_parameters() if p.requires_grad}
    assert trained == {"head.1.0.weight", "head.1.1.weight", "head.1.1.bias"}


def test_a_whole_file_is_loaded_without_a_word_and_a_gate_of_another_kind_is_named(large, tmp_path, caplog):
    torch.save(large, tmp_path / "theirs.pth")
    with caplog.at_level(logging.WARNING):
        whole = MobileNetV3WAKD(weights=str(tmp_path / "theirs.pth"), gate="per_pixel")
        torch.save(whole.state_dict(), tmp_path / "own.pth")
        MobileNetV3WAKD(weights=str(tmp_path / "own.pth"), gate="pooled")
        assert caplog.text == ""
        MobileNetV3WAKD(weights=str(tmp_path / "theirs.pth"), gate="pooled")
    assert "backbone.gate=pooled, but the gates in" in caplog.text
    assert "are per_pixel" in caplog.text


@pytest.mark.parametrize("name", ["bneck.3.conv2.weight", "bneck.3.se.se.0.weight", "conv2.weight"])
def test_only_the_last_layer_may_be_missing(name, large, tmp_path):
    torch.save({k: v for k, v in large.items() if k != name}, tmp_path / "part.pth")
    with pytest.raises(ConfigError, match=r"lack 1 of its tensors"):
        MobileNetV3WAKD(weights=str(tmp_path / "part.pth"), gate="per_pixel")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, r"No pretrained weights are published for mobilenet_v3_large_wakd.*weights=none.*weights=PATH"),
        ({"name": "mobilenet_v3"}, "mobilenet_v3_large_wakd or mobilenet_v3_small_wakd"),
        ({"gate": "se", "weights": "none"}, "pooled or per_pixel"),
        ({"freeze": 18, "weights": "none"}, "17 layers before its last one"),
    ],
)
def test_mistakes_are_sentences(options, says):
    with pytest.raises(ConfigError, match=says):
        MobileNetV3WAKD(**options)
