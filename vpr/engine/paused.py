"""What is done between two training steps and takes long."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Protocol, runtime_checkable

import pytorch_lightning as pl


@runtime_checkable
class Pausing(Protocol):
    """A callback that has something to do before training pauses, and after."""

    def paused(self, trainer: pl.Trainer) -> AbstractContextManager[None]:
        """Return what training pauses in."""


@contextmanager
def pause(trainer: pl.Trainer) -> Iterator[None]:
    """Tell the callbacks that the next step will be a while: `with pause(trainer): ...`."""
    with ExitStack() as stack:
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, Pausing):
                stack.enter_context(callback.paused(trainer))
        yield
