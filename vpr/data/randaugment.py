"""RandAugment (Cubuk et al., 2020) on uint8 arrays, by the law of torchvision's `RandAugment`."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from vpr.data import image_ops
from vpr.data.workers import one_opencv_thread_in_a_worker
from vpr.errors import ConfigError


class Operation(NamedTuple):
    """What one operation does, how strong it is, and whether its strength has a random sign.

    Attributes:
        apply: (image, magnitude) -> image.
        magnitude: of the level 0..1 and the image's (height, width).
    """

    apply: Callable[[np.ndarray, float], np.ndarray]
    magnitude: Callable[[float, tuple[int, int]], float]
    signed: bool


def _nothing(level: float, size: tuple[int, int]) -> float:
    return 0.0


def _up_to(most: float) -> Callable[[float, tuple[int, int]], float]:
    return lambda level, size: most * level


OPERATIONS: dict[str, Operation] = {
    "Identity": Operation(image_ops.identity, _nothing, False),
    "ShearX": Operation(image_ops.shear_x, _up_to(0.3), True),
    "ShearY": Operation(image_ops.shear_y, _up_to(0.3), True),
    "TranslateX": Operation(image_ops.translate_x, lambda level, size: 150 / 331 * size[1] * level, True),
    "TranslateY": Operation(image_ops.translate_y, lambda level, size: 150 / 331 * size[0] * level, True),
    "Rotate": Operation(image_ops.rotate, _up_to(30.0), True),
    "Brightness": Operation(image_ops.brightness, _up_to(0.9), True),
    "Color": Operation(image_ops.color, _up_to(0.9), True),
    "Contrast": Operation(image_ops.contrast, _up_to(0.9), True),
    "Sharpness": Operation(image_ops.sharpness, _up_to(0.9), True),
    "Posterize": Operation(image_ops.posterize, lambda level, size: 8 - round(4 * level), False),
    "Solarize": Operation(image_ops.solarize, lambda level, size: 255 * (1 - level), False),
    "AutoContrast": Operation(image_ops.auto_contrast, _nothing, False),
    "Equalize": Operation(image_ops.equalize, _nothing, False),
}
"""The operations by torchvision's names; each is drawn with the same probability, with replacement."""

_TABLE = tuple(OPERATIONS.values())


class RandAugment:
    """Apply `num_ops` operations drawn at random, one after the other: `augment(image, rng)`. Nothing is mirrored.

    Args:
        num_ops: operations an image; 3 in the published MixVPR.
        magnitude: strength, 0 to `num_magnitude_bins` - 1.
        num_magnitude_bins: steps on the scale of strength.

    Raises:
        ConfigError: `num_ops` is negative or `magnitude` is off the scale.
    """

    def __init__(self, num_ops: int = 3, magnitude: int = 9, num_magnitude_bins: int = 31) -> None:
        if num_ops < 0:
            raise ConfigError(f"augment.num_ops={num_ops}: choose 0 or more.")
        if num_magnitude_bins < 2 or not 0 <= magnitude < num_magnitude_bins:
            raise ConfigError(
                f"augment.magnitude={magnitude} with num_magnitude_bins={num_magnitude_bins}: "
                "choose at least 2 bins and a magnitude from 0 to one less than the bins."
            )
        self.num_ops = num_ops
        self.level = magnitude / (num_magnitude_bins - 1)

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Augment an (H, W, 3) uint8 image; the input stays as it was, and may be the output."""
        one_opencv_thread_in_a_worker()
        for _ in range(self.num_ops):
            operation = _TABLE[rng.integers(len(_TABLE))]
            magnitude = operation.magnitude(self.level, image.shape[:2])
            if operation.signed and rng.integers(2):
                magnitude = -magnitude
            image = operation.apply(image, magnitude)
        return image


class NoAugment:
    """Leave every image as it is: `augment(image, rng)`."""

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return image
