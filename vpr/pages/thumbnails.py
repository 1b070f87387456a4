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
