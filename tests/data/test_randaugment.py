"""Our operations give PIL's pixels, and are drawn by torchvision's law."""

from __future__ import annotations

import pickle
import pydoc
from collections import Counter
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision.transforms import InterpolationMode
from torchvision.transforms import RandAugment as TorchvisionRandAugment
from torchvision.transforms.autoaugment import _apply_op

from vpr.data import augment
from vpr.data import augment as randaugment
from vpr.data.augment import OPERATIONS, NoAugment, Operation, RandAugment
from vpr.data.images import decode
from vpr.data.transforms import Resize
from vpr.errors import ConfigError

SPACE = TorchvisionRandAugment()._augmentation_space
EXACT = {"Identity", "TranslateX", "TranslateY", "Brightness", "Posterize", "Solarize", "AutoContrast", "Equalize"}
MOVES = {"ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate"}


def street(height: int = 120, width: int = 160, seed: int = 0, low: int = 0, high: int = 255) -> np.ndarray:
    """Light that falls off, edges and grain, with values between `low` and `high`."""
    rng = np.random.default_rng(seed)
    image = np.linspace(200, 40, height)[:, None, None] * rng.uniform(0.6, 1, 3) + rng.normal(0, 6, (height, width, 3))
    for _ in range(15):
        y, x, dy, dx = rng.integers((0, 0, 5, 5), (height - 5, width - 5, height // 2, width // 2))
        image[y : y + dy, x : x + dx] += rng.integers(-90, 90, 3)
    return (image.clip(0, 255) * (high - low) / 255 + low).astype(np.uint8)


def by_pil(image: np.ndarray, name: str, magnitude: float) -> np.ndarray:
    return np.array(_apply_op(Image.fromarray(image), name, magnitude, InterpolationMode.BILINEAR, None))


def magnitudes(name: str, size: tuple[int, int]) -> list[float]:
    operation = OPERATIONS[name]
    signs = (1, -1) if operation.signed else (1,)
    return [sign * operation.magnitude(bin_ / 30, size) for bin_ in (0, 4, 9, 17, 30) for sign in signs]


def compare(name: str, image: np.ndarray) -> None:
    white = np.full_like(image, 255)
    for magnitude in magnitudes(name, image.shape[:2]):
        before = image.copy()
        ours, pil = OPERATIONS[name].apply(image, magnitude), by_pil(image, name, magnitude)
        assert (image == before).all(), "the input was changed"
        assert ours.dtype == np.uint8
        difference = np.abs(ours.astype(int) - pil)
        if name in EXACT:
            assert difference.max() == 0, magnitude
        elif name in MOVES:
            inside = (OPERATIONS[name].apply(white, magnitude) == 255) & (by_pil(white, name, magnitude) == 255)
            assert inside.mean() > 0.5
            assert difference[inside].mean() <= 1, magnitude
            assert difference[inside].max() <= 8, magnitude
            # the border too is at the same place: what is black there is black here, but for a rim of a pixel
            assert ((ours == 0).all(axis=2) != (pil == 0).all(axis=2)).mean() < 0.02, magnitude
        else:
            assert difference.mean() <= 0.5, magnitude
            assert difference.max() <= 2, magnitude


@pytest.mark.parametrize("name", OPERATIONS)
@pytest.mark.parametrize("seed", [0, 1])
def test_operation_gives_the_pixels_of_pil(name: str, seed: int) -> None:
    compare(name, street(seed=seed))
    compare(name, street(97, 131, seed, low=60, high=190))


@pytest.mark.parametrize("name", OPERATIONS)
def test_operation_gives_the_pixels_of_pil_on_photos(shared: Path, name: str) -> None:
    for photo in sorted((shared / "data" / "gardens_point").rglob("*.jpg"))[::250]:
        compare(name, Resize((320, 320))(decode(photo)))


@pytest.mark.parametrize("name", ["AutoContrast", "Equalize", "Contrast", "Sharpness", "Color", "Posterize"])
@pytest.mark.parametrize(
    "image",
    [
        np.full((20, 30, 3), 77, np.uint8),
        np.arange(12, dtype=np.uint8).reshape(2, 2, 3) * 20,
        np.where(np.arange(400).reshape(20, 20, 1) < 130, 10, 200).astype(np.uint8).repeat(3, axis=2),
        np.arange(23 * 29 * 3, dtype=np.uint32).reshape(23, 29, 3).astype(np.uint8),
    ],
    ids=["one colour", "four pixels", "two colours", "all values"],
)
def test_odd_images(name: str, image: np.ndarray) -> None:
    magnitude = OPERATIONS[name].magnitude(0.3, image.shape[:2])
    difference = np.abs(OPERATIONS[name].apply(image, magnitude).astype(int) - by_pil(image, name, magnitude))
    assert difference.max() <= (0 if name in EXACT else 2)


def test_translation_by_more_than_the_image_leaves_black() -> None:
    image = street(20, 30)
    for pixels in (30, -30, 99, -99):
        assert not augment.translate_x(image, pixels).any()
        assert not augment.translate_y(image, pixels).any()


def test_equalize_by_hand() -> None:
    # 1020 pixels: 255 each of 0, 10, 20, 30. Step = (1020 - 255) // 255 = 3; table = (1 + pixels below) // 3
    image = np.repeat(np.array([0, 10, 20, 30], np.uint8), 255).reshape(4, 255, 1).repeat(3, axis=2)
    assert augment.equalize(image)[:, 0, 0].tolist() == [0, (1 + 255) // 3, (1 + 510) // 3, (1 + 765) // 3]


@pytest.mark.parametrize("size", [(320, 320), (240, 400)])
def test_every_bin_has_the_magnitude_of_torchvision(size: tuple[int, int]) -> None:
    theirs = SPACE(31, size)
    assert list(OPERATIONS) == list(theirs)
    for name, (values, signed) in theirs.items():
        assert OPERATIONS[name].signed == signed
        ours = [OPERATIONS[name].magnitude(bin_ / 30, size) for bin_ in range(31)]
        np.testing.assert_allclose(ours, values.expand(31), rtol=1e-5, atol=1e-5, err_msg=name)


def test_operations_are_drawn_alike_with_replacement_and_either_sign(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[tuple[str, float]] = []

    def record(name: str) -> Operation:
        def apply(image: np.ndarray, magnitude: float) -> np.ndarray:
            drawn.append((name, magnitude))
            return image

        return OPERATIONS[name]._replace(apply=apply)

    monkeypatch.setattr(randaugment, "_TABLE", tuple(record(name) for name in OPERATIONS))
    augment, rng, image = (
        RandAugment(num_ops=3, magnitude=9),
        np.random.default_rng(0),
        np.zeros((320, 320, 3), np.uint8),
    )
    runs = 7000
    for _ in range(runs):
        augment(image, rng)
    assert len(drawn) == 3 * runs
    counts = Counter(name for name, _ in drawn)
    expected = 3 * runs / 14  # 1500, standard deviation 37
    assert all(abs(counts[name] - expected) < 5 * 37 for name in OPERATIONS)
    triples = [tuple(name for name, _ in drawn[at : at + 3]) for at in range(0, len(drawn), 3)]
    distinct = np.mean([len(set(triple)) == 3 for triple in triples])
    assert distinct == pytest.approx(13 / 14 * 12 / 14, abs=0.025)  # 0.796: with replacement
    for name, (values, signed) in SPACE(31, (320, 320)).items():
        found = [magnitude for drawn_name, magnitude in drawn if drawn_name == name]
        np.testing.assert_allclose(np.abs(found), abs(float(values[9] if values.ndim else 0)), rtol=1e-5)
        negative = np.mean(np.array(found) < 0)
        assert negative == pytest.approx(0.5, abs=0.07) if signed else negative == 0


def test_the_generator_alone_decides() -> None:
    image, augment = street(), RandAugment()
    first, again, other = (augment(image, np.random.default_rng(seed)) for seed in (5, 5, 6))
    assert (first == again).all()
    assert (first != other).any()
    copied = pickle.loads(pickle.dumps(augment))
    assert (copied(image, np.random.default_rng(5)) == first).all()


def test_no_operation_and_no_augment_leave_the_image() -> None:
    image, rng = street(), np.random.default_rng(0)
    assert RandAugment(num_ops=0)(image, rng) is image
    assert NoAugment()(image, rng) is image


@pytest.mark.parametrize("wrong", [{"num_ops": -1}, {"magnitude": 31}, {"magnitude": -1}, {"num_magnitude_bins": 1}])
def test_settings_off_the_scale_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=f"augment.*{next(iter(wrong))}={next(iter(wrong.values()))}"):
        RandAugment(**wrong)


def test_the_configured_augmentations() -> None:
    folder = Path(__file__).parents[2] / "conf" / "augment"
    nodes = {path.stem: yaml.safe_load(path.read_text()) for path in folder.glob("*.yaml")}
    published = {"_target_": "vpr.data.augment.RandAugment", "num_ops": 3, "magnitude": 9, "num_magnitude_bins": 31}
    assert nodes["randaugment"] == published
    assert nodes["none"] == {"_target_": "vpr.data.augment.NoAugment"}
    for name, node in nodes.items():
        target: Any = pydoc.locate(node.pop("_target_"))
        assert target(**node)(street(), np.random.default_rng(0)).shape == street().shape, name


class Threads(Dataset[torch.Tensor]):
    """OpenCV's number of threads after an augmentation."""

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> torch.Tensor:
        cv2.setNumThreads(3)
        RandAugment()(street(), np.random.default_rng(0))
        return torch.tensor(cv2.getNumThreads())


def test_opencv_uses_one_thread_in_a_worker_and_keeps_its_own_elsewhere() -> None:
    before = cv2.getNumThreads()
    try:
        assert next(iter(DataLoader(Threads(), num_workers=1))).item() <= 1
        assert Threads()[0].item() == 3
    finally:
        cv2.setNumThreads(before)
