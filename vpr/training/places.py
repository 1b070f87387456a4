"""Data module of labelled places."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from typing import Any

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from vpr.data.places import PlaceBatchSampler, Places, PlacesDataset, collate_places
from vpr.training.module import Position


def leave_signals_to_the_trainer(worker: int) -> None:
    """Keep a loader process alive through Ctrl-C and a closed terminal, which reach the whole group.

    The running step still needs it.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


class PlacesDataModule(pl.LightningDataModule):
    """Batches of places, the same for any number of ranks and workers.

    Args:
        sources: training places of one or several sets.
        transform: (image uint8 (H, W, 3), rng) -> uint8 (h, w, 3).
        places_per_batch: number of places in the global batch, over all ranks.
        images_per_place: images of each place in a batch.
        choice: `random` images of a place, or the most `recent`.
        shuffle: `within_group` (a batch stays in one city, as published) or `all`.
        drop_last: leave out a last, smaller batch.
        seed: order, choice of images and augmentation follow from it, the epoch and the place alone.
        num_workers: loader processes on each rank.
        min_size: (height, width) in pixels that the network gets; larger images are decoded at a reduced scale.
    """

    def __init__(
        self,
        sources: Sequence[Places],
        transform: Callable[..., Any],
        places_per_batch: int,
        images_per_place: int = 4,
        choice: str = "random",
        shuffle: str = "within_group",
        drop_last: bool = False,
        seed: int = 0,
        num_workers: int = 0,
        min_size: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        self.dataset = PlacesDataset(
            sources,
            images_per_place,
            transform=transform,
            seed=seed,
            choice=choice,
            min_size=min_size,
        )
        self.sampler_options: dict[str, Any] = {
            "places_per_batch": places_per_batch,
            "seed": seed,
            "shuffle": shuffle,
            "drop_last": drop_last,
        }
        self.num_workers = num_workers

    @property
    def steps_per_epoch(self) -> int:
        """Batches of one epoch, the same for any number of ranks but for a last batch too small to share."""
        return len(self._sampler(Position()))

    def _sampler(self, start: Position) -> PlaceBatchSampler:
        sampler = PlaceBatchSampler(
            self.dataset.groups,
            rank=self.trainer.global_rank if self.trainer else 0,
            world_size=self.trainer.world_size if self.trainer else 1,
            **self.sampler_options,
        )
        sampler.set_epoch(start.epoch)
        sampler.start_batch = start.batch
        sampler.fixed = bool(self.trainer and self.trainer.overfit_batches)  # type: ignore[attr-defined]
        return sampler

    def train_dataloader(self) -> DataLoader:
        # Lightning makes the first iterator before it tells the sampler the epoch, and never tells it the batch.
        module: Any = self.trainer.lightning_module if self.trainer else None
        return self._loader(module.resume_from if module else Position(), persistent=True)

    def batches_again(self, epoch: int) -> DataLoader:
        """Return this rank's batches of an epoch, the same images as in training."""
        return self._loader(Position(epoch), persistent=False)

    def _loader(self, start: Position, persistent: bool) -> DataLoader:
        return DataLoader(
            self.dataset,
            batch_sampler=self._sampler(start),
            num_workers=self.num_workers,
            collate_fn=collate_places,
            pin_memory=torch.cuda.is_available(),
            persistent_workers=persistent and self.num_workers > 0,
            worker_init_fn=leave_signals_to_the_trainer,
        )
