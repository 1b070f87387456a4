"""Tuple mining: of the images that its position allows, those that a query learns from, by their descriptors.

The easiest positive and the hardest negatives of a random pool and of the last mining (Arandjelovic et al., CVPR 2016,
section 4); difficult positives, which re-ranking moves forward (Ge et al., ECCV 2020).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import torch

from vpr.errors import ConfigError, DataError
from vpr.retrieval.search import similarities

Distances = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Mining:
    """Sizes of a tuple, and of the pools that it is chosen from.

    Attributes:
        negatives: hardest negatives of a query.
        pool: database rows drawn at random, beside the negatives of the last mining, in which they are looked for.
        difficult: difficult positives of a query at most; 0: none.
        positive_pool: nearest positives in which those are looked for.

    Raises:
        ConfigError: a number that is too small, or a pool smaller than what is taken from it.
    """

    negatives: int = 10
    pool: int = 1000
    difficult: int = 0
    positive_pool: int = 20

    def __post_init__(self) -> None:
        for name, least in (("negatives", 1), ("pool", 1), ("difficult", 0), ("positive_pool", 1)):
            if getattr(self, name) < least:
                raise ConfigError(f"{name}={getattr(self, name)}: mining needs {least} or more.")
        for taken, pool in (("negatives", "pool"), ("difficult", "positive_pool")):
            if getattr(self, taken) > getattr(self, pool):
                raise ConfigError(
                    f"{taken}={getattr(self, taken)} with {pool}={getattr(self, pool)}: more are needed than are "
                    f"looked at. Make {pool} larger."
                )


class Mined(NamedTuple):
    """Database rows: `positive` (q,), `negatives` (q, n), hardest first, `difficult` (q, d), -1 where fewer; int64."""

    positive: np.ndarray
    negatives: np.ndarray
    difficult: np.ndarray


class Choice(Protocol):
    """Random draw that mining needs; `np.random.Generator` has it."""

    def choice(self, a: int, size: int, replace: bool = True) -> np.ndarray:
        """Draw `size` numbers of 0 .. a - 1, none twice where `replace` is false."""


def mine(
    queries: np.ndarray,
    database: np.ndarray,
    positives: Sequence[np.ndarray],
    non_negatives: Sequence[np.ndarray],
    mining: Mining,
    rng: Choice,
    earlier: Sequence[np.ndarray] | None = None,
    reranked: Distances | None = None,
    device: torch.device | str = "cpu",
) -> Mined:
    """Choose a tuple for each query. Queries are drawn for in their order; equally near rows go by row number.

    Args:
        queries, database: (q, D) and (N, D) L2-normalised rows, float16 or float32, arrays or memmaps, read in blocks.
        positives, non_negatives: database rows per query, at least one positive each.
        earlier: negatives per query of the last mining, which are considered again.
        reranked: distances (n,) of queries (n,) to database rows (n,), which sort the positives anew (see
            `vpr.retrieval.kreciprocal.Jaccard`); None: by the descriptors, and the nearest positives are the difficult.
        device: where similarities are computed.

    Raises:
        DataError: a query for which fewer database rows than `mining.negatives` may be negatives.
    """
    pools = [_pool(len(database), rows, mining, rng) for rows in non_negatives]
    if earlier is not None:
        pools = [np.union1d(pool, rows) for pool, rows in zip(pools, earlier, strict=True)]
    near_to_far = _nearest_first(queries, database, [*positives, *pools], device)
    good, bad = near_to_far[: len(queries)], near_to_far[len(queries) :]
    return Mined(
        positive=np.array([rows[0] for rows in good], np.int64),
        negatives=np.array([rows[: mining.negatives] for rows in bad], np.int64).reshape(-1, mining.negatives),
        difficult=_difficult([rows[: mining.positive_pool] for rows in good], mining.difficult, reranked),
    )


def _pool(database: int, non_negatives: np.ndarray, mining: Mining, rng: Choice) -> np.ndarray:
    """Draw database rows that may be negatives; sorted."""
    excluded = np.unique(non_negatives)
    free = database - len(excluded)
    if free < mining.negatives:
        raise DataError(
            f"negatives={mining.negatives}: a query has only {free:,} of {database:,} database images that are far "
            "enough to be negatives. Ask for fewer, or take a database that covers more ground."
        )
    drawn = np.arange(free) if mining.pool >= free else np.sort(rng.choice(free, mining.pool, replace=False))
    # The free-th row that is not excluded.
    return drawn + np.searchsorted(excluded - np.arange(len(excluded)), drawn, side="right")


def _nearest_first(
    queries: np.ndarray, database: np.ndarray, rows: Sequence[np.ndarray], device: torch.device | str
) -> list[np.ndarray]:
    """Sort each list of rows by distance; list i is one of query i modulo the number of queries."""
    lengths = np.array([len(of_query) for of_query in rows], np.int64)
    number, flat = np.repeat(np.arange(len(rows)), lengths), np.concatenate([np.empty(0, np.int64), *rows])
    # Rows as they were kept: runs of earlier versions that are resumed mine the tuples that they would have mined.
    similar = similarities([queries], [database], number % max(len(queries), 1), flat, device, unit=False)
    flat = flat[np.lexsort((flat, -similar, number))]
    return np.split(flat, np.cumsum(lengths)[:-1])[: len(rows)]


def _difficult(pools: Sequence[np.ndarray], most: int, reranked: Distances | None) -> np.ndarray:
    """Choose difficult positives of each query's nearest: those that re-ranking moves forward, most places first, then
    those that it does not move."""
    chosen = np.full((len(pools), most), -1, np.int64)
    if not most or not len(pools):
        return chosen
    lengths = [len(rows) for rows in pools]
    flat = np.concatenate(pools)
    distances = np.zeros(len(flat)) if reranked is None else reranked(np.repeat(np.arange(len(pools)), lengths), flat)
    for query, (rows, far) in enumerate(zip(pools, np.split(distances, np.cumsum(lengths)[:-1]), strict=True)):
        order = np.argsort(far, kind="stable")  # old ranks, by new rank
        gap = np.arange(len(rows)) - order
        kept = np.argsort(gap, kind="stable")[: (gap <= 0).sum()][:most]
        chosen[query, : len(kept)] = rows[order[kept]]
    return chosen
