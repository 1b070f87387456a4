"""Images without labels: of folders, videos and lists, each image for itself."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vpr.data.file_lists import FileNames
from vpr.data.formats.folders import natural, walk_images
from vpr.data.formats.place_lists import read_rows
from vpr.data.images import readable
from vpr.data.places import Places
from vpr.data.video import extract_frames, is_video
from vpr.errors import DataAbsent, DataError

LISTS = (".csv", ".txt")


def read(root: str | Path | Sequence[str | Path], frames: str | Path, every: float = 1.0, path: str = "path") -> Places:
    """List the images of one or several sources; an image that two of them name counts once.

    Args:
        root: a folder with sub-folders or not, a video, a csv with a column `path`, or a txt with a path a line
            (relative to the list's folder); or several of them.
        frames: folder for the frames of videos.
        every: seconds between two frames of a video.
        path: column of a csv.

    Returns:
        each image as a place of its own.

    Raises:
        DataAbsent: there is no such file or folder.
        DataError: it cannot be read, or has no images.
    """
    sources = [root] if isinstance(root, str | Path) else list(root)
    if not sources:
        raise DataError("root=[]: name a folder, a video or a list of images.")
    files = [file for one in sources for file in _list(Path(one).expanduser(), Path(frames), every, path)]
    return of_paths("unlabelled", files)


def each_for_itself(name: str, root: Path, files: np.ndarray, groups: np.ndarray | None = None) -> Places:
    """Return images as places of one image each, in their order; a file that comes twice counts once.

    Args:
        name, root: as of `Places`.
        files: (N,) bytes, relative to `root`.
        groups: (N,) int64 of the files; None is one group.
    """
    first = np.sort(np.unique(files, return_index=True)[1])
    count = len(first)
    kept = np.zeros(count, np.int64) if groups is None else groups[first]
    return Places(name, root, files[first], np.arange(count + 1), np.arange(count), kept)


def of_paths(name: str, paths: Sequence[str | Path]) -> Places:
    """Return the images of a list as `each_for_itself` does, below the folder that they have in common.

    So the same images below another folder have the same names.
    """
    whole = [os.path.abspath(path) for path in paths]
    root = os.path.commonpath([os.path.dirname(path) for path in whole])
    return each_for_itself(name, Path(root), FileNames([os.path.relpath(path, root) for path in whole]).bytes)


def _list(root: Path, frames: Path, every: float, path: str) -> list[str]:
    """Return the absolute paths of the images of one root."""
    with readable(root):
        if root.is_dir():
            return [os.path.abspath(root / name) for name in sorted(walk_images(root), key=natural)]
        if not root.is_file():
            raise DataAbsent(
                f"There is no folder or file {os.path.abspath(root)}. It must hold images, in sub-folders or not; "
                "or be a video, or a csv or txt with the paths of images."
            )
    if is_video(root):
        whole = os.path.abspath(root)
        folder = frames / f"{root.stem}-{hashlib.sha256(os.fsencode(whole)).hexdigest()[:8]}"
        return [os.path.abspath(file) for _, file in extract_frames(root, folder, every)]
    if root.suffix.lower() not in LISTS:
        raise DataError(
            f"root={root}: this is no folder, video, csv or txt. Give the folder of the images, or a list of their "
            "paths."
        )
    if root.suffix.lower() == ".csv":
        listed = list(read_rows(root, [path], text=[path])[path])
    else:
        with readable(root):
            listed = [line.strip() for line in root.read_text().splitlines() if line.strip()]
    if not listed:
        raise DataError(f"root={root}: the list names no images.")
    return [os.path.abspath(root.parent / name) for name in listed]
