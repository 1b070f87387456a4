"""The camera's electronics: exposure, white balance, vignette, raindrops, noise."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from vpr.data.toycity.conditions import Condition


def develop(image: np.ndarray, condition: Condition, rng: np.random.Generator) -> np.ndarray:
    """Turn a drawn view (h, w, 3) float32 into a photo, uint8 of the same size."""
    photo = image
    if condition.wet or condition.snow == 2:
        _falling(photo, condition.wet, rng)
    wanted = 75.0 if condition.night else 118.0
    gain = condition.exposure * min(max((wanted / float(photo.mean())) ** 0.6, 0.7), 1.5)  # automatic exposure
    photo = photo * (_vignette(*photo.shape[:2]) * np.array(condition.balance, np.float32) * np.float32(gain))
    photo += condition.noise * (0.6 + photo / 400) * rng.standard_normal(photo.shape, np.float32)
    return np.clip(photo, 0, 255).astype(np.uint8)


@lru_cache(maxsize=2)
def _vignette(h: int, w: int) -> np.ndarray:
    y, x = np.linspace(-1, 1, h, dtype=np.float32)[:, None], np.linspace(-1, 1, w, dtype=np.float32)
    return (1 - np.float32(0.13) * (x * x + y * y))[..., None]


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
