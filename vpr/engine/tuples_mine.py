"""From descriptors to tuples: blocks of queries are mined by the ranks in turn."""

from __future__ import annotations

import logging
from typing import NamedTuple

import numpy as np
import torch

from vpr.data.candidates import Candidates
from vpr.data.query_order import Chunk
from vpr.errors import DataError
from vpr.retrieval import ranks
from vpr.retrieval.mining import Mined, Mining, mine
from vpr.retrieval.reciprocal import KReciprocal, jaccard

log = logging.getLogger(__name__)

BLOCK = 128
"""Queries that share a random stream: chance must not depend on how many ranks there are."""


class Described(NamedTuple):
    """Descriptors of queries, those of a chunk first and in its order, and below them those of a part of the gallery.

    Attributes:
        descriptors: (q + g, D) array or memmap. Re-ranking looks for neighbours among all of them.
        gallery: (g,) int64, rising: the gallery rows that are there.
        bad: rows of `descriptors` whose photos cannot be used, rising.
    """

    descriptors: np.ndarray
    gallery: np.ndarray
    bad: np.ndarray


def mine_chunk(
    chunk: Chunk,
    described: Described,
    candidates: Candidates,
    mining: Mining,
    earlier: np.ndarray,
    seed: int,
    device: torch.device | str = "cpu",
    rerank: KReciprocal | None = None,
) -> np.ndarray:
    """Return the tuples (n, size) of a chunk as numbers of photos; arguments as in `vpr.engine.tuples_refresh`.

    A query that cannot be read, or whose positives cannot be, gives its turn to another one of the chunk.

    Raises:
        DataError: no query is left, or one has too few negatives.
    """
    asked, split = len(chunk.queries), len(described.descriptors) - len(described.gallery)
    bad = described.bad[np.searchsorted(described.bad, split) :] - split
    rows = [np.setdiff1d(_local(candidates.positives[query], described), bad) for query in chunk.queries]
    usable = np.setdiff1d([turn for turn, own in enumerate(rows) if len(own)], described.bad).astype(np.int64)
    if not len(usable):
        raise DataError(f"Not one of {asked} queries can be read together with a positive. Check the data set.")
    jaccards = None
    if rerank and mining.difficult:
        jaccards = jaccard(described.descriptors[:split], described.descriptors[split:], rerank, device)
    found: dict[int, Mined | DataError] = {}
    for block in range(ranks.rank(), -(-len(usable) // BLOCK), ranks.world()):
        turns = usable[block * BLOCK : (block + 1) * BLOCK]
        queries = chunk.queries[turns]
        try:
            found[block] = mine(
                described.descriptors[turns],
                described.descriptors[split:],
                [rows[turn] for turn in turns],
                [np.union1d(_local(candidates.near[query], described), bad) for query in queries],
                mining,
                np.random.default_rng((seed, chunk.epoch, chunk.number, 0, 2 + block)),
                earlier=[np.setdiff1d(_local(earlier[query], described), bad) for query in queries],
                reranked=jaccards.take(turns) if jaccards else None,
                device=device,
            )
        except DataError as error:  # told to all ranks, which would wait for this one
            found[block] = error
    mined = _gathered(found)
    earlier[chunk.queries[usable]] = described.gallery[mined.negatives]
    first = candidates.queries
    difficult = np.where(mined.difficult < 0, -1, first + described.gallery[mined.difficult])
    photos = [
        chunk.queries[usable, None],
        first + described.gallery[mined.positive][:, None],
        first + described.gallery[mined.negatives],
        difficult,
    ]
    tuples = np.concatenate(photos, axis=1)
    # The number of steps stays: every turn has a tuple.
    return tuples[np.searchsorted(usable, np.arange(asked)) % len(usable)]


def _local(rows: np.ndarray, described: Described) -> np.ndarray:
    """Return where gallery rows stand among those that are described; those that are not are left out."""
    rows = np.asarray(rows, np.int64)
    at = np.searchsorted(described.gallery, rows)
    at = at[described.gallery[np.minimum(at, len(described.gallery) - 1)] == rows]
    return np.sort(at)


def _gathered(found: dict[int, Mined | DataError]) -> Mined:
    blocks: dict[int, Mined | DataError] = {}
    for own in ranks.gather(found):
        blocks |= own
    parts = []
    for _, part in sorted(blocks.items()):
        if isinstance(part, DataError):
            raise part
        parts.append(part)
    return Mined(*(np.concatenate(values) for values in zip(*parts, strict=True)))
