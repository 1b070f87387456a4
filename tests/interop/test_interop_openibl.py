"""Published checkpoints of OpenIBL and WAKD become ours, with the published outputs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import vpr
from vpr.checkpoint import read, unpack, write
from vpr.cli.compose import compose
from vpr.errors import CheckpointError
from vpr.interop.__main__ import main
from vpr.interop.openibl import convert
from vpr.models.aggregators.projected import Projected
from vpr.types import Features


def manifest_state(shared: Path, name: str) -> dict[str, torch.Tensor]:
    keys = json.loads((shared / "golden" / "wakd_manifest.json").read_text())[name]["keys"]
    return {key: torch.zeros(shape, dtype=getattr(torch, dtype)) for key, (shape, dtype) in keys.items()}


@pytest.mark.parametrize(("name", "backbone"), [("vgg16", "vgg16"), ("mobilenetv3_large", "mobilenet_v3_large_wakd")])
@torch.no_grad()
def test_outputs_equal_the_published_ones(name, backbone, published, shared, tmp_path, capsys):
    assert main([str(published(f"wakd_{name}")), str(tmp_path / "ours.ckpt")]) == 0
    assert f"{backbone} with NetVLAD, 32768 numbers a descriptor, images of 480x640" in capsys.readouterr().out
    golden = np.load(shared / "golden" / f"wakd_{name}_out.npz")
    images = torch.from_numpy(np.load(shared / "golden" / "wakd_input_240x320.npz")["x"])
    describer = vpr.load(str(tmp_path / "ours.ckpt"))
    maps = describer.features(images).map
    largest = float(np.abs(golden["feat"]).max())
    np.testing.assert_allclose(maps[:1], golden["feat"], rtol=1e-4, atol=1e-4 * largest)
    np.testing.assert_allclose(describer.aggregator(Features(maps)), golden["vlad"], rtol=1e-4, atol=1e-5)
    raw, expected = describer.aggregator.residuals(maps[:1]), golden["netvlad_raw"]
    np.testing.assert_allclose(raw, expected, rtol=1e-4, atol=1e-4 * float(np.abs(expected).max()))
    assert sum(p.numel() for p in describer.backbone.parameters()) == {"vgg16": 14_714_688}.get(name, 1_934_820)


def test_images_are_prepared_as_matconvnet_does(published):
    content = convert(published("wakd_mobilenetv3_large"))
    preset = compose("train", ["image=matconvnet", "image.size=[480,640]"]).image
    assert content["config"]["image"] == dict(preset)
    assert content["config"]["source"] == {
        **{"project": "OpenIBL, WAKD", "file": "wakd_mobilenetv3_large_model_best.pth.tar", "dim": 32768},
        **{"layout": "state_dict of training", "epoch": 4, "generation": 0, "best_recall5": 0.9},
    }
    describer = unpack(content)
    assert describer.preprocess.size == (480, 640)
    red = torch.tensor([255, 0, 0], dtype=torch.uint8).view(1, 3, 1, 1)
    assert describer.normalise(red).flatten().tolist() == pytest.approx([131.32, -116.779, -103.939], abs=1e-3)


@pytest.mark.parametrize(
    ("name", "backbone", "gate", "dim"),
    [
        ("mobilenetv3_large", "mobilenet_v3_large_wakd", "per_pixel", 32768),
        ("mobilenetv3_small", "mobilenet_v3_small_wakd", "pooled", 32768),
        ("resnet50", "resnet50", None, 131072),
        ("embednetpca_mbv3small_dim32", "mobilenet_v3_small_wakd", "pooled", 32),
    ],
)
def test_key_lists(name, backbone, gate, dim, shared, tmp_path):
    state = manifest_state(shared, name)
    torch.save(state, tmp_path / "theirs.pth")
    content = convert(tmp_path / "theirs.pth")
    node, source = content["config"]["backbone"], content["config"]["source"]
    assert (node["name"], node.get("gate"), source["layout"]) == (backbone, gate, "bare state dict")
    assert unpack(content).dim == source["dim"] == dim
    used = [value for key, value in state.items() if ".model.fc." not in key]
    assert sum(v.numel() for v in content["weights"].values()) == sum(v.numel() for v in used)
    assert len(content["weights"]) == len(used)


@torch.no_grad()
def test_the_pca_layer_is_a_linear_map_of_the_descriptor(shared, tmp_path):
    state = manifest_state(shared, "embednetpca_mbv3small_dim32")
    state = {k: torch.randn(v.shape) if v.is_floating_point() else v for k, v in state.items()}
    state |= {k: v.abs() for k, v in state.items() if k.endswith("running_var")}
    torch.save(state, tmp_path / "theirs.pth")
    write(tmp_path / "ours.ckpt", convert(tmp_path / "theirs.pth"))
    describer = vpr.load(str(tmp_path / "ours.ckpt"))
    assert isinstance(describer.aggregator, Projected)
    features = Features(torch.randn(2, 512, 3, 4))
    vlad = describer.aggregator.aggregator(features)
    projected = F.conv2d(vlad[:, :, None, None], state["pca_layer.weight"], state["pca_layer.bias"]).flatten(1)
    torch.testing.assert_close(describer.aggregator(features), F.normalize(projected))


@pytest.mark.parametrize("old", [False, True], ids=["NumPy 2", "NumPy 1"])
def test_numbers_of_numpy_beside_the_tensors_are_read(old, shared, tmp_path):
    state = {f"module.{k}": v for k, v in manifest_state(shared, "embednetpca_mbv3small_dim32").items()}
    content = {"state_dict": state, "epoch": 3, "best_recall5": np.float64(0.75)}
    torch.save(content, tmp_path / "theirs.pth.tar", _use_new_zipfile_serialization=False)
    if old:  # the module was called so when the files were published
        written = (tmp_path / "theirs.pth.tar").read_bytes()
        assert b"cnumpy._core.multiarray\n" in written
        renamed = written.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")
        (tmp_path / "theirs.pth.tar").write_bytes(renamed)
    source = convert(tmp_path / "theirs.pth.tar")["config"]["source"]
    assert (source["epoch"], source["best_recall5"]) == (3, 0.75)
    write(tmp_path / "ours.ckpt", {**convert(tmp_path / "theirs.pth.tar")})
    assert read(tmp_path / "ours.ckpt")["config"]["source"] == source


class Trap:
    def __reduce__(self):
        return Path.touch, (Path("executed"),)


def test_nothing_in_the_file_is_executed(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": {"module.net_vlad.centroids": torch.zeros(2, 3)}, "args": Trap()}, "theirs.pth")
    with pytest.raises(CheckpointError, match="nothing was loaded"):
        convert("theirs.pth")
    assert not Path("executed").exists()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda s: s.pop("base_model.bneck.4.conv2.weight"), r"of 323 tensors \(first: base_model.conv1.weight"),
        (lambda s: s.pop("net_vlad.conv.weight"), r"not NetVLAD \(centroids\)"),
        (lambda s: s.update({"net_vlad.centroids": torch.zeros(64, 7)}), "do not fit each other .*size mismatch"),
        (lambda s: s.update({"pca_layer.weight": torch.zeros(32, 5, 1, 1)}), "do not fit each other"),
        (lambda s: s.update({"pca_layer.weight": torch.zeros(32)}), "no convolution"),
        (lambda s: s.update({"classifier.weight": torch.zeros(2)}), "a tensor classifier.weight, which is none of"),
    ],
)
def test_unknown_files_are_refused(change, says, shared, tmp_path):
    state = manifest_state(shared, "embednetpca_mbv3small_dim32")
    change(state)
    torch.save(state, tmp_path / "theirs.pth")
    with pytest.raises(CheckpointError, match=f"{says}.*Known are.*vgg16.*mobilenet_v3_large_wakd"):
        convert(tmp_path / "theirs.pth")


def test_a_file_of_nobody_is_told_what_is_known(tmp_path, capsys):
    torch.save({"weight": torch.zeros(1)}, tmp_path / "theirs.pth")
    assert main([str(tmp_path / "theirs.pth"), str(tmp_path / "out.ckpt")]) == 2
    said = capsys.readouterr().err
    assert said.startswith("CheckpointError: ")
    for part in ("1 tensors (first: weight (1,))", "Lightweight-MixVPR", "OpenIBL and WAKD"):
        assert part in said
    assert not (tmp_path / "out.ckpt").exists()
