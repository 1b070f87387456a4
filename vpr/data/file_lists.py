"""Long lists of files: in one block of memory, which loader processes share; numbered by a part of their names."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import overload

import numpy as np

from vpr.errors import ConfigError, DataError


class FileNames(Sequence[str]):
    """N names as an array of bytes; millions take a tenth of what as many strings and paths do.

    Args:
        names: strings, or (N,) bytes, which are taken as they are.

    Attributes:
        bytes: (N,) of numpy's type S.
    """

    def __init__(self, names: Sequence[str] | np.ndarray) -> None:
        if isinstance(names, np.ndarray):
            self.bytes = names
        else:
            width = max((len(os.fsencode(name)) for name in names), default=1)
            self.bytes = np.fromiter(map(os.fsencode, names), f"S{width}", len(names))

    def __len__(self) -> int:
        return len(self.bytes)

    def take(self, rows: np.ndarray) -> FileNames:
        return FileNames(self.bytes[rows])

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        if isinstance(index, slice):
            return [os.fsdecode(name) for name in self.bytes[index]]
        return os.fsdecode(self.bytes[index])


class FilePaths(Sequence[Path]):
    """The paths of files in a folder, each made when it is asked for."""

    def __init__(self, root: Path, names: Sequence[str]) -> None:
        self.root = root
        self.names = names

    def __len__(self) -> int:
        return len(self.names)

    @overload
    def __getitem__(self, index: int) -> Path: ...
    @overload
    def __getitem__(self, index: slice) -> list[Path]: ...
    def __getitem__(self, index: int | slice) -> Path | list[Path]:
        if isinstance(index, slice):
            return [self.root / name for name in self.names[index]]
        return self.root / self.names[index]


def number_by_name(files: Sequence[str], pattern: str, what: str) -> np.ndarray:
    r"""Number files by the part of their names, from its start, that a regular expression matches.

    >>> number_by_name(["a/7_pitch1.jpg", "a/8_pitch1.jpg", "a/7_pitch2.jpg"], r".+(?=_pitch)", "capture")
    array([0, 1, 0])

    Args:
        what: name of the setting, for messages.

    Returns:
        (N,) int64, equal where the parts are.

    Raises:
        ConfigError: no regular expression; DataError: a name that it does not match.
    """
    try:
        match = re.compile(pattern).match
    except re.error as error:
        raise ConfigError(f"{what}={pattern} is no regular expression: {error}.") from error
    numbers: dict[str, int] = {}
    rows = np.empty(len(files), np.int64)
    for row, file in enumerate(files):
        part = match(file)
        if not part:
            raise DataError(f"{what}={pattern} does not match the file name {file}. Change it, or the list of files.")
        rows[row] = numbers.setdefault(part.group(), len(numbers))
    return rows
