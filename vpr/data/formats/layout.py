"""What all readers ask of a folder."""

from __future__ import annotations

import os
import re
from pathlib import Path

from vpr.data.readable import readable
from vpr.errors import DataAbsent, DataError

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm"})


def require_folder(root: str | Path, layout: str, source: str = "") -> Path:
    """Give the folder as a Path.

    Args:
        layout: what must be in it, for the message.
        source: who published the set, and where.

    Raises:
        DataAbsent: there is no such folder.
    """
    folder = Path(root).expanduser()
    if not folder.is_dir():
        raise DataAbsent(f"There is no folder {absolute(folder)}. It must hold {layout}. {source}".strip())
    return folder


def require_file(path: Path, layout: str, source: str) -> Path:
    """Give the path; raises DataAbsent, with the layout and source as above, if it is no file."""
    if not path.is_file():
        raise DataAbsent(f"There is no file {absolute(path)}. The set must hold {layout}. {source}".strip())
    return path


def absolute(path: Path) -> str:
    """Where a relative path leads, for messages."""
    return os.path.abspath(path)


def list_images(folder: Path) -> list[str]:
    """Names of the images in a folder, numbers in natural order (2.jpg before 10.jpg).

    Raises:
        DataError: the folder is missing, cannot be read, or holds no image.
    """
    with readable(folder):
        names = [entry.name for entry in folder.iterdir() if is_image(entry.name)] if folder.is_dir() else []
    if not names:
        raise DataError(f"There are no images in {absolute(folder)} (looked for {', '.join(sorted(IMAGE_SUFFIXES))}).")
    return sorted(names, key=natural)


def is_image(name: str) -> bool:
    """Tell by the suffix; hidden files, such as those macOS leaves in archives, are no images."""
    return Path(name).suffix.lower() in IMAGE_SUFFIXES and not name.startswith(".")


def natural(name: str) -> list[str | int]:
    """Sort key by which 2.jpg comes before 10.jpg, and text and numbers never meet."""
    return [int(part) if odd % 2 else part for odd, part in enumerate(re.split(r"(\d+)", name))]
