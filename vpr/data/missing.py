"""Looks for files before anything is decoded."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from vpr.data.readable import readable


def missing_files(paths: Iterable[Path]) -> list[int]:
    """Give the numbers of the paths that do not exist; reads each folder once, which is quick on network disks too.

    Raises:
        DataError: a folder cannot be listed.
    """
    folders: dict[str, set[str]] = {}
    missing = []
    for number, path in enumerate(paths):
        folder, name = os.path.split(path)
        if folder not in folders:
            with readable(folder):
                folders[folder] = set(os.listdir(folder)) if os.path.isdir(folder) else set()
        if name not in folders[folder]:
            missing.append(number)
    return missing
