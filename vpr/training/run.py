"""One training run, from its configuration to its best checkpoint."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig

from vpr import checkpoint
from vpr.catalog.resolve import evaluation_sets
from vpr.cli.compose import plain
from vpr.data.loading import loader_workers
from vpr.data.transforms import TrainTransform
from vpr.distill.cached_teacher import CachedTeacher
from vpr.errors import CheckpointError, ConfigError
from vpr.models.aggregators.projected import inner_node
from vpr.training.build import make_describer
from vpr.training.callbacks.bad_images import BadImages
from vpr.training.callbacks.checkpointing import ResumeCheckpoint
from vpr.training.callbacks.evaluation import RecallEvaluation
from vpr.training.callbacks.throughput import Throughput
from vpr.training.centroids import find_clusters
from vpr.training.distillation import (
    check_same_distillation,
    connect,
    keep_projection,
    make_distiller,
    record,
    whiten_teachers,
)
from vpr.training.generations import without_path
from vpr.training.loggers import finish
from vpr.training.module import TrainingModule
from vpr.training.summary import finish_run
from vpr.training.supervision import Folders
from vpr.training.teacher_cache import TeacherTargets
from vpr.training.trainer import device_count, make_trainer, resolve_precision

log = logging.getLogger(__name__)

# FOLDED vpr/training/run.py: Which checkpoint a run goes on from, and whether it is this run's.


# What decides the order of the batches and the shapes of the weights.
SAME = ("seed", "supervision", "batch", "image", "backbone", "agg")

PLACES = {
    "_target_": "vpr.training.supervision.PlacesSupervision",
    "reads": "train",
}  # of runs before there was a choice


def find_checkpoint(ckpt_path: str | None, runs: Path) -> Path | None:
    """Return the file to resume from; `last` is the newest last.ckpt among the runs of this name.

    Raises:
        ConfigError: there is none.
    """
    if ckpt_path is None:
        return None
    if ckpt_path != "last":
        if not Path(ckpt_path).is_file():
            raise ConfigError(f"ckpt_path: there is no file {ckpt_path}.")
        return Path(ckpt_path)
    found = sorted(runs.glob("*/last.ckpt"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise ConfigError(f"ckpt_path=last: there is no {runs}/*/last.ckpt. Leave ckpt_path out to begin a new run.")
    return found[-1]


def check_same_run(cfg: DictConfig, path: Path) -> None:
    """Make sure that a checkpoint belongs to a run with these settings.

    Raises:
        CheckpointError: the file is damaged, or no training checkpoint.
        ConfigError: a setting differs that decides the batches or the network.
    """
    content = checkpoint.read_any(path)
    if not isinstance(content, dict) or "position" not in content:
        raise CheckpointError(f"{path} is no training checkpoint: only the last.ckpt of a run can be gone on from.")
    now = plain(cfg)
    now["supervision"] = without_path(now["supervision"])
    stored = {"supervision": PLACES, **checkpoint.read(path)["config"]}
    # Where weights came from no longer matters; a run that had none says so. Nor do the two differ by the projection
    # that distillation has put behind the aggregator.
    for config in (stored, now):
        config["agg"] = {key: value for key, value in inner_node(config["agg"]).items() if key != "centroids"}
        config["backbone"] = {key: value for key, value in config["backbone"].items() if key != "weights"}
    for key in SAME:
        if stored.get(key) != now[key]:
            raise ConfigError(
                f"ckpt_path={path} is of a run with {key}={stored.get(key)}, and this one has {now[key]}. "
                "Repeat that run's settings (they stand in .hydra/overrides.yaml beside it), or leave ckpt_path out."
            )


def fit(cfg: DictConfig, directory: Path) -> float | None:
    """Train as configured and return the best recall@k (0..1) of the monitored set, k as `trainer.monitor_k`.

    Args:
        cfg: a checked configuration of `train.py`.
        directory: the run's folder; gets `best.ckpt`, `last.ckpt`, the best few describers and the logs.
    """
    began = time.monotonic()
    resume = find_checkpoint(cfg.ckpt_path, Path(cfg.paths.runs) / cfg.name)
    if resume:
        check_same_run(cfg, resume)
    pl.seed_everything(cfg.seed, workers=True, verbose=False)
    # What is quick to make comes first: a wrong value ends the run before data and weights are read.
    supervision = instantiate(cfg.supervision)
    objective, distiller = supervision.objective(instantiate(cfg.loss)), make_distiller(cfg)
    supervision.check(distiller)
    if not resume:
        find_clusters(cfg, plain(cfg.agg))
    optimizer, schedule, augment = (instantiate(cfg[key]) for key in ("optimizer", "schedule", "augment"))
    found, sets = supervision.read(cfg.dataset), evaluation_sets(cfg.dataset)
    describer, parts = make_describer(cfg, resumed=resume is not None)
    whiten_teachers(cfg, distiller, describer, found.sources)
    parts["agg"] = keep_projection(distiller, describer, parts["agg"], cfg.seed)
    connect(distiller, describer, cfg.seed)
    supervision.connect(objective, describer)
    parts["distillation"] = record(cfg.distillation, distiller)
    parts["supervision"] = without_path(plain(cfg.supervision))
    if resume:
        check_same_distillation(parts["distillation"], resume)
    if not cfg.finetune.backbone_bn and parts["backbone"]["weights"] != "none":
        describer.backbone.hold_batchnorm()
    if cfg.finetune.bn_momentum is not None:
        describer.backbone.set_batchnorm_momentum(cfg.finetune.bn_momentum)
    if cfg.trainer.channels_last:
        describer.to(memory_format=torch.channels_last)
    if cfg.trainer.compile:
        describer.backbone.compile()
        describer.aggregator.compile()
    # Where this machine keeps its files is no part of a checkpoint.
    config = {key: value for key, value in plain(cfg).items() if key not in ("paths", "ckpt_path")} | parts

    workers = loader_workers(cfg.trainer.num_workers, device_count(cfg.trainer))
    bad = cfg.dataset.get("on_bad_image", "raise")
    transform = TrainTransform(describer.preprocess, augment)
    data = supervision.data(found, transform, cfg, workers, Folders(directory, resume and resume.parent))
    module = TrainingModule(
        describer,
        objective,
        distiller,
        optimizer,
        schedule,
        backbone_lr=cfg.finetune.backbone_lr,
        seed=cfg.seed,
        channels_last=cfg.trainer.channels_last,
    )
    recall = RecallEvaluation(
        sets,
        directory,
        save=lambda path, metrics: checkpoint.save(path, describer, config, metrics),
        monitor=cfg.trainer.monitor,
        k=cfg.trainer.monitor_k,
        keep=cfg.trainer.save_top,
        every=cfg.trainer.eval_every,
        first=cfg.evaluate_first,
        patience=cfg.trainer.early_stop,
        precision=resolve_precision(cfg.trainer.precision, cfg.trainer.accelerator),
        channels_last=cfg.trainer.channels_last,
        options={
            "batch_size": cfg.trainer.eval_batch_size,
            "num_workers": workers,
            "on_bad_image": bad,
            "progress": False,
        },
    )
    targets = TeacherTargets(
        [teacher for teacher in distiller.teachers if isinstance(teacher, CachedTeacher)],
        data.dataset,
        Path(cfg.paths.runs) / "teacher_targets",
        batch_size=cfg.trainer.eval_batch_size,
        num_workers=workers,
    )
    last = ResumeCheckpoint(directory, lambda: checkpoint.pack(describer, config), **cfg.trainer.checkpoint_every)
    loggers = [instantiate(node) for node in (cfg.logger or {}).values()]
    callbacks = [BadImages(f"dataset.{supervision.reads}.*"), targets, last, recall, Throughput()]
    trainer = make_trainer(cfg.trainer, directory, callbacks, loggers, data.steps_per_epoch)
    try:
        for logger in trainer.loggers:
            logger.log_hyperparams(config)
        _run(trainer, module, data, resume, last)
        return finish_run(trainer, recall, config, began) if trainer.is_global_zero else None
    finally:
        finish()


def _run(trainer: pl.Trainer, module: Any, data: Any, resume: Path | None, last: ResumeCheckpoint) -> None:
    try:
        trainer.fit(module, datamodule=data, ckpt_path=resume, weights_only=True)
    except SystemExit:
        if last.interrupted:
            # Before the first step there is none; cached targets that were being made go on by themselves.
            more = f" and: 'ckpt_path={last.path}'" if last.path.exists() else "."
            log.info("Interrupted. Go on with the same command%s", more)
            raise KeyboardInterrupt from None
        raise
