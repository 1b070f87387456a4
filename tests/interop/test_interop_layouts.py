"""Files of projects without golden ones, built here in their layout, describe as their definition says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from torch import Tensor, nn

import vpr
from vpr.checkpoint import read
from vpr.interop import pytorch_netvlad
from vpr.interop.__main__ import main

IMAGES = torch.randn(2, 3, 96, 128, generator=torch.Generator().manual_seed(0))


def unit(x: Tensor, dim: int = 1) -> Tensor:
    return x / x.norm(dim=dim, keepdim=True)


def gem(x: Tensor, p: Tensor) -> Tensor:
    return x.clamp(min=1e-6).pow(p).mean(dim=(2, 3)).pow(1 / p)


def netvlad(x: Tensor, weight: Tensor, centroids: Tensor) -> Tensor:
    """Equation 4 of Arandjelovic et al., cluster by cluster."""
    cells = unit(x).flatten(2)
    shares = torch.softmax(weight[:, :, 0, 0] @ cells, dim=1)
    sums = [((cells - c[:, None]) * shares[:, k : k + 1]).sum(2) for k, c in enumerate(centroids)]
    return unit(torch.cat([unit(each) for each in sums], dim=1))


def network() -> Any:
    torch.manual_seed(1)
    made = torchvision.models.resnet18(weights=None).eval()
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 1.5)
    return made


def saved(path: Path, content: Any) -> str:
    torch.save(content, path)
    return str(path)


def check(path: str, expected: Tensor) -> Any:
    """Compare the file, loaded as it is, with what was computed by hand; return the model."""
    model = vpr.load(path)
    with torch.no_grad():
        torch.testing.assert_close(model(IMAGES), unit(expected), rtol=1e-4, atol=1e-5)
    assert model.dim == expected.shape[1]
    assert model.preprocess.mean == (0.485, 0.456, 0.406)
    return model


def prefixed(parts: dict[str, dict[str, Tensor]], before: str = "") -> dict[str, Tensor]:
    return {f"{before}{part}.{key}": value for part, state in parts.items() for key, value in state.items()}


@torch.no_grad()
def test_cosplace_and_eigenplaces(tmp_path, capsys):
    trunk = nn.Sequential(*list(network().children())[:-2])
    p, fc = torch.tensor([2.5]), nn.Linear(512, 32)
    head = {"1.p": p, "3.weight": fc.weight, "3.bias": fc.bias}
    state = prefixed({"backbone": trunk.state_dict(), "aggregation": head})
    path = saved(tmp_path / "ResNet18_32_cosplace.pth", state)
    model = check(path, fc(gem(unit(trunk(IMAGES)), p)))
    assert model.preprocess.size == (512, 512)
    training = saved(
        tmp_path / "last.pth", {"epoch_num": 3, "model_state_dict": state, "best_val_recall1": np.float64(1)}
    )
    assert main([training, str(tmp_path / "ours.ckpt")]) == 0
    assert "resnet18 with CosPlace, 32 numbers a descriptor, images of 512x512 pixels" in capsys.readouterr().out
    source = read(tmp_path / "ours.ckpt")["config"]["source"]
    assert (source["layout"], source["epoch_num"]) == ("model_state_dict of training", 3)


def heads() -> dict[str, Any]:
    torch.manual_seed(2)
    weight, centroids, p = 5 * torch.randn(4, 256, 1, 1), unit(torch.randn(4, 256)), torch.tensor([2.0])
    narrow = nn.Linear(256, 16)
    return {
        "netvlad": ({"centroids": centroids, "conv.weight": weight}, lambda x: netvlad(x, weight, centroids)),
        "gem, L2 before": ({"1.p": p}, lambda x: gem(unit(x), p)),
        "gem": ({"0.p": p}, lambda x: gem(x, p)),
        "gem and linear": (
            {"0.1.p": p, "1.weight": narrow.weight, "1.bias": narrow.bias},
            lambda x: narrow(gem(unit(x), p)),
        ),
        "gem, L2, linear: after_pool": (
            {"0.0.p": p, "1.weight": narrow.weight, "1.bias": narrow.bias},
            lambda x: narrow(unit(gem(x, p))),
        ),
        "gem, linear: l2_none": (
            {"0.0.p": p, "1.weight": narrow.weight, "1.bias": narrow.bias},
            lambda x: narrow(gem(x, p)),
        ),
        "r18_spoc": ({}, lambda x: unit(x).mean(dim=(2, 3))),
        "r18_mac": ({}, lambda x: unit(x).amax(dim=(2, 3))),
    }


@pytest.mark.parametrize("name", heads())
@torch.no_grad()
def test_deep_vg_benchmark(name, tmp_path):
    head, forward = heads()[name]
    trunk = nn.Sequential(*list(network().children())[:-3])  # "resnet18conv4"
    state = prefixed({"backbone": trunk.state_dict(), "aggregation": head}, before="module.")
    content = {
        **{
            "epoch_num": 12,
            "model_state_dict": state,
            "recalls": np.array([61.5, 80.25]),
            "best_r5": np.float64(80.25),
        },
        **{"optimizer_state_dict": {"state": {0: {"step": 3}}, "param_groups": [{"lr": 1e-5}]}, "not_improved_num": 0},
    }
    model = check(saved(tmp_path / f"{name}.pth", content), forward(trunk(IMAGES)))
    assert model.preprocess.size == (480, 640)


@pytest.mark.parametrize("gpus", ["", "module."], ids=["one GPU", "several"])
@torch.no_grad()
def test_pytorch_netvlad(gpus, tmp_path, monkeypatch):
    assert pytorch_netvlad.IMAGE["size"] == [480, 640]
    monkeypatch.setitem(pytorch_netvlad.IMAGE, "size", [96, 128])  # VGG at full size takes seconds
    torch.manual_seed(1)
    trunk = torchvision.models.vgg.make_layers(torchvision.models.vgg.cfgs["D"])[:-2].eval()
    weight, centroids = 5 * torch.randn(4, 512, 1, 1), torch.rand(4, 512)
    state = {f"encoder.{gpus}{key}": value for key, value in trunk.state_dict().items()}
    state |= {f"pool.{gpus}conv.weight": weight, f"pool.{gpus}centroids": centroids}
    content = {
        **{
            "epoch": 7,
            "state_dict": state,
            "recalls": {1: np.float64(0.8), 5: np.float64(0.9)},
            "parallel": bool(gpus),
        },
        **{"best_score": np.float64(0.9), "optimizer": {"state": {}, "param_groups": [{"lr": 1e-4}]}},
    }
    check(saved(tmp_path / "checkpoint.pth.tar", content), netvlad(trunk(IMAGES), weight, centroids))


def lab_file(
    aggregator: dict[str, Tensor], params: dict[str, Any], frozen: int, stages: int = 3
) -> tuple[nn.Module, Any]:
    """Return OpenVPRLab's backbone with `stages` of a resnet18, `frozen` layers of it apart, and its Lightning file."""
    full = network()
    stem = nn.Sequential(full.conv1, full.bn1, full.relu, full.maxpool)
    layers = [stem, *(full.get_submodule(f"layer{i + 1}") for i in range(stages))]
    halves = {"frozen_layers": nn.Sequential(*layers[:frozen]), "unfrozen_layers": nn.Sequential(*layers[frozen:])}
    optimiser = torch.optim.AdamW(full.layer3.parameters())
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimiser, [10, 20])
    data = {"train_image_size": [224, 224], "val_image_size": [320, 320]}
    content = {
        **{"epoch": 4, "global_step": 99, "pytorch-lightning_version": "2.2.1", "loops": {}, "callbacks": {}},
        "state_dict": prefixed({"backbone": nn.ModuleDict(halves).state_dict(), "aggregator": aggregator}),
        **{"optimizer_states": [optimiser.state_dict()], "lr_schedulers": [schedule.state_dict()]},
        "hyper_parameters": {"seed": 2, "aggregator": {"class": "X", "params": params}, "datamodule": data},
    }
    return nn.Sequential(*layers), content


def lab_heads() -> dict[str, Any]:
    torch.manual_seed(3)
    p, fc, conv = torch.tensor([2.0]), nn.Linear(256, 24), nn.Conv2d(256, 6, 1)
    return {
        "GeMPool": ({"p": p}, {}, lambda x: gem(x, p)),
        "CosPlace": (
            {"gem.p": p, "fc.weight": fc.weight, "fc.bias": fc.bias},
            {"in_dim": 256, "out_dim": 24},
            lambda x: fc(gem(unit(x), p)),
        ),
        "ConvAP": (
            {"channel_pool.weight": conv.weight, "channel_pool.bias": conv.bias},
            {"in_channels": None, "out_channels": 6, "s1": 3, "s2": 2},
            # 6x8 cells in 3x2 groups of 2x4
            lambda x: conv(x).unflatten(3, (2, 4)).unflatten(2, (3, 2)).mean(dim=(3, 5)).flatten(1),
        ),
        "AVGPool": ({}, {}, lambda x: x.mean(dim=(2, 3))),
    }


@pytest.mark.parametrize(("name", "frozen"), [("GeMPool", 3), ("CosPlace", 0), ("ConvAP", 4), ("AVGPool", 2)])
@torch.no_grad()
def test_openvprlab(name, frozen, tmp_path):
    head, params, forward = lab_heads()[name]
    trunk, content = lab_file(head, params, frozen)
    content["hyper_parameters"]["aggregator"]["class"] = name
    if not frozen:  # the frozen part is an Identity where nothing is pretrained
        assert not any(key.startswith("backbone.frozen") for key in content["state_dict"])
    model = check(saved(tmp_path / "epoch(04).ckpt", content), forward(trunk(IMAGES)))
    assert (model.preprocess.size, model.preprocess.interpolation) == ((320, 320), "bicubic")


@torch.no_grad()
def test_mixvpr_of_openvprlab_has_the_size_of_its_validation(tmp_path):
    torch.manual_seed(4)
    channels, rows = nn.Linear(256, 8), nn.Linear(48, 3)
    parts = {"channel_proj": channels.state_dict(), "row_proj": rows.state_dict()}
    trunk, content = lab_file(prefixed(parts), {"mix_depth": 0}, frozen=3)
    content["hyper_parameters"]["datamodule"]["val_image_size"] = [96, 128]
    x = channels(trunk(IMAGES).flatten(2).transpose(1, 2)).transpose(1, 2)
    check(saved(tmp_path / "a.ckpt", content), rows(x).flatten(1))


@pytest.mark.parametrize(
    ("name", "beside"),
    [
        ("resnet18_ConvAP_6_3x2.ckpt", {}),
        ("a.ckpt", {"hyper_parameters": {"agg_config": {"in_channels": 256, "out_channels": 6, "s1": 3, "s2": 2}}}),
    ],
    ids=["bare", "Lightning"],
)
@torch.no_grad()
def test_gsv_cities(name, beside, tmp_path):
    full = network()
    head, _, forward = lab_heads()["ConvAP"]
    stem = nn.Sequential(full.conv1, full.bn1, full.relu, full.maxpool)
    kept = {k: v for k, v in full.state_dict().items() if not k.startswith(("layer4", "fc"))}
    state = prefixed({"backbone": prefixed({"model": kept}), "aggregator": head})
    content = {"pytorch-lightning_version": "1.8.4", "state_dict": state, **beside} if beside else state
    trunk = nn.Sequential(stem, full.layer1, full.layer2, full.layer3)
    check(saved(tmp_path / name, content), forward(trunk(IMAGES)))
