"""Published MixVPR checkpoints become ours, with the published outputs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import vpr
from vpr.checkpoint import read, write
from vpr.errors import CheckpointError
from vpr.interop.__main__ import main
from vpr.interop.mixvpr import convert

MODELS = ["mixvpr_resnet50", "mixvpr_kd_resnet18", "mixvpr_efficientnet_b0", "mixvpr_mobilenet_v2"]


def manifest_state(shared: Path, name: str) -> dict[str, torch.Tensor]:
    keys = json.loads((shared / "golden" / "mixvpr_manifest.json").read_text())[name]["keys"]
    return {key: torch.zeros(shape, dtype=getattr(torch, dtype)) for key, (shape, dtype) in keys.items()}


@pytest.mark.parametrize("name", MODELS)
def test_outputs_equal_the_published_ones(name, published, shared, tmp_path, capsys):
    out = tmp_path / "channels(1024)_rows(4).ckpt"
    assert main([str(published(name)), str(out)]) == 0
    golden = np.load(shared / "golden" / f"{name}_out.npz")
    images = torch.from_numpy(np.load(shared / "golden" / "mixvpr_input_320.npz")["x"])
    describer = vpr.load(str(out))
    with torch.no_grad():
        descriptors, alone = describer(images), describer(images[:1])
        features = describer.features(images[1:2]).map
    np.testing.assert_allclose(descriptors, golden["descriptor"], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(alone, golden["descriptor_bs1"], rtol=1e-4, atol=1e-5)
    largest = float(np.abs(golden["backbone_feat"]).max())
    np.testing.assert_allclose(features, golden["backbone_feat"], rtol=1e-4, atol=1e-4 * largest)
    assert describer.preprocess.size == (320, 320)
    assert f"{describer.dim} numbers" in capsys.readouterr().out


def test_the_source_is_recorded(published, tmp_path):
    write(tmp_path / "a.ckpt", convert(published("mixvpr_efficientnet_b0")))
    source = read(tmp_path / "a.ckpt")["config"]["source"]
    assert source["project"] == "MixVPR, gsv-cities"
    assert source["file"] == "mixvpr_efficientnet_b0.ckpt"
    assert source["layout"] == "Lightning 1.8.3"
    assert convert(published("mixvpr_kd_resnet18"))["config"]["source"]["layout"] == "bare state dict"


@pytest.mark.parametrize(("name", "dim"), [("resnet50_512", 512), ("resnet50_128", 128)])
def test_key_lists_of_the_smaller_descriptors(name, dim, shared, tmp_path):
    torch.save(manifest_state(shared, name), tmp_path / "theirs.ckpt")
    content = convert(tmp_path / "theirs.ckpt")
    agg = content["config"]["agg"]
    assert (agg["out_channels"] * agg["out_rows"], agg["mix_depth"], agg["mlp_ratio"]) == (dim, 4, 1)
    theirs = {k.replace("backbone.model.", "backbone."): v.shape for k, v in manifest_state(shared, name).items()}
    ours = {k.replace("backbone.model.", "backbone."): v.shape for k, v in content["weights"].items()}
    assert ours == theirs


@pytest.mark.parametrize(("name", "channels", "dim"), [("kd_resnet18", 256, 1024), ("mobilenet_v2", 512, 2048)])
def test_the_sizes_that_the_readme_names_load_too(name, channels, dim, shared, tmp_path):
    state = manifest_state(shared, name)
    inner = state["aggregator.channel_proj.weight"].shape[1]
    state["aggregator.channel_proj.weight"] = torch.zeros(channels, inner)
    state["aggregator.channel_proj.bias"] = torch.zeros(channels)
    torch.save(state, tmp_path / "theirs.ckpt")
    write(tmp_path / "ours.ckpt", convert(tmp_path / "theirs.ckpt"))
    assert vpr.load(str(tmp_path / "ours.ckpt")).dim == dim


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda s: s.pop("backbone.model.bn1.bias"), "a backbone of 89 tensors"),
        (lambda s: s.update({"head.weight": torch.zeros(1)}), "not all under backbone.model"),
        (lambda s: [s.pop(k) for k in list(s) if k.startswith("aggregator.row")], "none of MixVPR"),
        (lambda s: s.update({"aggregator.row_proj.bias": torch.zeros(5)}), "tensors that do not fit each other"),
        (lambda s: [s.pop(k) for k in list(s) if k.startswith("backbone.")], "not all under backbone.model"),
        (lambda s: s.update(epoch=1), "no state dict"),
        (lambda s: s.update({3: torch.zeros(1)}), "no state dict"),
        (lambda s: s.update({"aggregator.row_proj.weight": torch.zeros(4, 0)}), "tensors that do not fit|impossible"),
    ],
)
def test_unknown_files_are_refused(change, says, shared, tmp_path, capsys):
    state = manifest_state(shared, "kd_resnet18")
    change(state)
    torch.save(state, tmp_path / "theirs.ckpt")
    with pytest.raises(CheckpointError, match=f"({says}).*Known are.*resnet50"):
        convert(tmp_path / "theirs.ckpt")
    assert main([str(tmp_path / "theirs.ckpt"), str(tmp_path / "out.ckpt")]) == 2
    assert capsys.readouterr().err.startswith("CheckpointError: ")
    assert not (tmp_path / "out.ckpt").exists()
