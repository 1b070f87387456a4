"""Similarity maps of two photos, painted over them: the heat that explains an answer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from vpr.data.images import decode
from vpr.data.transforms import EvalTransform, stack_images
from vpr.demo.answers import Heat
from vpr.models.describer import Describer
from vpr.models.saliency import similarity_maps

OPAQUE = 0.75
"""Share of the colour where the heat is 1; the photo shows through everywhere."""


def heat_maker(describer: Describer, device: torch.device | str) -> Callable[[Path, Path], Heat]:
    """Make `heat(query, match) -> Heat`, the hottest cell of each photo 1. The describer moves to `device`.

    `heat` raises DataError where a photo cannot be read.
    """
    describer = describer.to(device).eval()
    transform = EvalTransform(describer.preprocess)

    def image(path: Path) -> Tensor:
        pixels = stack_images([transform(decode(path, transform.enough))])
        return describer.normalise(pixels.to(device))

    def heat(query: Path, match: Path) -> Heat:
        return Heat(*map(_of_hottest, similarity_maps(describer, image(query), image(match))))

    return heat


def _of_hottest(cells: Tensor) -> np.ndarray:
    return (cells / cells.max().clamp(min=torch.finfo(torch.float32).tiny)).cpu().numpy()


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
