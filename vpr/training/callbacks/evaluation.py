"""Evaluation between epochs, by the function that evaluate.py calls, on all ranks; and its summary in checkpoints."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Callback

from vpr import distributed
from vpr.data.retrieval_set import RetrievalSet
from vpr.report.matches import choose
from vpr.retrieval.evaluate import DEFAULTS, EvalOptions, Evaluation, evaluate, marked
from vpr.retrieval.extractor import Extractor
from vpr.training.callbacks.checkpointing import BestCheckpoints
from vpr.training.callbacks.weight_averaging import averaged_weights
from vpr.training.module import TrainingModule

log = logging.getLogger(__name__)

# Sets of more images than this take minutes: the log says when one begins.
MANY = 5000
Save = Callable[[Path, dict[str, dict[str, float]]], None]

# Misses, and as many hits, that a run keeps to show them when it ends.
EXAMPLES = 6
Shots = list[tuple[str, str, bool | None]]


class RecallSummary(NamedTuple):
    """Recalls of one set (0..1) by name, and per counted query whether its first neighbour is right: (Q,) bool.

    `examples` are a few queries and their first matches: a note and (path, caption, right) of each image.
    """

    protocol: str
    counts: dict[str, int]
    metrics: dict[str, float]
    hits: torch.Tensor
    examples: list[tuple[str, Shots]]

    @classmethod
    def of(cls, result: Evaluation) -> RecallSummary:
        """Take from an evaluation what training needs; its smallest k is 1."""
        first = torch.from_numpy(result.hits[result.counted, 0].copy())
        examples = [
            (example.note, [(str(shot.path), shot.caption, shot.right) for shot in example.shots])
            for column in choose(result, count=EXAMPLES).values()
            for example in column
        ]
        return cls(result.protocol, result.counts, result.metrics(), first, examples)


class RecallEvaluation(Callback):
    """Measure recall on every evaluation set, log it, keep the best describers, and stop early when asked to.

    Where a callback averages weights, the averaged ones are measured and kept: see `averaged_weights`.

    Args:
        sets: name -> evaluation set.
        directory: folder of the run, where the best describers are kept.
        save: (path, {protocol id: metrics}) writes the describer.
        monitor: the set whose recall@k decides; None is the first.
        k: that k.
        keep: number of describers that are kept, beside `best.ckpt`.
        every: epochs between two evaluations; the last epoch is always evaluated. 0 never evaluates.
        first: also evaluate before training.
        patience: stop after so many evaluations without a new best; None never stops.
        precision: as `vpr.retrieval.extractor.Extractor` takes it.
        options: of `vpr.retrieval.evaluate.evaluate`.
        images: returns the digests of the training images, (n,) int64, or None where they are not noted down: a set
            that has some of them is measured under an id that says so. Rank 0 calls it.

    Attributes:
        before, best: recalls before training, and of `best.ckpt`.
        origin: of `best.ckpt`, in words; empty where it is that of the epoch with the best recall.
    """

    state_key = "Recall"  # its first name: under it checkpoints keep the state

    def __init__(
        self,
        sets: Mapping[str, RetrievalSet],
        directory: Path,
        save: Save,
        monitor: str | None = None,
        k: int = 1,
        keep: int = 3,
        every: int = 1,
        first: bool = False,
        patience: int | None = None,
        precision: str = "32-true",
        channels_last: bool = False,
        options: EvalOptions = DEFAULTS,
        images: Callable[[], np.ndarray | None] = lambda: None,
    ) -> None:
        self.sets = dict(sets) if every else {}
        self.monitor = monitor or next(iter(self.sets), None)
        self.best_checkpoints, self.save = BestCheckpoints(directory, keep, k), save
        self.every, self.first, self.patience = every, first, patience
        self.precision, self.channels_last = precision, channels_last
        self.options, self.images = options, images
        id_ = self.sets[self.monitor].protocol.id if self.monitor in self.sets else None
        self.monitored = f"R@{k} on {id_}"
        self.before: dict[str, RecallSummary] = {}
        self.best: dict[str, RecallSummary] = {}
        self.origin = ""
        self._evaluated_epoch = -1
        self._without_best = 0

    def on_fit_start(self, trainer: pl.Trainer, module: TrainingModule) -> None:  # type: ignore[override]
        digests = distributed.on_rank_zero(self.images) if self.sets else None
        if digests is not None:
            self.sets = {name: marked(retrieval_set, digests)[0] for name, retrieval_set in self.sets.items()}
        if trainer.is_global_zero:
            self.best_checkpoints.copy_best()  # of the run that is resumed

    def on_train_start(self, trainer: pl.Trainer, module: TrainingModule) -> None:  # type: ignore[override]
        if self.first and self.sets and module.resume_from == (0, 0) and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            self.before = self.measure(trainer, module)
            self._report(trainer, self.before, "before training")
        self._catch_up(trainer, module)

    def on_fit_end(self, trainer: pl.Trainer, module: TrainingModule) -> None:  # type: ignore[override]
        if trainer.max_epochs == 0:
            self.settle(trainer, self.measure(trainer, module), "not trained")
            self._report(trainer, self.best, self.origin)
        else:
            # Where all epochs were done, a resumed run does not even start to train.
            self._catch_up(trainer, module)

    def _catch_up(self, trainer: pl.Trainer, module: TrainingModule) -> None:
        """Evaluate the epoch that the resumed run had finished, if it was cut off while it did so."""
        start = module.resume_from
        if start.batch == 0 and start.epoch > self._evaluated_epoch + 1 and self._due(trainer, start.epoch - 1):
            self._evaluate_epoch(trainer, module, start.epoch - 1)

    def on_train_epoch_end(self, trainer: pl.Trainer, module: TrainingModule) -> None:  # type: ignore[override]
        epoch = trainer.current_epoch
        if self._due(trainer, epoch):
            self._evaluate_epoch(trainer, module, epoch)
        elif not self.sets:
            # No evaluation says which epoch is best: keep the last one.
            with averaged_weights(trainer, module, epoch):
                if trainer.is_global_zero:
                    self.save(self.best_checkpoints.path, {})
            if trainer.is_global_zero:
                self._report(trainer, {}, f"epoch {epoch + 1}/{trainer.max_epochs}", trainer.callback_metrics)

    def _due(self, trainer: pl.Trainer, epoch: int) -> bool:
        if not self.sets or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return False
        return (epoch + 1) % self.every == 0 or epoch + 1 == trainer.max_epochs

    def _evaluate_epoch(self, trainer: pl.Trainer, module: TrainingModule, epoch: int) -> None:
        assert self.monitor is not None
        best, k = self.best_checkpoints, self.best_checkpoints.k
        with averaged_weights(trainer, module, epoch):
            summaries = self.measure(trainer, module)
            self._evaluated_epoch = epoch
            metrics = {summary.protocol: summary.metrics for summary in summaries.values()}
            save = (lambda path: self.save(path, metrics)) if trainer.is_global_zero else None
            new_best = best.offer(summaries[self.monitor].metrics[f"R@{k}"], epoch, save)
            trainer.strategy.barrier("checkpoint written")
        self._report(trainer, summaries, f"epoch {epoch + 1}/{trainer.max_epochs}", trainer.callback_metrics)
        self._without_best = 0 if new_best else self._without_best + 1
        if new_best:
            self.best = summaries
        if self.patience is not None and self._without_best >= self.patience:
            log.info(
                "No better R@%d on %s in %d evaluations: training ends here.",
                *(k, self.monitor, self._without_best),
            )
            trainer.should_stop = True

    @property
    def score(self) -> float | None:
        """Recall@k (0..1) of `best.ckpt` on the monitored set; None where it was not measured."""
        monitored = self.best.get(self.monitor or "")
        return monitored.metrics[f"R@{self.best_checkpoints.k}"] if monitored else None

    def settle(self, trainer: pl.Trainer, summaries: dict[str, RecallSummary], origin: str) -> None:
        """Make `best.ckpt` of the describer as it is now, whatever its recall; `origin` says in words what it is."""
        if trainer.is_global_zero:
            self.save(self.best_checkpoints.path, {summary.protocol: summary.metrics for summary in summaries.values()})
        self.best, self.origin = summaries, origin

    def measure(self, trainer: pl.Trainer, module: TrainingModule) -> dict[str, RecallSummary]:
        """Return the recalls of the describer as it is now, by set; all ranks share the work."""
        # After training Lightning has put it on the CPU.
        describer = module.describer.to(trainer.strategy.root_device).eval()
        extractor = Extractor(describer, trainer.strategy.root_device, self.precision, self.channels_last)
        summaries = {}
        for name, retrieval_set in self.sets.items():
            images = len(retrieval_set.database) + len(retrieval_set.queries)
            if images > MANY and trainer.is_global_zero:
                log.info("Describing the %s images of %s ...", f"{images:,}", retrieval_set.protocol.id)
            summaries[name] = RecallSummary.of(evaluate(extractor, retrieval_set, options=self.options))
        describer.train()
        return summaries

    def _report(
        self,
        trainer: pl.Trainer,
        summaries: dict[str, RecallSummary],
        when: str,
        training: Mapping[str, Any] | None = None,
    ) -> None:
        for logger in trainer.loggers:
            for summary in summaries.values():
                values = {f"{summary.protocol}/{name}": value for name, value in summary.metrics.items()}
                logger.log_metrics(values, step=trainer.global_step)
        if trainer.is_global_zero:
            recalls = "  ".join(f"{r.protocol} R@1 {100 * r.metrics['R@1']:.1f}" for r in summaries.values())
            numbers = training or {}
            loss = f"  loss {float(numbers['train/loss']):.3f}" if "train/loss" in numbers else ""
            speed = f"  {float(numbers['speed/images_per_s']):.0f} images/s" if "speed/images_per_s" in numbers else ""
            log.info("%s:%s  %s%s", when, loss, recalls, speed)

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run goes on from."""
        return {
            "evaluated_epoch": self._evaluated_epoch,
            "monitored": self.monitored,
            "without_best": self._without_best,
            "top": self.best_checkpoints.state_dict(),
            "before": to_state(self.before),
            "best": to_state(self.best),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over from the run that is resumed."""
        self._evaluated_epoch = state_dict["evaluated_epoch"]
        self.before = from_state(state_dict["before"])
        before = state_dict.get("monitored", self.monitored)
        if before != self.monitored:
            log.warning(
                "The best checkpoints so far were the best by %s; now %s decides, anew.", before, self.monitored
            )
            return
        self._without_best = state_dict["without_best"]
        self.best_checkpoints.load_state_dict(state_dict["top"])
        self.best = from_state(state_dict["best"])


def to_state(summaries: dict[str, RecallSummary]) -> dict[str, dict[str, Any]]:
    """Return plain containers and tensors, for a checkpoint."""
    return {name: summary._asdict() for name, summary in summaries.items()}


def from_state(state: dict[str, dict[str, Any]]) -> dict[str, RecallSummary]:
    """Return what `to_state` was given."""
    return {name: RecallSummary(**value) for name, value in state.items()}
