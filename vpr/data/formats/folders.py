"""Folders of images, as all readers need them: required with a message, listed, walked, found among several layouts."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import NamedTuple

from vpr.data import images
from vpr.data.images import readable
from vpr.errors import DataAbsent, DataError

log = logging.getLogger(__name__)

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".ppm", ".pgm"})
# Raw formats of cameras, which are not read, and those of phones, which are read with an extra.
RAW = frozenset({".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2"})
OTHER_SUFFIXES = RAW | images.HEIF_SUFFIXES

BASES = ("", "raw")  # OpenIBL and WAKD keep everything below raw/
SUFFIXES = (".png", ".jpg", ".jpeg", ".PNG", ".JPG", ".JPEG")
PROBES = 50


def require_folder(root: str | Path, layout: str, source: str = "") -> Path:
    """Return the folder as a Path.

    Args:
        layout: its required content, for the message.
        source: who published the set, and where.

    Raises:
        DataAbsent: there is no such folder; DataError: it may not be looked at.
    """
    folder = Path(root).expanduser()
    with readable(folder):
        exists = folder.is_dir()
    if not exists:
        raise DataAbsent(f"There is no folder {absolute(folder)}. It must hold {layout}. {source}".strip())
    return folder


def require_file(path: Path, layout: str, source: str) -> Path:
    """Return the path; raises DataAbsent, with the layout and source as above, if it is no file."""
    with readable(path):
        exists = path.is_file()
    if not exists:
        raise DataAbsent(f"There is no file {absolute(path)}. The set must hold {layout}. {source}".strip())
    return path


def require_lists(
    root: str | Path, lists: str | Path | None, files: Sequence[str], source: str = ""
) -> tuple[Path, Path]:
    """Return `root` and the folder of the lists, which is `root` where `lists` is None, as Paths.

    Raises:
        DataAbsent: no such folder, or none of the files in that of the lists.
    """
    listed = ", ".join(files)
    root = require_folder(root, f"{listed} and the images they name", source)
    folder = root if lists is None else require_folder(lists, listed, source)
    if not any(os.path.isfile(folder / name) for name in files):
        raise DataAbsent(f"None of {listed} can be found in {absolute(folder)}, which must hold them. {source}".strip())
    return root, folder


def require_sides(root: str | Path, database: str, queries: str, layout: str, source: str = "") -> Path:
    """Return `root` as a Path, after a look at the two folders below it.

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


def list_images(folder: Path) -> list[str]:
    """Return the names of the images in a folder in natural order (2.jpg before 10.jpg).

    Raises:
        DataError: the folder is missing, cannot be read, or holds no image.
    """
    with readable(folder):
        names = [entry.name for entry in folder.iterdir() if is_image(entry.name)] if folder.is_dir() else []
    if not names:
        raise no_images(folder)
    return sorted(names, key=natural)


def no_images(folder: Path) -> DataError:
    suffixes = sorted(IMAGE_SUFFIXES | {suffix for suffix in images.HEIF_SUFFIXES if images.can_read(suffix)})
    return DataError(f"There are no images in {absolute(folder)} (looked for {', '.join(suffixes)}).")


def is_image(name: str) -> bool:
    """Tell by the suffix; hidden files, such as those macOS leaves in archives, are no images.

    HEIC and AVIF files are images where they can be read.
    """
    suffix = os.path.splitext(name)[1].lower()
    known = suffix in IMAGE_SUFFIXES or (suffix in images.HEIF_SUFFIXES and images.can_read(suffix))
    return known and not name.startswith(".")


def natural(name: str) -> list[str | int]:
    """Return a sort key by which 2.jpg comes before 10.jpg, and text and numbers never meet."""
    return [int(part) if odd % 2 else part for odd, part in enumerate(re.split(r"(\d+)", name))]


def walk_images(folder: Path) -> list[str]:
    """List the images below a folder, sub-folders and links included, in no order, as names relative to it.

    Hidden files and folders are left out; a link to a folder that it lies in is not followed. A name with the suffix
    of an image is taken for one without a look at the file.

    Image formats that are not read, such as .dng, and .heic without its extra, are left out with a warning.

    Raises:
        DataError: a folder cannot be read, or there is no image.
    """
    names: list[str] = []
    others: list[str] = []
    _walk(os.fspath(folder), "", (), names, others)
    message = _not_read(folder, others) if others else ""
    if not names:
        raise DataError(message) if message else no_images(folder)
    if message:
        log.warning("%s They are left out.", message)
    return names


def _not_read(folder: Path, others: list[str]) -> str:
    suffixes = {os.path.splitext(name)[1].lower() for name in others}
    message = (
        f"{len(others):,} photos in {absolute(folder)} are {', '.join(sorted(suffixes))} (first: {min(others)}), which "
        "is not read. Convert them to .jpg"
    )
    phones = ", ".join(sorted(suffixes & images.HEIF_SUFFIXES))
    return f"{message} ({phones} is read after {images.INSTALL})." if phones else f"{message}."


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
                elif os.path.splitext(name)[1].lower() in OTHER_SUFFIXES:
                    others.append(prefix + name)
                elif entry.is_symlink() and os.path.isdir(entry.path):  # False for one that leads nowhere, or to itself
                    folders.append(name)
    for name in folders:
        _walk(f"{folder}/{name}", f"{prefix}{name}/", (*above, here), names, others)


class Sides(NamedTuple):
    """The folder of all images, and the paths of database and queries relative to it."""

    root: Path
    database: list[str]
    queries: list[str]


def find_sides(root: Path, database: Sequence[str], queries: Sequence[str], layouts: Sequence[Sequence[str]]) -> Sides:
    """Try each pair of folders, below root and root/raw, until images of both lists are found.

    The suffix is the listed one or, if no image has that, any other one that is found: Tokyo 24/7 is listed as .jpg and
    given out as .png. Where only database or queries are found, that pair is taken; where nothing is, the first pair.

    Args:
        layouts: pairs of (database folder, query folder).
    """
    best: tuple[Path, Sequence[str], list[str | None]] = root, layouts[0], [None, None]
    for base, folders in product(BASES, layouts):
        suffixes = [
            _suffix(root / base / folder, names) for folder, names in zip(folders, (database, queries), strict=True)
        ]
        if suffixes.count(None) < best[2].count(None):
            best = root / base, folders, suffixes
        if None not in suffixes:
            break
    top, folders, suffixes = best
    return Sides(top, *map(_named, folders, (database, queries), suffixes))


def _suffix(folder: Path, names: Sequence[str]) -> str | None:
    """Return the suffix of the first image that is found: "" as listed, None if there is none."""
    # The first, and others from all over the list: a copy with holes is found as well.
    probes = dict.fromkeys([*names[:PROBES], *names[:: max(1, len(names) // PROBES)]]) if folder.is_dir() else {}
    for suffix in ("", *SUFFIXES):
        if any((folder / _renamed(name, suffix)).is_file() for name in probes):
            return suffix
    return None


def _named(folder: str, names: Sequence[str], suffix: str | None) -> list[str]:
    below = "" if folder in ("", ".") else f"{folder}/"
    return [below + _renamed(name, suffix or "") for name in names]


def _renamed(name: str, suffix: str) -> str:
    return os.path.splitext(name)[0] + suffix if suffix else name


def absolute(path: Path) -> str:
    """Return the absolute form of a path, for messages."""
    return os.path.abspath(path)
