"""Transforms of decoded images, in uint8: resize to the network's input as PIL does, then augment in training."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np
import torch
from torch.nn.functional import interpolate

from vpr.errors import ConfigError
from vpr.types import Preprocess

Augment = Callable[[np.ndarray, np.random.Generator], np.ndarray]
"""(h, w, 3) uint8 and a generator in, (h, w, 3) uint8 out; the input stays as it was."""


class Resize:
    """Resize (H, W, 3) uint8 images to `size` (h, w), antialiased: the pixels of PIL's `resize` within rounding.

    The aspect ratio is not kept, as in the published MixVPR.

    Raises:
        ConfigError: `interpolation` is neither `bilinear` nor `bicubic`.
    """

    def __init__(self, size: tuple[int, int], interpolation: str = "bilinear") -> None:
        if interpolation not in ("bilinear", "bicubic"):
            raise ConfigError(f"image.interpolation={interpolation}: choose bilinear or bicubic.")
        self.size = (int(size[0]), int(size[1]))
        self.interpolation = interpolation

    def __call__(self, image: np.ndarray) -> np.ndarray:
        if image.shape[:2] == self.size:
            return image
        # A channels-last view with a batch axis of its own takes torch's vectorised uint8 path; nothing is copied.
        pixels = torch.from_numpy(np.ascontiguousarray(image))[None].permute(0, 3, 1, 2)
        resized = interpolate(pixels, self.size, mode=self.interpolation, antialias=True)
        return np.ascontiguousarray(resized[0].permute(1, 2, 0).numpy())


class ResizeShortSide:
    """Resize (H, W, 3) uint8 images so that the shorter side has `side` pixels, their shape kept.

    The longer side is rounded down, as torchvision's `Resize(side)` does.
    """

    def __init__(self, side: int, interpolation: str = "bilinear") -> None:
        self.side, self.interpolation = side, interpolation

    def __call__(self, image: np.ndarray) -> np.ndarray:
        height, width = image.shape[:2]
        short = min(height, width)
        size = (self.side * height // short, self.side * width // short)
        return Resize(size, self.interpolation)(image)


class EvalTransform:
    """Resize alone: `transform(image)`, deterministic.

    Args:
        short_side: in pixels; the image keeps its shape. None: it is resized to `preprocess.size`.

    Attributes:
        size: the (h, w) that comes out, of an image in its own shape (side, side).
        enough: the (h, w) at which a larger image may be decoded; None where it must be read whole, as the published
            size of an image in its own shape follows from that of the whole file.
    """

    def __init__(self, preprocess: Preprocess, short_side: int | None = None) -> None:
        self.resize: Callable[[np.ndarray], np.ndarray]
        self.enough: tuple[int, int] | None
        if short_side is None:
            whole = Resize(preprocess.size, preprocess.interpolation)
            self.resize, self.size, self.enough = whole, whole.size, whole.size
        else:
            self.resize = ResizeShortSide(short_side, preprocess.interpolation)
            self.size, self.enough = (short_side, short_side), None

    def __call__(self, image: np.ndarray, rng: np.random.Generator | None = None) -> np.ndarray:
        return self.resize(image)


class TrainTransform:
    """Resize, then augment (the published order): `transform(image, rng)`. `size` is the (h, w) that comes out."""

    def __init__(self, preprocess: Preprocess, augment: Augment) -> None:
        self.resize = Resize(preprocess.size, preprocess.interpolation)
        self.augment = augment
        self.size = self.resize.size

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return self.augment(self.resize(image), rng)


def stack_images(images: Sequence[np.ndarray]) -> torch.Tensor:
    """Copy N (H, W, 3) uint8 images of one size into a contiguous (N, 3, H, W) uint8 tensor.

    Normalisation waits until the batch is on its device.
    """
    batch = np.empty((len(images), 3, *images[0].shape[:2]), np.uint8)
    for image, planes in zip(images, batch, strict=True):
        cv2.split(image, list(planes))  # several times as fast as a strided copy
    return torch.from_numpy(batch)
