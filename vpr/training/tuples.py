"""Data module of tuples: mined, trained on, and mined again.

A part of the queries, a chunk, is mined at a time. Its tuples are on disk before its first step, so that a killed run
goes on with the same ones.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from vpr import distributed
from vpr.data.tuple_sampler import Chunk, QueryOrder
from vpr.data.tuples import TupleBatch, TupleDraw, TuplesDataset, collate_tuples
from vpr.retrieval.extractor import Extractor
from vpr.training.callbacks.checkpointing import pause
from vpr.training.module import Position
from vpr.training.places import leave_signals_to_the_trainer
from vpr.training.tuple_mining import Refresh

log = logging.getLogger(__name__)


class TupleLoader:
    """Loader of this rank's batches of an epoch, chunk by chunk; a chunk is mined when its first batch is requested.

    Lightning asks for a batch of a loader with a length when the step before it is over, so the tuples are those of the
    network at that time.

    Args:
        tuples_of: the (n, size) tuples of a chunk.
    """

    def __init__(
        self,
        dataset: TuplesDataset,
        order: QueryOrder,
        tuples_of: Callable[[Chunk], np.ndarray],
        num_workers: int = 0,
    ) -> None:
        self.batch_sampler = order  # where Lightning looks for `set_epoch`
        self._tuples_of = tuples_of
        self._draws: list[list[TupleDraw]] = []
        self._loader = DataLoader(
            dataset,
            batch_sampler=self._draws,
            num_workers=num_workers,
            collate_fn=collate_tuples,
            pin_memory=torch.cuda.is_available(),
            persistent_workers=num_workers > 0,
            worker_init_fn=leave_signals_to_the_trainer,
        )

    def __len__(self) -> int:
        return len(self.batch_sampler)

    @property
    def _iterator(self) -> object:
        """Loader processes, for Lightning to end: they ignore the signal that Python ends them with."""
        return self._loader._iterator

    @_iterator.setter
    def _iterator(self, none: None) -> None:
        self._loader._iterator = none

    def __iter__(self) -> Iterator[TupleBatch]:
        for chunk, done in self.batch_sampler.passing():
            batches = self.batch_sampler.batches(self._tuples_of(chunk))[done:]
            self._draws[:] = [[TupleDraw(chunk.epoch, tuple(row)) for row in batch.tolist()] for batch in batches]
            yield from self._loader


class TuplesDataModule(pl.LightningDataModule):
    """Batches of tuples, the same for any number of ranks and workers.

    What was mined is part of a checkpoint, so that a run that is resumed in the middle of a chunk trains on its tuples:
    they are of the network at its beginning.

    Args:
        tuples: of the global batch, over all ranks.
        refresh_every: queries between two extractions of the database.
        left_behind: folder of descriptors of the run that is resumed, which may have been cut off in a refresh.
    """

    def __init__(
        self,
        dataset: TuplesDataset,
        refresh: Refresh,
        tuples: int,
        refresh_every: int,
        num_workers: int = 0,
        left_behind: Path | None = None,
    ) -> None:
        super().__init__()
        self.dataset = dataset
        self.refresh = refresh
        self.tuples, self.refresh_every = tuples, refresh_every
        self.num_workers = num_workers
        self.left_behind = left_behind
        self.earlier = np.full((len(dataset), dataset.negatives), -1, np.int64)
        self.mined: tuple[int, int, np.ndarray] | None = None

    @property
    def steps_per_epoch(self) -> int:
        """Batches of one epoch, the same for any number of ranks but for a last batch too small to share."""
        return len(self._order(Position()))

    def _order(self, start: Position) -> QueryOrder:
        order = QueryOrder(
            len(self.dataset),
            self.tuples,
            self.refresh_every,
            self.dataset.seed,
            rank=self.trainer.global_rank if self.trainer else 0,
            world_size=self.trainer.world_size if self.trainer else 1,
        )
        order.epoch, order.start_batch = start
        order.fixed = bool(self.trainer and self.trainer.overfit_batches)  # type: ignore[attr-defined]
        return order

    def setup(self, stage: str) -> None:
        """Take over the descriptors that an interrupted refresh has left behind."""
        distributed.on_rank_zero(self._take_over)

    def _take_over(self) -> None:
        folder = self.refresh.folder
        if self.left_behind and self.left_behind.is_dir() and not folder.exists():
            folder.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(self.left_behind, folder)

    def train_dataloader(self) -> TupleLoader:
        module: Any = self.trainer.lightning_module if self.trainer else None
        order = self._order(module.resume_from if module else Position())
        return TupleLoader(self.dataset, order, self.tuples_of, self.num_workers)

    def batches_again(self, epoch: int) -> TupleLoader:
        """Return this rank's batches of the end of an epoch: of its last chunk, whose tuples are known."""
        order = self._order(Position())
        order.epoch, order.start_batch = epoch, (order.chunks - 1) * order.chunk_batches
        return TupleLoader(self.dataset, order, self.tuples_of, self.num_workers)

    def tuples_of(self, chunk: Chunk) -> np.ndarray:
        """Return the tuples (n, size) of a chunk: those that were mined before, or mined now between two steps."""
        if self.mined is None or self.mined[:2] != chunk[:2]:
            trainer: Any = self.trainer
            module = trainer.lightning_module
            with pause(trainer):
                if trainer.is_global_zero:
                    chunks = self._order(Position()).chunks
                    log.info("Epoch %d, part %d of %d: mining ...", chunk.epoch + 1, chunk.number + 1, chunks)
                channels_last = module.memory_format == torch.channels_last
                extractor = Extractor(
                    module.describer.eval(), trainer.strategy.root_device, trainer.precision, channels_last
                )
                tuples = self.refresh(chunk, self.earlier, extractor, self.dataset.leave_out)
                module.describer.train()
                self.mined = (chunk.epoch, chunk.number, tuples)
        return self.mined[2]

    def state_dict(self) -> dict[str, Any]:
        """Return the state that a resumed run goes on with."""
        mined = self.mined and {"epoch": self.mined[0], "chunk": self.mined[1], "tuples": torch.tensor(self.mined[2])}
        return {"earlier": torch.tensor(self.earlier), "mined": mined}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over from the run that is resumed."""
        self.earlier = state_dict["earlier"].numpy()
        mined = state_dict["mined"]
        self.mined = mined and (mined["epoch"], mined["chunk"], mined["tuples"].numpy())
