"""From descriptors to tuples: blocks of queries are mined by the ranks in turn."""

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
from vpr.distill.descriptor_cache import TargetFile
from vpr.errors import DataError
from vpr.retrieval.extractor import Extractor, extract, image_loader
from vpr.retrieval.kreciprocal import KReciprocal, jaccard
from vpr.retrieval.mining import Mined, Mining, mine

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
    """Return the tuples (n, size) of a chunk as numbers of photos; arguments as in `vpr.training.tuple_mining`.

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
    for block in range(distributed.rank(), -(-len(usable) // BLOCK), distributed.world_size()):
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
    for own in distributed.gather_objects(found):
        blocks |= own
    parts = []
    for _, part in sorted(blocks.items()):
        if isinstance(part, DataError):
            raise part
        parts.append(part)
    return Mined(*(np.concatenate(values) for values in zip(*parts, strict=True)))


# FOLDED vpr/training/tuple_mining.py: A look at the gallery: queries and gallery are described with the network as
# it is now, and tuples mined.


SAY_EVERY = 60.0
"""Seconds between two lines that say how far one is."""


@dataclass
class Refresh:
    """Mines the tuples of a chunk; the ranks share the work, and get the same tuples, whatever their number.

    Args:
        folder: where the descriptors lie until the tuples are mined. What an interrupted refresh has left there is
            taken up again, if it is of the same weights and photos.
        gallery: photos of the gallery that are described, and may be negatives, drawn anew each time: the partial
            mining of Berton et al. (CVPR 2022). None: all, as published with NetVLAD.
        batch_size, num_workers: for describing.
        rerank: difficult positives are those that these distances move forward; None: the nearest positives. All
            queries are then described each time, as published, and not those of the chunk alone.
    """

    candidates: Candidates
    mining: Mining
    folder: Path
    seed: int = 0
    gallery: int | None = None
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
        """Return the tuples (n, size) of the chunk's queries, as numbers of photos; -1 for lacking difficult positives.

        Args:
            earlier: (Q, negatives) int64, gallery rows that were each query's negatives last time, -1 where it had
                none; they are replaced by the new ones.
            leave_out: photos that no tuple may have.

        Raises:
            DataError: more than 1 % of the photos cannot be read, or a query has too few negatives.
        """
        began = time.monotonic()
        rows = self._offered(chunk, earlier)
        photos = np.concatenate([chunk.queries, self._others(chunk, rows), self.candidates.queries + rows])
        file = self._file(photos, extractor)
        bad = self._describe(file, photos, extractor)
        bad |= {row for row, photo in enumerate(photos) if photo in leave_out} if leave_out else set()
        described = Described(file.attach("r"), rows, np.array(sorted(bad), np.int64))
        tuples = mine_chunk(
            chunk, described, self.candidates, self.mining, earlier, self.seed, extractor.device, self.rerank
        )
        del described
        distributed.gather_objects(None)  # no rank reads it any more
        distributed.on_rank_zero(file.delete)
        if distributed.rank() == 0:
            log.info(
                "%s photos described and %s tuples mined in %.0f s.",
                *(f"{len(photos):,}", f"{len(tuples):,}", time.monotonic() - began),
            )
        return tuples

    def _offered(self, chunk: Chunk, earlier: np.ndarray) -> np.ndarray:
        """Return the gallery rows (rising) that are described: those that the queries need, and the rest by chance."""
        everything = self.candidates.database
        if self.gallery is None or self.gallery >= everything:
            return np.arange(everything)
        rng = np.random.default_rng((self.seed, chunk.epoch, chunk.number, 0, 1))
        known = earlier[chunk.queries].ravel()
        needed = [self.candidates.positives[query] for query in chunk.queries]
        return np.unique(
            np.concatenate([rng.choice(everything, self.gallery, replace=False), known[known >= 0], *needed])
        )

    def _others(self, chunk: Chunk, rows: np.ndarray) -> np.ndarray:
        """Return queries of other chunks that are described, too: as published, re-ranking looks for neighbours among
        all photos. None with a part of the gallery, which is there to be quick."""
        if self.rerank is None or not self.mining.difficult or len(rows) < self.candidates.database:
            return np.empty(0, np.int64)
        return np.setdiff1d(np.arange(self.candidates.queries), chunk.queries)

    def _file(self, photos: np.ndarray, extractor: Extractor) -> TargetFile:
        describer = extractor.describer
        if distributed.world_size() > 1:
            for buffer in describer.buffers():  # as before each step: BatchNorm's statistics are rank 0's
                dist.broadcast(buffer, 0)
        identity = {
            "weights": checkpoint.digest(checkpoint.pack(describer, {"backbone": {}, "agg": {}})),
            "photos": hashlib.sha256(photos.tobytes()).hexdigest(),
            "precision": extractor.precision,
        }
        shorter = "set supervision.refresh_gallery=5000"
        return TargetFile(self.folder, "descriptors", identity, len(photos), describer.dim, "The descriptors", shorter)

    def _describe(self, file: TargetFile, photos: np.ndarray, extractor: Extractor) -> set[int]:
        """Fill the file; return the rows of photos that cannot be read."""
        if not distributed.on_rank_zero(file.begin):
            missing = distributed.on_rank_zero(lambda: self._unfinished(file.missing(), len(photos)))
            numbered = ImagePaths(self.candidates.sources)
            paths = [numbered[photo] for photo in photos.tolist()]
            loader = image_loader(paths, extractor.preprocess, self.batch_size, self.num_workers, rows=missing)
            found = extract(extractor, loader, file.attach(), _said(len(missing)))
            self._check(found, len(photos))
            distributed.on_rank_zero(lambda: file.seal(found))
        return set(distributed.on_rank_zero(file.bad))

    def _unfinished(self, missing: np.ndarray, total: int) -> np.ndarray:
        """Return all rows of the batches that lack one: each is described in the company that it always had."""
        batches = np.unique(missing // self.batch_size)
        rows = (batches[:, None] * self.batch_size + np.arange(self.batch_size)).ravel()
        return rows[rows < total]

    def _check(self, bad: dict[int, str], photos: int) -> None:
        tally = BadImageTally("dataset.weak.*", minimum=0)  # all of them have been seen
        tally.add(photos - len(bad), list(bad.values()))
        for sentence in bad.values():
            if sentence not in self._warned and distributed.rank() == 0:
                log.warning("Left out: %s", sentence)
        self._warned |= set(bad.values())


def _said(total: int) -> Callable[[int], None]:
    """Return `progress` of `extract` that logs a line from time to time; Lightning's own bar is on the screen."""
    done, said = 0, time.monotonic()

    def progress(images: int) -> None:
        nonlocal done, said
        done += images * distributed.world_size()
        if distributed.rank() == 0 and time.monotonic() - said > SAY_EVERY:
            said = time.monotonic()
            log.info("Describing the training photos: %s of %s ...", f"{min(done, total):,}", f"{total:,}")

    return progress
