"""Scoring: descriptors -> neighbours -> recall. Needs no images, so descriptors may come from anywhere."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import torch

from vpr import distributed
from vpr.data.image_digests import SeenImages
from vpr.data.retrieval_set import RetrievalSet
from vpr.errors import ConfigError, DataError
from vpr.retrieval import metrics
from vpr.retrieval.agreement import Agreement
from vpr.retrieval.local_rerank import LocalFeatures, Verifier
from vpr.retrieval.search import Neighbours, nearest, nearest_others

SHARE = re.compile(r"\d+(\.\d+)?%")  # of the database
KS = (1, 5, 10, 20)


class Rerank(Protocol):
    """Re-ranked search, measured beside the plain one: k-reciprocal distances, frames in sequence, local features."""

    @property
    def id(self) -> str:
        """Name with its settings, for the protocol's id."""
        ...

    def check(self, images: int) -> None:
        """Raise ConfigError where there are too few images, queries and database together."""
        ...

    def nearest(
        self,
        database: np.ndarray,
        queries: np.ndarray,
        k: int,
        retrieval_set: RetrievalSet,
        device: torch.device | str = "cpu",
    ) -> Neighbours:
        """Search the database (N, D) of a set for its queries (Q, D), with the suppression that it asks for."""
        ...


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Recall of a model on one set, with what it was computed from.

    Attributes:
        retrieval_set: the set as measured, without the bad images that were skipped.
        recalls: {k: share of the counted queries with a positive among their first k neighbours}, 0..1; k may be "1%"
            of the database.
        intervals: {k: (low, high)}, 95 % interval over the counted queries, as of `metrics.interval`.
        hits: (Q, len(ks)) bool, one row per query; `counted` (Q,) bool are those that the recalls count.
        neighbours: those that the recalls count: of each panorama the nearest cut-out alone, where the set says so.
        bad: message per unreadable image, by its row in the database followed by the queries.
        seconds: wall time of `search` and, where images were described, of `extract`.
        models: name and digest of those that described the `queries` and the `database`, where they are known.
        reranked: evaluation of the re-ranked search, if there was one; its id says how.
        seen: images of the set that the models were trained on; None where it is not known on what they were trained.
        agreement: agreement with a teacher, where one was named.
        verifier: compares two images by their pixels, as the re-ranked search did; None where it did not.
    """

    retrieval_set: RetrievalSet
    recalls: dict[int | str, float]
    intervals: dict[int | str, tuple[float, float]]
    hits: np.ndarray
    counted: np.ndarray
    neighbours: Neighbours
    bad: dict[int, str]
    dim: int
    seconds: dict[str, float] = field(default_factory=dict)
    models: dict[str, str] = field(default_factory=dict)
    reranked: Evaluation | None = None
    seen: SeenImages | None = None
    agreement: Agreement | None = None
    verifier: Verifier | None = None

    @property
    def protocol(self) -> str:
        """Id of the protocol, to stand beside every recall."""
        return self.retrieval_set.protocol.id

    @property
    def counts(self) -> dict[str, int]:
        """Numbers of database images, queries, counted queries, queries without positives, and bad images skipped."""
        positives = self.retrieval_set.positives
        return {
            "database": len(self.retrieval_set.database),
            "queries": len(self.retrieval_set.queries),
            "counted_queries": int(self.counted.sum()),
            "queries_without_positives": sum(len(rows) == 0 for rows in positives),
            "bad_images": len(self.bad),
        }

    @property
    def mean_positives(self) -> float:
        """Mean number of positives over all queries, those without any included."""
        return float(np.mean([len(rows) for rows in self.retrieval_set.positives]))

    @property
    def images_per_second(self) -> float:
        """Images read and described in a second, over all ranks; 0 where the descriptors were given."""
        described = self.counts["database"]
        described += 0 if self.retrieval_set.each_against_others else self.counts["queries"]
        return described / max(self.seconds["extract"], 1e-9) if "extract" in self.seconds else 0.0

    @property
    def ms_per_query(self) -> float:
        """Milliseconds of the search, re-ranking included, for one query."""
        return 1000 * self.seconds["search"] / max(self.counts["queries"], 1)

    def metrics(self) -> dict[str, float]:
        """Return {"R@1": 0..1, ...}."""
        return {f"R@{k}": value for k, value in self.recalls.items()}


def score(
    database: np.ndarray,
    queries: np.ndarray,
    retrieval_set: RetrievalSet,
    *,
    ks: Sequence[int | str] = KS,
    seed: int = 0,
    rerank: Rerank | None = None,
    device: torch.device | str = "cpu",
) -> Evaluation:
    """Measure recall@k of given descriptors, with the panorama suppression that the set asks for.

    All ranks call it; the first searches and broadcasts.

    Args:
        database, queries: (N, D) and (Q, D) L2-normalised rows in the order of the set, float16 or float32; arrays or
            memmaps, which are read in blocks.
        seed: of the bootstrap.
        rerank: measure the re-ranked search, too; the id then ends in its id, e.g. `[kreciprocal-25-1-0]`.
        device: where it compares descriptors.

    Raises:
        ConfigError: a k is below 1, the protocol's `no_positives` is unknown, or the images are too few for `rerank`,
            or each is compared with the others.
        DataError: other numbers of descriptors than the set has images, or no query with a positive.
    """
    ks = check_ks(ks)
    width = max(number_of(k, len(database)) for k in ks)
    _check_shapes(database, queries, retrieval_set)
    if rerank is not None:
        check_rerank(rerank, retrieval_set)

    def searching() -> Neighbours:
        if retrieval_set.each_against_others:
            return nearest_others(database, width)
        return nearest(database, queries, width, retrieval_set.panoramas, retrieval_set.own_rows)

    plain = _measure(retrieval_set, ks, seed, database.shape[1], searching)
    if rerank is None:
        return plain
    protocol = replace(retrieval_set.protocol, id=f"{retrieval_set.protocol.id}[{rerank.id}]")
    renamed = replace(retrieval_set, protocol=protocol)
    reranked = _measure(renamed, ks, seed, plain.dim, lambda: rerank.nearest(database, queries, width, renamed, device))
    if isinstance(rerank, LocalFeatures) and distributed.rank() == 0:
        reranked = replace(reranked, verifier=rerank.verifier(device))
    return replace(plain, reranked=reranked)


def _measure(
    retrieval_set: RetrievalSet, ks: list[int | str], seed: int, dim: int, searching: Callable[[], Neighbours]
) -> Evaluation:
    """Have the first rank search, and measure the neighbours."""
    counted = metrics.counted(retrieval_set.positives, retrieval_set.protocol.no_positives)
    began = time.perf_counter()
    neighbours = distributed.on_rank_zero(searching)
    seconds = {"search": time.perf_counter() - began}
    numbers = [number_of(k, len(retrieval_set.database)) for k in ks]
    hits = metrics.hits(neighbours.indices, retrieval_set.positives, numbers)
    recalls: dict[int | str, float] = {}
    intervals: dict[int | str, tuple[float, float]] = {}
    if counted.any():  # else the set has no ground truth
        recalls = dict(zip(ks, metrics.recall(hits[counted]).tolist(), strict=True))
        bounds = metrics.interval(hits[counted], seed).tolist()
        intervals = {k: (low, high) for k, (low, high) in zip(ks, bounds, strict=True)}
    return Evaluation(retrieval_set, recalls, intervals, hits, counted, neighbours, {}, dim, seconds)


def check_rerank(rerank: Rerank, retrieval_set: RetrievalSet) -> None:
    """Raise ConfigError where a set cannot be re-ranked."""
    if retrieval_set.each_against_others or retrieval_set.own_rows is not None:
        how = (
            "compares each image with all others"
            if retrieval_set.each_against_others
            else "has queries from its database"
        )
        raise ConfigError(
            f"rerank with {retrieval_set.protocol.id}: it {how}, and re-ranking takes queries that are no part of the "
            "database. Type rerank=none, or give a folder of queries."
        )
    rerank.check(len(retrieval_set.database) + len(retrieval_set.queries))


def check_ks(ks: Sequence[int | str]) -> list[int | str]:
    """Sort the ks and drop repeated ones, those in per cent last.

    Raises:
        ConfigError: there is none, one is below 1, or no share of the database above 0 and at most 100 %.
    """
    shares = [k for k in ks if isinstance(k, str)]
    numbers = [k for k in ks if not isinstance(k, str)]
    sound = all(SHARE.fullmatch(k) and 0 < float(k[:-1]) <= 100 for k in shares) and all(k >= 1 for k in numbers)
    if not ks or not sound:
        raise ConfigError(
            f"ks={list(ks)}: recall@k needs at least one k, each 1 or more, or a share of the database such as 1%."
        )
    return [*sorted(set(numbers)), *sorted(set(shares), key=lambda k: float(k[:-1]))]


def number_of(k: int | str, database: int) -> int:
    """Return the number of neighbours that a k stands for: 1% of 250 images are 2 (rounded to even), at least 1."""
    return k if isinstance(k, int) else max(1, round(database * float(k[:-1]) / 100))


def _check_shapes(database: np.ndarray, queries: np.ndarray, retrieval_set: RetrievalSet) -> None:
    for part, array, images in (
        ("database", database, retrieval_set.database),
        ("query", queries, retrieval_set.queries),
    ):
        if array.ndim != 2 or len(array) != len(images):
            raise DataError(
                f"{retrieval_set.protocol.id} has {len(images):,} {part} images, and the descriptors have the shape "
                f"{array.shape}: give one row for each image, in the order of the set."
            )
    if database.shape[1] != queries.shape[1]:
        raise DataError(
            f"{retrieval_set.protocol.id}: database descriptors of {database.shape[1]:,} numbers and query descriptors "
            f"of {queries.shape[1]:,} cannot be compared. Describe both with the same model."
        )
