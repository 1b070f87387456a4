"""From queries to answers: described in batches, searched in blocks."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np

from vpr.demo.answers import Answer, Heat, Match, Position, Query
from vpr.demo.estimate import estimate
from vpr.errors import DataError
from vpr.retrieval import store
from vpr.retrieval.confidence import WIDTH, Calibration
from vpr.retrieval.index import DescribePaths, PlaceIndex
from vpr.retrieval.progress import progress
from vpr.retrieval.search import Neighbours

BLOCK = 4096  # queries searched at once
REFINED = 10  # of a compressed kind, so many times as many neighbours are compared by their descriptors


def answer(
    index: PlaceIndex,
    queries: Sequence[Query],
    describe_paths: DescribePaths,
    k: int = 5,
    calibration: Calibration | None = None,
    show: bool = True,
    compared: int = 0,
) -> list[Answer]:
    """Answer each query with its `k` most similar photos, of which it is none itself; `show` a bar.

    Args:
        describe_paths: of the model of the index, see `vpr.retrieval.index.path_describer`.
        compared: of a compressed kind, so many first queries are searched exactly, too, see `Answer.exact`.

    Returns:
        one answer a query, in order; that of a file that cannot be read has an error and no matches.
    """
    if not queries:
        return []
    answers: list[Answer] = []
    with store.working_folder() as folder:
        descriptors = store.create(folder, len(queries), index.dim, "float32")
        bad = describe_paths([query.path for query in queries], np.arange(len(queries)), descriptors)
        own = _own_rows(index, queries)
        with progress("searching", len(queries), show) as advance:
            for low in range(0, len(queries), BLOCK):
                block = slice(low, low + BLOCK)
                found = _search(index, np.asarray(descriptors[block]), own[block], max(k, WIDTH))
                answers += _answers(index, queries[block], found, k, calibration)
            if index.codes is not None and compared > 0:
                best = _search(index, np.asarray(descriptors[:compared]), own[:compared], 1, exact=True).indices
                for number, ((row,), one) in enumerate(zip(best.tolist(), answers, strict=False)):
                    answers[number] = replace(one, exact=[match.row for match in one.matches[:1]] == [row])
                if advance:
                    advance(len(queries[block]))
    return [Answer(a.query, error=bad[row]) if row in bad else a for row, a in enumerate(answers)]


def with_heat(answers: Sequence[Answer], heat: Callable[[Path, Path], Heat], show: bool = True) -> list[Answer]:
    """Add the heat maps of each query and its first match, where both photos can be read."""
    warm = []
    with progress("comparing photos", len(answers), show) as advance:
        for found in answers:
            with suppress(DataError):  # a photo may be gone, and is in the index all the same
                found = replace(found, heat=heat(found.query.path, found.matches[0].path)) if found.matches else found
            warm.append(found)
            if advance:
                advance(1)
    return warm


def _own_rows(index: PlaceIndex, queries: Sequence[Query]) -> np.ndarray:
    """(Q,) int64: the row of each query in the index, by whatever links it is reached; -1 where it is none of its."""
    photos, alike = index.photos, defaultdict(list)
    for row, stamp in enumerate(zip(photos.sizes.tolist(), photos.times.tolist(), strict=True)):
        alike[stamp].append(row)  # only of these the file system is asked, whatever the size of the database

    def own(path: Path) -> int:
        with suppress(OSError):
            status = os.stat(path)
            for row in alike[status.st_size, status.st_mtime_ns]:
                if os.path.realpath(path) == os.path.realpath(photos.root / photos.files[row]):
                    return row
        return -1

    return np.array([own(query.path) for query in queries], np.int64)


def _search(index: PlaceIndex, descriptors: np.ndarray, own: np.ndarray, k: int, exact: bool = False) -> Neighbours:
    """Find the k nearest of (Q, D), the rows `own` (Q,) left out."""
    exact = exact or index.codes is None
    found = index.search(descriptors, k + 1 if exact else REFINED * k, exact)
    similarities, rows = found.similarities, found.indices
    if not exact:
        similarities = np.stack(
            [index.descriptors[near].astype(np.float32) @ query for near, query in zip(rows, descriptors, strict=True)]
        )
    nothing = (rows < 0) | (rows == own[:, None])
    similarities, rows = np.where(nothing, -np.inf, similarities), np.where(nothing, -1, rows)
    order = np.argsort(-similarities, axis=1, kind="stable")[:, :k]
    return Neighbours(np.take_along_axis(similarities, order, 1), np.take_along_axis(rows, order, 1))


def _answers(
    index: PlaceIndex, queries: Sequence[Query], found: Neighbours, k: int, calibration: Calibration | None
) -> list[Answer]:
    sure = None if calibration is None else calibration.probability(found)
    answers = []
    for number, query in enumerate(queries):
        pairs = zip(found.indices[number, :k].tolist(), found.similarities[number, :k].tolist(), strict=True)
        matches = tuple(_match(index, row, min(similarity, 1.0)) for row, similarity in pairs if row >= 0)
        answers.append(Answer(query, matches, position=estimate(matches)))
        if calibration is not None and sure is not None:
            confidence = float(sure[number])
            accepted = confidence >= calibration.threshold
            answers[-1] = replace(answers[-1], confidence=confidence, accepted=accepted)
    return answers


def _match(index: PlaceIndex, row: int, similarity: float) -> Match:
    photos = index.photos
    lat, lon = photos.positions[row].tolist()
    place = Position(lat, lon) if lat == lat and lon == lon else None
    return Match(row, photos.files[row], photos.root / photos.files[row], similarity, place)
