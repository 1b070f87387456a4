"""What all readers ask of a folder."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

from vpr.data import heif
from vpr.data.readable import readable
from vpr.errors import DataAbsent, DataError

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm"})


def require_folder(root: str | Path, layout: str, source: str = "") -> Path:
    """Give the folder as a Path.

    Args:
        layout: what must be in it, for the message.
        source: who published the set, and where.

    Raises:
        DataAbsent: there is no such folder; DataError: it may not be looked at.
    """
    folder = Path(root).expanduser()
    with readable(folder):
        found = folder.is_dir()
    if not found:
        raise DataAbsent(f"There is no folder {absolute(folder)}. It must hold {layout}. {source}".strip())
    return folder


def require_file(path: Path, layout: str, source: str) -> Path:
    """Give the path; raises DataAbsent, with the layout and source as above, if it is no file."""
    with readable(path):
        found = path.is_file()
    if not found:
        raise DataAbsent(f"There is no file {absolute(path)}. The set must hold {layout}. {source}".strip())
    return path


def require_lists(
    root: str | Path, lists: str | Path | None, files: Sequence[str], source: str = ""
) -> tuple[Path, Path]:
    """Give `root` and the folder of the lists, which is `root` where `lists` is None, as Paths.

    Raises:
        DataAbsent: no such folder, or none of the files in that of the lists.
    """
    listed = ", ".join(files)
    root = require_folder(root, f"{listed} and the images they name", source)
    folder = root if lists is None else require_folder(lists, listed, source)
    if not any(os.path.isfile(folder / name) for name in files):
        raise DataAbsent(f"None of {listed} can be found in {absolute(folder)}, which must hold them. {source}".strip())
    return root, folder


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
        raise no_images(folder)
    return sorted(names, key=natural)


def no_images(folder: Path) -> DataError:
    suffixes = sorted(IMAGE_SUFFIXES | {suffix for suffix in heif.SUFFIXES if heif.is_read(suffix)})
    return DataError(f"There are no images in {absolute(folder)} (looked for {', '.join(suffixes)}).")


def is_image(name: str) -> bool:
    """Tell by the suffix; hidden files, such as those macOS leaves in archives, are no images.

    Photos as phones keep them (.heic) are images where they can be read.
    """
    suffix = os.path.splitext(name)[1].lower()
    known = suffix in IMAGE_SUFFIXES or (suffix in heif.SUFFIXES and heif.is_read(suffix))
    return known and not name.startswith(".")


def natural(name: str) -> list[str | int]:
    """Sort key by which 2.jpg comes before 10.jpg, and text and numbers never meet."""
    return [int(part) if odd % 2 else part for odd, part in enumerate(re.split(r"(\d+)", name))]
