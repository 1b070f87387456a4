"""One training run, from its configuration to its best checkpoint.

Order, choice of images, augmentation and dropout follow from (seed, epoch, place, step), so a resumed run is the same
run. `best.ckpt` is a describer (`vpr.checkpoint`); `last.ckpt` is Lightning's, with the same content under `describer`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from omegaconf import DictConfig
from pytorch_lightning.callbacks import Callback

from vpr import checkpoint
from vpr.catalog.resolve import evaluation_sets, training_images
from vpr.cli.cluster_command import cluster_command, cluster_names, training_sets
from vpr.cli.compose import plain, typed_words
from vpr.cli.datasets import random_weights_ok
from vpr.cli.schema import TrainerConfig, typed
from vpr.data.image_digests import image_digests
from vpr.data.image_paths import ImagePaths
from vpr.data.loading import loader_workers
from vpr.data.retrieval_set import RetrievalSet
from vpr.data.transforms import TrainTransform
from vpr.distill.cached_teacher import CachedTeacher
from vpr.distill.distiller import Distiller
from vpr.distill.teacher import Teacher
from vpr.errors import ConfigError
from vpr.models.describer import Describer
from vpr.retrieval.evaluate import EvalOptions
from vpr.retrieval.extractor import pick_device
from vpr.training.build import already_started, find_clusters, make_describer, prepare
from vpr.training.callbacks.checkpointing import ResumeCheckpoint
from vpr.training.callbacks.evaluation import RecallEvaluation
from vpr.training.callbacks.group import check_callbacks, complete
from vpr.training.callbacks.interpolation import WeightInterpolation, pretrained_tensors, starting_weights
from vpr.training.distillation import Distillation
from vpr.training.generations import supervision_record
from vpr.training.loggers import finish, make_loggers
from vpr.training.module import TrainingModule
from vpr.training.resume import Resume, data_digest
from vpr.training.start import NODES, Start, own_checkpoint
from vpr.training.summary import finish_run
from vpr.training.supervision import DataOptions, NoSupervision, Supervision
from vpr.training.teacher_cache import TeacherTargets
from vpr.training.teacher_whitening import Whitener
from vpr.training.trainer import check_devices, device_count, make_trainer, resolve_precision
from vpr.training.untrained import PCABehind, PCAOf, untrained_record

log = logging.getLogger(__name__)


def fit(cfg: DictConfig, directory: Path) -> float | None:
    """Train as configured; as `TrainingRun.from_config(cfg, directory).fit()`."""
    return TrainingRun.from_config(cfg, directory).fit()


@dataclass
class TrainingRun:
    """Parts of a run of `train.py`, ready to be trained.

    Attributes:
        directory: gets `best.ckpt`, `last.ckpt`, the best few describers and the logs.
        nodes: the configuration, plain.
        record: the configuration as a checkpoint keeps it: the parts as they were used, no folder of this machine.
        trainer: settings of the node of that name.
        module: describer, objective and distiller.
        data: data module; its `dataset` holds the training images.
        sets: evaluation sets by name.
        supervision: kind of its training data.
        num_workers: processes of each rank that load images.
        loggers: of Lightning.
        resume: the training checkpoint that the run goes on from; None: it begins.
        began: `time.monotonic()` when it did.
        callbacks: of Lightning, in their order.
        inherited: digests (n,) int64 of the images that the model it starts from was trained on, as far as known.
        fitted_to: the images that PCA is fitted to.
    """

    directory: Path
    nodes: Mapping[str, Any]
    record: dict[str, Any]
    trainer: TrainerConfig
    module: TrainingModule
    data: Any
    sets: Mapping[str, RetrievalSet]
    supervision: Supervision
    num_workers: int
    loggers: list[Any]
    resume: Resume | None
    began: float
    callbacks: list[Callback] = field(default_factory=list)
    inherited: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    fitted_to: Sequence[Path] = ()

    @classmethod
    def from_config(cls, cfg: DictConfig, directory: Path) -> TrainingRun:
        """Make the parts of a run, each of its own node of a checked configuration of `train.py`.

        Raises:
            ConfigError: parts do not fit each other, or a resumed run had other settings.
            CheckpointError: the file of a teacher, or of the run that is resumed, is missing or damaged.
            DataError: a data set cannot be read.
            WeightsUnavailable: pretrained weights cannot be had.
        """
        began, nodes, runs = time.monotonic(), plain(cfg), Path(cfg.paths.runs)
        start = Start.read(cfg.init, typed_words(*NODES)) if cfg.init else None
        nodes |= start.nodes(nodes) if start else {}
        resume = Resume.find(cfg.ckpt_path, runs / cfg.name)
        if resume:
            nodes["supervision"] = supervision_record(nodes["supervision"])
            resume.check_settings(nodes)
            nodes["agg"] = already_started(nodes["agg"])
        pl.seed_everything(cfg.seed, workers=True, verbose=False)
        settings = {key: typed(key, nodes[key]) for key in ("trainer", "batch", "finetune")}
        trainer: TrainerConfig = settings["trainer"]
        check_devices(trainer)
        workers = loader_workers(trainer.num_workers, device_count(trainer))
        # What is quick to make comes first: a wrong value ends the run before data and weights are read.
        supervision: Supervision = instantiate(cfg.supervision) if trainer.max_epochs else NoSupervision()
        objective = supervision.objective(instantiate(cfg.loss))
        distillation = make_distillation(cfg.distillation, nodes["image"], trainer, cfg.seed, workers, runs)
        supervision.check(distillation.distiller)
        entries = callback_entries(cfg.callbacks)
        clusters = find_clusters(nodes["agg"], runs, partial(cluster_names, cfg), partial(cluster_command, cfg))
        optimizer, schedule, augment = (instantiate(cfg[key]) for key in ("optimizer", "schedule", "augment"))

        sets = evaluation_sets(cfg.dataset)
        sources = supervision.read(cfg.dataset, sets)
        pca = pca_of(cfg)
        random_ok = trainer.max_epochs > 0 and random_weights_ok(cfg.dataset)
        describer, parts = start.describer(nodes) if start else make_describer(nodes, clusters, random_ok)
        pretrained = pretrained_tensors(describer, whole=start is not None)
        parts |= distillation.attach(describer, parts["agg"], sources.sources)
        supervision.connect(objective, describer)
        parts["supervision"] = supervision_record(nodes["supervision"])
        parts["training_data"] = data_digest(sources.sources)
        if resume:
            resume.check_data(parts["training_data"])
            resume.check_init(parts.get("init"))
            resume.check_distillation(parts["distillation"])
        prepare(describer, settings["finetune"], trainer, pretrained=parts["backbone"]["weights"] != "none")

        resumed = resume and resume.path.parent
        options = DataOptions(settings["batch"], cfg.seed, workers, trainer.eval_batch_size, directory, resumed)
        data = supervision.data(sources, TrainTransform(describer.preprocess, augment), options)
        optimization = optimizer, schedule, cfg.finetune.backbone_lr, cfg.seed, trainer.channels_last, cfg.batch.chunk
        module = TrainingModule(describer, objective, distillation.distiller, *optimization)
        # Where this machine keeps its files is no part of a checkpoint.
        record = {key: value for key, value in nodes.items() if key not in ("paths", "ckpt_path", "pca")} | parts
        record = record if trainer.max_epochs else untrained_record(record, describer)
        loggers = make_loggers(cfg.logger, resumed or None)
        run = cls(directory, nodes, record, trainer, module, data, sets, supervision, workers, loggers, resume, began)
        origin = start.content if start else own_checkpoint(nodes["backbone"]["weights"])
        run.inherited = checkpoint.training_images(origin)
        run.callbacks = make_callbacks(run, entries, pretrained, pca)
        return run

    @property
    def describer(self) -> Describer:
        """The network that is trained, evaluated and saved."""
        return self.module.describer

    @cached_property
    def images(self) -> np.ndarray | None:
        """Digests (n,) int64 of the images that its checkpoints note down; None where they do not.

        Its training images; those that PCA is fitted to; and those of the model that it started from.
        """
        digests = [self.inherited, image_digests(self.fitted_to)]
        if self.supervision.notes_images:
            digests.append(image_digests(ImagePaths(self.data.dataset.sources)))
        union = np.unique(np.concatenate(digests))
        return union if self.supervision.notes_images or len(union) else None

    @property
    def distiller(self) -> Distiller:
        """The terms of distillation, and the teachers."""
        return self.module.distiller

    def callback(self, kind: type[Any]) -> Any:
        """Return the callback of a class."""
        return next(callback for callback in self.callbacks if isinstance(callback, kind))

    def fit(self) -> float | None:
        """Train, and return the best recall@k (0..1) of the monitored set, k as `trainer.monitor_k`.

        Raises:
            KeyboardInterrupt: Ctrl-C has ended the run; its last.ckpt is written.
        """
        trainer = make_trainer(self.trainer, self.directory, self.callbacks, self.loggers, self.data.steps_per_epoch)
        try:
            for logger in trainer.loggers:
                logger.log_hyperparams(self.record)
            self._train(trainer)
            return (
                finish_run(trainer, self.callback(RecallEvaluation), self.record, self.began)
                if trainer.is_global_zero
                else None
            )
        finally:
            finish()

    def _train(self, trainer: pl.Trainer) -> None:
        try:
            path = self.resume and self.resume.path
            trainer.fit(self.module, datamodule=self.data, ckpt_path=path, weights_only=True)
        except SystemExit:
            last = self.callback(ResumeCheckpoint)
            if last.interrupted:
                # Before the first step there is none; cached targets that were being made go on by themselves.
                more = f" and: 'ckpt_path={last.path}'" if last.path.exists() else "."
                log.info("Interrupted. Go on with the same command%s", more)
                raise KeyboardInterrupt from None
            raise


def make_distillation(
    node: DictConfig,
    image: Mapping[str, Any],
    trainer: TrainerConfig,
    seed: int,
    workers: int,
    runs: Path,
    teachers: Sequence[Teacher] | None = None,
) -> Distillation:
    """Make the distillation of a run of its node; copies of whitened teachers go to the folder `runs`/teachers.

    `teachers` as of `Distillation.from_node`.
    """
    terms = {name: instantiate(term, _convert_="all") for name, term in node.terms.items()}
    whitener = None
    if node.teacher.pca is not None and not node.cache:
        device = pick_device("cpu" if trainer.accelerator == "cpu" else "auto")
        whitener = Whitener(node.teacher.pca, runs / "teachers", device, trainer.eval_batch_size, workers)
    return Distillation.from_node(plain(node), terms, image, trainer.accelerator, seed, whitener, teachers)


def pca_of(cfg: DictConfig) -> PCAOf | None:
    """Find the images that PCA of a run of no epoch is fitted to; None where it gets none.

    Raises:
        ConfigError: there is no such set, or it has no training images.
        DataError: it cannot be read.
    """
    options = cfg.pca
    if options.dim is None:
        return None
    given = options.dataset
    names = training_sets(cfg) if given is None else [given] if isinstance(given, str) else list(given)
    if not names:
        raise ConfigError(
            f"pca.dim={options.dim}: the data sets of this run have no training images. Name a set to whose images PCA "
            "is fitted, for example pca.dataset=toycity."
        )
    images = training_images(names, cfg, "pca.dataset")
    return PCAOf(images, "+".join(names), options.dim, options.whiten, options.samples, options.seed)


def callback_entries(nodes: Mapping[str, Any] | None) -> dict[str, Any]:
    """Make the callbacks of the group; those that take objects of the run as functions of these.

    Raises:
        ConfigError: an entry is no callback, or refuses its arguments.
    """
    entries: dict[str, Any] = {}
    for name, node in (nodes or {}).items():
        if node is None:
            continue
        try:
            entries[name] = instantiate(node, _convert_="all")
        except InstantiationException as error:
            raise ConfigError(f"callbacks.{name}: {error.__cause__ or error}") from error
    check_callbacks(entries)
    return entries


def make_callbacks(
    run: TrainingRun, entries: Mapping[str, Any], pretrained: Collection[int], pca: PCAOf | None
) -> list[Callback]:
    """Make the callbacks of a run, in the order in which they are called.

    Args:
        entries: those of the group, as of `callback_entries`.
        pretrained: ids of the describer's tensors that the run has not drawn at random itself.
        pca: of a run of no epoch.

    Raises:
        ConfigError: trained weights are to be mixed with pretrained ones that cannot be had.
    """
    trainer, batch_size, workers = run.trainer, run.trainer.eval_batch_size, run.num_workers
    precision = resolve_precision(trainer.precision, trainer.accelerator)
    teachers = [teacher for teacher in run.distiller.teachers if isinstance(teacher, CachedTeacher)]
    cache = Path(run.nodes["paths"]["runs"]) / "teacher_targets"
    first: list[Callback] = [TeacherTargets(teachers, run.data.dataset, cache, batch_size, workers)]
    if pca:
        run.fitted_to = pca.chosen
        first.insert(0, PCABehind(pca, run.record, precision, batch_size, workers))
    given: dict[str, dict[str, Any]] = {
        "bad_images": {"where": f"dataset.{run.supervision.reads}.*"},
        "checkpoints": {
            "directory": run.directory,
            "pack": lambda: checkpoint.pack(run.describer, run.record, images=run.images),
        },
        "evaluation": {
            "sets": run.sets,
            "directory": run.directory,
            "save": lambda path, metrics: checkpoint.save(path, run.describer, run.record, metrics, run.images),
            "precision": precision,
            "channels_last": trainer.channels_last,
            "options": EvalOptions(
                batch_size=batch_size,
                num_workers=workers,
                on_bad_image=run.nodes["dataset"].get("on_bad_image", "raise"),
                progress=False,
            ),
            "images": lambda: run.images,
        },
    }
    callbacks = complete(entries, given, first)
    share = run.nodes["finetune"]["interpolate"]
    if share is not None:
        if run.record["backbone"]["weights"] == "none":
            raise ConfigError("finetune.interpolate: the pretrained weights that it mixes with cannot be had.")
        recall = next(callback for callback in callbacks if isinstance(callback, RecallEvaluation))
        before = starting_weights(run.describer, pretrained)
        callbacks.append(WeightInterpolation(share, before, recall, run.record))
    return callbacks
