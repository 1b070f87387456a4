"""Queries: a photo, the photos of a folder, the frames of a video, or new photos as they come into a folder."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from vpr.data.formats.exif import read_fixes
from vpr.data.formats.folders import is_image, natural, walk_images
from vpr.data.video import extract_frames, is_video
from vpr.demo.answers import Position, Query
from vpr.errors import ConfigError, DataError

log = logging.getLogger(__name__)

Stamps = dict[str, tuple[int, int]]
"""Size and time of change, in nanoseconds, of each image below a folder."""


def find(query: Path, frames: Path, every: float = 1.0) -> list[Query]:
    """List the queries, in natural order (2.jpg before 10.jpg).

    Args:
        query: a file, which is taken for a photo unless its name is that of a video, or a folder, with sub-folders.
        frames: folder for the frames of a video, one each `every` seconds.

    Raises:
        DataError: no image in the folder, or no frame in the video.
    """
    if os.path.isdir(query):
        _warn_of_videos(query)
        return photos(query, walk_images(query))
    if is_video(query):
        return [Query(f"{query.name} {second:.3f} s", path) for second, path in extract_frames(query, frames, every)]
    return photos(query.parent, [query.name])


def check_query(query: Path, watched: bool = False) -> None:
    """Raise DataError where there is neither a file nor a folder, or a file that is to be `watched`."""
    if not os.path.exists(query):
        raise DataError(f"There is no file or folder {os.path.abspath(query)}. Type query=PHOTO, FOLDER or VIDEO.")
    if watched and not os.path.isdir(query):
        raise DataError(f"{os.path.abspath(query)} is no folder, and only a folder can be watched. Type query=FOLDER.")


def check_outside(out: Path, **folders: Path) -> None:
    """Raise ConfigError where `out` lies in one of these folders: its pictures would be taken for photos of it."""
    for name, folder in folders.items():
        if os.path.isdir(folder) and out.resolve().is_relative_to(folder.resolve()):
            raise ConfigError(
                f"out={out} lies in {name}={folder}, where its pictures would be taken for photos: type another out=."
            )


def photos(folder: Path, names: Iterable[str]) -> list[Query]:
    """Make queries of these photos below a folder, in natural order, each where its EXIF data says it was taken."""
    names = sorted(names, key=natural)
    paths = [folder / name for name in names]
    return [
        Query(name, path, Position(fix.lat, fix.lon) if fix.lat == fix.lat else None)
        for name, path, fix in zip(names, paths, read_fixes(paths), strict=True)
    ]


def _warn_of_videos(folder: Path) -> None:
    videos = []
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        videos += [os.path.join(parent, name) for name in files if is_video(Path(name)) and not name.startswith(".")]
    if videos:
        first = min(videos, key=natural)
        log.warning("%s videos in %s are left out. Ask each by itself: query=%s", f"{len(videos):,}", folder, first)


def stamps(folder: Path) -> Stamps:
    """List the images below a folder as they are now; hidden ones and linked folders are left out."""
    images: Stamps = {}
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in filter(is_image, files):
            path = os.path.join(parent, name)
            try:
                status = os.stat(path)
            except OSError:  # gone since, or a link in a circle
                continue
            images[os.path.relpath(path, folder)] = (status.st_size, status.st_mtime_ns)
    return images


def new_files(folder: Path, seen: Stamps, every: float = 1.0) -> Iterator[list[str]]:
    """Look each `every` seconds, and yield the names of those that are new or changed since `seen`, without end.

    A file counts when it is as it was at the last look: it has been written to its end. `seen` is kept up to date.
    """
    before: Stamps = {}
    gone = False
    while True:
        time.sleep(every)
        was_gone, gone = gone, not os.path.isdir(folder)
        if gone and not was_gone:
            log.warning("The folder %s is gone. Its photos are answered when it is there again.", folder)
        now = stamps(folder)
        ready = {name: stamp for name, stamp in now.items() if seen.get(name) != stamp == before.get(name)}
        before = now
        if ready:
            seen |= ready
            yield sorted(ready, key=natural)
