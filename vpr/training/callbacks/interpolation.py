"""Weights between the pretrained and the trained ones, at the end of a run (WiSE-FT, Wortsman et al., CVPR 2022)."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback
from torch import Tensor

from vpr.models.describer import Describer
from vpr.training.callbacks.evaluation import RecallEvaluation, RecallSummary
from vpr.training.callbacks.weight_averaging import averaged_weights
from vpr.training.module import TrainingModule

log = logging.getLogger(__name__)

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
"""Shares of the trained weights that are measured, beside the one that is asked for."""


def mix(pretrained: Mapping[str, Tensor], trained: Mapping[str, Tensor], share: float) -> dict[str, Tensor]:
    """Return (1 - share) theta_0 + share theta_1 (section 3, equation 1 there) of each pretrained tensor, by name.

    Args:
        pretrained: theta_0.
        trained: theta_1, floating as well; names that theta_0 has not are left out.
        share: 0..1. The ends are exact.
    """
    return {name: torch.lerp(value, trained[name].to(value), share) for name, value in pretrained.items()}


def pretrained_tensors(describer: Describer, whole: bool) -> set[int]:
    """Return the ids of the parameters and buffers that a run has not drawn at random itself.

    Args:
        describer: before anything is put behind its aggregator.
        whole: all of it is; else the backbone is, without the layers that its weights have not.
    """
    drawn = tuple(f"backbone.{layer}." for layer in describer.backbone.random_layers)
    tensors = describer.state_dict(keep_vars=True).items()
    return {
        id(value) for name, value in tensors if whole or (name.startswith("backbone.") and not name.startswith(drawn))
    }


def starting_weights(describer: Describer, chosen: Collection[int]) -> dict[str, Tensor]:
    """Return copies of the floating tensors with these ids, by their names now: weights and BatchNorm statistics."""
    return {
        name: value.detach().cpu().clone()
        for name, value in describer.state_dict(keep_vars=True).items()
        if id(value) in chosen and value.is_floating_point()
    }


class WeightInterpolation(Callback):
    """Mix pretrained and trained weights at the end of a run, measure several mixes, and make one of them best.ckpt.

    It is the one that was asked for, whatever the recalls are. What was drawn at random when the run began, such as a
    new aggregator, stays as trained. last.ckpt holds the trained weights, and the pretrained ones to mix them with, so
    that a run that goes on needs no file for that.

    Args:
        share: of the trained weights in best.ckpt (0..1).
        pretrained: the tensors that the run started from, by their names in the describer.
        recall: measures and keeps.
        record: the configuration as a checkpoint keeps it; says at the end what was mixed.

    Attributes:
        mixes: share of the trained weights -> recalls by set.
    """

    def __init__(
        self, share: float, pretrained: Mapping[str, Tensor], recall: RecallEvaluation, record: dict[str, Any]
    ) -> None:
        self.share, self.pretrained, self.recall, self.record = share, dict(pretrained), recall, record
        self.mixes: dict[float, dict[str, RecallSummary]] = {}

    def on_fit_end(self, trainer: pl.Trainer, module: TrainingModule) -> None:  # type: ignore[override]
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        describer = module.describer
        with averaged_weights(trainer, module, max(0, trainer.current_epoch - 1)):
            trained = {name: value.cpu().clone() for name, value in describer.state_dict().items()}
            if self.recall.sets:
                for share in sorted({*SHARES, self.share}):
                    self._put(describer, trained, share)
                    self.mixes[share] = self.recall.measure(trainer, module)
                    self._log(trainer, share)
            self._put(describer, trained, self.share)
            parts = sorted({name.partition(".")[0] for name in self.pretrained})
            self.record["interpolated"] = {"trained_share": self.share, "parts": parts}
            origin = f"{self.share:g} trained + {1 - self.share:g} pretrained"
            self.recall.settle(trainer, self.mixes.get(self.share, {}), origin)
            describer.load_state_dict(trained)

    def _put(self, describer: Describer, trained: Mapping[str, Tensor], share: float) -> None:
        describer.load_state_dict(mix(self.pretrained, trained, share), strict=False)

    def _log(self, trainer: pl.Trainer, share: float) -> None:
        recalls = self.mixes[share].values()
        values = {f"interpolation/{share:g}/{recall.protocol}/R@1": recall.metrics["R@1"] for recall in recalls}
        for logger in trainer.loggers:
            logger.log_metrics(values, step=trainer.global_step)

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run goes on from."""
        return {"pretrained": self.pretrained}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over from the run that is resumed."""
        self.pretrained = state_dict["pretrained"]
