"""What a run learns from: labelled places, or queries of which only the position is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from omegaconf import DictConfig
from torch import nn

from vpr.catalog.resolve import training_places, weak_sets
from vpr.data.places import Places
from vpr.data.transforms import TrainTransform
from vpr.data.tuples import Candidates, TuplesDataset, join
from vpr.distill.distiller import Distiller
from vpr.errors import ConfigError
from vpr.losses.objective import PlacesObjective, TuplesObjective
from vpr.models.describer import Describer
from vpr.retrieval.mining import Mining
from vpr.training.places import PlacesDataModule
from vpr.training.tuple_mining import Refresh
from vpr.training.tuples import TuplesDataModule


class Labelled(NamedTuple):
    """Training places of all sources."""

    sources: Sequence[Places]


class Folders(NamedTuple):
    """The folder of a run, and that of the run which it resumes."""

    own: Path
    resumed: Path | None = None


def _check_part(reads: str, part: str, what: str) -> None:
    if reads != part:
        raise ConfigError(
            f"supervision.reads={reads}: {what} are in the part `{part}` of a data set. Leave supervision.reads out."
        )


@dataclass(frozen=True)
class PlacesSupervision:
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

    def connect(self, objective: nn.Module, describer: Describer) -> None:
        """Places need to know nothing of the network."""

    def check(self, distiller: Distiller) -> None:
        """Places have all that a term may ask for."""

    def read(self, dataset: DictConfig) -> Labelled:
        return Labelled(training_places(dataset))

    def data(
        self, found: Labelled, transform: TrainTransform, cfg: DictConfig, workers: int, folders: Folders
    ) -> PlacesDataModule:
        return PlacesDataModule(
            found.sources,
            transform,
            places_per_batch=cfg.batch.places,
            images_per_place=cfg.batch.images_per_place,
            choice=cfg.batch.choice,
            shuffle=cfg.batch.shuffle,
            drop_last=cfg.batch.drop_last,
            seed=cfg.seed,
            num_workers=workers,
            min_size=transform.size,
        )


@dataclass(frozen=True)
class TuplesSupervision:
    """Batches of a query, its positive and its negatives, mined with the network as it is (NetVLAD, CVPR 2016).

    Args:
        mining: how many images a tuple has, and where they are looked for.
        tuples: of a whole step, over all devices.
        refresh_every: queries between two looks at the gallery.
        refresh_gallery: photos of the gallery that are looked at, drawn anew each time; None: all.
        reads: the part of a data set that holds queries and gallery: `weak`.

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

    def connect(self, objective: nn.Module, describer: Describer) -> None:
        """Show the objective the network that is trained; before the first step."""

    def check(self, distiller: Distiller) -> None:
        """Raise ConfigError for a term that compares places."""
        names = [name for name, term in distiller.terms.items() if term.needs_places]
        if names:
            raise ConfigError(
                f"distillation: {', '.join(names)} asks to which place an image belongs, and supervision=tuples has no "
                "places. Choose distillation=wakd, attention, similarity, rkd, rank, feature or descriptor, or "
                "supervision=places."
            )

    def read(self, dataset: DictConfig) -> Candidates:
        return join(weak_sets(dataset))

    def data(
        self, found: Candidates, transform: TrainTransform, cfg: DictConfig, workers: int, folders: Folders
    ) -> TuplesDataModule:
        dataset = TuplesDataset(found, self.mining.negatives, transform, cfg.seed, min_size=transform.size)
        refresh = Refresh(
            found,
            self.mining,
            folders.own / "mining",
            seed=cfg.seed,
            gallery=self.refresh_gallery,
            batch_size=cfg.trainer.eval_batch_size,
            num_workers=workers,
        )
        behind = folders.resumed / "mining" if folders.resumed else None
        return TuplesDataModule(dataset, refresh, self.tuples, self.refresh_every, workers, behind)
