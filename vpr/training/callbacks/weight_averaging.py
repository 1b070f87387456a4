"""Averaged weights: where a callback of Lightning keeps an average, that is what is evaluated and saved."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Any, NamedTuple

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import StochasticWeightAveraging, WeightAveraging
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from vpr.models.describer import Describer
from vpr.training.module import TrainingModule

STATISTICS_BATCHES = 50
"""Training batches that BatchNorm statistics of averaged weights are taken of, on each rank."""


class Average(NamedTuple):
    """The averaged copy of the describer that is trained; `statistics`: its BatchNorm statistics are averaged, too."""

    describer: Describer
    statistics: bool


def current_average(trainer: pl.Trainer) -> Average | None:
    """Return what the first weight averaging callback has averaged so far; None before its first step."""
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, WeightAveraging):
            averaged: Any = callback._average_model
            if averaged is not None and int(averaged.n_averaged):
                return Average(averaged.module.describer, callback._use_buffers)
        elif isinstance(callback, StochasticWeightAveraging):
            # A resumed run has the average before it has the count.
            count = callback._init_n_averaged if callback.n_averaged is None else int(callback.n_averaged)
            if callback._average_model is not None and count:
                return Average(callback._average_model.describer, False)  # type: ignore[arg-type]
    return None


@contextmanager
def averaged_weights(trainer: pl.Trainer, module: TrainingModule, epoch: int | None) -> Iterator[bool]:
    """Put the averaged weights into the describer of `module`, and those that are trained back at the end.

    Yields whether there are any. BatchNorm statistics belong to weights: where the callback averages weights alone
    (SWA, Izmailov et al. 2018, section 3.2), they are taken anew of training batches with the averaged ones.

    Args:
        epoch: its batches are those; None: there is no time for that, and without statistics there is no average.
    """
    average, describer = current_average(trainer), module.describer
    if average is None or _equal(average.describer, describer):  # SWA itself puts them in for its last epoch
        yield False
        return
    norms = [] if average.statistics else _learning_norms(describer)
    if norms and epoch is None:
        yield False
        return
    trained = {name: value.clone() for name, value in describer.state_dict().items()}
    names = trained if average.statistics else dict(describer.named_parameters())
    averaged = {name: value for name, value in average.describer.state_dict().items() if name in names}
    training = describer.training
    try:
        describer.load_state_dict(averaged, strict=False)
        if norms and epoch is not None:
            _take_statistics(trainer, module, norms, epoch)
        describer.train(training)
        yield True
    finally:
        describer.load_state_dict(trained)
        describer.train(training)


def _equal(first: nn.Module, second: nn.Module) -> bool:
    pairs = zip(first.parameters(), second.parameters(), strict=True)
    return all(torch.equal(ours.to(theirs.device), theirs) for ours, theirs in pairs)


def _learning_norms(describer: Describer) -> list[_BatchNorm]:
    """Return the BatchNorm layers whose statistics follow the training images: not those that are frozen or held."""
    training = describer.training
    describer.train()
    norms = [layer for layer in describer.modules() if isinstance(layer, _BatchNorm) and layer.training]
    describer.train(training)
    return [norm for norm in norms if norm.track_running_stats]


@torch.no_grad()
def _take_statistics(trainer: pl.Trainer, module: TrainingModule, norms: list[_BatchNorm], epoch: int) -> None:
    """Set the running statistics of `norms` to their mean over training batches of an epoch, and over the ranks."""
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean of all batches, in place of a moving one
    describer: Any = module.describer.train()
    torch.manual_seed(module.seed)  # of dropout
    batches: Any = trainer.datamodule.batches_again(epoch)  # type: ignore[attr-defined]
    with trainer.precision_plugin.forward_context():
        for batch in islice(batches, STATISTICS_BATCHES):
            images = describer.normalise(batch.images.to(module.device))
            describer(images.contiguous(memory_format=module.memory_format))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        for value in (norm.running_mean, norm.running_var):
            assert value is not None
            value.copy_(trainer.strategy.reduce(value.clone(), reduce_op="mean"))
