"""The loss of tuples by regions: hardest ones of negatives, soft labels of positives (Ge et al., ECCV 2020)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from vpr.data.tuples import TupleBatch
from vpr.distill.teacher import Teacher
from vpr.errors import ConfigError
from vpr.losses.gather import gather_rows
from vpr.losses.mined import LossResult
from vpr.losses.objective import TuplesObjective
from vpr.losses.soft_labels import hardest_regions, soft_labels
from vpr.models.aggregators.netvlad import NetVLAD
from vpr.models.aggregators.projected import Projected
from vpr.models.build import feature_grid
from vpr.models.describer import Describer
from vpr.models.regions import check_regions, regions
from vpr.types import Features


class SoftLabels:
    """How alike the query and each region of its difficult positives are, as an earlier generation sees it.

    Args:
        earlier: that generation; no part of what is trained or saved.
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
        seen = torch.cat([images[:, :1], images[:, 2 + batch.negatives :]], 1)
        return soft_labels(
            (anchor, parts), self._seen_earlier(seen), self.temperature, self.student_temperature, batch.present
        )

    @torch.no_grad()
    def _seen_earlier(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the descriptors (T, D) of the first of images (T, 1 + d, 3, H, W), and regions (T, d, R, D)."""
        tuples = len(images)
        with torch.autocast(images.device.type, enabled=False):  # the student's precision is no matter of the labels
            x = self.earlier.to(images.device).prepare(images.flatten(0, 1))
            map = self.describer.features(x).map.unflatten(0, (tuples, -1))
            anchor = self.netvlad(Features(map[:, 0]))
            return anchor, regions(self.netvlad, map[:, 1:].flatten(0, 1), self.grid).unflatten(0, (tuples, -1))


class RegionsObjective(TuplesObjective):
    """Tuples, of whose negatives that region counts which looks most like the query; and soft labels.

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
        """Take the network that is trained; before the first step.

        Raises:
            ConfigError: it has another aggregator than NetVLAD, or maps that the grid does not divide.
        """
        self._netvlad = (netvlad_of(describer, self.grid),)

    def forward(self, features: Features, descriptors: Tensor, batch: TupleBatch) -> LossResult:
        """Return the loss of this rank's feature maps and descriptors (n, D), tuple by tuple."""
        tuples = descriptors.float().unflatten(0, (-1, batch.size))
        anchor, positive = tuples[:, 0], tuples[:, 1]
        maps = features.map.unflatten(0, (-1, batch.size))[:, 2:]
        parts = regions(self._netvlad[0], maps.flatten(0, 1), self.grid).unflatten(0, (len(tuples), -1))
        chosen = hardest_regions(anchor, parts[:, : batch.negatives])
        gathered = gather_rows(torch.cat([anchor[:, None], positive[:, None], chosen], 1))
        hard = self.loss(gathered[:, 0], gathered[:, 1], gathered[:, 2:])
        if self.soft is None:
            return hard
        soft = gather_rows(self.soft(anchor, parts[:, batch.negatives :], batch))
        # Nearly every tuple has a difficult positive; a batch without any has no labels.
        mean = soft.sum() / max(1, len(soft))
        told = {"hard": hard.value, "soft": mean}
        return hard._replace(value=hard.value + self.soft.weight * mean, parts=told)


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
