"""Checkpoint callbacks: `last.ckpt`, from which a run is resumed at any batch, and the best describers of a run."""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple, Protocol, runtime_checkable

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from pytorch_lightning.plugins.io import TorchCheckpointIO

from vpr.cli.sweeps.processes import leave_terminal
from vpr.files import atomic_write
from vpr.training.callbacks.weight_averaging import averaged_weights

# With several ranks the request to stop must be agreed on, which costs a small collective: not at every batch.
AGREE_EVERY = 10


class ResumeCheckpoint(Callback):
    """Write `last.ckpt` every so many steps or minutes, at the end of each epoch, and when the run is interrupted.

    Ctrl-C (or SIGTERM, or SIGHUP of a terminal that is closed) lets the running step finish, saves, and ends the run; a
    second Ctrl-C ends it at once.

    Where a callback averages weights and BatchNorm statistics, the describer in the file is the average; the run goes
    on from the weights that are trained.

    Args:
        directory: folder of the run.
        pack: returns the describer as `vpr.checkpoint` writes it, so that the file can be evaluated, too.
        steps: optimiser steps between two saves; None: no such limit.
        minutes: minutes between two saves; None: no such limit.
    """

    state_key = "LastCheckpoint"  # its first name: under it checkpoints keep the state

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
        self.stop = False
        self.interrupted = False
        self._saved_at = time.monotonic()
        self._default_handlers: dict[int, Any] = {}
        self._stepping = False

    def on_train_batch_start(self, trainer: pl.Trainer, module: pl.LightningModule, *args: Any) -> None:
        # Not at the start of an epoch: a run that is resumed in the middle of one never passes there.
        if not self._stepping and not self.stop:
            self._handle_signals(self._request_stop)
            self._stepping = True

    def on_train_batch_end(self, trainer: pl.Trainer, module: pl.LightningModule, *args: Any) -> None:
        # The last batch of an epoch is left to `on_train_epoch_end`, which follows at once.
        if trainer.fit_loop.epoch_loop.batch_progress.is_last_batch:
            return
        if self._on_any_rank(trainer, self.stop):
            self._save_and_stop(trainer)
        elif (self.steps and trainer.global_step % self.steps == 0) or self._on_any_rank(trainer, self._time_is_up()):
            self._save(trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if self._on_any_rank(trainer, self.stop, always=True):
            self._save_and_stop(trainer)
        self._save(trainer)
        # Evaluation follows: it is cut off at once, and done again by the resumed run.
        if not self.stop:
            self._handle_signals(self._stop_at_once)
            self._stepping = False

    @contextmanager
    def paused(self, trainer: pl.Trainer) -> Iterator[None]:
        """Save before and after a long pause between two steps, which Ctrl-C may cut off at once."""
        if self._on_any_rank(trainer, self.stop, always=True):
            self._save_and_stop(trainer)
        self._save(trainer)
        self._restore_signals()
        self._handle_signals(self._stop_at_once)
        yield
        self._save(trainer)

    def on_save_checkpoint(self, trainer: pl.Trainer, module: pl.LightningModule, checkpoint: dict[str, Any]) -> None:
        with averaged_weights(trainer, module, epoch=None) as averaged:  # type: ignore[arg-type]
            packed = self.pack()
            if averaged:  # on the CPU the packed tensors are those of the module
                packed["weights"] = {name: value.clone() for name, value in packed["weights"].items()}
        checkpoint["describer"] = packed

    def on_exception(self, trainer: pl.Trainer, module: pl.LightningModule, exception: BaseException) -> None:
        self._restore_signals()
        self.interrupted = isinstance(exception, KeyboardInterrupt)

    def teardown(self, trainer: pl.Trainer, module: pl.LightningModule, stage: str) -> None:
        self._restore_signals()

    def _request_stop(self, number: int, frame: Any) -> None:
        self.stop = True
        self._restore_signals()
        if number == signal.SIGHUP:
            signal.signal(number, signal.SIG_IGN)  # kernel and shell both send one
            leave_terminal()

    def _stop_at_once(self, number: int, frame: Any) -> None:
        # Remembered, too: Python drops an exception in a destructor, and loader processes are ended by one.
        self._request_stop(number, frame)
        raise KeyboardInterrupt

    def _handle_signals(self, handler: Callable[[int, Any], Any]) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN:
                continue  # nohup
            self._default_handlers.setdefault(number, signal.signal(number, handler))

    def _restore_signals(self) -> None:
        for number, handler in self._default_handlers.items():
            signal.signal(number, handler)
        self._default_handlers, self._stepping = {}, False

    def _time_is_up(self) -> bool:
        return self.minutes is not None and time.monotonic() - self._saved_at > 60 * self.minutes

    def _on_any_rank(self, trainer: pl.Trainer, request: bool, always: bool = False) -> bool:
        if trainer.world_size == 1:
            return request
        if not always and trainer.global_step % AGREE_EVERY:
            return False
        return trainer.strategy.reduce_boolean_decision(request, all=False)

    def _save(self, trainer: pl.Trainer) -> None:
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        trainer.save_checkpoint(self.path)
        self._saved_at = time.monotonic()

    def _save_and_stop(self, trainer: pl.Trainer) -> None:
        self._save(trainer)
        raise KeyboardInterrupt


class AtomicCheckpointIO(TorchCheckpointIO):
    """Checkpoint files of Lightning, `last.ckpt` among them, written whole or not at all.

    Lightning's own writer goes through TMPDIR, and copies over the old file where that is on another disk.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        with atomic_write(path) as temporary:
            torch.save(checkpoint, temporary)


class KeptCheckpoint(NamedTuple):
    """A describer on disk and its recall@k (0..1) under the monitored protocol."""

    score: float
    path: Path


class BestCheckpoints:
    """Keep the describers with the highest score, and `best.ckpt`, a copy of the first of them.

    All ranks keep the list, so that all know what is best; one of them writes.

    Args:
        directory: folder of the run.
        keep: number of describers; the earlier one wins a tie.
        k: of the recall@k that decides; it stands in the names.
    """

    def __init__(self, directory: Path, keep: int = 3, k: int = 1) -> None:
        self.directory = directory
        self.keep = keep
        self.k = k
        self.kept: list[KeptCheckpoint] = []

    @property
    def path(self) -> Path:
        """`best.ckpt`, where there is one."""
        return self.directory / "best.ckpt"

    @property
    def best(self) -> KeptCheckpoint | None:
        """The checkpoint with the highest score, as `best.ckpt`."""
        return KeptCheckpoint(self.kept[0].score, self.path) if self.kept else None

    def offer(self, score: float, epoch: int, save: Callable[[Path], None] | None) -> bool:
        """Enter the describer of this epoch if it is among the best; return whether it is the very best.

        Args:
            score: recall@k (0..1), the same on all ranks.
            save: writes the describer; None on ranks that only keep the list.
        """
        path = self.directory / f"epoch{epoch:02d}_R{self.k}-{score:.4f}.ckpt"
        others = [kept for kept in self.kept if kept.path.name != path.name]
        ranked = sorted([*others, KeptCheckpoint(score, path)], key=lambda kept: -kept.score)
        self.kept, dropped = ranked[: self.keep], ranked[self.keep :]
        first = self.kept[0].path == path
        if save is not None:
            if any(kept.path == path for kept in self.kept):
                save(path)
            for kept in dropped:
                if kept.path.parent == self.directory:  # files of a run that was resumed stay with it
                    kept.path.unlink(missing_ok=True)
            if first:
                self.copy_best()
        return first

    def copy_best(self) -> None:
        """Write `best.ckpt`, a copy of the first of those kept, whole or not at all."""
        if self.kept:
            with atomic_write(self.path) as temporary:
                shutil.copyfile(self.kept[0].path, temporary)

    def state_dict(self) -> list[dict[str, Any]]:
        """Return what a resumed run needs to know of the files kept so far."""
        return [{"score": kept.score, "path": str(kept.path.resolve())} for kept in self.kept]

    def load_state_dict(self, state: list[dict[str, Any]]) -> None:
        """Take over the files of the run that is resumed."""
        self.kept = [
            KeptCheckpoint(entry["score"], Path(entry["path"])) for entry in state if Path(entry["path"]).is_file()
        ]


@runtime_checkable
class Pausing(Protocol):
    """A callback that has something to do before training pauses, and after."""

    def paused(self, trainer: pl.Trainer) -> AbstractContextManager[None]:
        """Return the context in which training pauses."""


@contextmanager
def pause(trainer: pl.Trainer) -> Iterator[None]:
    """Tell the callbacks of a long piece of work between two steps: `with pause(trainer): ...`."""
    with ExitStack() as stack:
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, Pausing):
                stack.enter_context(callback.paused(trainer))
        yield
