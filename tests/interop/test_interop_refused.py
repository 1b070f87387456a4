"""Refused imports: the message names the content of the file, and the layouts that are known."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torchvision

from vpr.checkpoint import FORMAT
from vpr.errors import CheckpointError
from vpr.interop.recognise import convert

ONE = torch.zeros(1)
PROJECTS = (
    "MixVPR",
    "gsv-cities",
    "OpenVPRLab",
    "OpenIBL and WAKD",
    "pytorch-NetVlad",
    "EigenPlaces",
    "deep-visual-geo",
    "SALAD and CliqueMining",
    "MegaLoc",
    "BoQ",
)


def alexnet() -> dict[str, torch.Tensor]:
    trunk = torchvision.models.alexnet(weights=None).features[:-2]
    pool = {"pool.conv.weight": torch.zeros(4, 256, 1, 1), "pool.centroids": torch.zeros(4, 256)}
    return {f"encoder.{key}": value for key, value in trunk.state_dict().items()} | pool


LAB = {"backbone.unfrozen_layers.0.0.weight": ONE}
GEM_LINEAR = {"aggregation.0.0.p": ONE, "aggregation.1.weight": ONE, "aggregation.1.bias": ONE}
COSPLACE = {"aggregation.1.p": ONE, "aggregation.3.weight": ONE, "aggregation.3.bias": ONE}
CASES = [
    ({"weight": ONE}, r"1 tensors \(first: weight \(1,\)\)"),
    ({"epoch": 3, "model": {"weight": ONE}}, r"no state dict \(its entries are epoch, model\)"),
    ({}, r"no state dict \(it is a dict without entries\)"),
    ([ONE], r"no state dict \(it is a list\)"),
    (LAB | {"aggregator.boqs.0.queries": ONE}, r"none of MixVPR, .* SALAD and BoQ \(boqs.0.queries\)"),
    (
        {"backbone.dino.cls_token": ONE, "aggregator.dust_bin": ONE},
        "a SALAD .* it has no score.3.weight",
    ),
    (
        {"state_dict": LAB, "hyper_parameters": {"aggregator": {"class": "NetVLAD"}}},
        "an aggregator NetVLAD that",
    ),
    (LAB, r"none of MixVPR, GeM, CosPlace, ConvAP, SALAD and BoQ \(no tensor\)"),
    (LAB | {"aggregator.p": ONE}, r"a backbone of 1 tensors \(first: backbone.unfrozen_layers.0.0.weight"),
    (LAB | {"head.weight": ONE}, "head.weight, which is neither under backbone"),
    ({"backbone.model.conv1.weight": ONE, "aggregator.channel_pool.weight": ONE}, "name the file theirs_2x2.pth"),
    ({"encoder.0.weight": ONE, "pool.conv.bias": ONE}, "VLAD v2, whose assignment has a bias"),
    ({"encoder.0.weight": ONE}, r"not NetVLAD \(no tensor\)"),
    ({"encoder.0.weight": ONE, "head.weight": ONE}, "head.weight, which is neither under encoder"),
    (alexnet(), "a backbone that is AlexNet, which this project has not"),
    ({"backbone.0.weight": ONE, "aggregation.3.weight": ONE}, "an aggregation of 3.weight, which is not that"),
    ({"module.backbone.0.weight": ONE, "module.aggregation.crn.acc_w.weight": ONE}, "an aggregation that is CRN"),
    ({"backbone.0.weight": ONE, "aggregation.ln1.weight": ONE}, "an aggregation that is RRM"),
    ({"backbone.0.weight": ONE, "aggregation.x": ONE}, r"none of NetVLAD, GeM, .*SPoC and MAC \(x\)"),
    ({"backbone.0.weight": ONE}, r"without a tensor .*theirs_spoc.pth or theirs_mac.pth"),
    ({"backbone.0.weight": ONE, **GEM_LINEAR}, r"theirs_after_pool.pth .*--l2 after_pool, or theirs_l2_none.pth"),
    ({"backbone.0.weight": torch.zeros(64, 3, 11, 11), "aggregation.1.p": ONE}, "a backbone that is AlexNet"),
    ({"backbone.embeddings.cls_token": ONE}, "a backbone that is a vision transformer"),
    ({"backbone.0.weight": ONE, "aggregation.1.p": ONE, "rest": ONE}, "a tensor rest, which"),
    ({"backbone.0.0.0.weight": ONE, **COSPLACE}, "a backbone that is an EfficientNet"),
    ({"backbone.cls_token": ONE, "aggregator.agg.dust_bin": ONE}, "a linear layer of no tensor, and MegaLoc has"),
    (
        {"backbone.net.0.weight": ONE, "aggregator.boqs.0.queries": ONE},
        r"an aggregator that .*\(boqs.0.queries",
    ),
]


@pytest.mark.parametrize(("content", "says"), CASES)
def test_unknown_files_are_refused(content: object, says: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "theirs.pth")
    with pytest.raises(CheckpointError, match=f"theirs.pth holds .*{says}.*Known are ") as raised:
        convert(tmp_path / "theirs.pth")
    assert [project for project in PROJECTS if project not in str(raised.value)] == []


def test_sizes_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    trunk = torch.nn.Sequential(*list(torchvision.models.resnet18(weights=None).children())[:-2])
    state = {f"backbone.{key}": value for key, value in trunk.state_dict().items()}
    head = {"aggregation.1.p": ONE, "aggregation.3.weight": torch.zeros(8, 100), "aggregation.3.bias": torch.zeros(8)}
    torch.save(state | head, tmp_path / "theirs.pth")
    with pytest.raises(CheckpointError, match="do not fit each other at 512x512 pixels .*aggregator.fc.weight"):
        convert(tmp_path / "theirs.pth")


def test_rmac_is_refused_by_its_name(tmp_path: Path) -> None:
    torch.save({"backbone.0.weight": ONE}, tmp_path / "resnet18_rmac.pth")
    with pytest.raises(CheckpointError, match="an aggregation that is RMAC, which this project has not"):
        convert(tmp_path / "resnet18_rmac.pth")


def test_our_own_files_need_no_import(tmp_path: Path) -> None:
    torch.save({"format": FORMAT}, tmp_path / "best.ckpt")
    with pytest.raises(CheckpointError, match="best.ckpt is a checkpoint of this project already"):
        convert(tmp_path / "best.ckpt")


class Trap:
    def __reduce__(self):
        return Path.touch, (Path("executed"),)


def test_nothing_in_a_file_is_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"model_state_dict": {"module.backbone.0.weight": ONE}, "args": Trap()}, "theirs.pth")
    with pytest.raises(CheckpointError, match="nothing was loaded"):
        convert("theirs.pth")
    assert not Path("executed").exists()
