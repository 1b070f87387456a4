"""Tuple mining of a run: queries and database are described with the network as it is, and tuples mined from them.

The ranks share the work: they describe in turn, and mine blocks of queries in turn.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.distributed as dist

from vpr import checkpoint, distributed
from vpr.data.image_paths import ImagePaths
from vpr.data.loading import BadImageTally
from vpr.data.tuple_sampler import Chunk
from vpr.data.tuples import Candidates
from vpr.distill.descriptor_cache import DescriptorCache
from vpr.errors import DataError
from vpr.retrieval.extractor import Extractor, extract, image_loader
from vpr.retrieval.kreciprocal import KReciprocal, jaccard
from vpr.retrieval.mining import Mined, Mining, mine

log = logging.getLogger(__name__)

BLOCK = 128  # queries that share a random stream: chance must not depend on the number of ranks
LOG_EVERY = 60.0  # seconds between two lines of progress


@dataclass
class Refresh:
    """Mines the tuples of a chunk; they are the same on all ranks, whatever their number.

    Args:
        folder: holds the descriptors until the tuples are mined. Those that an interrupted refresh has left there are
            taken up again, if they are of the same weights and images.
        sampled: database images that are described, and may be negatives, drawn anew each time: the partial mining of
            Berton et al. (CVPR 2022). None: all, as published with NetVLAD.
        batch_size, num_workers: for the extraction of descriptors.
        rerank: distances by which positives are difficult that they move forward; None: the nearest positives are. All
            queries are then described each time, as published, and not those of the chunk alone.
    """

    candidates: Candidates
    mining: Mining
    folder: Path
    seed: int = 0
    sampled: int | None = None
    batch_size: int = 32
    num_workers: int = 0
    rerank: KReciprocal | None = None
    _warned: set[str] = field(default_factory=set)

    def __call__(
        self,
        chunk: Chunk,
        earlier: np.ndarray,
        extractor: Extractor,
        leave_out: Collection[int] = (),
    ) -> np.ndarray:
        """Return the tuples (n, size) of the chunk's queries, as numbers of images; -1 for lacking difficult positives.

        Args:
            earlier: (Q, negatives) int64, the database rows of each query's negatives in the last mining, -1 where it
                had none; replaced by the new ones.
            leave_out: images that no tuple may have.

        Raises:
            DataError: more than 1 % of the images cannot be read, or a query has too few negatives.
        """
        began = time.monotonic()
        rows = self._database_rows(chunk, earlier)
        images = np.concatenate([chunk.queries, self._further_queries(chunk, rows), self.candidates.queries + rows])
        cache = self._cache(images, extractor)
        bad = self._describe(cache, images, extractor)
        bad |= {row for row, image in enumerate(images) if image in leave_out} if leave_out else set()
        described = Described(cache.attach("r"), rows, np.array(sorted(bad), np.int64))
        tuples = mine_chunk(
            chunk, described, self.candidates, self.mining, earlier, self.seed, extractor.device, self.rerank
        )
        del described
        distributed.gather_objects(None)  # no rank reads it any more
        distributed.on_rank_zero(cache.delete)
        if distributed.rank() == 0:
            log.info(
                "%s images described and %s tuples mined in %.0f s.",
                *(f"{len(images):,}", f"{len(tuples):,}", time.monotonic() - began),
            )
        return tuples

    def _database_rows(self, chunk: Chunk, earlier: np.ndarray) -> np.ndarray:
        """Return the database rows (rising) that are described: those that the queries need, and the rest by chance."""
        total = self.candidates.database
        if self.sampled is None or self.sampled >= total:
            return np.arange(total)
        rng = np.random.default_rng((self.seed, chunk.epoch, chunk.number, 0, 1))
        negatives = earlier[chunk.queries].ravel()
        positives = [self.candidates.positives[query] for query in chunk.queries]
        drawn = rng.choice(total, self.sampled, replace=False)
        return np.unique(np.concatenate([drawn, negatives[negatives >= 0], *positives]))

    def _further_queries(self, chunk: Chunk, rows: np.ndarray) -> np.ndarray:
        """Return queries of other chunks that are described, too: re-ranking has neighbours among all images.

        None with a part of the database, which is there to be quick.
        """
        if self.rerank is None or not self.mining.difficult or len(rows) < self.candidates.database:
            return np.empty(0, np.int64)
        return np.setdiff1d(np.arange(self.candidates.queries), chunk.queries)

    def _cache(self, images: np.ndarray, extractor: Extractor) -> DescriptorCache:
        describer = extractor.describer
        if distributed.world_size() > 1:
            for buffer in describer.buffers():  # as before each step: BatchNorm's statistics are rank 0's
                dist.broadcast(buffer, 0)
        identity = {
            "weights": checkpoint.digest(checkpoint.pack(describer, {"backbone": {}, "agg": {}})),
            "photos": hashlib.sha256(images.tobytes()).hexdigest(),
            "precision": extractor.precision,
        }
        remedy = "set supervision.refresh_gallery=5000"
        return DescriptorCache(
            self.folder, "descriptors", identity, len(images), describer.dim, "The descriptors", remedy
        )

    def _describe(self, cache: DescriptorCache, images: np.ndarray, extractor: Extractor) -> set[int]:
        """Fill the cache; return the rows of images that cannot be read."""
        if not distributed.on_rank_zero(cache.begin):
            missing = distributed.on_rank_zero(lambda: self._whole_batches(cache.missing(), len(images)))
            all_paths = ImagePaths(self.candidates.sources)
            paths = [all_paths[image] for image in images.tolist()]
            loader = image_loader(paths, extractor.preprocess, self.batch_size, self.num_workers, rows=missing)
            bad = extract(extractor, loader, cache.attach(), _logged(len(missing)))
            self._check(bad, len(images))
            distributed.on_rank_zero(lambda: cache.seal(bad))
        return set(distributed.on_rank_zero(cache.bad))

    def _whole_batches(self, missing: np.ndarray, total: int) -> np.ndarray:
        """Return all rows of the batches that lack one: each is described in the company that it always had."""
        batches = np.unique(missing // self.batch_size)
        rows = (batches[:, None] * self.batch_size + np.arange(self.batch_size)).ravel()
        return rows[rows < total]

    def _check(self, bad: dict[int, str], images: int) -> None:
        tally = BadImageTally("dataset.weak.*", minimum=0)  # all of them have been seen
        tally.add(images - len(bad), list(bad.values()))
        for message in bad.values():
            if message not in self._warned and distributed.rank() == 0:
                log.warning("Left out: %s", message)
        self._warned |= set(bad.values())


def _logged(total: int) -> Callable[[int], None]:
    """Return `progress` of `extract` that logs a line from time to time; Lightning's own bar is on the screen."""
    done, logged = 0, time.monotonic()

    def progress(images: int) -> None:
        nonlocal done, logged
        done += images * distributed.world_size()
        if distributed.rank() == 0 and time.monotonic() - logged > LOG_EVERY:
            logged = time.monotonic()
            log.info("Describing the training images: %s of %s ...", f"{min(done, total):,}", f"{total:,}")

    return progress


class Described(NamedTuple):
    """Descriptors of queries, those of a chunk first and in its order, and below them those of database images.

    Attributes:
        descriptors: (q + g, D) array or memmap. Re-ranking has neighbours among all of them.
        database: (g,) int64, rising: the database rows that are described.
        bad: rows of `descriptors` whose images cannot be used, rising.
    """

    descriptors: np.ndarray
    database: np.ndarray
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
    """Return the tuples (n, size) of a chunk as numbers of images; arguments as of `Refresh`.

    A query that cannot be read, or whose positives cannot be, gives its turn to another one of the chunk.

    Raises:
        DataError: no query is left, or one has too few negatives.
    """
    turns, split = len(chunk.queries), len(described.descriptors) - len(described.database)
    bad = described.bad[np.searchsorted(described.bad, split) :] - split
    rows = [np.setdiff1d(_local(candidates.positives[query], described), bad) for query in chunk.queries]
    with_positive = [turn for turn, positives in enumerate(rows) if len(positives)]
    usable = np.setdiff1d(with_positive, described.bad).astype(np.int64)
    if not len(usable):
        raise DataError(f"Not one of {turns} queries can be read together with a positive. Check the data set.")
    jaccards = None
    if rerank and mining.difficult:
        jaccards = jaccard(described.descriptors[:split], described.descriptors[split:], rerank, device)
    blocks: dict[int, Mined | DataError] = {}
    for block in range(distributed.rank(), -(-len(usable) // BLOCK), distributed.world_size()):
        part = usable[block * BLOCK : (block + 1) * BLOCK]
        queries = chunk.queries[part]
        try:
            blocks[block] = mine(
                described.descriptors[part],
                described.descriptors[split:],
                [rows[turn] for turn in part],
                [np.union1d(_local(candidates.near[query], described), bad) for query in queries],
                mining,
                np.random.default_rng((seed, chunk.epoch, chunk.number, 0, 2 + block)),
                earlier=[np.setdiff1d(_local(earlier[query], described), bad) for query in queries],
                reranked=jaccards.take(part) if jaccards else None,
                device=device,
            )
        except DataError as error:  # raised on all ranks, which would wait for this one
            blocks[block] = error
    mined = _gathered(blocks)
    earlier[chunk.queries[usable]] = described.database[mined.negatives]
    first = candidates.queries
    difficult = np.where(mined.difficult < 0, -1, first + described.database[mined.difficult])
    images = [
        chunk.queries[usable, None],
        first + described.database[mined.positive][:, None],
        first + described.database[mined.negatives],
        difficult,
    ]
    tuples = np.concatenate(images, axis=1)
    # The number of steps stays: every turn has a tuple.
    return tuples[np.searchsorted(usable, np.arange(turns)) % len(usable)]


def _local(rows: np.ndarray, described: Described) -> np.ndarray:
    """Return the places of database rows among those that are described; rows that are not are left out."""
    rows = np.asarray(rows, np.int64)
    at = np.searchsorted(described.database, rows)
    at = at[described.database[np.minimum(at, len(described.database) - 1)] == rows]
    return np.sort(at)


def _gathered(blocks: dict[int, Mined | DataError]) -> Mined:
    """Return the blocks of all ranks as one; raise the first error on all of them."""
    of_all_ranks: dict[int, Mined | DataError] = {}
    for of_a_rank in distributed.gather_objects(blocks):
        of_all_ranks |= of_a_rank
    parts = []
    for _, part in sorted(of_all_ranks.items()):
        if isinstance(part, DataError):
            raise part
        parts.append(part)
    return Mined(*(np.concatenate(values) for values in zip(*parts, strict=True)))
