"""Every backbone of conf/backbone: shapes, gradients, freezing."""

from __future__ import annotations

import importlib.util
import json
import logging
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from vpr.errors import ConfigError
from vpr.models.backbones.dinov2 import DINOv2
from vpr.models.backbones.efficientnet import EfficientNet
from vpr.models.backbones.mobilenet_v2 import MobileNetV2
from vpr.models.backbones.mobilenet_v3 import MobileNetV3
from vpr.models.backbones.resnet import ResNet
from vpr.models.backbones.timm_features import TimmFeatures
from vpr.models.backbones.vgg import VGG
from vpr.models.describer import build_describer, make_network

NAMES = sorted(path.stem for path in (Path(__file__).parents[2] / "conf" / "backbone").glob("*.yaml"))
TINY = {"embed_dim": 24, "num_heads": 3, "depth": 1}
BIG = {"resnet101", "resnet152", "dinov2_vitb14"}
CASES = [pytest.param(name, marks=pytest.mark.slow if name in BIG else ()) for name in NAMES]


@pytest.mark.parametrize("name", CASES)
def test_shapes_and_gradients_of_every_config(name, node):
    backbone = make_network(node("backbone", name, weights="none"), "backbone")
    channels, stride, _ = backbone.spec
    unit = 14 if stride == 14 else 32
    for size in ((2 * unit, 3 * unit), (4 * unit, 2 * unit)):
        features = backbone(torch.randn(2, 3, *size))
        assert features.map.shape == (2, channels, math.ceil(size[0] / stride), math.ceil(size[1] / stride))
    weighting = torch.randn_like(features.map)
    (features.map * weighting).sum().backward()
    assert [n for n, p in backbone.named_parameters() if p.requires_grad and p.grad is None] == []


@pytest.mark.parametrize(
    ("name", "channels"),
    [
        ("swin_tiny_patch4_window7_224", 768),
        ("vit_tiny_patch16_224", 192),
        ("regnety_002", 368),
        ("convnext_atto", 320),
    ],
)
def test_any_timm_network_gives_a_channels_first_map(name, channels):
    side = 224 if "224" in name else 96
    backbone = TimmFeatures(name, weights="none")
    features = backbone(torch.randn(1, 3, side, side))
    cells = side // backbone.spec.stride
    assert features.map.shape == (1, channels, cells, cells)
    assert backbone.spec.channels == channels
    features.map.square().sum().backward()
    assert [n for n, p in backbone.named_parameters() if p.grad is None] == []


def test_timm_options_reach_the_network():
    backbone = TimmFeatures("vit_tiny_patch16_224", weights="none", options={"img_size": [96, 64]})
    assert backbone(torch.zeros(1, 3, 96, 64)).map.shape == (1, 192, 6, 4)


LIGHT = [
    ("mobilenetv4_conv_small", 4, 96),
    ("repvit_m0_9", 3, 192),
    ("efficientvit_b0", 3, 64),
    ("fastvit_t8", 3, 192),
    ("ghostnet_100", 4, 80),
]


@pytest.mark.parametrize(("name", "last", "channels"), LIGHT)
def test_students_of_timm_are_cropped_and_frozen(name: str, last: int, channels: int) -> None:
    full = TimmFeatures(name, weights="checkpoint")
    backbone = TimmFeatures(name, weights="checkpoint", crop=[last], freeze=2)
    assert backbone.spec == (channels, 16, None)
    assert set(backbone.state_dict()) < set(full.state_dict())
    images = torch.randn(2, 3, 64, 96)
    before = {key: value.clone() for key, value in backbone.state_dict().items() if "running" in key}
    features = backbone.train()(images).map
    assert features.shape == (2, channels, 4, 6)
    (features * torch.randn_like(features)).sum().backward()
    frozen = {key for key, p in backbone.named_parameters() if not p.requires_grad}
    assert any(".stem" in key or "conv_stem" in key for key in frozen)
    assert any(key.startswith(("model.blocks.0", "model.stages.0")) for key in frozen)
    assert not any(key.startswith(("model.blocks.1", "model.stages.1")) for key in frozen)
    assert [key for key, p in backbone.named_parameters() if p.requires_grad and p.grad is None] == []
    moved = {
        key.rpartition(".")[0] for key, value in before.items() if not torch.equal(value, backbone.state_dict()[key])
    }
    held = {key.rpartition(".")[0] for key in before} - moved
    assert moved and held == {key.rpartition(".")[0] for key in before if f"{key.rpartition('.')[0]}.weight" in frozen}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("vit_tiny_patch16_224", {}),
        ("swin_tiny_patch4_window7_224", {}),
        ("vit_tiny_patch16_224", {"dynamic_img_size": True}),
        ("regnety_002", {}),
    ],
)
def test_timm_networks_are_made_for_the_image_size(name, options, node):
    backbone = {**node("backbone", "timm", weights="none"), "name": name, "options": options}
    describer = build_describer(backbone, node("agg", "avg"), {"size": [128, 96]})
    assert describer(torch.zeros(1, 3, 128, 96)).shape == (1, describer.dim)


@pytest.mark.parametrize("name", ["efficientformer_l1", "nest_tiny_jx"])
def test_a_network_of_one_size_names_both_ways_out(name, node):
    backbone = {**node("backbone", "timm", weights="none"), "name": name}
    advice = r"image.size=\[128,96\].*cannot take.*'image.size=\[224,224\]'.*'backbone.options=\{img_size:\[128,96\]\}'"
    with pytest.raises(ConfigError, match=advice):
        build_describer(backbone, node("agg", "avg"), {"size": [128, 96]})


def test_an_image_that_is_too_small_is_a_sentence(node):
    with pytest.raises(ConfigError, match=r"image.size=\[8,8\]: backbone vgg16 cannot take such images .*larger"):
        build_describer(node("backbone", "vgg16", weights="none"), node("agg", "avg"), {"size": [8, 8]})


@pytest.mark.parametrize(
    ("crop", "channels", "stride"), [([], 2048, 32), ([4], 1024, 16), ([3, 4], 512, 8), ([2, 3, 4], 256, 4)]
)
def test_resnet_crop(crop, channels, stride):
    backbone = ResNet("resnet50", weights="none", crop=crop)
    assert backbone.spec[:2] == (channels, stride)
    assert backbone(torch.zeros(1, 3, 64, 64)).map.shape == (1, channels, 64 // stride, 64 // stride)
    assert not any(f"layer{i}" in name for name, _ in backbone.named_parameters() for i in crop)


def test_head_of_lightweight_mixvpr_always_gives_20x20_cells():
    backbone = MobileNetV2(weights="none", head="lw_mixvpr")
    for size in ((64, 96), (320, 320)):
        assert backbone(torch.zeros(1, 3, *size)).map.shape == (1, 512, 20, 20)
    assert backbone.spec[:2] == (512, 16)
    assert sum(p.numel() for p in backbone.parameters()) == 1_977_088  # golden/mixvpr_params.json


def test_dinov2_gives_the_class_token_and_refuses_other_sizes():
    backbone = DINOv2(weights="none")
    features = backbone.eval()(torch.randn(2, 3, 28, 42))
    tokens = backbone.model.forward_features(torch.randn(2, 3, 28, 42))
    assert features.cls.shape == tokens[:, 0].shape == (2, 384)
    assert features.map.shape == (2, 384, 2, 3)
    with pytest.raises(ConfigError, match=r"30x42 pixels.*multiples of 14"):
        backbone(torch.zeros(1, 3, 30, 42))


def test_dinov2_map_is_row_major():
    backbone = DINOv2(weights="none").eval()
    images = torch.randn(1, 3, 28, 42)
    tokens = backbone.model.forward_features(images)
    torch.testing.assert_close(backbone(images).map[0, :, 1, 0], tokens[0, 1 + 3])


FROZEN = [
    (
        ResNet,
        {"name": "resnet18", "crop": [4], "freeze": 2},
        {"model.conv1", "model.bn1", "model.layer1", "model.layer2"},
    ),
    (EfficientNet, {"freeze": 6}, {"model.conv_stem", *(f"model.blocks.{i}" for i in range(6))}),
    (MobileNetV2, {"freeze": 2}, {"features.0", "features.1"}),
    (MobileNetV3, {"name": "mobilenet_v3_small", "freeze": 3}, {"features.0", "features.1", "features.2"}),
    (VGG, {"name": "vgg11_bn", "freeze": 4}, {f"features.{i}" for i in range(22)}),
]


@pytest.mark.parametrize(("family", "options", "parts"), FROZEN, ids=lambda x: getattr(x, "__name__", ""))
def test_frozen_layers_keep_weights_and_statistics(family, options, parts):
    backbone = family(weights="checkpoint", **options)
    inside = {n for n, _ in backbone.named_parameters() if any(n.startswith(f"{part}.") for part in parts)}
    assert {n for n, p in backbone.named_parameters() if not p.requires_grad} == inside
    norms = {n: m for n, m in backbone.named_modules() if isinstance(m, nn.BatchNorm2d)}
    before = {n: m.running_mean.clone() for n, m in norms.items()}
    backbone.eval().train()
    backbone(torch.randn(4, 3, 64, 64) + 3)
    moved = {n for n, m in norms.items() if not torch.equal(m.running_mean, before[n])}
    assert moved == {n for n in norms if not any(f"{n}.".startswith(f"{part}.") for part in parts)}
    assert not any(m.training for m in backbone.eval().modules())


@pytest.mark.parametrize("norm", [True, False], ids=["after the norm", "before it"])
@torch.no_grad()
def test_tokens_of_dinov2_are_those_of_torch_hub(norm, shared):
    folder = shared / "golden2"
    spec = importlib.util.spec_from_file_location("build_checkpoints", folder / "build_checkpoints.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    golden = np.load(folder / "dinov2_tiny.npz")
    options = {"embed_dim": 24, "num_heads": int(golden["heads"]), "depth": 2}
    backbone = DINOv2(weights="none", position="torch_hub", norm=norm, options=options).eval()
    state = {key.removeprefix("w."): torch.from_numpy(golden[key]) for key in golden if key.startswith("w.")}
    unused = ("mask_token",) if norm else ("mask_token", "norm.weight", "norm.bias")
    backbone.model.load_state_dict({key: value for key, value in state.items() if key not in unused})
    for size in ("322x322", "224x224", "140x196"):
        height, width = map(int, size.split("x"))
        images = script.images(height, width, 2)
        embedding, tokens = backbone.position_embedding(height // 14, width // 14), backbone.tokens(images)
        np.testing.assert_allclose(embedding, golden[f"pos_embed_{size}"], rtol=1e-4, atol=1e-5)
        expected = golden[f"{'tokens' if norm else 'prenorm'}_{size}"]
        largest = float(np.abs(expected).max())
        np.testing.assert_allclose(tokens[:, :: 1 if norm else 4], expected, rtol=1e-4, atol=1e-4 * largest)
        features = backbone(images)
        torch.testing.assert_close(features.cls, tokens[:, 0])
        torch.testing.assert_close(features.map.flatten(2).transpose(1, 2), tokens[:, 1:])


@torch.no_grad()
def test_dinov2_of_earlier_checkpoints_is_as_it_was():
    torch.manual_seed(0)
    ours, hub = (DINOv2(weights="none", options=TINY, **more).eval() for more in ({}, {"position": "torch_hub"}))
    hub.load_state_dict(ours.state_dict())
    images = torch.randn(1, 3, 28, 42)
    torch.testing.assert_close(ours.tokens(images), ours.model.forward_features(images))
    assert (ours.tokens(images) - hub.tokens(images)).abs().max() > 1e-4
    own = torch.randn(1, 3, 518, 518)  # at its own size there is nothing to resample
    torch.testing.assert_close(ours.tokens(own), hub.tokens(own))


@pytest.mark.parametrize("key", ["unfreeze", "train_blocks"])
def test_dinov2_trains_its_last_blocks_only(key):
    def of(**options):
        return DINOv2(weights="checkpoint", options={**TINY, "depth": 12}, **options)

    backbone = of(**{key: 2})
    backbone(torch.randn(1, 3, 28, 28)).map.sum().backward()
    assert all((p.grad is not None) == p.requires_grad for p in backbone.parameters())
    names = {n for n, p in backbone.named_parameters() if p.requires_grad}
    assert {n.split(".")[2] for n in names if "blocks" in n} == {"10", "11"}
    assert {n for n in names if "blocks" not in n} == {"model.norm.weight", "model.norm.bias"}
    assert not any(p.requires_grad for p in of(**{key: 0}).parameters())
    assert not any(n.startswith("model.norm") for n, _ in of(norm=False, **{key: 2}).named_parameters())


def test_random_layers_are_never_frozen(caplog):
    with caplog.at_level(logging.WARNING):
        backbone = ResNet("resnet18", weights="none", freeze=2)
    assert all(p.requires_grad for p in backbone.parameters())
    assert "random layers are not frozen" in caplog.text
    caplog.clear()
    ResNet("resnet18", weights="none")
    assert caplog.text == ""


@pytest.mark.parametrize("name", ["resnet50", "kd_resnet18", "efficientnet_b0", "mobilenet_v2"])
def test_published_parameter_counts(name, shared):
    expected = json.loads((shared / "golden" / "mixvpr_params.json").read_text())[name]
    backbone = {
        "resnet50": lambda: ResNet("resnet50", "checkpoint", crop=[4], freeze=2),
        "kd_resnet18": lambda: ResNet("resnet18", "checkpoint", crop=[4], freeze=2),
        "efficientnet_b0": lambda: EfficientNet("efficientnet_b0", "checkpoint", freeze=6),
        "mobilenet_v2": lambda: MobileNetV2("mobilenet_v2", "checkpoint", head="lw_mixvpr"),
    }[name]()
    dead = 1_281_000 if name == "efficientnet_b0" else 0  # the published file keeps timm's classifier
    assert sum(p.numel() for p in backbone.parameters()) == expected["backbone_params"] - dead
    assert sum(p.numel() for p in backbone.parameters() if not p.requires_grad) == expected["frozen_params"]


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: ResNet("resnet18", "none", crop=[3]), r"crop=\[3\].*\[4\]"),
        (lambda: ResNet("resnet18", "none", crop=[1, 2, 3, 4]), "only the last stages"),
        (lambda: ResNet("resnet18", "none", crop=[4], freeze=4), "stages 1 to 3"),
        (lambda: ResNet("resnet19", "none"), "torchvision has no such model"),
        (lambda: ResNet("vgg11", "none"), "is a VGG"),
        (lambda: EfficientNet("efficientnet_b9", "none"), "near it are efficientnet"),
        (lambda: EfficientNet("regnety_002", "none"), "is a RegNet"),
        (lambda: EfficientNet(weights="none", freeze=8), "7 stages"),
        (lambda: MobileNetV2(weights="none", head="big"), "none or lw_mixvpr"),
        (lambda: MobileNetV2(weights="none", freeze=19), "18 blocks"),
        (lambda: MobileNetV3(weights="none", freeze=-1), "17 layers"),
        (lambda: VGG(weights="none", freeze=6), "stages 1 to 5"),
        (lambda: DINOv2(weights="none", patch_size=16), "has 14"),
        (lambda: DINOv2(weights="none", unfreeze=13), "backbone.unfreeze=13.*12 blocks"),
        (lambda: DINOv2(weights="none", position="hub"), "torch_hub, timm"),
        (lambda: DINOv2(weights="none", options={"pretrained": True}), "backbone.weights alone"),
        (lambda: TimmFeatures("regnety_002", "none", {"pretrained": True}), "backbone.weights alone"),
        (
            lambda: TimmFeatures("regnety_002", "none", {"img_size": 9}),
            "regnety_002 of timm cannot be made with img_size",
        ),
        (lambda: TimmFeatures("vit_tiny_patch16_224", "none", image_size=(230, 96)), r"image.size=\[224,96\]"),
        (lambda: TimmFeatures("repvit_m0_9", "none", crop=[2]), r"crop=\[2\]: repvit_m0_9 has 4 levels.*\[3\]"),
        (lambda: TimmFeatures("repvit_m0_9", "none", crop=[0, 1, 2, 3]), "4 levels"),
        (lambda: TimmFeatures("repvit_m0_9", "checkpoint", freeze=9), "freeze=9: repvit_m0_9 has 5 parts"),
    ],
)
def test_wrong_options_are_sentences(make, says):
    with pytest.raises(ConfigError, match=says):
        make()


@pytest.mark.parametrize(("crop", "channels", "stride"), [([], 1280, 32), ([6], 192, 32), ([5, 6], 112, 16)])
def test_efficientnet_is_cropped_by_stage(crop: list[int], channels: int, stride: int) -> None:
    full = EfficientNet("efficientnet_b0", "checkpoint")
    cropped = EfficientNet("efficientnet_b0", "checkpoint", crop=crop, freeze=2)
    assert cropped.spec == (channels, stride, None)
    assert cropped(torch.zeros(1, 3, 64, 96)).map.shape == (1, channels, 64 // stride, 96 // stride)
    assert set(cropped.state_dict()) <= set(full.state_dict())
    assert cropped.training, "measuring the map leaves the mode alone"


@pytest.mark.parametrize("options", [{"crop": [5]}, {"crop": list(range(7))}, {"crop": [5, 6], "freeze": 6}])
def test_impossible_crops_are_refused(options: dict) -> None:
    with pytest.raises(ConfigError, match=r"backbone\.(crop|freeze)"):
        EfficientNet("efficientnet_b0", "checkpoint", **options)


@pytest.mark.parametrize("held", [False, True], ids=["frozen stages", "held BatchNorm"])
def test_frozen_batchnorm_stays_frozen_when_it_is_synchronised(held: bool) -> None:
    backbone = ResNet("resnet18", "checkpoint", crop=[3, 4], freeze=0 if held else 1)
    if held:
        backbone.hold_batchnorm()
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(backbone).train()
    modes = {name: m.training for name, m in converted.named_modules() if isinstance(m, nn.SyncBatchNorm)}
    assert modes
    assert not any(mode for name, mode in modes.items() if held or not name.startswith("model.layer2"))
    assert held or all(mode for name, mode in modes.items() if name.startswith("model.layer2"))
