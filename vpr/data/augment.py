"""Augmentation of (H, W, 3) uint8 RGB arrays with OpenCV: `augment(image, rng)`, by the laws of torchvision.

`RandAugment` (Cubuk et al., CVPR workshops 2020), `ColorJitter`, `NoAugment`, and the operations that they are made of.
Each operation is pure (the input stays as it was) and gives PIL's pixels: exactly for `translate_*`, `brightness`,
`posterize`, `solarize`, `auto_contrast` and `equalize`; within 1 grey level on average for the others, the border of a
moved image aside.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np

from vpr.data.loading import one_opencv_thread_in_a_worker
from vpr.errors import ConfigError

_LEVELS = np.arange(256)
_CUT = -0.49  # added before OpenCV rounds, it cuts fractions off as PIL does, and leaves whole numbers whole


def identity(image: np.ndarray, _: float = 0.0) -> np.ndarray:
    """Return the image itself."""
    return image


def shear_x(image: np.ndarray, slope: float) -> np.ndarray:
    """Shift row y left by `slope` x y pixels; the top row stays (torchvision's shear with centre [0, 0])."""
    return _warp(image, np.array([[1.0, slope, 0.0], [0.0, 1.0, 0.0]]))


def shear_y(image: np.ndarray, slope: float) -> np.ndarray:
    """Shift column x up by `slope` x x pixels; the left column stays."""
    return _warp(image, np.array([[1.0, 0.0, 0.0], [slope, 1.0, 0.0]]))


def translate_x(image: np.ndarray, pixels: float) -> np.ndarray:
    """Move the image right by whole pixels (left if negative); black comes in."""
    width = image.shape[1]
    shift = max(-width, min(width, int(pixels)))
    moved = np.zeros_like(image)
    moved[:, max(shift, 0) : width + min(shift, 0)] = image[:, max(-shift, 0) : width - max(shift, 0)]
    return moved


def translate_y(image: np.ndarray, pixels: float) -> np.ndarray:
    """Move the image down by whole pixels (up if negative); black comes in."""
    height = image.shape[0]
    shift = max(-height, min(height, int(pixels)))
    moved = np.zeros_like(image)
    moved[max(shift, 0) : height + min(shift, 0)] = image[max(-shift, 0) : height - max(shift, 0)]
    return moved


def rotate(image: np.ndarray, degrees: float) -> np.ndarray:
    """Rotate counterclockwise about the centre of the image; black comes in."""
    height, width = image.shape[:2]
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    x, y = width / 2, height / 2
    return _warp(image, np.array([[cos, -sin, x - cos * x + sin * y], [sin, cos, y - sin * x - cos * y]]))


def adjust_brightness(image: np.ndarray, strength: float) -> np.ndarray:
    """Blend with black: values times 1 + `strength`."""
    return _contrast_about(image, 0, 1.0 + strength)


def adjust_contrast(image: np.ndarray, strength: float) -> np.ndarray:
    """Blend with the mean grey of the image by the factor 1 + `strength`."""
    red, green, blue, _ = cv2.mean(image)
    return _contrast_about(image, int(0.299 * red + 0.587 * green + 0.114 * blue + 0.5), 1.0 + strength)


def adjust_saturation(image: np.ndarray, strength: float) -> np.ndarray:
    """Blend with the grey version of the image by the factor 1 + `strength`."""
    grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return cv2.addWeighted(image, 1.0 + strength, grey, -strength, _CUT)


def turn_hue(image: np.ndarray, turn: float) -> np.ndarray:
    """Turn the hue of an (H, W, 3) uint8 RGB image by a share of the full circle, in steps of 1/256 as PIL does."""
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV_FULL)
    hsv[..., 0] += np.uint8(int(turn * 255) % 256)  # wraps around
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB_FULL)


def sharpness(image: np.ndarray, strength: float) -> np.ndarray:
    """Blend with the smoothed image by the factor 1 + `strength`; the outermost pixels stay.

    PIL's SMOOTH kernel is (1 1 1, 1 5 1, 1 1 1) / 13, that is 9/13 of the 3x3 mean and 4/13 of the pixel.
    """
    mean = cv2.blur(image, (3, 3))
    sharp = cv2.addWeighted(image, 1.0 + strength - strength * 4 / 13, mean, -strength * 9 / 13, _CUT)
    for edge in (np.s_[0], np.s_[-1], np.s_[:, 0], np.s_[:, -1]):
        sharp[edge] = image[edge]
    return sharp


def posterize(image: np.ndarray, bits: float) -> np.ndarray:
    """Keep the highest `bits` bits of each value."""
    return np.bitwise_and(image, np.uint8(256 - (1 << (8 - int(bits)))))


def solarize(image: np.ndarray, threshold: float) -> np.ndarray:
    """Invert the values that are not below the threshold."""
    return cv2.LUT(image, np.where(np.less(_LEVELS, threshold), _LEVELS, 255 - _LEVELS).astype(np.uint8))


def auto_contrast(image: np.ndarray, _: float = 0.0) -> np.ndarray:
    """Stretch each channel to 0..255."""
    tables = []
    for counts in _histograms(image):
        used = np.flatnonzero(counts)
        low, high = int(used[0]), int(used[-1])
        scale = 255.0 / (high - low) if high > low else 1.0
        offset = -low * scale if high > low else 0.0
        tables.append((_LEVELS * scale + offset).clip(0, 255))
    return _look_up(image, tables)


def equalize(image: np.ndarray, _: float = 0.0) -> np.ndarray:
    """Equalise each channel's histogram by PIL's table: (half a step + pixels below) // step.

    A step is a 255th of the pixels that do not have the highest value.
    """
    tables = []
    for counts in _histograms(image):
        below = np.concatenate(([0], np.cumsum(counts[:-1])))
        step = int(counts.sum() - counts[np.flatnonzero(counts)[-1]]) // 255
        tables.append(((step // 2 + below) // step).clip(0, 255) if step else _LEVELS)
    return _look_up(image, tables)


def _warp(image: np.ndarray, inverse: np.ndarray) -> np.ndarray:
    """Sample the image where `inverse` (2, 3) sends each pixel, bilinearly, black outside.

    PIL's coordinates count from the corner of the first pixel, OpenCV's from its centre.
    """
    height, width = image.shape[:2]
    inverse[:, 2] += inverse[:, :2].sum(axis=1) / 2 - 0.5
    # OpenCV warps four channels in less than half the time of three, even counting both conversions.
    padded = cv2.cvtColor(image, cv2.COLOR_RGB2RGBA)
    warped = cv2.warpAffine(padded, inverse, (width, height), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    return cv2.cvtColor(warped, cv2.COLOR_RGBA2RGB)


def _contrast_about(image: np.ndarray, level: int, factor: float) -> np.ndarray:
    table = (level + np.float32(factor) * (_LEVELS - level).astype(np.float32)).clip(0, 255)
    return cv2.LUT(image, table.astype(np.uint8))


def _histograms(image: np.ndarray) -> list[np.ndarray]:
    return [cv2.calcHist([image], [c], None, [256], [0, 256]).ravel().astype(np.int64) for c in range(3)]


def _look_up(image: np.ndarray, tables: list[np.ndarray]) -> np.ndarray:
    return cv2.LUT(image, np.stack(tables, axis=-1).astype(np.uint8)[None])


class Operation(NamedTuple):
    """An operation of RandAugment, its strength, and whether the strength has a random sign.

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
    "Identity": Operation(identity, _nothing, False),
    "ShearX": Operation(shear_x, _up_to(0.3), True),
    "ShearY": Operation(shear_y, _up_to(0.3), True),
    "TranslateX": Operation(translate_x, lambda level, size: 150 / 331 * size[1] * level, True),
    "TranslateY": Operation(translate_y, lambda level, size: 150 / 331 * size[0] * level, True),
    "Rotate": Operation(rotate, _up_to(30.0), True),
    "Brightness": Operation(adjust_brightness, _up_to(0.9), True),
    "Color": Operation(adjust_saturation, _up_to(0.9), True),
    "Contrast": Operation(adjust_contrast, _up_to(0.9), True),
    "Sharpness": Operation(sharpness, _up_to(0.9), True),
    "Posterize": Operation(posterize, lambda level, size: 8 - round(4 * level), False),
    "Solarize": Operation(solarize, lambda level, size: 255 * (1 - level), False),
    "AutoContrast": Operation(auto_contrast, _nothing, False),
    "Equalize": Operation(equalize, _nothing, False),
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


class ColorJitter:
    """Change brightness, contrast, saturation and hue in random order: `augment(image, rng)`.

    The first three are multiplied by a factor drawn from 1 - x to 1 + x, the hue turned by -x to x of the full circle.

    Args:
        brightness, contrast, saturation: x, 0 or more; below 0 no factor is drawn.
        hue: x, 0 to 0.5.

    Raises:
        ConfigError: one of them is out of its range.
    """

    def __init__(
        self, brightness: float = 0.7, contrast: float = 0.7, saturation: float = 0.7, hue: float = 0.5
    ) -> None:
        for name, value in {"brightness": brightness, "contrast": contrast, "saturation": saturation}.items():
            if value < 0:
                raise ConfigError(f"augment.{name}={value}: choose 0 or more.")
        if not 0 <= hue <= 0.5:
            raise ConfigError(f"augment.hue={hue}: choose 0 to 0.5, half the circle of colours either way.")
        self.strengths = (
            (adjust_brightness, max(-1.0, -brightness), brightness),
            (adjust_contrast, max(-1.0, -contrast), contrast),
            (adjust_saturation, max(-1.0, -saturation), saturation),
            (turn_hue, -hue, hue),
        )

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Augment an (H, W, 3) uint8 image; the input stays as it was, and may be the output."""
        one_opencv_thread_in_a_worker()
        for which in rng.permutation(len(self.strengths)):
            apply, low, high = self.strengths[which]
            if high:
                image = apply(image, rng.uniform(low, high))
        return image


class NoAugment:
    """Leave every image as it is: `augment(image, rng)`."""

    def __call__(self, image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return image
