"""Layouts of SALAD, CliqueMining, BoQ, MegaLoc and OpenVPRLab in all their forms, with a tiny DINOv2 inside."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from safetensors.torch import save_file
from torch import Tensor, nn

import vpr
from vpr.errors import CheckpointError
from vpr.interop import dinov2
from vpr.interop.recognise import convert
from vpr.models.aggregators.boq import BoQ
from vpr.models.aggregators.gem import GeM
from vpr.models.aggregators.projected import Projected
from vpr.models.aggregators.salad import SALAD
from vpr.models.backbones.dinov2 import DINOv2
from vpr.models.describer import Describer
from vpr.types import FeatureSpec, Preprocess

TINY = {
    "name": "vit_small_patch14_dinov2.lvd142m",
    "position": "torch_hub",
    "options": {"embed_dim": 24, "num_heads": 3, "depth": 1},
}
SPEC = FeatureSpec(24, 14)
IMAGES = torch.randn(2, 3, 84, 98, generator=torch.Generator().manual_seed(0))


@pytest.fixture(autouse=True)
def tiny_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dinov2, "KNOWN", [(DINOv2, TINY)])


def model(aggregator: nn.Module, norm: bool) -> Describer:
    """Return a random network of ours, of the same values each time."""
    torch.manual_seed(0)
    describer = Describer(DINOv2(weights="none", norm=norm, **TINY), aggregator, Preprocess()).eval()
    with torch.no_grad():
        for value in describer.parameters():
            value.add_(0.1 * torch.randn_like(value))
    return describer


def published(describer: Describer, backbone: str, **renamed: str) -> dict[str, Tensor]:
    """Return its tensors as a project names them: DINOv2's below `backbone`, with the two that take no part."""
    state = {f"{backbone}.mask_token": torch.zeros(1, 24)}
    state |= {f"{backbone}.norm.{part}": torch.zeros(24) for part in ("weight", "bias")}  # replaced where it takes part
    for key, value in describer.state_dict().items():
        name = key.replace("backbone.model.", f"{backbone}.", 1)
        for ours, theirs in renamed.items():
            name = name.replace(f".{ours}.", f".{theirs}.", 1)
        state[name] = value
    return state


def lightning(state: Mapping[str, Tensor], **settings: Any) -> dict[str, Any]:
    return {"epoch": 3, "pytorch-lightning_version": "2.6.6", "state_dict": dict(state), **settings}


def lab(aggregator: str, size: list[int] | None) -> dict[str, Any]:
    data = {"train_image_size": [280, 280], "val_image_size": size}
    return {"hyper_parameters": {"aggregator": {"class": aggregator, "params": {}}, "datamodule": data}}


def check(path: Path, expected: Describer, size: tuple[int, int], interpolation: str, project: str) -> Any:
    loaded = vpr.load(path)
    with torch.no_grad():
        torch.testing.assert_close(loaded(IMAGES), expected(IMAGES))
    assert (loaded.preprocess.size, loaded.preprocess.interpolation) == (size, interpolation)
    assert convert(path)["config"]["source"]["project"] == project
    return loaded


@pytest.mark.parametrize("before", ["", "_orig_mod.", "module.", "module._orig_mod."])
@pytest.mark.parametrize("bare", [True, False], ids=["bare", "Lightning"])
def test_salad_and_cliquemining(before: str, bare: bool, tmp_path: Path) -> None:
    ours = model(SALAD(SPEC, clusters=8, cluster_dim=6, token_dim=5, hidden=16), norm=True)
    state = {f"{before}{key}": value for key, value in published(ours, "backbone.model").items()}
    settings = {"hyper_parameters": {"agg_arch": "SALAD", "lr": 6e-5}}
    torch.save(state if bare else lightning(state, **settings), tmp_path / "last.ckpt")
    check(tmp_path / "last.ckpt", ours, (322, 322), "bilinear", "SALAD, CliqueMining")


@pytest.mark.parametrize(("file", "backbone"), [("megaloc.torch", "backbone.model"), ("model.safetensors", "backbone")])
def test_both_layouts_of_megaloc(file: str, backbone: str, tmp_path: Path) -> None:
    salad = SALAD(SPEC, clusters=8, cluster_dim=6, token_dim=5, hidden=16)
    ours = model(Projected(SPEC, salad, 7, bias=True), norm=True)
    state = published(ours, backbone, **{"aggregator": "agg", "projection": "linear"})
    if file.endswith(".torch"):
        torch.save(state, tmp_path / file)
    else:
        del state["backbone.mask_token"]
        save_file(state, tmp_path / file)
    loaded = check(tmp_path / file, ours, (322, 322), "bilinear", "MegaLoc")
    assert loaded(torch.zeros(1, 3, 80, 101)).shape == (1, 7)


@pytest.mark.parametrize("bare", [True, False], ids=["torch.hub", "training"])
def test_boq_with_dinov2(bare: bool, tmp_path: Path) -> None:
    ours = model(BoQ(SPEC, channels=64, queries=3, layers=2, rows=2), norm=False)
    state = published(ours, "backbone.dino")
    torch.save(state if bare else lightning(state), tmp_path / "a.pth")
    check(tmp_path / "a.pth", ours, (322, 322), "bicubic", "BoQ")


@pytest.mark.parametrize(
    ("name", "aggregator"),
    [
        ("BoQ", BoQ(SPEC, channels=64, queries=3, layers=2, rows=2)),
        ("SALAD", SALAD(SPEC, clusters=8, cluster_dim=6, token_dim=5, hidden=16)),
        ("GeMPool", GeM(SPEC)),
    ],
)
@pytest.mark.parametrize("size", [[308, 322], None], ids=["its own size", "that of training"])
def test_openvprlab_with_dinov2(name: str, aggregator: nn.Module, size: list[int] | None, tmp_path: Path) -> None:
    ours = model(aggregator, norm=False)
    state = published(ours, "backbone.dino") | {"loss_function.x": torch.zeros(1)}
    state = {key.replace("aggregator.pool.p", "aggregator.p"): value for key, value in state.items()}
    torch.save(lightning(state, **lab(name, size)), tmp_path / "a.ckpt")
    check(tmp_path / "a.ckpt", ours, (308, 322) if size else (280, 280), "bicubic", "OpenVPRLab")


def test_a_dinov2_of_other_sizes_is_refused(tmp_path: Path) -> None:
    ours = model(BoQ(SPEC, channels=64, queries=3, layers=1, rows=2), norm=False)
    state = published(ours, "backbone.dino")
    del state["backbone.dino.cls_token"]
    torch.save(state, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match="a backbone of 17 tensors .*Known are .*the files of BoQ"):
        convert(tmp_path / "a.pth")


def test_a_file_with_omegaconf_inside_names_a_way_out(tmp_path: Path) -> None:
    state = {"backbone.model.cls_token": torch.zeros(1)}
    torch.save(lightning(state, hyper_parameters=OmegaConf.create({"lr": 1})), tmp_path / "a.ckpt")
    with pytest.raises(CheckpointError, match=r"omegaconf.*nothing was loaded.*\['state_dict'\], 'weights.pth'\)"):
        vpr.load(tmp_path / "a.ckpt")


def test_a_damaged_safetensors_file_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"<html>not found</html>")
    with pytest.raises(CheckpointError, match="model.safetensors is damaged or no safetensors file"):
        vpr.load(tmp_path / "model.safetensors")
