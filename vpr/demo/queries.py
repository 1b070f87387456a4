"""What is asked: a photo, the photos of a folder, or the frames of a video."""

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


def find(query: Path, frames: Path, every: float = 1.0) -> list[Query]:
    """List what is asked, in natural order (2.jpg before 10.jpg).

    Args:
        query: a file, which is taken for a photo unless its name is that of a video, or a folder, with sub-folders.
        frames: folder for the frames of a video, one each `every` seconds.

    Raises:
        DataError: no image in the folder, or no frame in the video.
    """
    if query.is_dir():
        _say_videos(query)
        return photos(query, walk_images(query))
    if is_video(query):
        return [Query(f"{query.name} {second:.3f} s", path) for second, path in extract_frames(query, frames, every)]
    return photos(query.parent, [query.name])


def there(query: Path, folder: bool = False) -> None:
    """Raise DataError where there is neither a file nor a folder, or what is there is no `folder` and must be one."""
    if not query.exists():
        raise DataError(f"There is no file or folder {os.path.abspath(query)}. Type query=PHOTO, FOLDER or VIDEO.")
    if folder and not query.is_dir():
        raise DataError(f"{os.path.abspath(query)} is no folder, and only a folder can be watched. Type query=FOLDER.")


def outside(out: Path, **folders: Path) -> None:
    """Raise ConfigError where `out` lies in one of these folders: what is written would be taken for photos of it."""
    for name, folder in folders.items():
        if folder.is_dir() and out.resolve().is_relative_to(folder.resolve()):
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


def _say_videos(folder: Path) -> None:
    found = []
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [os.path.join(parent, name) for name in files if is_video(Path(name)) and not name.startswith(".")]
    if found:
        first = min(found, key=natural)
        log.warning("%s videos in %s are left out. Ask each by itself: query=%s", f"{len(found):,}", folder, first)


# FOLDED vpr/demo/queries.py: A folder that new photos come into.


Stamps = dict[str, tuple[int, int]]
"""Size and time of change, in nanoseconds, of each image below a folder."""


def stamps(folder: Path) -> Stamps:
    """Look at the images below a folder now; hidden ones and linked folders are left out."""
    found: Stamps = {}
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in filter(is_image, files):
            path = os.path.join(parent, name)
            try:
                status = os.stat(path)
            except OSError:  # gone since, or a link in a circle
                continue
            found[os.path.relpath(path, folder)] = (status.st_size, status.st_mtime_ns)
    return found


def new_files(folder: Path, seen: Stamps, every: float = 1.0) -> Iterator[list[str]]:
    """Look each `every` seconds, and yield the names of those that are new or changed since `seen`, without end.

    A file counts when it is as it was at the last look: it has been written to its end. `seen` is kept up to date.
    """
    before: Stamps = {}
    gone = False
    while True:
        time.sleep(every)
        was, gone = gone, not os.path.isdir(folder)
        if gone and not was:
            log.warning("The folder %s is gone. Its photos are answered when it is there again.", folder)
        now = stamps(folder)
        ready = {name: stamp for name, stamp in now.items() if seen.get(name) != stamp == before.get(name)}
        before = now
        if ready:
            seen |= ready
            yield sorted(ready, key=natural)
