"""Frames of one traverse: the images of folders in the order in which they were taken."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Sequence
from pathlib import Path

from vpr.data.formats.layout import absolute, list_images
from vpr.errors import ConfigError, DataError

_LAST_NUMBER = re.compile(r"\d+(?=\D*$)")


def list_frames(
    root: Path, folders: Sequence[str], expected: int | None = None, names: str | None = None
) -> list[Path]:
    """List the frames 0, 1, 2 ... of one traverse.

    Args:
        folders: below `root`, one after the other, each in natural order of its names.
        expected: how many there must be. Where some are absent, the numbers in the names of the others (0 to
            expected - 1) say which: the frames keep their numbers, and an absent one gets the path that it should have.
        names: text file below `root` with one file name a line: these frames of the only folder, in this order.

    Raises:
        ConfigError: names for several folders.
        DataError: a folder or list cannot be read, or it cannot be told which frames are absent.
    """
    if names is not None:
        if len(folders) != 1:
            raise ConfigError(f"names={names} chooses frames of one folder, not of {', '.join(folders)}.")
        return [root / folders[0] / name for name in read_lines(root / names)]
    paths = [root / folder / name for folder in folders for name in list_images(root / folder)]
    if expected is None or len(paths) == expected:
        return paths
    numbers = [_number(path) for path in paths]
    if len(paths) > expected or min(numbers) != 0 or max(numbers) >= expected or len(set(numbers)) < len(numbers):
        raise DataError(
            f"{' + '.join(absolute(root / folder) for folder in folders)}: {expected:,} images are expected, but "
            f"{len(paths):,} were found (first: {paths[0].name}), and their names are no frame numbers from 0 to "
            f"{expected - 1} that would tell which ones to leave out. Extract the archive again."
        )
    return _with_gaps(dict(zip(numbers, paths, strict=True)), expected)


def read_lines(path: Path) -> list[str]:
    """Read the lines of a text file that are not empty; a name that ends in .gz is unpacked.

    Raises:
        DataError: no such file, or no UTF-8 text with at least one line.
    """
    try:
        content = path.read_bytes()
        text = (gzip.decompress(content) if path.suffix == ".gz" else content).decode("utf-8-sig")
    except (OSError, EOFError, UnicodeDecodeError, zlib.error) as error:
        raise DataError(f"{absolute(path)} cannot be read as a list of names: {error}.") from error
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        raise DataError(f"{absolute(path)} is empty; expected one file name a line.")
    return lines


def _number(path: Path) -> int:
    """The last number in the name; -1 where there is none."""
    found = _LAST_NUMBER.search(path.stem)
    return int(found.group()) if found else -1


def _with_gaps(found: dict[int, Path], expected: int) -> list[Path]:
    paths = [found[0]]
    for number in range(1, expected):
        paths.append(found.get(number) or _renumbered(paths[-1], number))
    return paths


def _renumbered(like: Path, number: int) -> Path:
    """The path that frame `number` has if it is named as the frame before it."""
    stem = _LAST_NUMBER.sub(lambda old: str(number).zfill(len(old.group())), like.stem, count=1)
    return like.with_name(stem + like.suffix)
