"""Road and pavement textures."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from vpr.data.toycity.canvas import pyramid
from vpr.data.toycity.map import PAVEMENT
from vpr.data.toycity.walls import grain

SCALE = 16  # pixels per metre
TILE = 14.0  # metres of street on one texture


@lru_cache(maxsize=400)
def road(width: float, key: tuple[int, ...], snow: int) -> list[np.ndarray]:
    """Draw `TILE` metres of a street, `width` from front to front; `snow` 0..2 is none, some, much."""
    rng = np.random.default_rng(key[:-1])  # markings belong to the street,
    own = np.random.default_rng(key)  # wear to the tile
    h, w = round(width * SCALE), round(TILE * SCALE)
    image = np.empty((h, w, 3), np.float32)
    asphalt = rng.uniform(78, 104) + np.array([0, 0, 3.0])
    image[:] = asphalt
    image *= (
        1 + cv2.resize(own.normal(0, 0.05, (5, 7)).astype(np.float32), (w, h), interpolation=cv2.INTER_CUBIC)[..., None]
    )
    image *= 1 + grain(h, w, own)[..., None]
    for _ in range(int(own.integers(0, 3))):  # patches and drains
        left, top = int(own.integers(w)), int(own.integers(h))
        image[top : top + int(own.integers(10, 50)), left : left + int(own.integers(10, 90))] *= own.uniform(0.75, 1.1)
    kerb = round(PAVEMENT * SCALE)
    paint = np.array([206, 204, 196], np.float32)
    line = str(rng.choice(["dashed", "solid", "none"], p=[0.6, 0.2, 0.2]))
    for start in range(0, w, 6 * SCALE) if line == "dashed" else [0]:
        if line != "none":
            image[h // 2 - 1 : h // 2 + 2, start : start + (3 * SCALE if line == "dashed" else w)] = paint
    if rng.random() < 0.5:  # parking bays
        for y in (kerb + 2 * SCALE, h - kerb - 2 * SCALE):
            image[y - 1 : y + 1] = paint * 0.9
    slab = rng.uniform(138, 172) + rng.normal(0, 4, 3)
    size = int(rng.choice([8, 12, 16]))
    rows, columns = np.arange(kerb)[:, None], np.arange(w)
    joints = np.where((rows % size == 0) | ((columns + rows // size % 2 * size // 2) % size == 0), 0.84, 1.0)
    pavement = joints[..., None] * slab * (1 + own.normal(0, 0.02, (kerb, w, 1)))
    image[:kerb], image[-kerb:] = pavement, pavement[::-1]
    for y in (kerb, h - kerb):
        image[y - 3 : y + 3] = (176, 174, 168)
        image[y : y + 2] *= 0.55
    if snow:
        depth = cv2.resize(own.normal(0, 0.25, (8, 12)).astype(np.float32), (w, h), interpolation=cv2.INTER_CUBIC)
        across = np.abs(np.arange(h) - h / 2) / (h / 2)
        tracks = 0.45 * np.sin(np.arange(h) / SCALE * 2.4) ** 2 * (across < 0.55)
        cover = np.clip(depth + (0.35 if snow == 1 else 1.0) * (0.35 + across)[:, None] - tracks[:, None] + 0.2, 0, 1)[
            ..., None
        ]
        image = image * (1 - cover) + np.array([226, 230, 236]) * cover
    return pyramid(np.clip(image, 0, 255).astype(np.uint8), 5)
