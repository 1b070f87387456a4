"""Geotagged images, from which places, positives and maps are made."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from vpr.data.file_lists import FileNames
from vpr.data.retrieval_set import positives_within
from vpr.errors import DataError

log = logging.getLogger(__name__)

UTM = 100_000  # metres: eastings and northings of UTM reach it in one of both, but for a speck of ocean


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


def zeros_unknown(positions: np.ndarray, where: object) -> np.ndarray:
    """Make positions of exactly 0, 0 unknown (NaN), and say how many: receivers and exports write them for want of any.

    In a frame of its own, such as that of a robot or of frame numbers, 0, 0 is a place as any other: it stays where
    some other position is nearer to it than those of UTM are.

    Args:
        positions: (N, 2) metres.
        where: the file or folder, for the message.
    """
    zero = (positions == 0).all(axis=1)
    others = positions[~zero]
    local = (np.abs(others) < UTM).all(axis=1).any()
    return positions if local else _without(positions, zero, where)


def degrees_zero_unknown(degrees: np.ndarray, where: object) -> np.ndarray:
    """Make latitudes and longitudes (N, 2) of exactly 0, 0, a point in the Atlantic, unknown; see `zeros_unknown`."""
    return _without(degrees, (degrees == 0).all(axis=1), where)


def _without(positions: np.ndarray, zero: np.ndarray, where: object) -> np.ndarray:
    if not zero.any():
        return positions
    log.warning("%s: %s of %s positions are 0, 0, and count as unknown.", where, f"{zero.sum():,}", f"{len(zero):,}")
    return np.where(zero[:, None], np.nan, positions)


def near(database: GeotaggedImages, queries: GeotaggedImages, radius: float) -> list[np.ndarray]:
    """Find the database images of the same group within `radius` metres of each query, the radius included.

    Returns:
        one sorted int64 array of database rows per query; empty where no position is known.

    Raises:
        DataError: no position of a side is known.
    """
    for side in (database, queries):
        if len(side) and not side.known.any():
            raise DataError(
                f"{side.name}: none of the {len(side):,} images in {side.root} has a position (first: "
                f"{side.files[0]}). Fill them in; 0, 0 counts as unknown."
            )
    rows = [np.empty(0, np.int64) for _ in range(len(queries))]
    for group in np.intersect1d(database.groups[database.known], queries.groups[queries.known]):
        database_rows = np.flatnonzero((database.groups == group) & database.known)
        query_rows = np.flatnonzero((queries.groups == group) & queries.known)
        positives = positives_within(database.positions[database_rows], queries.positions[query_rows], radius)
        for query, neighbours in zip(query_rows, positives, strict=True):
            rows[query] = database_rows[neighbours]
    return rows
