"""Photo table of a place index: files as they were when they were described, and positions."""

from __future__ import annotations

import csv
import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from vpr.errors import DataError

COLUMNS = {"degrees": ("lat", "lon"), "metres": ("east", "north")}
TEXT: dict[str, Any] = {"encoding": "utf-8", "errors": "surrogateescape", "newline": ""}  # any file name there and back


@dataclass(frozen=True, eq=False)
class Photos:
    """Photo files as they are on disk now, or were when they were described.

    Attributes:
        root: folder that `files` are relative to, itself absolute: what is kept is read from elsewhere, too.
        files: N names, each once.
        sizes, times: (N,) int64 bytes and time of change in nanoseconds; a file with other ones is another photo.
        positions: (N, 2) float64, NaN where unknown.
        unit: `degrees` (latitude, longitude) or `metres` (east, north).
    """

    root: Path
    files: Sequence[str]
    sizes: np.ndarray
    times: np.ndarray
    positions: np.ndarray
    unit: str = "degrees"

    @classmethod
    def on_disk(
        cls,
        root: str | Path,
        files: Sequence[str],
        positions: np.ndarray | None = None,
        unit: str = "degrees",
        absent_too: bool = False,
    ) -> Photos:
        """Look at the files below `root` now; DataError where one is missing, named twice, or positions do not fit.

        With `absent_too` one that is missing, a link that leads nowhere for example, is a file of -1 bytes: as a photo
        that cannot be read it comes into no index.
        """
        root = Path(root).absolute()
        stats = [_look(root / file, absent_too) for file in files]
        points = np.full((len(files), 2), np.nan) if positions is None else np.asarray(positions, np.float64)
        if points.shape != (len(files), 2) or unit not in COLUMNS:
            raise DataError(f"Positions of {len(files):,} photos are ({len(files)}, 2) {' or '.join(COLUMNS)}, not "
                            f"{points.shape} {unit}.")  # fmt: skip
        if len(set(files)) < len(files):
            raise DataError(f"Of {len(files):,} photos in {root} only {len(set(files)):,} have names of their own.")
        sizes, times = np.array(stats, np.int64).reshape(-1, 2).T
        return cls(root, list(files), sizes, times, points, unit)

    def __len__(self) -> int:
        return len(self.files)

    @property
    def paths(self) -> list[Path]:
        """The files below root."""
        return [self.root / file for file in self.files]

    @property
    def digest(self) -> str:
        """SHA-256 of names, sizes and times, in order."""
        return hashlib.sha256("\n".join(map(str, self._keys())).encode("utf-8", "surrogateescape")).hexdigest()

    def take(self, rows: Sequence[int] | np.ndarray) -> Photos:
        """Give the photos of these rows, in their order."""
        rows = np.asarray(rows, np.int64)
        return replace(
            self,
            files=[self.files[row] for row in rows],
            sizes=self.sizes[rows],
            times=self.times[rows],
            positions=self.positions[rows],
        )

    def rows_in(self, other: Photos) -> np.ndarray:
        """(N,) int64: the row of each photo in `other`, the same file unchanged; -1 where it is not there."""
        rows = {key: row for row, key in enumerate(other._keys())}
        return np.array([rows.get(key, -1) for key in self._keys()], np.int64)

    def followed_by(self, more: Photos) -> Photos:
        """These photos and then others, below the root of the others and with their unit."""
        return replace(
            more,
            files=[*self.files, *more.files],
            sizes=np.concatenate([self.sizes, more.sizes]),
            times=np.concatenate([self.times, more.times]),
            positions=np.concatenate([self.positions, more.positions]),
        )

    def _keys(self) -> Iterator[tuple[str, int, int]]:
        return zip(self.files, self.sizes.tolist(), self.times.tolist(), strict=True)

    def same_as(self, other: Photos) -> bool:
        """Tell whether these are the same files in the same order, unchanged, in the same places."""
        return ((self.root, self.unit, self.digest) == (other.root, other.unit, other.digest)) and np.array_equal(
            self.positions, other.positions, equal_nan=True
        )

    def write(self, path: Path) -> None:
        """Write a csv: path, size, mtime_ns, and two columns for the position, empty where it is unknown."""
        with open(path, "w", **TEXT) as file:
            rows = csv.writer(file)
            rows.writerow(["path", "size", "mtime_ns", *COLUMNS[self.unit]])
            for key, position in zip(self._keys(), self.positions.tolist(), strict=True):
                rows.writerow([*key, *("" if value != value else repr(value) for value in position)])

    @classmethod
    def read(cls, path: Path, root: Path, unit: str) -> Photos:
        """Read what `write` wrote."""
        with open(path, **TEXT) as file:
            rows = list(csv.reader(file))[1:]
        sizes, times = (np.array([row[column] for row in rows], np.int64) for column in (1, 2))
        positions = [[float(value or "nan") for value in row[3:5]] for row in rows]
        return cls(root, [row[0] for row in rows], sizes, times, np.array(positions, np.float64).reshape(-1, 2), unit)


def _look(path: Path, absent_too: bool) -> tuple[int, int]:
    try:
        status = os.stat(path)
    except OSError as error:
        if absent_too:
            return -1, 0
        raise DataError(f"{error.filename} cannot be looked at ({error.strerror}).") from error
    return status.st_size, status.st_mtime_ns
