"""Batches of places, shared out to the ranks of a distributed run."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from torch.utils.data import Sampler

from vpr.errors import ConfigError
from vpr.types import Draw


class PlaceBatchSampler(Sampler[list[Draw]]):
    """Yields this rank's part of each global batch of places.

    The order follows from (seed, epoch) alone and is the same on all ranks. Each global batch is cut into contiguous,
    nearly equal parts; a last batch that would leave a rank without a place, or that has no two places to compare, is
    dropped on all ranks. So no rank waits for another, and no place counts twice.

    Args:
        groups: (P,) group (city) of each place.
        places_per_batch: places of the global batch, over all ranks.
        shuffle: `within_group` lets the groups follow one another, as GSV-Cities was published to be trained
            (in-city batches: harder negatives; Ali-bey et al. 2022); `all` mixes them.

    Attributes:
        fixed: draw every epoch as the first one, for overfitting a few batches on purpose.
        start_batch: batches to leave out of the next iteration only: those that an interrupted epoch had done.

    Raises:
        ConfigError: an unknown shuffle, fewer places than ranks in a batch, or not one batch from all places.
    """

    def __init__(
        self,
        groups: np.ndarray,
        places_per_batch: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        drop_last: bool = False,
        shuffle: str = "within_group",
    ) -> None:
        if shuffle not in ("within_group", "all"):
            raise ConfigError(f"shuffle={shuffle} is unknown: choose within_group or all.")
        smallest = max(2, world_size)
        if places_per_batch < smallest:
            raise ConfigError(f"places_per_batch={places_per_batch}: {world_size} processes need at least {smallest}.")
        self.groups = np.asarray(groups)
        self.places_per_batch = places_per_batch
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.shuffle = shuffle
        self.epoch = 0
        self.start_batch = 0
        self.fixed = False
        full, rest = divmod(len(self.groups), places_per_batch)
        self._batches = full + (rest >= smallest and not drop_last)
        if not self._batches:
            raise ConfigError(f"{len(self.groups)} training places do not fill one batch of {places_per_batch}.")

    def __len__(self) -> int:
        """Batches of a whole epoch, whatever `start_batch` is."""
        return self._batches

    @property
    def sampler(self) -> PlaceBatchSampler:
        """Itself: Lightning looks for `set_epoch` at `batch_sampler.sampler`."""
        return self

    def set_epoch(self, epoch: int) -> None:
        if not self.fixed:
            self.epoch = epoch

    def order(self) -> np.ndarray:
        """(P,) place numbers in the order of this epoch."""
        places = np.random.default_rng((self.seed, self.epoch)).permutation(len(self.groups))
        if self.shuffle == "within_group":
            places = places[np.argsort(self.groups[places], kind="stable")]
        return places

    def __iter__(self) -> Iterator[list[Draw]]:
        order, epoch, start = self.order(), self.epoch, self.start_batch
        self.start_batch = 0
        for batch in range(start, self._batches):
            places = order[batch * self.places_per_batch :][: self.places_per_batch]
            part = np.array_split(places, self.world_size)[self.rank]
            yield [Draw(int(place), epoch) for place in part]
