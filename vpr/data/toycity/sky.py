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
    total = np.zeros((256, 1024), np.float32)
    for octave in range(5):
        n = 3 * 2**octave
        total += (
            cv2.resize(rng.random((n, 2 * n)).astype(np.float32), (1024, 256), interpolation=cv2.INTER_CUBIC)
            / 1.7**octave
        )
    return cv2.normalize(total, total, 0, 1, cv2.NORM_MINMAX)


def backdrop(camera: Camera, condition: Condition, turn: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw what lies behind the buildings: frame (H, W, 3) uint8 and nearness (H, W) float32. `turn` picks the clouds."""
    x, y = np.meshgrid(np.arange(camera.width) + 0.5, np.arange(camera.height) + 0.5)
    rays = np.stack([x - camera.width / 2, y - camera.height / 2, np.full(x.shape, camera.focal)], -1) / camera.focal
    world = (rays @ camera.rotation).astype(np.float32)
    flat = np.hypot(world[..., 0], world[..., 1])
    lift = world[..., 2] / flat  # tangent of the elevation
    turned = np.arctan2(world[..., 0], world[..., 1])
    mix = np.clip(lift / 0.7, 0, 1)[..., None] ** 0.6
    frame = np.float32(condition.sky_low) * (1 - mix) + np.float32(condition.sky_top) * mix
    if condition.clouds > 0:
        u, v = (turned / (2 * np.pi) * 1023 * 2 + turn) % 1023, np.clip(lift, 0, 1.4) * 150
        noise = cv2.remap(_clouds(turn % 4), u.astype(np.float32), v.astype(np.float32), cv2.INTER_LINEAR)
        cover = np.clip((noise - 0.85 + 0.6 * condition.clouds) * 3, 0, 1)[..., None] * 0.75
        bright = np.float32(condition.sky_low) * (0.62 if condition.night else 1.08) * (1.12 - 0.3 * noise[..., None])
        frame = frame * (1 - cover) + bright * cover
    hills = 0.035 + 0.025 * np.sin(turned * 3 + 1) + 0.02 * np.sin(turned * 11) + 0.015 * np.sign(np.sin(turned * 57))
    far = np.float32(condition.ambient) * (112, 116, 122) * 0.5 + np.float32(condition.sky_low) * 0.5
    frame[lift < hills] = far
    below = lift < -1e-3
    nearness = np.where(below, -world[..., 2] / camera.position[2] * 0.98, 0).astype(np.float32)
    soil = (214, 218, 224) if condition.snow else (104, 104, 102)
    frame[below] = np.float32(condition.ambient) * soil
    return np.clip(frame, 0, 255).astype(np.uint8), nearness
