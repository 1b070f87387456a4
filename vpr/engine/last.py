"""`last.ckpt`: where a run can be taken up again, at any batch."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

# With several ranks the wish to stop must be agreed on, which costs a small collective: not at every batch.
AGREE_EVERY = 10


class LastCheckpoint(Callback):
    """Write `last.ckpt` every so many steps or minutes, at the end of each epoch, and when the run is interrupted.

    Ctrl-C (or SIGTERM) lets the running step finish, saves, and ends the run; a second Ctrl-C ends it at once.

    Args:
        directory: where it goes.
        pack: returns the describer as `vpr.checkpoint` writes it, so that the file can be evaluated, too.
        steps: optimiser steps between two saves; None: no such limit.
        minutes: minutes between two saves; None: no such limit.
    """

    def __init__(
        self,
        directory: Path,
        pack: Callable[[], dict[str, Any]],
        steps: int | None = None,
        minutes: float | None = None,
    ) -> None:
        self.path = directory / "last.ckpt"
        self.pack = pack
        self.steps = steps
        self.minutes = minutes
        self._saved_at = time.monotonic()
        self.stop = False
        self.interrupted = False
        self._before: dict[int, Any] = {}
        self._stepping = False

    def on_train_batch_start(self, trainer: pl.Trainer, module: pl.LightningModule, *args: Any) -> None:
        # Not at the start of an epoch: a run that is resumed in the middle of one never passes there.
        if not self._stepping and not self.stop:
            self._listen(self._ask)
            self._stepping = True

    def _ask(self, number: int, frame: Any) -> None:
        self.stop = True
        self._restore()

    def _leave(self, number: int, frame: Any) -> None:
        # Remembered, too: Python drops an exception in a destructor, and loader processes are ended by one.
        self._ask(number, frame)
        raise KeyboardInterrupt

    def _listen(self, handler: Callable[[int, Any], Any]) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before.setdefault(number, signal.signal(number, handler))

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before, self._stepping = {}, False

    def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, *args: Any) -> None:
        # The last batch of an epoch is left to `on_train_epoch_end`, which follows at once.
        if trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            return
        if self._agreed(trainer, self.stop):
            self._save_and_stop(trainer)
        elif (self.steps and trainer.global_step % self.steps == 0) or self._agreed(trainer, self._minutes_are_over()):
            self._save(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if self._agreed(trainer, self.stop, always=True):
            self._save_and_stop(trainer)
        self._save(trainer)
        # Evaluation follows: it is cut off at once, and done again by the resumed run.
        if not self.stop:
            self._listen(self._leave)
            self._stepping = False

    @contextmanager
    def paused(self, trainer: pl.Trainer) -> Iterator[None]:
        """Save before something long between two steps, which Ctrl-C may cut off at once, and what it has brought."""
        if self._agreed(trainer, self.stop, always=True):
            self._save_and_stop(trainer)
        self._save(trainer)
        self._restore()
        self._listen(self._leave)
        yield
        self._save(trainer)

    def teardown(self, trainer: pl.Trainer, module: pl.LightningModule, stage: str) -> None:
        self._restore()

    def on_save_checkpoint(self, trainer: pl.Trainer, module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        checkpoint["describer"] = self.pack()

    def on_exception(self, trainer: pl.Trainer, module: pl.LightningModule, exception: BaseException) -> None:
        self._restore()
        self.interrupted = isinstance(exception, KeyboardInterrupt)

    def _minutes_are_over(self) -> bool:
        return self.minutes is not None and time.monotonic() - self._saved_at > 60 * self.minutes

    def _agreed(self, trainer: pl.Trainer, wish: bool, always: bool = False) -> bool:
        if trainer.world_size == 1:
            return wish
        if not always and trainer.global_step % AGREE_EVERY:
            return False
        return trainer.strategy.reduce_boolean_decision(wish, all=False)

    def _save(self, trainer: pl.Trainer) -> None:
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        trainer.save_checkpoint(self.path)
        self._saved_at = time.monotonic()

    def _save_and_stop(self, trainer: pl.Trainer) -> None:
        self._save(trainer)
        raise KeyboardInterrupt
