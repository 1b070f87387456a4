"""Where the images of a list lie on this disk: found by looking, since copies of one set differ."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import NamedTuple

BASES = ("", "raw")  # OpenIBL and WAKD keep everything below raw/
SUFFIXES = (".png", ".jpg", ".jpeg", ".PNG", ".JPG", ".JPEG")
PROBES = 50


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
    """Give the suffix of the first image that is found: "" as listed, None if there is none."""
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
