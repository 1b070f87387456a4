"""Mining: what a query learns from, chosen among what its position allows by what the network now sees.

The easiest positive and the hardest negatives of a random pool and of last time (Arandjelovic et al., CVPR 2016,
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
    """How many images a tuple has, and among how many they are looked for.

    Attributes:
        negatives: hardest negatives of a query.
        pool: gallery rows drawn at random, beside last time's negatives, in which they are looked for.
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
                    f"{taken}={getattr(self, taken)} with {pool}={getattr(self, pool)}: more are wanted than are "
                    f"looked at. Make {pool} larger."
                )


class Mined(NamedTuple):
    """Gallery rows: `positive` (q,), `negatives` (q, n), hardest first, `difficult` (q, d), -1 where fewer; int64."""

    positive: np.ndarray
    negatives: np.ndarray
    difficult: np.ndarray


class Choice(Protocol):
    """What mining asks of a random generator; `np.random.Generator` is one."""

    def choice(self, a: int, size: int, replace: bool = True) -> np.ndarray:
        """Draw `size` numbers of 0 .. a - 1, none twice where `replace` is false."""


def mine(
    queries: np.ndarray,
    gallery: np.ndarray,
    positives: Sequence[np.ndarray],
    near: Sequence[np.ndarray],
    mining: Mining,
    rng: Choice,
    earlier: Sequence[np.ndarray] | None = None,
    reranked: Distances | None = None,
    device: torch.device | str = "cpu",
) -> Mined:
    """Choose a tuple for each query. Queries are drawn for in their order; equally near rows go by row number.

    Args:
        queries, gallery: (q, D) and (N, D) L2-normalised rows, float16 or float32, arrays or memmaps, read in blocks.
        positives, near: gallery rows per query, at least one positive each; `near` are no negatives.
        earlier: last time's negatives per query, which are looked at again.
        reranked: distances (n,) of queries (n,) to gallery rows (n,), which sort the positives anew (see
            `vpr.retrieval.kreciprocal.Jaccard`); None: by the descriptors, and the nearest positives are the difficult.
        device: where similarities are computed.

    Raises:
        DataError: a query for which fewer gallery rows than `mining.negatives` may be negatives.
    """
    pools = [_pool(len(gallery), rows, mining, rng) for rows in near]
    if earlier is not None:
        pools = [np.union1d(pool, rows) for pool, rows in zip(pools, earlier, strict=True)]
    near_to_far = _nearest_first(queries, gallery, [*positives, *pools], device)
    good, bad = near_to_far[: len(queries)], near_to_far[len(queries) :]
    return Mined(
        positive=np.array([rows[0] for rows in good], np.int64),
        negatives=np.array([rows[: mining.negatives] for rows in bad], np.int64).reshape(-1, mining.negatives),
        difficult=_difficult([rows[: mining.positive_pool] for rows in good], mining.difficult, reranked),
    )


def _pool(gallery: int, near: np.ndarray, mining: Mining, rng: Choice) -> np.ndarray:
    """Draw gallery rows that are not `near`; sorted."""
    near = np.unique(near)
    free = gallery - len(near)
    if free < mining.negatives:
        raise DataError(
            f"negatives={mining.negatives}: a query has only {free:,} of {gallery:,} gallery photos that are far "
            "enough to be negatives. Ask for fewer, or take a gallery that covers more ground."
        )
    drawn = np.arange(free) if mining.pool >= free else np.sort(rng.choice(free, mining.pool, replace=False))
    return drawn + np.searchsorted(near - np.arange(len(near)), drawn, side="right")  # the free-th row that is not near


def _nearest_first(
    queries: np.ndarray, gallery: np.ndarray, rows: Sequence[np.ndarray], device: torch.device | str
) -> list[np.ndarray]:
    """Sort each list of rows by distance; list i is one of query i modulo the number of queries."""
    lengths = np.array([len(own) for own in rows], np.int64)
    number, flat = np.repeat(np.arange(len(rows)), lengths), np.concatenate([np.empty(0, np.int64), *rows])
    near = similarities([queries], [gallery], number % max(len(queries), 1), flat, device)
    flat = flat[np.lexsort((flat, -near, number))]
    return np.split(flat, np.cumsum(lengths)[:-1])[: len(rows)]


def _difficult(pools: Sequence[np.ndarray], most: int, reranked: Distances | None) -> np.ndarray:
    """Choose of each query's nearest positives those that re-ranking moves forward, most places first, then those that
    it does not move."""
    chosen = np.full((len(pools), most), -1, np.int64)
    if not most or not len(pools):
        return chosen
    lengths = [len(rows) for rows in pools]
    flat = np.concatenate(pools)
    distances = np.zeros(len(flat)) if reranked is None else reranked(np.repeat(np.arange(len(pools)), lengths), flat)
    for query, (rows, own) in enumerate(zip(pools, np.split(distances, np.cumsum(lengths)[:-1]), strict=True)):
        order = np.argsort(own, kind="stable")  # old ranks, by new rank
        gap = np.arange(len(rows)) - order
        kept = np.argsort(gap, kind="stable")[: (gap <= 0).sum()][:most]
        chosen[query, : len(kept)] = rows[order[kept]]
    return chosen
