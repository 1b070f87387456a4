"""Thumbnails of image files, as pixels and as data URIs."""

from __future__ import annotations

import base64
import os
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import simplejpeg

from vpr.data.images import decode
from vpr.errors import DataError

LINES = ((31, 136, 61), (9, 105, 218), (191, 135, 0), (130, 80, 223), (207, 34, 46))
"""Colours of lines between points, RGB, in turn: neighbouring ones are told apart."""


def jpeg_uri(pixels: np.ndarray) -> str:
    """Return a data URI of uint8 RGB (h, w, 3), as JPEG."""
    content = simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), quality=80, colorsubsampling="420")
    return f"data:image/jpeg;base64,{base64.b64encode(content).decode()}"


def thumbnail(path: Path, height: int = 120, width: int = 160) -> np.ndarray:
    """Read an image to fit a box, sides in proportion: uint8 RGB (h, w, 3); grey where it cannot be read any more."""
    try:
        image = decode(path, (height, width))
    except DataError:
        return np.full((height, width, 3), 200, np.uint8)
    scale = min(height / image.shape[0], width / image.shape[1])
    size = max(round(image.shape[1] * scale), 1), max(round(image.shape[0] * scale), 1)
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)


def boxed(image: np.ndarray, height: int, width: int) -> np.ndarray:
    """Centre an image in a light box, so that images of all proportions stand in straight rows."""
    top, left = (height - image.shape[0]) // 2, (width - image.shape[1]) // 2
    bottom, right = height - image.shape[0] - top, width - image.shape[1] - left
    return cv2.copyMakeBorder(image, top, bottom, left, right, cv2.BORDER_CONSTANT, value=(234, 238, 242))


def joined(left: Path, right: Path, of_left: np.ndarray, of_right: np.ndarray) -> np.ndarray:
    """Draw two images side by side, with lines between their points: uint8 RGB (240, 648, 3).

    Args:
        of_left, of_right: (n, 2), x and y as shares 0..1 of width and height.
    """
    height, width, gap = 240, 320, 8
    canvas, corners = np.full((height, 2 * width + gap, 3), 255, np.uint8), []
    for path, start in ((left, 0), (right, width + gap)):
        image = thumbnail(path, height, width)
        x, y = start + (width - image.shape[1]) // 2, (height - image.shape[0]) // 2
        canvas[:, start : start + width] = boxed(image, height, width)
        corners.append((np.array([x, y]), np.array(image.shape[1::-1])))
    ends = [
        np.rint(corner + points * size) for (corner, size), points in zip(corners, (of_left, of_right), strict=True)
    ]
    for number, (one, other) in enumerate(zip(*(points.astype(int).tolist() for points in ends), strict=True)):
        colour = LINES[number % len(LINES)]
        cv2.line(canvas, one, other, colour, 1, cv2.LINE_AA)
        for end in (one, other):
            cv2.circle(canvas, end, 2, colour, -1, cv2.LINE_AA)
    return canvas


class Picture(NamedTuple):
    """An image in a page: its id, and its data URI; "" where the page has an image of that id before."""

    id: str
    uri: str


class Pictures:
    """The images of one page, at most 320 pixels wide and 240 high; `copies.js` shows again what is embedded once."""

    def __init__(self) -> None:
        self._ids: dict[Path, str] = {}

    def add(self, path: Path) -> Picture:
        """Return the next image of the page; grey where it cannot be read any more."""
        if path in self._ids:
            return Picture(self._ids[path], "")
        self._ids[path] = f"photo{len(self._ids)}"
        return Picture(self._ids[path], _uri(path, _stamp(path)))


def _stamp(path: Path) -> tuple[int, int] | None:
    """Return size and time of change of a file, by which its thumbnail is kept; None where it is gone."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


@lru_cache(maxsize=4096)  # the demo's page is written again for each photo that comes
def _uri(path: Path, stamp: tuple[int, int] | None) -> str:
    return jpeg_uri(thumbnail(path, 240, 320))
