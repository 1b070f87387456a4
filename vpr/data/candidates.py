"""The photos of one or several weak sets, counted through, and what each query may learn from."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vpr.data.file_names import FileNames
from vpr.data.places import Places
from vpr.data.positioned import Positioned
from vpr.data.weak import WeakSet
from vpr.errors import ConfigError


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
    """Join sets. All of one set's gallery may be negatives of another's queries: they are of other places.

    Raises:
        ConfigError: two sets share photos, and so places.
    """
    _check_apart(sets)
    first = np.cumsum([0, *(len(weak.gallery) for weak in sets)])
    return Candidates(
        sources=[_as_place(side) for side in [*(s.queries for s in sets), *(s.gallery for s in sets)]],
        queries=sum(len(weak.queries) for weak in sets),
        gallery=int(first[-1]),
        positives=[rows + start for weak, start in zip(sets, first[:-1], strict=True) for rows in weak.positives],
        near=[rows + start for weak, start in zip(sets, first[:-1], strict=True) for rows in weak.near],
    )


def _check_apart(sets: Sequence[WeakSet]) -> None:
    known: dict[str, str] = {}
    for weak in sets if len(sets) > 1 else ():
        own = {
            os.path.join(os.path.realpath(side.root), file): side.name
            for side in (weak.queries, weak.gallery)
            for file in side.files
        }
        shared = sorted(known.keys() & own.keys())
        if shared:
            raise ConfigError(
                f"dataset: {known[shared[0]]} and {own[shared[0]]} share {len(shared):,} photos (first: {shared[0]}). "
                "What is a positive by the one would be a negative by the other. Choose one of them."
            )
        known |= own


def _as_place(side: Positioned) -> Places:
    files = FileNames(side.files).bytes
    zero = np.zeros(1, np.int64)
    return Places(side.name, side.root, files, np.array([0, len(files)]), zero, zero)
