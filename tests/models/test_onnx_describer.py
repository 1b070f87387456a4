"""An exported model describes as the network that it was made from, and says so where it cannot be used."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from tests.exported import SIZE, export, tiny
from vpr.errors import CheckpointError, ConfigError
from vpr.models.costs import measure
from vpr.models.describer import Describer
from vpr.models.onnx_describer import OnnxDescriber


@pytest.fixture(scope="module")
def network() -> Describer:
    return tiny()


@pytest.fixture(scope="module")
def file(network: Describer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export(tmp_path_factory.mktemp("onnx") / "model.onnx", network, precision="int8")


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.randint(0, 256, (5, 3, *SIZE), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def test_it_describes_as_the_network(file: Path, network: Describer, images: torch.Tensor) -> None:
    model = OnnxDescriber(file)
    with torch.no_grad():
        expected = network(network.normalise(images))
    torch.testing.assert_close(model(model.normalise(images)), expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(model(images[:1]), expected[:1], atol=1e-5, rtol=0)
    assert (model.dim, model.preprocess.size, model.fixed_size) == (network.dim, SIZE, True)
    assert model.info.label == "tiny-int8"


def test_floats_are_its_uint8_values(file: Path, images: torch.Tensor) -> None:
    model = OnnxDescriber(file)
    as_a_teacher_gets_them = (images.float() / 255 - model.mean) / model.std
    assert torch.equal(model(as_a_teacher_gets_them), model(images))


def test_sizes(file: Path, network: Describer, tmp_path: Path) -> None:
    other = torch.zeros(1, 3, 64, 80, dtype=torch.uint8)
    with pytest.raises(ConfigError, match=r"exported for images of \[48, 64\] pixels, and these are \[64, 80\]"):
        OnnxDescriber(file)(other)
    any_size = OnnxDescriber(export(tmp_path / "any.onnx", network, dynamic_size=True))
    with torch.no_grad():
        torch.testing.assert_close(any_size(other), network(network.normalise(other)), atol=1e-5, rtol=0)
    assert not any_size.fixed_size


def test_costs(file: Path, network: Describer) -> None:
    measured = measure(OnnxDescriber(file), "cpu", runs=2)
    counted = sum(p.numel() for p in network.parameters())
    assert 0.9 * counted < measured.parameters < 1.1 * counted  # BatchNorm is folded, normalisation is in the graph
    assert measured.gmacs is None and "GMACs" not in measured.message() and "int8)" in measured.message()
    assert measured.plain()["gmacs"] is None and measured.latency_runs == 2


def refused(path: Path) -> str:
    with pytest.raises(CheckpointError) as error:
        OnnxDescriber(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)
    return str(error.value)


def test_damaged_files(file: Path, tmp_path: Path) -> None:
    whole, broken = file.read_bytes(), tmp_path / "broken.onnx"
    for content in (b"", b"no model", whole[: len(whole) // 2], whole[:-100]):
        broken.write_bytes(content)
        assert "is damaged, or no .onnx file that onnxruntime" in refused(broken)
    assert "is a folder" in refused(tmp_path)
    assert "there is no such file" in refused(tmp_path / "none.onnx")


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"format": None}, "was not written by export.py"),
        ({"format": "vpr-onnx-2"}, "has the format vpr-onnx-2, and vpr-onnx-1 is read here"),
        ({"digest": None}, "lacks the entry digest in its metadata. Export it again"),
        ({"size": "[48, "}, "The metadata of .* are damaged"),
        ({"interpolation": None}, "lacks the entry interpolation"),
        ({"precision": "int4"}, "are damaged"),
        ({"normalised": False}, "are damaged"),
        ({"dim": 65}, "does not fit its metadata"),
    ],
)
def test_metadata(file: Path, tmp_path: Path, metadata: dict, message: str) -> None:
    import re

    model, changed = onnx.load(str(file)), tmp_path / "changed.onnx"
    kept = {entry.key: entry.value for entry in model.metadata_props} | {
        key: value if value is None or isinstance(value, str) else str(value).lower() for key, value in metadata.items()
    }
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, {key: value for key, value in kept.items() if value is not None})
    onnx.save(model, str(changed))
    assert re.search(message, refused(changed))


def test_onnxruntime_is_not_installed(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ConfigError, match=r"exported model, which onnxruntime runs. Type pip install .*\[export\]"):
        OnnxDescriber(file)


def test_images_that_its_checkpoint_was_trained_on(network: Describer, tmp_path: Path) -> None:
    model = OnnxDescriber(export(tmp_path / "model.onnx", network, training_images=3))
    with pytest.raises(CheckpointError, match=r"training_images.npy cannot be used .*Copy it from the folder"):
        model.training_images()
    np.save(tmp_path / "training_images.npy", np.arange(4))
    with pytest.raises(CheckpointError, match=r"it holds \(4,\) of int64 instead of \(3,\)"):
        model.training_images()
    np.save(tmp_path / "training_images.npy", np.arange(3))
    assert model.training_images().tolist() == [0, 1, 2]
