"""The folder of an export: what lies in it, what it says, and that describe.py gives the descriptors of vpr.load."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import pytest
from PIL import Image

import vpr
from vpr.data.image_inputs import InputDataset
from vpr.errors import ConfigError
from vpr.export.exporter import Exporter
from vpr.export.folder import metadata
from vpr.retrieval.extractor import Extractor


@pytest.fixture(scope="module")
def folder(small_ckpt: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("export") / "small"
    Exporter(Extractor.load(small_ckpt, "cpu")).write(out)
    return out


def script(folder: Path, name: str = "describe") -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"{name}_of_the_folder", folder / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_folder_is_whole_and_nothing_lies_beside_it(folder: Path) -> None:
    assert [path.name for path in folder.parent.iterdir()] == ["small"]
    names = {"README.md", "describe.py", "golden", "model.json", "model.onnx"}
    assert {path.name for path in folder.iterdir()} == names
    assert "| model.onnx |" in (folder / "README.md").read_text() and "$" not in (folder / "README.md").read_text()


def test_the_metadata_are_those_of_model_json(folder: Path, small_ckpt: Path) -> None:
    facts = json.loads((folder / "model.json").read_text())
    files = facts.pop("files")
    model = onnx.load(folder / "model.onnx")
    stored = {entry.key: entry.value for entry in model.metadata_props}
    of_file = {key: value for key, value in files["model.onnx"].items() if key != "bytes"}
    assert stored == metadata(facts, of_file)
    assert stored["format"] == "vpr-onnx-1" and stored["precision"] == "fp32" and stored["name"] == "small"
    assert stored["digest"] == Extractor.load(small_ckpt, "cpu").digest
    assert json.loads(stored["size"]) == [64, 64] and stored["dynamic_size"] == "false"
    shape = [axis.dim_param or axis.dim_value for axis in model.graph.output[0].type.tensor_type.shape.dim]
    assert shape == ["batch", facts["dim"]]


def test_golden_values_come_out(folder: Path) -> None:
    model = script(folder).Model()
    photos = sorted((folder / "golden").glob("*.jpg"))
    assert len(photos) == 4
    expected = np.load(folder / "golden/descriptors.npy")
    assert (model(photos) * expected).sum(1).min() >= 0.9998  # Pillow rounds a few values otherwise
    pixels = np.load(folder / "golden/pixels.npy")
    np.testing.assert_array_equal(model.session.run(None, {"images": pixels})[0], expected)


def test_describe_gives_the_descriptors_of_the_checkpoint(
    folder: Path, small_ckpt: Path, photos: list[bytes], tmp_path: Path
) -> None:
    image = Image.open(folder / "golden/0.jpg")
    paths = []
    for side, turn in ((60, 1), (200, 6), (900, 3), (2000, 8), (500, 5), (500, 7), (300, 2), (300, 4)):
        exif = Image.Exif()
        exif[0x0112] = turn
        paths.append(tmp_path / f"{side}_{turn}.jpg")
        image.resize((side, 3 * side // 4)).save(paths[-1], exif=exif, quality=90)
    for mode, suffix in (("RGB", "png"), ("L", "png"), ("RGBA", "png"), ("CMYK", "jpg"), ("L", "jpg"), ("P", "png")):
        paths.append(tmp_path / f"{mode}.{suffix}")
        image.convert(mode).save(paths[-1])
    paths.append(tmp_path / "wide.png")
    Image.fromarray((np.asarray(image.convert("L")).astype(np.int32) * 257).astype(np.uint16)).save(paths[-1])
    network, describe = vpr.load(small_ckpt), script(folder)
    model = describe.Model()
    for path in paths:
        pixels, *_ = InputDataset([path], network.preprocess)[0]
        photo = describe.read(path, model.size)
        narrow = photo.resize((model.size[1], photo.height), model.filter)  # Pillow alone begins with the cheaper side
        difference = np.abs(np.asarray(narrow.resize(model.size[::-1], model.filter), int) - pixels)
        assert difference.max() <= 1 and difference.mean() < 0.02, path.name
    cosines = (model(paths) * network.describe(paths)).sum(1)
    assert cosines.min() >= 0.9995 and np.median(cosines) >= 0.9999, (
        cosines
    )  # of a random network, sensitive to 1 in 255


def test_describe_is_short_and_knows_no_torch(folder: Path) -> None:
    assert len((folder / "describe.py").read_text().splitlines()) <= 60
    code = "import describe, sys; describe.Model(); print([m for m in ('torch', 'vpr', 'cv2') if m in sys.modules])"
    ran = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "[]"


def test_describe_prints_a_line_a_photo_or_one_message(folder: Path, tmp_path: Path) -> None:
    photo, bad = folder / "golden/0.jpg", tmp_path / "bad.jpg"
    bad.write_bytes(photo.read_bytes()[:300])

    def typed(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(folder / "describe.py"), *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True)

    good = json.loads(typed(photo).stdout)
    assert good["path"] == str(photo) and len(good["descriptor"]) == len(np.load(folder / "golden/descriptors.npy")[0])
    for arguments in ((photo, bad), (photo, "--model", bad), (tmp_path / "absent.jpg",)):
        wrong = typed(*arguments)
        assert (wrong.returncode, wrong.stdout) == (2, "") and len(wrong.stderr.splitlines()) == 1, wrong.stderr


def test_a_folder_of_another_kind_is_not_replaced(small_ckpt: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(ConfigError, match="not a folder that export.py wrote"):
        Exporter(Extractor.load(small_ckpt, "cpu")).write(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_an_older_export_is_replaced_and_a_failed_one_leaves_it(
    folder: Path, small_ckpt: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = Path(shutil.copytree(folder, tmp_path / "out"))
    (out / "model.int8.onnx").touch()
    exporter = Exporter(Extractor.load(small_ckpt, "cpu"))
    monkeypatch.setattr("vpr.export.folder.write_texts", refuse)
    with pytest.raises(OSError):
        exporter.write(out)
    assert (out / "model.int8.onnx").is_file() and [path.name for path in tmp_path.iterdir()] == ["out"]
    monkeypatch.undo()
    exporter.write(out)
    assert not (out / "model.int8.onnx").exists() and [path.name for path in tmp_path.iterdir()] == ["out"]


def refuse(*_: object) -> None:
    raise OSError("the disk is full")
