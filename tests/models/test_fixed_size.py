"""`fixed_size` and `fixed_grid` say truly that a network takes no other image size than its own."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from vpr.errors import ConfigError
from vpr.models.backbones.dinov2 import DINOv2
from vpr.models.backbones.timm_features import TimmFeatures
from vpr.models.describer import build_describer, make_network
from vpr.types import Features, FeatureSpec

CONF = Path(__file__).parents[2] / "conf"
BACKBONES = sorted(path.stem for path in (CONF / "backbone").glob("*.yaml"))
BIG = {"resnet101", "resnet152", "dinov2_vitb14"}
TINY = {"embed_dim": 24, "num_heads": 3, "depth": 1}
ODD = (75, 101)  # no multiple of any stride or patch


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name in BIG else ()) for name in BACKBONES]
)
@torch.no_grad()
def test_backbones(name, node):
    backbone = make_network(node("backbone", name, weights="none"), "backbone").eval()
    if backbone.fixed_size:
        with pytest.raises(ConfigError):
            backbone(torch.zeros(1, 3, *ODD))
    else:
        assert backbone(torch.zeros(1, 3, *ODD)).map.shape[:2] == (1, backbone.spec.channels)


@pytest.mark.parametrize(("name", "fixed"), [("vit_tiny_patch16_224", True), ("convnext_atto", False)])
@torch.no_grad()
def test_networks_of_timm(name, fixed):
    backbone = TimmFeatures(name, weights="none").eval()
    assert backbone.fixed_size is fixed
    if fixed:
        with pytest.raises(AssertionError):  # timm's own
            backbone(torch.zeros(1, 3, *ODD))
    else:
        assert backbone(torch.zeros(1, 3, *ODD)).map.shape[1] == backbone.spec.channels


@pytest.mark.parametrize("name", sorted(path.stem for path in (CONF / "agg").glob("*.yaml")))
@torch.no_grad()
def test_aggregators(name, node):
    aggregator = make_network(node("agg", name), "agg", FeatureSpec(32, 16, (9, 10))).eval()
    other = Features(torch.randn(1, 32, 7, 13))
    if getattr(aggregator, "fixed_grid", False):
        with pytest.raises(ConfigError):
            aggregator(other)
    else:
        assert aggregator(other).shape == (1, aggregator.dim)


@pytest.mark.parametrize(("any_size", "fixed"), [(False, True), (True, False)])
@torch.no_grad()
def test_dinov2_resizes_where_it_is_told_to(any_size, fixed):
    backbone = DINOv2(weights="none", any_size=any_size, options=TINY).eval()
    assert backbone.fixed_size is fixed
    images = torch.rand(1, 3, 30, 49)  # 49 / 14 = 3.5 patches: to the even number, 4
    if fixed:
        with pytest.raises(ConfigError, match=r"30x49 pixels.*image.size=\[28,56\]"):
            backbone(images)
    else:
        assert backbone(images).map.shape == (1, 24, 2, 4)
        resized = torch.nn.functional.interpolate(images, (28, 56), mode="bilinear", antialias=True)
        torch.testing.assert_close(backbone(images).map, backbone(resized).map)


@pytest.mark.parametrize(
    ("backbone", "agg", "fixed"),
    [
        ("resnet18", "gem", False),
        ("resnet18", "mixvpr", True),
        ("dinov2_vits14", "gem", True),
    ],
)
def test_a_describer_is_as_fixed_as_its_parts(backbone, agg, fixed, node):
    describer = build_describer(node("backbone", backbone, weights="none"), node("agg", agg), {"size": [84, 84]})
    assert describer.fixed_size is fixed
