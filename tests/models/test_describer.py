"""Backbone and aggregator fitted together from plain config nodes."""

from __future__ import annotations

import json

import pytest
import torch

from vpr.errors import ConfigError
from vpr.models.describer import build_describer
from vpr.types import Preprocess

IMAGE = {"size": [64, 96]}
RESNET = {"_target_": "vpr.models.backbones.resnet.ResNet", "name": "resnet18", "weights": "none"}
GEM = {"_target_": "vpr.models.aggregators.gem.GeM", "_partial_": True}
MIXVPR = {"_target_": "vpr.models.aggregators.mixvpr.MixVPR", "_partial_": True, "out_channels": 8}


def test_the_grid_is_that_of_the_image_size():
    describer = build_describer({**RESNET, "crop": [4]}, MIXVPR, IMAGE)
    assert describer.aggregator.grid == (4, 6)
    assert describer.dim == 32
    descriptors = describer(torch.randn(2, 3, 64, 96))
    assert descriptors.shape == (2, 32)
    torch.testing.assert_close(descriptors.norm(dim=1), torch.ones(2))
    assert describer.features(torch.randn(2, 3, 64, 96)).map.shape == (2, 256, 4, 6)
    assert describer.training
    with pytest.raises(ConfigError, match="4x6 cells and got 4x4"):
        describer(torch.randn(1, 3, 64, 64))


def test_finding_the_grid_leaves_the_statistics_alone():
    describer = build_describer(RESNET, GEM, IMAGE)
    assert describer.backbone.model.bn1.num_batches_tracked == 0


def test_normalise_by_hand():
    image = {**IMAGE, "mean": [0.5, 0.4, 0.2], "std": [0.5, 0.2, 0.1]}
    describer = build_describer(RESNET, GEM, image)
    pixels = torch.tensor([255, 102, 0], dtype=torch.uint8).view(1, 3, 1, 1)
    expected = torch.tensor([1.0, 0.0, -2.0]).view(1, 3, 1, 1)
    torch.testing.assert_close(describer.normalise(pixels), expected, rtol=0, atol=1e-6)
    assert describer.preprocess == Preprocess((64, 96), (0.5, 0.4, 0.2), (0.5, 0.2, 0.1), "bilinear")
    assert not {"mean", "std"} & describer.state_dict().keys()


def test_mean_and_std_default_to_those_of_the_pretrained_weights(node):
    assert build_describer(RESNET, GEM, IMAGE).preprocess.mean == (0.485, 0.456, 0.406)
    lite0 = node("backbone", "tf_efficientnet_lite0", weights="none")
    assert build_describer(lite0, GEM, {**IMAGE, "mean": None}).preprocess.mean == (0.5, 0.5, 0.5)


@pytest.mark.parametrize(
    ("name", "backbone", "out_channels", "dim"),
    [
        ("resnet50", ("resnet50", {"crop": [4], "freeze": 2}), 1024, 4096),
        ("kd_resnet18", ("resnet18", {"crop": [4], "freeze": 2}), 128, 512),
        ("efficientnet_b0", ("efficientnet_b0", {"freeze": 6}), 32, 128),
        ("mobilenet_v2", ("mobilenet_v2", {"head": "lw_mixvpr"}), 256, 1024),
    ],
)
def test_published_models_have_the_published_size(name, backbone, out_channels, dim, node, shared):
    config = node("backbone", backbone[0], weights="checkpoint", **backbone[1])
    describer = build_describer(config, node("agg", "mixvpr", out_channels=out_channels), {"size": [320, 320]})
    expected = json.loads((shared / "golden" / "mixvpr_params.json").read_text())[name]
    assert sum(p.numel() for p in describer.aggregator.parameters()) == expected["aggregator_params"]
    dead = 1_281_000 if name == "efficientnet_b0" else 0  # trainable in the published code, never used
    trainable = sum(p.numel() for p in describer.parameters() if p.requires_grad)
    assert trainable == expected["trainable"] - dead
    assert describer.dim == dim


@pytest.mark.parametrize(
    ("backbone", "agg", "image", "says"),
    [
        ({**RESNET, "_target_": "os.system"}, GEM, IMAGE, "os.system: only networks of vpr.models"),
        ({**RESNET, "_target_": "vpr.models.describer.build_describer"}, GEM, IMAGE, "no network build_describer"),
        ({**RESNET, "_target_": "vpr.models.describer.nn.Linear"}, GEM, IMAGE, "there is no module"),
        ({**RESNET, "_target_": "vpr.models.weights.nn"}, GEM, IMAGE, "no network nn"),
        ({**RESNET, "_target_": "vpr.models.backbones.resnet.Tensor"}, GEM, IMAGE, "no network Tensor"),
        ({**RESNET, "_target_": "vpr.models.backbones.resnext.ResNext"}, GEM, IMAGE, "no module vpr.models.backbones"),
        ({**RESNET, "crops": [4]}, GEM, IMAGE, "backbone: ResNet got an unexpected keyword argument 'crops'"),
        (GEM, GEM, IMAGE, "backbone: GeM missing a required argument"),
        (RESNET, {**GEM, "q": 3}, IMAGE, "agg: GeM .*'q'"),
        (RESNET, GEM, {"size": [64]}, "image.size"),
        (RESNET, GEM, {"size": 64}, "image.size=64"),
        (RESNET, GEM, {"size": [64, 64], "mean": [0.5]}, "image.mean"),
        (RESNET, GEM, {"sise": [64, 64]}, "image.sise is not known; there are size"),
    ],
)
def test_wrong_nodes_are_sentences(backbone, agg, image, says):
    with pytest.raises(ConfigError, match=says):
        build_describer(backbone, agg, image)


def test_only_a_backbone_can_be_the_backbone():
    pool = {"_target_": "vpr.models.aggregators.gem.GeMPool"}
    with pytest.raises(ConfigError, match="GeMPool is not a backbone"):
        build_describer(pool, GEM, IMAGE)


def test_mixed_precision_changes_descriptors_little(node):
    describer = build_describer(node("backbone", "resnet18", weights="none"), GEM, IMAGE).eval()
    images = torch.randn(4, 3, 64, 96)
    with torch.no_grad():
        exact = describer(images)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            mixed = describer(images)
    assert torch.cosine_similarity(exact, mixed).min() > 0.99
    torch.testing.assert_close(mixed.norm(dim=1), torch.ones(4))
