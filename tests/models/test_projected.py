"""An aggregator with a linear map behind it."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F

from vpr import checkpoint
from vpr.models.aggregators.avg import Avg
from vpr.models.aggregators.projected import Projected, inner_node, projected_node
from vpr.models.describer import build_describer
from vpr.types import Features, FeatureSpec

AVG = {"_target_": "vpr.models.aggregators.avg.Avg"}
MIXVPR = {"_target_": "vpr.models.aggregators.mixvpr.MixVPR", "out_channels": 8, "out_rows": 2, "mix_depth": 1}
RESNET = {"_target_": "vpr.models.backbones.resnet.ResNet", "name": "resnet18", "weights": "none", "crop": [3, 4]}


def test_by_hand() -> None:
    projected = Projected(FeatureSpec(2, 16), AVG, 2, bias=True)
    projected.projection.weight.data = torch.tensor([[5.0, 0.0], [0.0, 5.0]])
    projected.projection.bias.data = torch.tensor([1.0, 1.0])
    # Channel means 3 and 4, of unit norm 0.6 and 0.8; times 5 plus 1: 4 and 5.
    descriptors = projected(Features(torch.tensor([[[[2.0, 4.0]], [[4.0, 4.0]]]])))
    torch.testing.assert_close(descriptors, torch.tensor([[4.0, 5.0]]) / 41**0.5)


def test_around_an_aggregator_that_is_there() -> None:
    inner = Avg(FeatureSpec(3, 16))
    projected = Projected(FeatureSpec(3, 16), inner, 5)
    assert projected.aggregator is inner and projected.dim == 5 and not projected.fixed_grid
    assert [name for name, _ in projected.named_parameters()] == ["projection.weight"]


def test_a_checkpoint_builds_it_again(tmp_path: Path) -> None:
    config = {"backbone": RESNET, "agg": projected_node(MIXVPR, 24)}
    describer = build_describer(**config, image={"size": [48, 48]}).eval()
    assert describer.dim == 24 and describer.fixed_size  # MixVPR's grid
    checkpoint.save(tmp_path / "p.ckpt", describer, config)
    images = torch.randn(2, 3, 48, 48)
    with torch.no_grad():
        descriptors = checkpoint.load(tmp_path / "p.ckpt")(images)
        torch.testing.assert_close(descriptors, describer(images))
        assert descriptors.shape == (2, 24)
        inside = describer.aggregator.aggregator(describer.features(images))
        torch.testing.assert_close(descriptors, F.normalize(inside @ describer.aggregator.projection.weight.T))


def test_nodes() -> None:
    assert inner_node(projected_node(MIXVPR, 24)) == MIXVPR
    assert inner_node(MIXVPR) == MIXVPR
