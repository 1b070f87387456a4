"""Throughput of training, and the share of it that waits for data."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback

from vpr.types import PlaceBatch


class Throughput(Callback):
    """Log images/s over all ranks, the share (0..1) of time that waits for the loader, and peak GPU memory in GiB."""

    state_key = "Speed"  # its first name: under it checkpoints keep the state

    def __init__(self) -> None:
        self.images_per_second = 0.0
        self.data_wait = 0.0
        self._images, self._batches, self._waited = 0, 0, 0.0
        self._began = self._ended = time.perf_counter()

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self._restart()

    def on_train_batch_start(self, trainer: pl.Trainer, module: pl.LightningModule, *args: Any) -> None:
        self._waited += time.perf_counter() - self._ended

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: PlaceBatch, batch_idx: int
    ) -> None:
        self._images += len(batch.labels) * trainer.world_size
        self._batches += 1
        self._ended = time.perf_counter()
        if self._batches == 1 and trainer.num_training_batches > 1:
            # The first batch starts workers and compiles: not the speed of the rest.
            self._images, self._waited, self._began = 0, 0.0, self._ended
        seconds = self._ended - self._began
        if seconds > 0 and self._images:
            self.images_per_second = self._images / seconds
            self.data_wait = self._waited / seconds
            module.log("speed/images_per_s", self.images_per_second, batch_size=1)
            module.log("speed/data_wait", self.data_wait, batch_size=1)
        if torch.cuda.is_available():
            module.log("speed/gpu_GiB", torch.cuda.max_memory_allocated() / 2**30, batch_size=1)

    @contextmanager
    def paused(self, trainer: pl.Trainer) -> Iterator[None]:
        """Leave the time of a pause out."""
        began = time.perf_counter()
        yield
        passed = time.perf_counter() - began
        self._began, self._ended = self._began + passed, self._ended + passed

    def _restart(self) -> None:
        self._images, self._batches, self._waited = 0, 0, 0.0
        self._began = self._ended = time.perf_counter()
