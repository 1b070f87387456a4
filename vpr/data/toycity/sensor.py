"""The camera's electronics: exposure, white balance, vignette, raindrops, noise."""

from __future__ import annotations

import cv2
import numpy as np

from vpr.data.toycity.conditions import Condition


def develop(image: np.ndarray, condition: Condition, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Turn a drawn view into a photo of `size` (height, width): (h, w, 3) uint8."""
    h, w = size
    photo = cv2.resize(image, (w, h), interpolation=cv2.INTER_AREA).astype(np.float32)
    if condition.wet or condition.snow == 2:
        _falling(photo, condition.wet, rng)
    y, x = np.ogrid[-1 : 1 : h * 1j, -1 : 1 : w * 1j]  # type: ignore[misc]
    photo *= (1 - 0.13 * (x * x + y * y))[..., None] * np.float32(condition.balance) * condition.exposure
    spread = condition.noise * (0.6 + photo / 400)
    photo += spread * rng.standard_normal(photo.shape, np.float32)
    return np.clip(photo, 0, 255).astype(np.uint8)


def _falling(photo: np.ndarray, rain: bool, rng: np.random.Generator) -> None:
    h, w, _ = photo.shape
    layer = np.zeros((h, w), np.uint8)
    slant = rng.uniform(-3, 3)
    for x, y, size in rng.uniform((0, 0, 0.5), (w, h, 1.5), (int(rng.integers(30, 90)), 3)):
        if rain:
            cv2.line(layer, (int(x), int(y)), (int(x + slant * size), int(y + 9 * size)), 60, 1, cv2.LINE_AA)
        else:
            cv2.circle(layer, (int(x), int(y)), int(size), 170, -1, cv2.LINE_AA)
    photo += (235 - photo) * (layer[..., None] / 255.0)
