"""`last.ckpt`: where a run can be taken up again, at any batch."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

# With several ranks the wish to stop must be agreed on, which costs a small collective: not at every batch.
AGREE_EVERY = 10


class LastCheckpoint(Callback):
    """Write `last.ckpt` every so many steps, at the end of each epoch, and when the run is interrupted.

    Ctrl-C (or SIGTERM) lets the running step finish, saves, and ends the run; a second Ctrl-C ends it at once.

    Args:
        directory: where it goes.
        every: optimiser steps between two saves; None saves at the end of epochs only.
    """

    def __init__(self, directory: Path, every: int | None = None) -> None:
        self.path = directory / "last.ckpt"
        self.every = every
        self.stop = False
        self.interrupted = False
        self._handlers: dict[int, Any] = {}

    def on_train_epoch_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        self._handlers = {number: signal.signal(number, self._ask) for number in (signal.SIGINT, signal.SIGTERM)}

    def _ask(self, number: int, frame: Any) -> None:
        self.stop = True
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers = {}

    def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, *args: Any) -> None:
        # The last batch of an epoch is left to `on_train_epoch_end`, which follows at once.
        if trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            return
        if self._agreed(trainer):
            self._save_and_stop(trainer)
        elif self.every and trainer.global_step % self.every == 0:
            self._save(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if self._agreed(trainer, always=True):
            self._save_and_stop(trainer)
        self._save(trainer)
        # Evaluation follows: it is cut off at once, and done again by the resumed run.
        self._restore()

    def on_exception(self, trainer: pl.Trainer, module: pl.LightningModule, exception: BaseException) -> None:
        self._restore()
        self.interrupted = isinstance(exception, KeyboardInterrupt)

    def _agreed(self, trainer: pl.Trainer, always: bool = False) -> bool:
        if trainer.world_size == 1:
            return self.stop
        if not always and trainer.global_step % AGREE_EVERY:
            return False
        return trainer.strategy.reduce_boolean_decision(self.stop, all=False)

    def _save(self, trainer: pl.Trainer) -> None:
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        trainer.save_checkpoint(self.path)

    def _save_and_stop(self, trainer: pl.Trainer) -> None:
        self._save(trainer)
        raise KeyboardInterrupt
