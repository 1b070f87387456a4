"""Training over generations, each with the one before as the teacher of its soft labels (Ge et al., ECCV 2020)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from omegaconf import DictConfig
from torch import nn

from vpr import checkpoint
from vpr.data.candidates import Candidates
from vpr.data.transforms import TrainTransform
from vpr.distill.teacher import Teacher
from vpr.engine.region_objective import RegionsObjective, SoftLabels, netvlad_of
from vpr.engine.supervision import Folders, TuplesSupervision
from vpr.engine.tuples_data import TuplesDataModule
from vpr.errors import ConfigError
from vpr.losses.objective import TuplesObjective
from vpr.models.describer import Describer
from vpr.retrieval.reciprocal import KReciprocal


@dataclass(frozen=True)
class Soft:
    """Soft labels of difficult positives.

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
        generation: counted from 0, which is plain training on tuples.
        grid: of the regions: 3 -> 7 an image (WAKD), 2 -> 9 (SFRS).
        rerank: positives are sorted anew by these distances; None: never.
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

    def data(
        self, found: Candidates, transform: TrainTransform, cfg: DictConfig, workers: int, folders: Folders
    ) -> TuplesDataModule:
        data = super().data(found, transform, cfg, workers, folders)
        data.refresh.rerank = self.rerank if self.generation else None
        return data


def without_path(supervision: Mapping[str, Any]) -> dict[str, Any]:
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
