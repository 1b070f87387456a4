"""Order of the queries of an epoch, in batches and in the chunks whose tuples are mined together."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from vpr.errors import ConfigError


class Chunk(NamedTuple):
    """Consecutive batches of an epoch, whose tuples are mined together: `queries` (n,) int64 in their order."""

    epoch: int
    number: int
    queries: np.ndarray


class QueryOrder:
    """Queries of an epoch, in chunks, and those in batches.

    The order follows from (seed, epoch) alone and is the same on all ranks. Each global batch is cut into contiguous,
    nearly equal parts; a last batch that would leave a rank without a tuple is dropped on all ranks.

    Args:
        queries: the number of them.
        tuples: of the global batch, over all ranks.
        refresh_every: queries of a chunk; rounded up to whole batches.

    Attributes:
        epoch: of the next pass.
        start_batch: batches to leave out of the next pass only: those that an interrupted epoch had done.
        fixed: pass every time as in the first epoch, for overfitting a few batches on purpose.

    Raises:
        ConfigError: fewer tuples than ranks in a batch, or not one batch from all queries.
    """

    def __init__(
        self, queries: int, tuples: int, refresh_every: int, seed: int, rank: int = 0, world_size: int = 1
    ) -> None:
        if tuples < world_size:
            raise ConfigError(f"supervision.tuples={tuples}: {world_size} processes need at least {world_size}.")
        self.queries, self.tuples, self.seed = queries, tuples, seed
        self.rank, self.world_size = rank, world_size
        self.chunk_batches = math.ceil(refresh_every / tuples)
        self.epoch = 0
        self.start_batch = 0
        self.fixed = False
        full, rest = divmod(queries, tuples)
        self._batches = full + (rest >= world_size)
        if not self._batches:
            raise ConfigError(f"{queries} queries do not fill one batch of {tuples} tuples on {world_size} processes.")

    def __len__(self) -> int:
        """Batches of a whole epoch, whatever `start_batch` is."""
        return self._batches

    @property
    def sampler(self) -> QueryOrder:
        """Itself: Lightning looks for `set_epoch` at `batch_sampler.sampler`."""
        return self

    def set_epoch(self, epoch: int) -> None:
        if not self.fixed:
            self.epoch = epoch

    @property
    def chunks(self) -> int:
        """Chunks of an epoch."""
        return math.ceil(self._batches / self.chunk_batches)

    def passing(self) -> Iterator[tuple[Chunk, int]]:
        """Yield the chunks of one pass, each with the number of its batches that are done already."""
        epoch, start = self.epoch, self.start_batch
        self.start_batch = 0
        order = np.random.default_rng((self.seed, epoch)).permutation(self.queries)[: self._batches * self.tuples]
        for number in range(start // self.chunk_batches, self.chunks):
            first = number * self.chunk_batches
            queries = order[first * self.tuples : (first + self.chunk_batches) * self.tuples]
            yield Chunk(epoch, number, queries), max(0, start - first)

    def batches(self, tuples: np.ndarray) -> list[np.ndarray]:
        """Return this rank's part of each batch of a chunk, of its (n, size) tuples."""
        starts = range(0, len(tuples), self.tuples)
        return [np.array_split(tuples[at : at + self.tuples], self.world_size)[self.rank] for at in starts]
