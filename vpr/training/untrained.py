"""Runs of no epoch (`trainer.max_epochs=0`): the network as it is, with PCA at its end where that is asked for."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Callback
from torch import nn
from torch.utils.data import DataLoader

from vpr import checkpoint, distributed
from vpr.data.image_paths import ImagePaths
from vpr.models.aggregators.projected import inner_node
from vpr.models.describer import Describer
from vpr.retrieval.extractor import Extractor
from vpr.retrieval.pca import PCA, check_dim, sample
from vpr.training.module import TrainingModule

log = logging.getLogger(__name__)


class NoBatches(pl.LightningDataModule):
    """Data module of a run of no epoch: it reads no training images."""

    dataset = None
    steps_per_epoch = 1

    def train_dataloader(self) -> DataLoader:
        return DataLoader([])  # type: ignore[arg-type]


def untrained_record(record: Mapping[str, Any], describer: Describer) -> dict[str, Any]:
    """Return the configuration of a run without its training sets, on which the network was not trained.

    Warns where an aggregator has random weights, with which nothing can be expected of an untrained network.
    """
    agg = inner_node(record["agg"])
    layers = [layer for layer in describer.aggregator.modules() if isinstance(layer, nn.Linear | nn.Conv1d | nn.Conv2d)]
    if layers and "centroids" not in agg and not record.get("init"):
        log.warning(
            "trainer.max_epochs=0: the layers of %s have random weights, and stay so. agg=gem and agg=avg have none.",
            agg["_target_"].rpartition(".")[2],
        )
    dataset = {key: value for key, value in record["dataset"].items() if key not in ("train", "weak", "images")}
    return {**record, "dataset": dataset}


@dataclass
class PCAOf:
    """Images that PCA is fitted to, and what becomes of it.

    Attributes:
        images: all of the data set.
        name: of that set.
        dim: dimensions of the descriptors.
        whiten: False projects them alone.
        samples, seed: number of the images that are drawn, and the seed of that draw.
    """

    images: ImagePaths
    name: str
    dim: int
    whiten: bool
    samples: int
    seed: int

    @property
    def chosen(self) -> list[Path]:
        """The images that are drawn."""
        return sample(self.images, self.samples, self.seed)


class PCABehind(Callback):
    """Fit PCA to the describer's descriptors of images, and put it at its end; once, before anything is measured.

    The ranks share the work.

    Args:
        fitted: images and settings.
        record: the configuration as a checkpoint keeps it; gets the new node `agg`, and `pca` with the origin.
        precision: as of `Extractor`.
        batch_size, num_workers: for describing.

    Raises:
        ConfigError: the images or the descriptors are too few for so many dimensions.
        DataError: more than 1 % of the images cannot be read, or a descriptor is NaN.
    """

    def __init__(
        self, fitted: PCAOf, record: dict[str, Any], precision: str, batch_size: int = 32, num_workers: int = 0
    ) -> None:
        self.fitted, self.record, self.precision = fitted, record, precision
        self.batch_size, self.num_workers = batch_size, num_workers

    def setup(self, trainer: pl.Trainer, module: TrainingModule, stage: str) -> None:  # type: ignore[override]
        fitted, describer = self.fitted, module.describer
        chosen = fitted.chosen
        check_dim(fitted.dim, len(chosen), describer.dim)
        before = checkpoint.pack(describer, self.record)
        if trainer.is_global_zero:
            log.info(
                "PCA to %d is fitted to %d of %d images of %s.",
                fitted.dim,
                len(chosen),
                len(fitted.images),
                fitted.name,
            )
        pca = PCA.of_images(
            Extractor(describer.to(trainer.strategy.root_device).eval(), trainer.strategy.root_device, self.precision),
            chosen,
            fitted.dim,
            batch_size=self.batch_size,
            num_workers=self.num_workers,
            title=f"PCA: {fitted.name}",
        )
        pca = distributed.broadcast_object(pca)
        assert pca is not None
        content = pca.projection(fitted.dim, fitted.whiten).behind(before)
        describer.aggregator = checkpoint.unpack(content).aggregator
        self.record["agg"] = content["config"]["agg"]
        self.record["pca"] = {
            **{"model": checkpoint.digest(before), "dataset": fitted.name, "photos": fitted.images.digest()},
            **{"samples": fitted.samples, "seed": fitted.seed, "dim": fitted.dim, "whiten": fitted.whiten},
        }
