"""All images below a folder, for trees of millions of files."""

from __future__ import annotations

import logging
import os
from pathlib import Path

from vpr.data import heif
from vpr.data.formats.layout import absolute, is_image, no_images, require_folder
from vpr.data.readable import readable
from vpr.errors import DataError

log = logging.getLogger(__name__)

# What cameras write and this suite does not read, and what phones write and it reads with an extra.
RAW = frozenset({".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2"})
OTHER_PHOTOS = RAW | heif.SUFFIXES


def require_sides(root: str | Path, database: str, queries: str, layout: str, source: str = "") -> Path:
    """Give `root` as a Path, after a look at the two folders below it.

    Raises:
        DataAbsent: none of the folders is there; DataError: only one is.
    """
    root = require_folder(root, layout, source)
    with readable(root):
        absent = [side for side in (database, queries) if not (root / side).is_dir()]
    if len(absent) == 2:
        require_folder(root / database, f"{layout}, below {absolute(root)}", source)
    if absent:
        raise DataError(f"There is no folder {absolute(root / absent[0])}. {root} must hold {layout}. {source}".strip())
    return root


def walk_images(folder: Path) -> list[str]:
    """List the images below a folder, sub-folders and links included, in no order, as names relative to it.

    Hidden files and folders are left out; a link to a folder that it lies in is not followed. A name with the suffix
    of an image is taken for one without a look at the file.

    Photos of a kind that is not read, such as .dng, and .heic without its extra, are left out with a warning.

    Raises:
        DataError: a folder cannot be read, or there is no image.
    """
    names: list[str] = []
    others: list[str] = []
    _walk(os.fspath(folder), "", (), names, others)
    said = _not_read(folder, others) if others else ""
    if not names:
        raise DataError(said) if said else no_images(folder)
    if said:
        log.warning("%s They are left out.", said)
    return names


def _not_read(folder: Path, others: list[str]) -> str:
    suffixes = {os.path.splitext(name)[1].lower() for name in others}
    said = (
        f"{len(others):,} photos in {absolute(folder)} are {', '.join(sorted(suffixes))} (first: {min(others)}), which "
        "is not read. Convert them to .jpg"
    )
    phones = ", ".join(sorted(suffixes & heif.SUFFIXES))
    return f"{said} ({phones} is read after {heif.INSTALL})." if phones else f"{said}."


def _walk(folder: str, prefix: str, above: tuple[tuple[int, int], ...], names: list[str], others: list[str]) -> None:
    with readable(folder):
        status = os.stat(folder)
        here = (status.st_dev, status.st_ino)
        if here in above:
            return
        with os.scandir(folder) as entries:
            folders = []
            for entry in entries:
                name = entry.name
                if name.startswith("."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    folders.append(name)
                elif is_image(name):
                    names.append(prefix + name)
                elif os.path.splitext(name)[1].lower() in OTHER_PHOTOS:
                    others.append(prefix + name)
                elif entry.is_symlink() and entry.is_dir():
                    folders.append(name)
    for name in folders:
        _walk(f"{folder}/{name}", f"{prefix}{name}/", (*above, here), names, others)
