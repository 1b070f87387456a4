"""Sky, clouds, the distant skyline and the bare ground: what a view is drawn upon."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from vpr.data.toycity.camera import Camera
from vpr.data.toycity.conditions import Condition


@lru_cache(maxsize=4)
def _clouds(seed: int) -> np.ndarray:
    """Fractal noise (256, 1024) in 0..1, periodic enough in azimuth."""
    rng = np.random.default_rng((seed, 77))
    total: np.ndarray = np.zeros((256, 1024), np.float32)
    for octave in range(5):
        n = 3 * 2**octave
        total += (
            cv2.resize(rng.random((n, 2 * n)).astype(np.float32), (1024, 256), interpolation=cv2.INTER_CUBIC)
            / 1.7**octave
        )
    return cv2.normalize(total, total, 0, 1, cv2.NORM_MINMAX)


def backdrop(camera: Camera, condition: Condition, turn: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw what lies behind the buildings: frame (H, W, 3) uint8 and nearness (H, W) float32.

    `turn` picks the clouds. All of this is soft, so it is computed at half the resolution.
    """
    h, w = camera.height // 2, camera.width // 2
    columns = np.arange(w, dtype=np.float32)[None, :, None] * 2 + 1
    rows = np.arange(h, dtype=np.float32)[:, None, None] * 2 + 1
    towards = camera.unprojection.astype(np.float32)
    world = columns * towards[:, 0] + rows * towards[:, 1] + towards[:, 2]
    lift = world[..., 2] / cv2.magnitude(world[..., 0], world[..., 1])  # tangent of the elevation
    azimuth = cv2.phase(world[..., 1], world[..., 0])
    mix = np.sqrt(np.clip(lift / 0.7, 0, 1))[..., None]
    low, top, ambient = (np.array(c, np.float32) for c in (condition.sky_low, condition.sky_top, condition.ambient))
    frame = low * (1 - mix) + top * mix
    u, v = (azimuth / np.float32(np.pi) * 1023 + turn) % 1023, np.clip(lift, 0, 1.4) * 150
    noise = cv2.remap(_clouds(turn % 4), u.astype(np.float32), v.astype(np.float32), cv2.INTER_LINEAR)
    cover = np.clip((noise - 0.85 + 0.6 * condition.clouds) * 3, 0, 0.75 if condition.clouds else 0)[..., None]
    bright = low * (0.62 if condition.night else 1.08) * (1.12 - 0.3 * noise[..., None])
    frame += (bright - frame) * cover
    hills = (
        0.035 + 0.025 * np.sin(azimuth * 3 + 1) + 0.02 * np.sin(azimuth * 11) + 0.015 * np.sign(np.sin(azimuth * 57))
    )
    frame[lift < hills] = ambient * np.float32(58) + low * 0.5
    frame[lift < -1e-3] = ambient * np.float32(218 if condition.snow else 104)
    size = (camera.width, camera.height)
    nearness = np.maximum(world[..., 2] * np.float32(-0.98 / camera.position[2]), 0)  # of the ground, a little too far
    image = np.clip(frame, 0, 255).astype(np.uint8)
    return cv2.resize(image, size), cv2.resize(nearness, size)
