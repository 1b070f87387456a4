"""Supervision of a run: labelled places, tuples of images of which only the position is known, or a teacher alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from torch import nn

from vpr.catalog.resolve import training_places, unlabelled_images, weak_sets
from vpr.cli.schema import BatchConfig
from vpr.data.places import Places
from vpr.data.retrieval_set import RetrievalSet
from vpr.data.transforms import TrainTransform
from vpr.data.tuples import Candidates, TuplesDataset, join
from vpr.distill.distiller import Distiller
from vpr.errors import ConfigError
from vpr.losses.objective import NoObjective, PlacesObjective, TuplesObjective
from vpr.models.describer import Describer
from vpr.retrieval.mining import Mining
from vpr.training.places import PlacesDataModule
from vpr.training.tuple_mining import Refresh
from vpr.training.tuples import TuplesDataModule
from vpr.training.untrained import NoBatches


@dataclass(frozen=True)
class DataOptions:
    """Settings of a run that its data module needs.

    Attributes:
        batch: the `batch` node of the configuration: what a batch of places is made of.
        seed: of order, choice of images and augmentation.
        num_workers: loader processes of each rank.
        eval_batch_size: images of a batch where descriptors are extracted.
        folder: of the run.
        resumed: folder of the run that is resumed; None where there is none.
    """

    batch: BatchConfig
    seed: int
    num_workers: int
    eval_batch_size: int
    folder: Path
    resumed: Path | None = None


class Sources(NamedTuple):
    """Training images of all sources, by place."""

    sources: Sequence[Places]


class Supervision:
    """Kind of training data of a run (`conf/supervision/`): makes the data module and the objective.

    The engine treats all kinds alike, and calls the methods in the order in which they stand here.

    Attributes:
        reads: the part of a data set that it learns from: `train`, `weak` or `images`.
        notes_images: whether a checkpoint notes down which images it was trained on: they may be those of a map.
    """

    reads: str
    notes_images = False

    def objective(self, loss: nn.Module) -> nn.Module:
        """Return the objective: (features, descriptors, batch) -> LossResult.

        Raises:
            ConfigError: the loss is of another kind.
        """
        raise NotImplementedError

    def check(self, distiller: Distiller) -> None:
        """Raise ConfigError for a term that needs more than this supervision knows of a batch."""

    def read(self, dataset: Mapping[str, Any], sets: Mapping[str, RetrievalSet]) -> Any:
        """Read the training data of the node `dataset`; its `sources` are the training images as places.

        `sets` are its evaluation sets, whose database may be learned from, too.
        """
        raise NotImplementedError

    def connect(self, objective: nn.Module, describer: Describer) -> None:
        """Show the objective the network that is trained; before the first step."""

    def data(self, sources: Any, transform: TrainTransform, options: DataOptions) -> Any:
        """Return the data module of what `read` returned; it has a `dataset` and `steps_per_epoch`."""
        raise NotImplementedError


def _check_part(reads: str, part: str, subject: str) -> None:
    if reads != part:
        raise ConfigError(
            f"supervision.reads={reads}: {subject} are in the part `{part}` of a data set. Leave supervision.reads out."
        )


def _needs_no_places(distiller: Distiller, typed: str) -> None:
    names = [name for name, term in distiller.terms.items() if term.needs_places]
    if names:
        raise ConfigError(
            f"distillation: {', '.join(names)} asks to which place an image belongs, and {typed} has no places. Choose "
            "distillation=wakd, attention, similarity, rkd, rank, feature or descriptor, or supervision=places."
        )


@dataclass(frozen=True)
class PlacesSupervision(Supervision):
    """Batches of labelled places, as the `batch` node says.

    Args:
        reads: the part of a data set that holds them: `train`.

    Raises:
        ConfigError: `reads` is another part.
    """

    reads: str = "train"

    def __post_init__(self) -> None:
        _check_part(self.reads, "train", "places")

    def objective(self, loss: nn.Module) -> PlacesObjective:
        return PlacesObjective(loss)

    def read(self, dataset: Mapping[str, Any], sets: Mapping[str, RetrievalSet]) -> Sources:
        return Sources(training_places(dataset))

    def data(self, sources: Sources, transform: TrainTransform, options: DataOptions) -> PlacesDataModule:
        batch = options.batch
        return PlacesDataModule(
            sources.sources,
            transform,
            places_per_batch=batch.places,
            images_per_place=batch.images_per_place,
            choice=batch.choice,
            shuffle=batch.shuffle,
            drop_last=batch.drop_last,
            seed=options.seed,
            num_workers=options.num_workers,
            min_size=transform.size,
        )


@dataclass(frozen=True)
class UnlabelledSupervision(Supervision):
    """Batches of images without labels: the terms of distillation are all that trains.

    Args:
        images: of a whole step, over all devices.
        map: evaluation sets whose database images are learned from, too; true: all of them.
        reads: the part of a data set that it learns from, beside its training images: `images`.

    Raises:
        ConfigError: `reads` is another part.
    """

    notes_images = True
    images: int = 64
    map: bool | Sequence[str] = False
    reads: str = "images"

    def __post_init__(self) -> None:
        _check_part(self.reads, "images", "images without labels")

    def objective(self, loss: nn.Module) -> NoObjective:
        return NoObjective()

    def check(self, distiller: Distiller) -> None:
        _needs_no_places(distiller, "supervision=unlabelled")

    def read(self, dataset: Mapping[str, Any], sets: Mapping[str, RetrievalSet]) -> Sources:
        return Sources(unlabelled_images(dataset, sets, self.map))

    def data(self, sources: Sources, transform: TrainTransform, options: DataOptions) -> PlacesDataModule:
        # An image is a place of its own.
        count = sum(map(len, sources.sources))
        return PlacesDataModule(
            sources.sources,
            transform,
            places_per_batch=min(self.images, count),
            images_per_place=1,
            shuffle="all",
            drop_last=options.batch.drop_last,
            seed=options.seed,
            num_workers=options.num_workers,
            min_size=transform.size,
        )


class NoSupervision(Supervision):
    """Of a run of no epoch: no training data is read."""

    reads = "train"

    def objective(self, loss: nn.Module) -> NoObjective:
        return NoObjective()

    def read(self, dataset: Mapping[str, Any], sets: Mapping[str, RetrievalSet]) -> Sources:
        return Sources(())

    def data(self, sources: Sources, transform: TrainTransform, options: DataOptions) -> NoBatches:
        return NoBatches()


@dataclass(frozen=True)
class TuplesSupervision(Supervision):
    """Batches of a query, its positive and its negatives, mined with the network as it is (NetVLAD, CVPR 2016).

    Args:
        mining: how many images a tuple has, and where they are looked for.
        tuples: of a whole step, over all devices.
        refresh_every: queries between two extractions of the database.
        refresh_gallery: database images whose descriptors are extracted, drawn anew each time; None: all.
        reads: the part of a data set that holds queries and database: `weak`.

    Raises:
        ConfigError: `reads` is another part.
    """

    mining: Mining
    tuples: int = 4
    refresh_every: int = 1000
    refresh_gallery: int | None = None
    reads: str = "weak"

    def __post_init__(self) -> None:
        _check_part(self.reads, "weak", "tuples")

    def objective(self, loss: nn.Module) -> TuplesObjective:
        return TuplesObjective(loss)

    def check(self, distiller: Distiller) -> None:
        _needs_no_places(distiller, "supervision=tuples")

    def read(self, dataset: Mapping[str, Any], sets: Mapping[str, RetrievalSet]) -> Candidates:
        return join(weak_sets(dataset))

    def data(self, sources: Candidates, transform: TrainTransform, options: DataOptions) -> TuplesDataModule:
        dataset = TuplesDataset(sources, self.mining.negatives, transform, options.seed, min_size=transform.size)
        refresh = Refresh(
            sources,
            self.mining,
            options.folder / "mining",
            seed=options.seed,
            sampled=self.refresh_gallery,
            batch_size=options.eval_batch_size,
            num_workers=options.num_workers,
        )
        left_behind = options.resumed / "mining" if options.resumed else None
        return TuplesDataModule(dataset, refresh, self.tuples, self.refresh_every, options.num_workers, left_behind)
