"""Compare our input pipeline with the usual one on one core, and print ratios and differences.

    python benchmarks/loader.py [--images DIR] [--count 64] [--rounds 15]

The usual path is PIL decode, torchvision v1 Resize (bilinear), ToTensor, Normalize in a DataLoader; ours are the
datasets of evaluation and of training. Ours end with uint8 batches of the same pixels: normalising them is the device's
work and no part of these times. Batches of 32, processor time, the two take turns; medians over the rounds.
Without --images it draws photo-like JPEGs of GSV-Cities' size (400x300, quality 90).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms as v1
from torchvision.transforms.autoaugment import _apply_op

sys.path.insert(0, str(Path(__file__).parents[1]))

from vpr.data.augment import OPERATIONS, RandAugment
from vpr.data.images import decode
from vpr.data.places import Places, PlacesDataset, collate_places
from vpr.data.retrieval_set import ImageDataset
from vpr.data.transforms import Augment, EvalTransform, TrainTransform
from vpr.types import Draw, Preprocess

PREPROCESS = Preprocess(size=(320, 320))
IMAGES_PER_PLACE = 4
BILINEAR = v1.InterpolationMode.BILINEAR


class Args(NamedTuple):
    """Measurement: its photos, and how often each path is timed."""

    paths: list[Path]
    rounds: int


def draw_photos(folder: Path, count: int) -> list[Path]:
    """Draw scenes with smooth light, hard edges and texture at every scale, and save them as JPEGs of quality 90."""
    rng = np.random.default_rng(0)
    paths = []
    for number in range(count):
        scene = np.zeros((300, 400, 3), np.float32) + np.linspace(190, 60, 300, dtype=np.float32)[:, None, None]
        for _ in range(60):
            x, y, w, h = (int(v) for v in rng.integers((0, 0, 8, 8), (380, 280, 120, 100)))
            cv2.rectangle(scene, (x, y), (x + w, y + h), [float(v) for v in rng.integers(20, 240, 3)], -1)
        for side, strength in ((5, 30), (20, 20), (80, 12), (400, 9)):
            noise = rng.normal(0, strength, (max(side * 3 // 4, 2), side, 3)).astype(np.float32)
            scene += cv2.resize(noise, (400, 300), interpolation=cv2.INTER_CUBIC)
        paths.append(folder / f"{number:03}.jpg")
        Image.fromarray(scene.clip(0, 255).astype(np.uint8)).save(paths[-1], quality=90)
    return paths


class Photos(Dataset[torch.Tensor]):
    """Photos decoded by PIL and transformed."""

    def __init__(self, paths: Sequence[Path], transform: Callable[[Image.Image], torch.Tensor]) -> None:
        self.paths, self.transform = paths, transform

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        return self.transform(pil(self.paths[index]))


def alternate(a: Callable[[], Any], b: Callable[[], Any], rounds: int) -> tuple[float, float]:
    """Time both in turn: milliseconds of processor time a call, medians over the rounds (the first warms up)."""
    taken: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds + 1):
        for function, times in ((a, taken[0]), (b, taken[1]))[:: 1 if number % 2 else -1]:
            start = time.process_time()
            function()
            times.append((time.process_time() - start) * 1e3)
    return float(np.median(taken[0][1:])), float(np.median(taken[1][1:]))


def each(function: Callable[[Any], Any], items: Iterable[Any]) -> None:
    for item in items:
        function(item)


def pil(path: Path) -> Image.Image:
    return Image.open(path).convert("RGB")


def usual_loader(paths: list[Path], *augment: Callable[[Any], Any]) -> DataLoader:
    normalise = v1.Normalize(PREPROCESS.mean, PREPROCESS.std)
    return DataLoader(
        Photos(paths, v1.Compose([v1.Resize(PREPROCESS.size, BILINEAR), *augment, v1.ToTensor(), normalise])), 32
    )


def compare_loaders(name: str, usual: Iterable[Any], ours: Iterable[Any], target: float, args: Args) -> None:
    times = alternate(partial(each, len, usual), partial(each, len, ours), args.rounds)
    slow, fast = (milliseconds / len(args.paths) for milliseconds in times)
    verdict = f"target >= {target}x: {'reached' if slow / fast >= target else 'MISSED'}"
    print(f"{name:<26}{slow:8.3f}{fast:9.3f}{1e3 / slow:9.0f}{1e3 / fast:7.0f}{slow / fast:7.2f}x  {verdict}")


def training_loader(paths: list[Path], augment: Augment) -> DataLoader:
    """The places are four photos each, eight to a batch."""
    files, count = np.array([str(path).encode() for path in paths]), len(paths) // IMAGES_PER_PLACE
    starts = np.arange(0, len(paths) + 1, IMAGES_PER_PLACE)
    places = Places("benchmark", Path(), files, starts, np.arange(count), np.zeros(count, np.int64))
    transform = TrainTransform(PREPROCESS, augment)
    dataset = PlacesDataset(
        [places], IMAGES_PER_PLACE, choice="random", transform=transform, seed=0, min_size=PREPROCESS.size
    )
    draws = [Draw(place, 0) for place in range(count)]
    batches = [draws[first : first + 8] for first in range(0, count, 8)]
    return DataLoader(dataset, batch_sampler=batches, collate_fn=collate_places)


def compare_operations(args: Args) -> None:
    """Print speed and difference of each operation at magnitude 9, where both sample inside the image."""
    evaluate = EvalTransform(PREPROCESS)
    arrays = [evaluate(decode(path)) for path in args.paths[:16]]
    images = [Image.fromarray(array) for array in arrays]
    white = np.full((*PREPROCESS.size, 3), 255, np.uint8)
    print(f"\n{'operation, magnitude 9 of 30':<30}{'PIL ms':>8}{'ours ms':>9}  ratio  mean difference (target <= 1)")
    for name, (operation, magnitude_of, _) in OPERATIONS.items():
        magnitude = magnitude_of(9 / 30, PREPROCESS.size)
        theirs = partial(_apply_op, op_name=name, magnitude=magnitude, interpolation=BILINEAR, fill=None)
        ours = partial(_swapped, operation, magnitude)
        times = alternate(partial(each, theirs, images), partial(each, ours, arrays), args.rounds)
        slow, fast = (milliseconds / len(images) for milliseconds in times)
        inside = np.ones(PREPROCESS.size, bool)
        if name.startswith(("Shear", "Translate", "Rotate")):
            inside = ((ours(white) == 255) & (np.array(theirs(Image.fromarray(white))) == 255)).all(axis=2)
        difference = [
            cv2.absdiff(ours(array), np.array(theirs(image)))[inside].mean()
            for image, array in zip(images, arrays, strict=True)
        ]
        print(f"{name:<30}{slow:8.3f}{fast:9.3f}{slow / fast:6.1f}x  {np.mean(difference):.3f}")


def _swapped(operation: Callable[[np.ndarray, float], np.ndarray], magnitude: float, image: np.ndarray) -> np.ndarray:
    return operation(image, magnitude)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--images", type=Path, help="folder of JPEGs to use instead of drawn ones")
    parser.add_argument("--count", type=int, default=64, help="how many images")
    parser.add_argument("--rounds", type=int, default=15, help="how often each path is timed")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as folder:
        if options.images is None:
            paths = draw_photos(Path(folder), max(1, options.count // IMAGES_PER_PLACE) * IMAGES_PER_PLACE)
        else:
            paths = sorted(path for path in options.images.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg"))
            paths = paths[: min(options.count, len(paths)) // IMAGES_PER_PLACE * IMAGES_PER_PLACE]
            if not paths:
                parser.error(f"--images {options.images}: fewer than {IMAGES_PER_PLACE} .jpg files")
        measure(Args(paths, options.rounds))


def measure(args: Args) -> None:
    evaluate = EvalTransform(PREPROCESS)
    torch.manual_seed(0)
    height, width = decode(args.paths[0]).shape[:2]
    size = np.mean([path.stat().st_size for path in args.paths]) / 1024
    print(f"{len(args.paths)} JPEGs (first: {width}x{height}; mean {size:.0f} KB) -> 320x320, {args.rounds} rounds")
    print(
        "Ours ends with uint8 (B, 3, 320, 320), which the device normalises; the usual path with normalised float32.\n"
    )
    print(
        f"{'':<26}{'ms an image':^17}{'images/s':^16}\n{'':<26}{'usual':>8}{'ours':>9}{'usual':>9}{'ours':>7}   ratio"
    )
    ours = DataLoader(ImageDataset(args.paths, PREPROCESS), 32)
    compare_loaders("evaluation", usual_loader(args.paths), ours, 3.0, args)
    usual = usual_loader(args.paths, v1.RandAugment(num_ops=3, interpolation=BILINEAR))
    ours = training_loader(args.paths, RandAugment(num_ops=3))
    compare_loaders("training, RandAugment(3)", usual, ours, 3.5, args)
    difference = [
        cv2.absdiff(
            evaluate(decode(path)), np.array(pil(path).resize(PREPROCESS.size[::-1], Image.Resampling.BILINEAR))
        )
        for path in args.paths
    ]
    print(f"\nevaluation pixels against PIL's: mean difference {np.mean(difference):.3f} grey levels (target <= 0.5)")
    compare_operations(args)


if __name__ == "__main__":
    main()
