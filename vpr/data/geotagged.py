"""Geotagged images, from which places, positives and maps are made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from vpr.data.file_lists import FileNames
from vpr.data.retrieval_set import positives_within


@dataclass(frozen=True, eq=False)
class GeotaggedImages:
    """Images with positions in metres, headings and groups, as one source lists them.

    Readers of such sets have a function `photos(...) -> GeotaggedImages` beside `read(...) -> RetrievalSet`;
    `vpr.data.cells.read(photos=...)` cuts training places from them.

    Attributes:
        name: of the source, for messages.
        root: folder that `files` are relative to.
        files: N names.
        positions: (N, 2) east and north, or (N, 3) earth-centred coordinates of latitude and longitude (see
            `vpr.data.geo`), in metres; NaN where unknown. Straight-line distances hold within a group.
        headings: (N,) degrees clockwise from north, NaN where unknown.
        groups: (N,) int64; the city or area in which positions can be compared. Images of two groups are never near.
    """

    name: str
    root: Path
    files: Sequence[str]
    positions: np.ndarray
    headings: np.ndarray
    groups: np.ndarray

    def __post_init__(self) -> None:
        lengths = {len(self.files), len(self.positions), len(self.headings), len(self.groups)}
        if len(lengths) != 1 or self.positions.ndim != 2 or self.positions.shape[1] not in (2, 3):
            raise ValueError(
                f"{self.name}: {len(self.files)} files, positions {self.positions.shape}, {len(self.headings)} "
                f"headings and {len(self.groups)} groups do not fit"
            )

    def __len__(self) -> int:
        return len(self.files)

    @property
    def paths(self) -> list[Path]:
        """The files below root."""
        return [self.root / file for file in self.files]

    def take(self, rows: Sequence[int] | np.ndarray) -> GeotaggedImages:
        """Return the images of these rows, in their order."""
        rows = np.asarray(rows, np.int64)
        files = self.files.take(rows) if isinstance(self.files, FileNames) else [self.files[row] for row in rows]
        return replace(
            self, files=files, positions=self.positions[rows], headings=self.headings[rows], groups=self.groups[rows]
        )

    @property
    def known(self) -> np.ndarray:
        """(N,) bool, true where the position is known."""
        return np.isfinite(self.positions).all(axis=1)


def near(database: GeotaggedImages, queries: GeotaggedImages, radius: float) -> list[np.ndarray]:
    """Find the database images of the same group within `radius` metres of each query, the radius included.

    Returns:
        one sorted int64 array of database rows per query; empty where no position is known.
    """
    rows = [np.empty(0, np.int64) for _ in range(len(queries))]
    for group in np.intersect1d(database.groups[database.known], queries.groups[queries.known]):
        database_rows = np.flatnonzero((database.groups == group) & database.known)
        query_rows = np.flatnonzero((queries.groups == group) & queries.known)
        positives = positives_within(database.positions[database_rows], queries.positions[query_rows], radius)
        for query, neighbours in zip(query_rows, positives, strict=True):
            rows[query] = database_rows[neighbours]
    return rows
