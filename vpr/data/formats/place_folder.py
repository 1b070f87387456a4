"""A folder of places: `root/<place>/<images>`."""

from __future__ import annotations

from pathlib import Path

from vpr.data.formats.layout import absolute, list_images, require_folder
from vpr.data.grouping import group_by_place
from vpr.data.places import Places
from vpr.data.readable import readable
from vpr.errors import DataError

LAYOUT = "one sub-folder a place, with its images in it"


def read(root: str | Path, min_images_per_place: int = 2, name: str = "places") -> Places:
    """Read your own photos; places with fewer images than `min_images_per_place` are left out.

    Raises:
        DataError: no such folder, no sub-folders, an empty sub-folder, or no place with enough images.
    """
    root = require_folder(root, LAYOUT)
    with readable(root):
        folders = sorted(entry.name for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if not folders:
        raise DataError(f"There are no sub-folders in {absolute(root)}. It must hold {LAYOUT}.")
    rows = [(folder, image) for folder in folders for image in list_images(root / folder)]
    files = [f"{folder}/{image}" for folder, image in rows]
    return group_by_place(name, root, files, [folder for folder, _ in rows], None, min_images_per_place)
