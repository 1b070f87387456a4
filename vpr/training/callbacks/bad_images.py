"""Unreadable images during training: reported, and too many of them end the run."""

from __future__ import annotations

import logging

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback

from vpr.data.loading import BadImageTally
from vpr.data.tuples import TupleBatch
from vpr.types import PlaceBatch

log = logging.getLogger(__name__)


class BadImages(Callback):
    """Warn of each image that is skipped and log their number.

    Args:
        where: as of `BadImageTally`.

    Raises:
        DataError: more than 1 % of the images seen cannot be read.
    """

    def __init__(self, where: str) -> None:
        self.tally = BadImageTally(where)

    def on_train_batch_start(
        self, trainer: pl.Trainer, module: pl.LightningModule, batch: PlaceBatch | TupleBatch, batch_idx: int
    ) -> None:
        for message in batch.bad:
            if message not in self.tally.bad:
                log.warning("Skipped: %s", message)
        self.tally.add(len(batch.labels), batch.bad)
        if self.tally.bad:
            module.log("data/bad_images", float(len(self.tally.bad)), batch_size=1)
