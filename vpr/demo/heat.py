"""Why this answer: what makes two photos similar, as maps and painted over the photos."""

from __future__ import annotations

import cv2
import numpy as np

OPAQUE = 0.75
"""Share of the colour where the heat is 1; the photo shows through everywhere."""


def overlay(photo: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Paint heat over a photo: yellow where it is 1, over orange and purple to nothing where it is 0.

    Args:
        photo: (H, W, 3) uint8 RGB; stays as it was.
        heat: (h, w) in 0..1, stretched over the whole photo; what is not finite counts as 0.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    height, width = photo.shape[:2]
    cells = np.nan_to_num(heat, nan=0, posinf=0, neginf=0).astype(np.float32)
    smooth = cv2.resize(cells, (width, height), interpolation=cv2.INTER_CUBIC).clip(0, 1)
    colours = cv2.applyColorMap(np.rint(255 * smooth).astype(np.uint8), cv2.COLORMAP_INFERNO)[..., ::-1]
    share = OPAQUE * smooth[..., None]
    return np.rint((1 - share) * photo + share * colours).astype(np.uint8)
