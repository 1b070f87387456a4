"""A folder that new photos come into."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path

from vpr.data.formats.layout import is_image, natural

log = logging.getLogger(__name__)

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
