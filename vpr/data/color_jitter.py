"""Random light and colour on uint8 arrays, by the law of torchvision's `ColorJitter`."""

from __future__ import annotations

import cv2
import numpy as np

from vpr.data import image_ops
from vpr.data.workers import one_opencv_thread_in_a_worker
from vpr.errors import ConfigError


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
            (image_ops.brightness, max(-1.0, -brightness), brightness),
            (image_ops.contrast, max(-1.0, -contrast), contrast),
            (image_ops.color, max(-1.0, -saturation), saturation),
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


def turn_hue(image: np.ndarray, turn: float) -> np.ndarray:
    """Turn the hue of an (H, W, 3) uint8 RGB image by a share of the full circle, in steps of 1/256 as PIL does."""
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV_FULL)
    hsv[..., 0] += np.uint8(int(turn * 255) % 256)  # wraps around
    return cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB_FULL)
