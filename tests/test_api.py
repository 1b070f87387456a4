"""vpr.load and torch.hub give a model that describes photos."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import vpr
from vpr import checkpoint
from vpr.errors import CheckpointError, DataError
from vpr.models.describer import build_describer

REPO = Path(__file__).parents[1]
CONFIG = {
    "backbone": {
        "_target_": "vpr.models.backbones.resnet.ResNet",
        "name": "resnet18",
        "weights": "none",
        "crop": [3, 4],
    },
    "agg": {"_target_": "vpr.models.aggregators.gem.GeM"},
    "image": {"size": [64, 96]},
}


@pytest.fixture(scope="module")
def ckpt(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("model") / "best.ckpt"
    checkpoint.save(path, build_describer(**CONFIG), CONFIG)
    return str(path)


@pytest.fixture(scope="module")
def model(ckpt: str):
    return vpr.load(ckpt)


@pytest.fixture(scope="module")
def pixels() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (64, 96, 3), dtype=np.uint8) for _ in range(5)]  # the model's size: nothing is resized


@pytest.fixture(scope="module")
def expected(model, pixels) -> np.ndarray:
    images = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2)
    with torch.no_grad():
        return model(model.normalise(images)).numpy()


@pytest.mark.parametrize("kind", ["path", "str", "array", "Pillow", "stack"])
def test_photos_of_every_kind(kind, model, pixels, expected, tmp_path):
    paths = [tmp_path / f"{i}.png" for i in range(len(pixels))]
    for path, image in zip(paths, pixels, strict=True):
        Image.fromarray(image).save(path)
    photos = {
        "path": paths,
        "str": [str(path) for path in paths],
        "array": pixels,
        "Pillow": [Image.open(path) for path in paths],
        "stack": np.stack(pixels),
    }[kind]
    found = model.describe(photos, batch_size=2)
    assert found.dtype == np.float32 and found.shape == (5, model.dim) == (5, 128)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(model.describe(photos[2]), expected[2:3], rtol=1e-4, atol=1e-5)


def test_photos_of_other_sizes_are_resized_and_turned_upright(model, pixels, expected, tmp_path):
    image = Image.fromarray(pixels[0]).transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # shown upright after a quarter turn clockwise
    image.save(tmp_path / "turned.png", exif=exif)
    found = model.describe([tmp_path / "turned.png", Image.open(tmp_path / "turned.png")])
    np.testing.assert_allclose(found, expected[[0, 0]], rtol=1e-4, atol=1e-5)
    assert model.describe(np.zeros((200, 100, 3), np.uint8)).shape == (1, 128)


def test_no_photos(model):
    assert model.describe([]).shape == (0, 128)


def test_a_bad_photo_is_named(model, pixels, tmp_path):
    (tmp_path / "text.jpg").write_text("no photo")
    with pytest.raises(DataError, match=rf"2 of 3 photos cannot be described \(first: {tmp_path}/text.jpg: is not an"):
        model.describe([tmp_path / "text.jpg", pixels[0], tmp_path / "gone.jpg"])
    with pytest.raises(DataError, match=r"1 of 1 .*gone.jpg: there is no such file\)\.$"):
        model.describe(str(tmp_path / "gone.jpg"))


@pytest.mark.parametrize(
    ("photo", "says"),
    [
        (np.zeros((8, 8), np.uint8), r"an array of shape \(8, 8\) and uint8"),
        (np.zeros((8, 8, 3), np.float32), r"an array of shape \(8, 8, 3\) and float32"),
        (np.zeros((3, 8, 8), np.uint8), r"an array of shape \(3, 8, 8\)"),
        (np.zeros((0, 8, 3), np.uint8), r"an array of shape \(0, 8, 3\)"),
        (Image.new("I;16", (8, 8)), "an image of mode I;16"),
        (torch.zeros(3, 8, 8), "a Tensor. Give a path"),
        (None, "a NoneType"),
    ],
)
def test_what_is_no_photo_is_named_by_its_place(photo, says, model, pixels):
    with pytest.raises(DataError, match=rf"1 of 2 photos .*first: photo 1 is {says}"):
        model.describe([pixels[0], photo])


def test_a_truncated_image_of_pillow(model, pixels, tmp_path):
    Image.fromarray(pixels[0]).save(tmp_path / "a.png")
    whole = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="photo 0 is damaged"):
        model.describe(Image.open(tmp_path / "a.png"))


def test_last_ckpt_of_a_training_loads_too(ckpt, pixels, expected, tmp_path):
    torch.save({"epoch": 1, "state_dict": {}, "describer": checkpoint.read(ckpt)}, tmp_path / "last.ckpt")
    found = vpr.load(tmp_path / "last.ckpt").describe(pixels)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_errors_of_our_own_files_are_about_them(tmp_path):
    torch.save({"format": 9}, tmp_path / "a.ckpt")
    with pytest.raises(CheckpointError, match="has format 9"):
        vpr.load(tmp_path / "a.ckpt")
    with pytest.raises(CheckpointError, match="no such file"):
        vpr.load(tmp_path / "b.ckpt")
    torch.save({"x": torch.zeros(1)}, tmp_path / "c.ckpt")
    with pytest.raises(CheckpointError, match="Known are .*CosPlace"):
        vpr.load(tmp_path / "c.ckpt")


HUB = """
import json, sys, numpy as np, torch
repo, ckpt = sys.argv[1:]
model = torch.hub.load(repo, "vpr", source="local", ckpt=ckpt)
descriptors = model.describe([np.load("photos.npy")[0]])
ours = [module.__file__ for name, module in sys.modules.items() if name.partition(".")[0] == "vpr"]
print(json.dumps({"descriptors": descriptors.tolist(), "files": ours, "heavy": "hydra" in sys.modules}))
"""


def test_torch_hub_from_another_folder(ckpt, pixels, expected, tmp_path):
    np.save(tmp_path / "photos.npy", np.stack(pixels))
    command = [sys.executable, "-c", HUB, str(REPO), ckpt]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    found = json.loads(run.stdout.splitlines()[-1])
    np.testing.assert_allclose(found["descriptors"], expected[:1], rtol=1e-4, atol=1e-5)
    assert not found["heavy"]
    # What those files import is what hubconf.py asks for, so that torch.hub names what is missing.
    sources = "\n".join(Path(file).read_text() for file in found["files"])
    imported = set(re.findall(r"^(?:from|import) (\w+)", sources, re.MULTILINE)) - {"vpr", "__future__"}
    imported.add("timm")  # by the backbones that it makes, when they are made
    asked = re.search(r"dependencies = \[(.*?)\]\n", (REPO / "hubconf.py").read_text(), re.DOTALL)
    assert asked is not None
    assert set(re.findall(r'"(\w+)"', asked[1])) == imported - sys.stdlib_module_names
