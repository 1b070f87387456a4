"""Graphs: every backbone and every aggregator of conf/ exports, and the file gives the network's descriptors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tests.export.conftest import CONF, CROPPED, GEM
from vpr.errors import ConfigError
from vpr.export.exporter import Exporter, has_attention, second_sizes
from vpr.export.folder import pixels_of
from vpr.export.graph import Matrices, deployed, to_onnx
from vpr.export.parity import Parity, check_same
from vpr.models.describer import Describer
from vpr.retrieval.extractor import Extractor
from vpr.types import Preprocess

BACKBONES = sorted(path.stem for path in (CONF / "backbone").glob("*.yaml"))
AGGREGATORS = sorted(path.stem for path in (CONF / "agg").glob("*.yaml"))
# Branches that are merged, and a head that resizes to a fixed grid.
TIMM = "vpr.models.backbones.timm_features.TimmFeatures"
SPECIAL = {
    **{name: {"_target_": TIMM, "name": name, "weights": "none"} for name in ("repvit_m0_9", "fastvit_t8")},
    "mobilenet_v2_lw_mixvpr": {
        "_target_": "vpr.models.backbones.mobilenet_v2.MobileNetV2",
        "weights": "none",
        "head": "lw_mixvpr",
    },
}
# Networks of the same code as a smaller one that is here; `benchmarks/export.py --all` has them, too.
LARGE = ("dinov2_vitb14", "resnet34", "resnet101", "resnet152", "efficientnet_b2", "efficientnet_b1")


def parity(network: Describer, photos: list[bytes], dynamic_size: bool = False) -> Parity:
    data = to_onnx(deployed(network), dynamic_size).SerializeToString()
    size = network.preprocess.size
    for other in second_sizes(size)[: int(dynamic_size)]:
        check_same(network, data, pixels_of(photos[:2], Preprocess(other)), 1e-5, f"at {other}")
    return check_same(network, data, pixels_of(photos, network.preprocess), 1e-5, f"at {size}")


@pytest.mark.parametrize("name", [name for name in BACKBONES if name not in LARGE])
def test_each_backbone(name: str, settled: Callable, node: Callable, photos: list[bytes]) -> None:
    size = (56, 70) if "patch_size" in node("backbone", name) else (96, 128)
    network = settled(node("backbone", name), GEM, size)
    assert parity(network, photos).images == 16


@pytest.mark.parametrize("name", AGGREGATORS)
def test_each_aggregator(name: str, settled: Callable, node: Callable, photos: list[bytes]) -> None:
    agg = node("agg", name)
    if name in ("salad", "megaloc"):
        agg.get("agg", agg)["clusters"] = 8  # fewer than the 12 cells
    network = settled(node("backbone", "mobilenet_v3_small"), agg, (96, 128))
    assert parity(network, photos, dynamic_size=not network.fixed_size and not has_attention(network)).images == 16


@pytest.mark.parametrize("name", SPECIAL)
def test_networks_with_parts_of_their_own(name: str, settled: Callable, photos: list[bytes]) -> None:
    network = settled(SPECIAL[name], GEM, (96, 128))
    before = len(list(network.modules()))
    assert parity(network, photos).images == 16
    assert len(list(network.modules())) == before  # the network itself keeps its branches


def test_the_graph_is_simplified_and_named(settled: Callable) -> None:
    model = to_onnx(deployed(settled(CROPPED, GEM)))
    kinds = [node.op_type for node in model.graph.node]
    assert "Pad" not in kinds and kinds.count("Shape") <= 1 and len(kinds) < 60
    sides = [[axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim]
             for value in (*model.graph.input, *model.graph.output)]  # fmt: skip
    assert sides == [["batch", 3, 64, 64], ["batch", 40]]


@pytest.mark.parametrize("cells", [(2, 2), (3, 4), (1, 1), (7, 5), (None, 2)])
def test_pooling_by_matrices(cells: Any) -> None:
    images = torch.randn(2, 3, 7, 10)
    expected = F.adaptive_avg_pool2d(images, cells)
    with Matrices():
        torch.testing.assert_close(F.adaptive_avg_pool2d(images, cells), expected)


@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_resizing_by_matrices(mode: str) -> None:
    images = torch.randn(2, 3, 16, 16)
    expected = F.interpolate(images, (7, 21), mode=mode, antialias=True)
    with Matrices():
        torch.testing.assert_close(F.interpolate(images, (7, 21), mode=mode, antialias=True), expected)


def test_a_network_that_cannot_be_traced_is_refused_in_a_sentence(settled: Callable, capfd: Any) -> None:
    network = settled(CROPPED, GEM)
    forward = network.aggregator.forward
    network.aggregator.forward = lambda features: torch.special.bessel_j0(forward(features))
    with pytest.raises(ConfigError, match="cannot be exported") as caught:
        to_onnx(network)
    assert len(str(caught.value).splitlines()) == 1
    assert capfd.readouterr() == ("", "")


def test_a_wrong_file_is_refused(settled: Callable, photos: list[bytes]) -> None:
    network, other = settled(CROPPED, GEM), settled(CROPPED, GEM)
    with torch.no_grad():
        other.aggregator.pool.p.add_(0.01)
    data, pixels = to_onnx(deployed(other)).SerializeToString(), pixels_of(photos, network.preprocess)
    with pytest.raises(ConfigError, match="does not give the descriptors of its checkpoint"):
        check_same(network, data, pixels, 1e-5, "model.onnx")


def test_sizes_that_a_model_does_not_take(settled: Callable, node: Callable, tmp_path: Path) -> None:
    mixvpr = Extractor(settled(CROPPED, node("agg", "mixvpr")), "cpu", name="x")
    with pytest.raises(ConfigError, match="dynamic_size=true: MixVPR takes images of one size"):
        Exporter(mixvpr, dynamic_size=True)
    with pytest.raises(ConfigError, match=r"size=\[96, 96\]: the weights of MixVPR belong to images of \[64, 64\]"):
        Exporter(mixvpr, size=(96, 96))
    vit = Extractor(settled(node("backbone", "dinov2_vits14"), GEM, (42, 42)), "cpu", name="x")
    with pytest.raises(ConfigError, match="takes no images of 45x45 pixels"):
        Exporter(vit, size=(45, 45)).write(tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_parity_by_hand() -> None:
    one = np.array([[1.0, 0.0], [0.6, 0.8]], np.float32)
    measured = Parity.of((one, one[:, ::-1]))
    assert measured.images == 2 and measured.cosine == pytest.approx(0.48) and measured.cosine_min == 0
    assert measured.max_difference == 1
