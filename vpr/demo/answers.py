"""Answers: queries are described in batches, searched in blocks, and located by the positions of their matches."""

from __future__ import annotations

import math
import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vpr.data.geo import from_earth, to_earth
from vpr.demo.reranking import Reranking
from vpr.errors import DataError
from vpr.retrieval import extractor
from vpr.retrieval.calibration import WIDTH, Calibration
from vpr.retrieval.extractor import progress
from vpr.retrieval.index.place_index import ExtractPaths, PlaceIndex
from vpr.retrieval.local_rerank import Points
from vpr.retrieval.search import Neighbours, unit_rows

BLOCK = 4096  # queries searched at once
REFINED = 10  # of a coded index, so many times as many neighbours are compared by their descriptors


class Position(NamedTuple):
    """WGS 84 degrees."""

    lat: float
    lon: float


@dataclass(frozen=True)
class Query:
    """A photo that is asked for; a frame of a video is a photo on disk, too.

    Attributes:
        name: in all output: its path below the folder that was given, or the video and the second.
        path: the file.
        position: from its own EXIF data, if there is one; it is shown, and used for nothing else.
    """

    name: str
    path: Path
    position: Position | None = None


@dataclass(frozen=True)
class Match:
    """A photo of the database: row in the index, name below the database's folder, file, cosine similarity.

    `inliers` are the points that confirm each other in it and the query; None where no local features were compared.
    """

    row: int
    name: str
    path: Path
    similarity: float
    position: Position | None = None
    inliers: int | None = None

    @property
    def distance(self) -> float:
        """Euclidean distance of the two unit descriptors, 0 to 2."""
        return math.sqrt(max(0.0, 2 - 2 * self.similarity))


@dataclass(frozen=True, eq=False)
class Heat:
    """Similarity maps of two photos, (h, w) float32 in 0..1 each, stretched over the whole photo."""

    query: np.ndarray
    match: np.ndarray


@dataclass(frozen=True)
class Answer:
    """The matches of one query, most similar first.

    Attributes:
        error: the reason why the photo could not be read; there are no matches then.
        position: estimated; None where the matches have no positions.
        confidence: probability that the first match is right; None without calibration.
        accepted: whether `confidence` reaches the threshold of the calibration; None without.
        heat: of the query and its first match, where it was asked for.
        points: of the query and its first match that confirm each other; None where no local features were compared.
        exact: whether an exact search has the same first match; None where it was not asked, or is exact itself.
    """

    query: Query
    matches: tuple[Match, ...] = ()
    error: str = ""
    position: Position | None = None
    confidence: float | None = None
    accepted: bool | None = None
    heat: Heat | None = None
    points: Points | None = None
    exact: bool | None = None


def estimate(matches: Sequence[Match], radius: float = 25.0) -> Position | None:
    """Return the mean of the positions within `radius` metres of the first match that has one; None without any.

    Weights are the similarities, where they are positive. The mean is one of earth-centred coordinates, so that it
    holds across the date line and at the poles.
    """
    placed = [match for match in matches if match.position]
    if not placed:
        return None
    earth = to_earth(*np.array([match.position for match in placed]).T)
    weights = np.maximum([match.similarity for match in placed], 0) * (
        np.linalg.norm(earth - earth[0], axis=1) <= radius
    )
    if not weights[0] > 0:  # not even the first one is similar
        return placed[0].position
    lat, lon = from_earth(np.average(earth, axis=0, weights=weights)[None])
    return Position(float(lat[0]), float(lon[0]))


def answer(
    index: PlaceIndex,
    queries: Sequence[Query],
    extract_paths: ExtractPaths,
    k: int = 5,
    calibration: Calibration | None = None,
    show: bool = True,
    compared: int = 0,
    reranking: Reranking | None = None,
) -> list[Answer]:
    """Answer each query with its `k` most similar photos, of which it is none itself; `show` a bar.

    Args:
        extract_paths: of the model of the index, see `vpr.retrieval.index.place_index.path_extractor`.
        compared: of a coded index, so many first queries are searched exactly, too, see `Answer.exact`.
        reranking: orders the matches anew.

    Returns:
        one answer a query, in order; that of a file that cannot be read has an error and no matches.
    """
    if not queries:
        return []
    answers: list[Answer] = []
    with extractor.working_folder() as folder:
        descriptors = extractor.create(folder, len(queries), index.dim, "float32")
        bad = extract_paths([query.path for query in queries], np.arange(len(queries)), descriptors)
        excluded = _query_rows(index, queries)
        paths, whole = [query.path for query in queries], None
        if reranking and not reranking.width:
            whole = reranking.of_all(index, paths, np.asarray(descriptors), excluded, max(k, WIDTH))
        with progress("searching", len(queries), show) as advance:
            for low in range(0, len(queries), BLOCK):
                block = slice(low, low + BLOCK)
                if whole:
                    neighbours = whole.of(np.arange(len(queries))[block])
                else:
                    wide = max(k, WIDTH, reranking.width if reranking else 0)
                    neighbours = _search(index, np.asarray(descriptors[block]), excluded[block], wide)
                    if reranking:
                        neighbours = reranking.of_first(index, paths[block], neighbours)
                answers += _answers(index, queries[block], neighbours, k, calibration)
                if advance:
                    advance(len(queries[block]))
            if index.codes is not None and compared > 0 and not reranking:
                best = _search(index, np.asarray(descriptors[:compared]), excluded[:compared], 1, exact=True).indices
                for number, ((row,), one) in enumerate(zip(best.tolist(), answers, strict=False)):
                    answers[number] = replace(one, exact=[match.row for match in one.matches[:1]] == [row])
    return [Answer(a.query, error=bad[row]) if row in bad else a for row, a in enumerate(answers)]


def with_points(answers: Sequence[Answer], points: Callable[[Path, Path], Points | None]) -> list[Answer]:
    """Add the points that confirm each other in each query and its first match."""
    return [replace(one, points=points(one.query.path, one.matches[0].path)) if one.matches else one for one in answers]


def with_heat(answers: Sequence[Answer], heat: Callable[[Path, Path], Heat], show: bool = True) -> list[Answer]:
    """Add the heat maps of each query and its first match, where both photos can be read."""
    with_maps = []
    with progress("comparing photos", len(answers), show) as advance:
        for one in answers:
            with suppress(DataError):  # a photo may be gone, and is in the index all the same
                one = replace(one, heat=heat(one.query.path, one.matches[0].path)) if one.matches else one
            with_maps.append(one)
            if advance:
                advance(1)
    return with_maps


def _query_rows(index: PlaceIndex, queries: Sequence[Query]) -> np.ndarray:
    """(Q,) int64: the row of each query in the index, by whatever links it is reached; -1 where it is none of its."""
    photos, rows_by_stamp = index.photos, defaultdict(list)
    for row, stamp in enumerate(zip(photos.sizes.tolist(), photos.times.tolist(), strict=True)):
        rows_by_stamp[stamp].append(row)  # only of these the file system is asked, whatever the size of the database

    def row_of(path: Path) -> int:
        with suppress(OSError):
            status = os.stat(path)
            for row in rows_by_stamp[status.st_size, status.st_mtime_ns]:
                if os.path.realpath(path) == os.path.realpath(photos.root / photos.files[row]):
                    return row
        return -1

    return np.array([row_of(query.path) for query in queries], np.int64)


def _search(
    index: PlaceIndex, descriptors: np.ndarray, excluded: np.ndarray, k: int, exact: bool = False
) -> Neighbours:
    """Find the k nearest of (Q, D), the rows `excluded` (Q,) left out."""
    exact = exact or index.codes is None
    similarities, rows, _ = index.search(descriptors, k + 1 if exact else REFINED * k, exact)
    if not exact:
        similarities = np.stack(
            [unit_rows(index.descriptors[near]) @ query for near, query in zip(rows, descriptors, strict=True)]
        )
    nothing = (rows < 0) | (rows == excluded[:, None])
    similarities, rows = np.where(nothing, -np.inf, similarities), np.where(nothing, -1, rows)
    order = np.argsort(-similarities, axis=1, kind="stable")[:, :k]
    return Neighbours(np.take_along_axis(similarities, order, 1), np.take_along_axis(rows, order, 1))


def _answers(
    index: PlaceIndex, queries: Sequence[Query], neighbours: Neighbours, k: int, calibration: Calibration | None
) -> list[Answer]:
    confidences = None if calibration is None else calibration.probability(neighbours)
    answers = []
    for number, query in enumerate(queries):
        rows, similarities = neighbours.indices[number, :k].tolist(), neighbours.similarities[number, :k].tolist()
        inliers = [None] * len(rows) if neighbours.inliers is None else neighbours.inliers[number, :k].tolist()
        triples = zip(rows, similarities, inliers, strict=True)
        matches = tuple(
            _match(index, row, min(similarity, 1.0), points) for row, similarity, points in triples if row >= 0
        )
        answers.append(Answer(query, matches, position=estimate(matches)))
        if calibration is not None and confidences is not None:
            confidence = float(confidences[number])
            accepted = confidence >= calibration.threshold
            answers[-1] = replace(answers[-1], confidence=confidence, accepted=accepted)
    return answers


def _match(index: PlaceIndex, row: int, similarity: float, inliers: int | None = None) -> Match:
    photos = index.photos
    lat, lon = photos.positions[row].tolist()
    place = Position(lat, lon) if lat == lat and lon == lon else None
    compared = None if inliers is None or inliers < 0 else inliers
    return Match(row, photos.files[row], photos.root / photos.files[row], similarity, place, compared)
