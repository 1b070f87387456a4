"""Photos inside a page."""

from __future__ import annotations

import os
from functools import lru_cache
from html import escape
from pathlib import Path

import cv2
import numpy as np

from vpr.data.images import decode
from vpr.errors import DataError
from vpr.pages.render import jpeg_address

# A photo stands in the page once; where it is shown again, its address is copied.
SCRIPT = """
document.querySelectorAll("img[data-same]").forEach(image => {
  image.src = document.getElementById(image.dataset.same).src;
});
"""


def readable(text: str) -> str:
    """Turn what is no text in a file name into question marks."""
    return text.encode("utf-8", "replace").decode()


def plain(text: str) -> str:
    """Make any file name fit for HTML, in text and in attributes."""
    return escape(readable(text), quote=True)


def image(source: str, alternative: str, attributes: str = "") -> str:
    """Return an `<img>`.

    Args:
        source: its address, as of `jpeg_address`.
        alternative: what it shows, in words.
        attributes: HTML.
    """
    return f'<img src="{source}" alt="{plain(alternative)}"{attributes}>'


def stamp(path: Path) -> tuple[int, int] | None:
    """Size and time of change of a file, by which a picture of it is kept; None where it is gone."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


@lru_cache(maxsize=4096)  # a page is written again for each photo that comes
def _small(path: Path, stamp: tuple[int, int] | None) -> str:
    return jpeg_address(thumbnail(path, 240, 320))


class Pictures:
    """The photos of one page, each at most 320 pixels wide and 240 high; `SCRIPT` must be in it."""

    def __init__(self) -> None:
        self._shown: dict[Path, str] = {}

    def image(self, path: Path, alternative: str) -> str:
        """Return the `<img>` of a photo file; grey where it cannot be read any more."""
        if path in self._shown:
            return f'<img data-same="{self._shown[path]}" alt="{plain(alternative)}">'
        self._shown[path] = f"photo{len(self._shown)}"
        return image(_small(path, stamp(path)), alternative, f' id="{self._shown[path]}"')


def thumbnail(path: Path, height: int = 120, width: int = 160) -> np.ndarray:
    """Read a photo to fit a box, sides in proportion: uint8 RGB (h, w, 3); grey where it cannot be read any more."""
    try:
        image = decode(path, (height, width))
    except DataError:
        return np.full((height, width, 3), 200, np.uint8)
    scale = min(height / image.shape[0], width / image.shape[1])
    size = max(round(image.shape[1] * scale), 1), max(round(image.shape[0] * scale), 1)
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
