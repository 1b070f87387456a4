"""Resize gives PIL's pixels and the published ones; transforms keep the published order."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vpr.data.augment import NoAugment
from vpr.data.images import decode
from vpr.data.transforms import EvalTransform, Resize, ResizeShortSide, TrainTransform, stack_images
from vpr.errors import ConfigError
from vpr.types import Preprocess

PIL_FILTER = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def street(height: int, width: int) -> np.ndarray:
    """Light that falls off, edges and grain."""
    rng = np.random.default_rng(0)
    image = np.linspace(200, 40, height)[:, None, None] + rng.normal(0, 12, (height, width, 3))
    for _ in range(20):
        y, x, dy, dx = rng.integers((0, 0, 5, 5), (height - 5, width - 5, height // 2, width // 2))
        image[y : y + dy, x : x + dx] = rng.integers(0, 255, 3)
    return image.clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("source", [(300, 400), (97, 131), (640, 480), (32, 64), (1200, 900)])
def test_resize_gives_the_pixels_of_pil(source: tuple[int, int], interpolation: str) -> None:
    image = street(*source)
    ours = Resize((320, 256), interpolation)(image)
    pil = np.asarray(Image.fromarray(image).resize((256, 320), PIL_FILTER[interpolation]))
    assert ours.dtype == np.uint8
    assert ours.flags.c_contiguous
    difference = np.abs(ours.astype(int) - pil)
    assert difference.mean() <= 0.05
    assert difference.max() <= 2


def test_resize_takes_views_and_leaves_an_image_of_the_right_size_alone() -> None:
    image = street(40, 60)
    mirrored = image[::-1, ::-1]
    assert (Resize((20, 30))(mirrored) == Resize((20, 30))(mirrored.copy())).all()
    assert Resize((40, 60))(image) is image


def test_resize_refuses_another_interpolation() -> None:
    with pytest.raises(ConfigError, match="nearest.*bilinear or bicubic"):
        Resize((32, 32), "nearest")


@pytest.mark.parametrize(
    ("source", "side", "expected"),
    # 64 * 131 / 97 = 86.4; 68 * 131 / 97 = 91.8 is rounded down, too; upright; a size that fits already
    [((97, 131), 64, (64, 86)), ((97, 131), 68, (68, 91)), ((300, 40), 20, (150, 20)), ((40, 50), 40, (40, 50))],
)
def test_the_shorter_side_sets_the_size(source: tuple[int, int], side: int, expected: tuple[int, int]) -> None:
    image = street(*source)
    resized = ResizeShortSide(side)(image)
    assert resized.shape == (*expected, 3)
    assert (resized == Resize(expected)(image)).all()


# Both resize in uint8; a value may round to the neighbouring grey level, in less than 1 % of all.
@pytest.mark.parametrize(
    ("key", "size", "interpolation"),
    [
        ("mixvpr_valid_32", 32, "bilinear"),
        ("mixvpr_demo_32", 32, "bicubic"),
        ("mixvpr_valid_320_corner", 320, "bilinear"),
    ],
)
def test_published_transforms(shared: Path, key: str, size: int, interpolation: str) -> None:
    expected = np.load(shared / "golden" / "transforms.npz")[key]
    compare(shared, EvalTransform(Preprocess(size=(size, size), interpolation=interpolation)), expected, Preprocess())


# VGG's scale: the mean of each colour in 0..255 is subtracted, and nothing divided.
CAFFE = Preprocess(
    size=(48, 64), mean=(0.48501960784313836, 0.4579568627450961, 0.4076039215686255), std=(1 / 255, 1 / 255, 1 / 255)
)


@pytest.mark.parametrize(("key", "short_side"), [("wakd_48x64", None), ("wakd_tokyo_query_48x64", 64)])
def test_published_transforms_of_database_and_tokyo_queries(shared: Path, key: str, short_side: int | None) -> None:
    expected = np.load(shared / "golden" / "transforms.npz")[key]
    compare(shared, EvalTransform(CAFFE, short_side), expected, CAFFE)


def compare(shared: Path, transform: EvalTransform, expected: np.ndarray, scale: Preprocess) -> None:
    """The top left pixels of the transformed photo, as many as `expected` (3, h, w) has, which is normalised."""
    photo = decode(shared / "golden" / "transform_input.png", transform.enough)
    tensor = stack_images([transform(photo)])[0]
    if expected.shape[1:] != (16, 16):  # else a corner is stored
        assert tensor.shape == expected.shape
    tensor = tensor[:, : expected.shape[1], : expected.shape[2]]
    grey_levels = (expected * np.reshape(scale.std, (3, 1, 1)) + np.reshape(scale.mean, (3, 1, 1))) * 255
    difference = np.abs(tensor.numpy() - grey_levels)
    assert difference.max() < 1.01
    assert (difference > 0.01).mean() < 0.01


def test_evaluation_is_a_resize_without_chance() -> None:
    image = street(60, 80)
    transform = EvalTransform(Preprocess(size=(24, 32)))
    assert transform.size == (24, 32)
    assert (transform(image, np.random.default_rng(1)) == Resize((24, 32))(image)).all()
    assert (transform(image) == transform(image, np.random.default_rng(2))).all()


def test_training_augments_after_the_resize_with_the_generator_it_is_given() -> None:
    seen = []

    def shift(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        seen.append(image.shape)
        return np.roll(image, rng.integers(1, 20), axis=1)

    image = street(60, 80)
    transform = TrainTransform(Preprocess(size=(24, 32)), shift)
    first, again, other = (transform(image, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert seen == [(24, 32, 3)] * 3
    assert (first == again).all()
    assert (first != other).any()
    resized = TrainTransform(Preprocess(size=(24, 32)), NoAugment())(image, np.random.default_rng(1))
    assert (resized == Resize((24, 32))(image)).all()


def test_tensors_are_contiguous_planes_of_uint8() -> None:
    images = [street(20, 30), street(20, 30)[::-1]]
    batch = stack_images(images)
    assert batch.dtype == torch.uint8
    assert batch.is_contiguous()
    assert (batch.numpy() == np.stack(images).transpose(0, 3, 1, 2)).all()
    assert torch.equal(stack_images(images[1:2])[0], batch[1])
