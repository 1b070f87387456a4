"""Training over generations, each with the one before as the teacher of its soft labels (Ge et al., ECCV 2020).

A generation is a run of `train.py` whose `supervision.soft.ckpt` is the last.ckpt of the one before.
`vpr.cli.sweeps.prerequisites` trains that one first where it is not there: beside the job of a sweep, else in
`<runs>/generations`. A checkpoint names it by digest, not by path.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from vpr import checkpoint
from vpr.data.transforms import TrainTransform
from vpr.data.tuples import Candidates, TupleBatch
from vpr.distill.teacher import Teacher
from vpr.distributed import gather_rows
from vpr.errors import ConfigError
from vpr.losses.objective import TuplesObjective
from vpr.losses.pairs import LossResult
from vpr.losses.soft_labels import hardest_regions, soft_labels
from vpr.models.aggregators.netvlad import NetVLAD
from vpr.models.aggregators.projected import Projected
from vpr.models.describer import Describer, feature_grid
from vpr.models.regions import check_regions, regions
from vpr.retrieval.kreciprocal import KReciprocal
from vpr.training.supervision import DataOptions, TuplesSupervision
from vpr.training.tuples import TuplesDataModule
from vpr.types import Features


@dataclass(frozen=True)
class Soft:
    """Settings of the soft labels of difficult positives.

    Attributes:
        weight: of the term in the training loss; 0: no labels, and no generation before is needed.
        temperatures: of the labels, by generation; the last one holds for all that follow. The first is the student's.
        ckpt: the generation before.
    """

    weight: float = 0.5
    temperatures: Sequence[float] = (0.07, 0.07, 0.06, 0.05)
    ckpt: str | None = None


@dataclass(frozen=True)
class GenerationsSupervision(TuplesSupervision):
    """Tuples; from generation 1 on by regions, with soft labels, and with difficult positives found by re-ranking.

    Args:
        generation: number from 0, which is plain training on tuples.
        grid: of the regions: 3 -> 7 an image (WAKD), 2 -> 9 (SFRS).
        rerank: distances by which positives are sorted anew; None: they are not.
    """

    generation: int = 0
    grid: int = 3
    soft: Soft = field(default_factory=Soft)
    rerank: KReciprocal | None = field(default_factory=KReciprocal)

    def objective(self, loss: nn.Module) -> TuplesObjective:
        if self.generation == 0:
            return super().objective(loss)
        return RegionsObjective(loss, self.grid, self._labels() if self.soft.weight else None)

    def _labels(self) -> SoftLabels:
        soft = self.soft
        if soft.ckpt is None:
            raise ConfigError(
                f"generation={self.generation} learns from generation {self.generation - 1}: type its last.ckpt, "
                "supervision.soft.ckpt=PATH, or supervision.soft.weight=0. `python train.py` trains it first by itself."
            )
        if not self.mining.difficult:
            raise ConfigError(
                "supervision.mining.difficult=0: soft labels are those of difficult positives. Type "
                "supervision.mining.difficult=3, or supervision.soft.weight=0."
            )
        teacher = Teacher(checkpoint.load(soft.ckpt), soft.ckpt)
        temperature = soft.temperatures[min(self.generation, len(soft.temperatures) - 1)]
        return SoftLabels(teacher, self.grid, soft.weight, temperature, soft.temperatures[0])

    def connect(self, objective: nn.Module, describer: Describer) -> None:
        netvlad_of(describer, self.grid)  # in generation 0, too: those that follow would fail
        if isinstance(objective, RegionsObjective):
            objective.connect(describer)

    def data(self, sources: Candidates, transform: TrainTransform, options: DataOptions) -> TuplesDataModule:
        data = super().data(sources, transform, options)
        data.refresh.rerank = self.rerank if self.generation else None
        return data


def supervision_record(supervision: Mapping[str, Any]) -> dict[str, Any]:
    """Return a node `supervision` as a checkpoint keeps it: the generation before by its digest, not by its path.

    Raises:
        CheckpointError: that generation's file is missing, damaged or from elsewhere.
    """
    soft = supervision.get("soft")
    if not soft or not soft["ckpt"]:
        return dict(supervision)
    used = supervision["generation"] and soft["weight"]
    earlier = {"earlier": checkpoint.digest(checkpoint.read(soft["ckpt"]))} if used else {}
    return {**supervision, "soft": {**soft, "ckpt": None, **earlier}}


class SoftLabels:
    """Loss against the likenesses of query and regions of its difficult positives under an earlier generation.

    Args:
        earlier: that generation, frozen; no part of what is trained or saved.
        grid: of the regions.
        weight: of the term in the training loss.
        temperature: of the labels.
        student_temperature: of the network that learns from them.
    """

    def __init__(
        self, earlier: Teacher, grid: int, weight: float, temperature: float, student_temperature: float
    ) -> None:
        self.earlier, self.grid, self.weight = earlier, grid, weight
        self.temperature, self.student_temperature = temperature, student_temperature
        network = earlier.network
        if not isinstance(network, Describer) or not isinstance(network.aggregator, NetVLAD):
            raise ConfigError(
                f"supervision.soft.ckpt={earlier.name}: it gives no descriptors of regions. Take a network with "
                "agg=netvlad, without PCA behind it."
            )
        self.describer, self.netvlad = network, network.aggregator

    def __call__(self, anchor: Tensor, parts: Tensor, batch: TupleBatch) -> Tensor:
        """Return the loss (T',) of each tuple that has a difficult positive, unweighted.

        Args:
            anchor: (T, D) descriptors of the queries by the student.
            parts: (T, d, R, D) of the regions of their difficult positives.
        """
        images = batch.images.unflatten(0, (-1, batch.size))
        compared = torch.cat([images[:, :1], images[:, 2 + batch.negatives :]], 1)
        return soft_labels(
            (anchor, parts),
            self._earlier_view(compared),
            self.temperature,
            self.student_temperature,
            batch.present,
        )

    @torch.no_grad()
    def _earlier_view(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the descriptors (T, D) of the first of images (T, 1 + d, 3, H, W), and regions (T, d, R, D)."""
        tuples = len(images)
        with torch.autocast(images.device.type, enabled=False):  # the student's precision is no matter of the labels
            x = self.earlier.to(images.device).prepare(images.flatten(0, 1))
            map = self.describer.features(x).map.unflatten(0, (tuples, -1))
            anchor = self.netvlad(Features(map[:, 0]))
            return anchor, regions(self.netvlad, map[:, 1:].flatten(0, 1), self.grid).unflatten(0, (tuples, -1))


class RegionsObjective(TuplesObjective):
    """Objective of tuples in which the region of a negative counts that looks most like the query; and soft labels.

    The loss is the mean over the tuples of all ranks.

    Args:
        loss: of tuples.
        grid: 3 -> 7 regions an image (WAKD), 2 -> 9 (SFRS).
        soft: None -> no soft labels.
    """

    def __init__(self, loss: nn.Module, grid: int, soft: SoftLabels | None = None) -> None:
        super().__init__(loss)
        self.grid = grid
        self.soft = soft
        self._netvlad: tuple[NetVLAD, ...] = ()  # a tuple, so that torch does not register it twice

    def connect(self, describer: Describer) -> None:
        """Take the network that is trained, before the first step.

        Raises:
            ConfigError: it has another aggregator than NetVLAD, or maps that the grid does not divide.
        """
        self._netvlad = (netvlad_of(describer, self.grid),)

    def forward(self, features: Features, descriptors: Tensor, batch: TupleBatch) -> LossResult:
        """Return the loss of this rank's feature maps and descriptors (n, D), tuple by tuple."""
        tuples = descriptors.float().unflatten(0, (-1, batch.size))
        anchor, positive = tuples[:, 0], tuples[:, 1]
        maps = features.map.unflatten(0, (-1, batch.size))[:, 2:]
        descriptors = regions(self._netvlad[0], maps.flatten(0, 1), self.grid).unflatten(0, (len(tuples), -1))
        chosen = hardest_regions(anchor, descriptors[:, : batch.negatives])
        gathered = gather_rows(torch.cat([anchor[:, None], positive[:, None], chosen], 1))
        hard = self.loss(gathered[:, 0], gathered[:, 1], gathered[:, 2:])
        if self.soft is None:
            return hard
        soft = gather_rows(self.soft(anchor, descriptors[:, batch.negatives :], batch))
        # Nearly every tuple has a difficult positive; a batch without any has no labels.
        mean = soft.sum() / max(1, len(soft))
        parts = {"hard": hard.value, "soft": mean}
        return hard._replace(value=hard.value + self.soft.weight * mean, parts=parts)


def netvlad_of(describer: Describer, grid: int) -> NetVLAD:
    """Return the aggregator of a network that is to describe regions.

    Raises:
        ConfigError: it is none that can, or the grid does not divide its maps.
    """
    if isinstance(describer.aggregator, Projected):
        raise ConfigError(
            f"supervision.grid={grid}: regions are sums over clusters, and a term's projection stands behind them. "
            "Type distillation.terms.descriptor.keep=false, or supervision=tuples, which needs no regions."
        )
    if not isinstance(describer.aggregator, NetVLAD):
        raise ConfigError(
            f"supervision.grid={grid}: regions are sums over clusters, and {type(describer.aggregator).__name__} has "
            "none. Type agg=netvlad, or supervision=tuples, which needs no regions."
        )
    check_regions(feature_grid(describer.backbone, describer.preprocess.size), grid, describer.backbone.spec.stride)
    return describer.aggregator
