"""The photos of one or several weak sets, counted through, and what each query may learn from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vpr.data.file_names import FileNames
from vpr.data.places import Places
from vpr.data.positioned import Positioned
from vpr.data.weak import WeakSet


@dataclass(frozen=True, eq=False)
class Candidates:
    """Photos are numbered: the queries of all sets first, then all their galleries.

    Attributes:
        sources: the photos in this order, each side of each set as one nameless place.
        queries, gallery: how many there are. Gallery row r is photo `queries + r`.
        positives, near: one sorted int64 array of gallery rows per query, see `WeakSet`.
    """

    sources: Sequence[Places]
    queries: int
    gallery: int
    positives: Sequence[np.ndarray]
    near: Sequence[np.ndarray]

    def path(self, photo: int) -> Path:
        for source in self.sources:
            if photo < len(source.files):
                return source.path(photo)
            photo -= len(source.files)
        raise IndexError(photo)


def join(sets: Sequence[WeakSet]) -> Candidates:
    """Join sets. All of one set's gallery may be negatives of another's queries: they are of other places."""
    first = np.cumsum([0, *(len(weak.gallery) for weak in sets)])
    return Candidates(
        sources=[_as_place(side) for side in [*(s.queries for s in sets), *(s.gallery for s in sets)]],
        queries=sum(len(weak.queries) for weak in sets),
        gallery=int(first[-1]),
        positives=[rows + start for weak, start in zip(sets, first[:-1], strict=True) for rows in weak.positives],
        near=[rows + start for weak, start in zip(sets, first[:-1], strict=True) for rows in weak.near],
    )


def _as_place(side: Positioned) -> Places:
    files = FileNames(side.files).bytes
    zero = np.zeros(1, np.int64)
    return Places(side.name, side.root, files, np.array([0, len(files)]), zero, zero)
