"""Paths of the images of several sources, counted through, and a digest of which images they are."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import overload

import numpy as np

from vpr.data.places import Places

THREADS = 16
AT_ONCE = 2048


class ImagePaths(Sequence[Path]):
    """The paths of all sources' images, counted as `PlaceBatch.numbers` counts them; each is made when asked for."""

    def __init__(self, sources: Sequence[Places]) -> None:
        self.sources = tuple(sources)
        self._first = np.cumsum([0, *(len(source.files) for source in sources)])

    def __len__(self) -> int:
        return int(self._first[-1])

    @overload
    def __getitem__(self, number: int) -> Path: ...
    @overload
    def __getitem__(self, number: slice) -> Sequence[Path]: ...
    def __getitem__(self, number: int | slice) -> Path | Sequence[Path]:
        if isinstance(number, slice):
            return [self[n] for n in range(*number.indices(len(self)))]
        source = int(np.searchsorted(self._first, number, side="right")) - 1
        return self.sources[source].path(number - int(self._first[source]))

    def digest(self) -> str:
        """Return a SHA-256 of the images' names, order and sizes in bytes.

        Not of their pixels, which would take hours, nor of their times or folder: a copy of the data set on another
        disk is the same. An image that is changed and keeps its size to the byte is not noticed. Half a million files
        take seconds; on a network disk, where each look takes long, many are asked for at once.
        """
        total = hashlib.sha256()
        with ThreadPoolExecutor(THREADS) as pool:
            for source in self.sources:
                root = os.fsencode(source.root)
                parts = [source.files[start : start + AT_ONCE] for start in range(0, len(source.files), AT_ONCE)]
                total.update(b"source %d\n" % len(source.files))
                for part, sizes in zip(parts, pool.map(lambda part, root=root: _sizes(root, part), parts), strict=True):
                    total.update(b"\0".join(part.tolist()) + b"\n" + sizes.tobytes())
        return total.hexdigest()


def _sizes(root: bytes, files: np.ndarray) -> np.ndarray:
    """Return the sizes (int64) of files in bytes; -1 for one that is not there."""
    return np.array([_size(os.path.join(root, file)) for file in files.tolist()], np.dtype("<i8"))


def _size(path: bytes) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return -1
