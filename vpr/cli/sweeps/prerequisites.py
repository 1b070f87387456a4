"""Runs that another run needs: its teacher, and the generation before it. Both are trained first, once.

A teacher or a pair is one YAML; `distillation.teacher.recipe` is the command line that trains the teacher. Generations
follow one another, each with the one before as the teacher of its soft labels: Ge et al. (ECCV 2020) train a network,
put it aside as it ended, and begin anew with the labels that it gives.
"""

from __future__ import annotations

import logging
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path

from hydra import compose
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from vpr.cli.run_names import identity, job_label, teacher_label
from vpr.cli.sweeps.jobs import JobFailed, config_flags, read_job, run_once
from vpr.errors import ConfigError

log = logging.getLogger(__name__)

# Overrides of these on the command line of a run hold for its teacher, too.
SHARED = ("dataset", "augment", "batch", "image", "paths", "trainer", "logger", "debug")
# Keys of one generation alone.
OF_ONE_GENERATION = ("generation", "ckpt_path", "supervision.soft.ckpt")


def train_teacher_first(cfg: DictConfig) -> None:
    """Put the checkpoint of `distillation.teacher.recipe` into the configuration, where `make` asks for it.

    It is trained in a process of its own into `<paths.runs>/teachers/`, once: a finished run of the same configuration
    is taken as it is, an interrupted one goes on, and one that another process is at is waited for.

    Raises:
        ConfigError: its training failed.
    """
    teacher = cfg.distillation.teacher
    if not (cfg.distillation.terms and teacher.make and teacher.recipe) or has_teacher(cfg):
        return
    hydra = HydraConfig.get()
    overrides = teacher_overrides(hydra.overrides.task, teacher.recipe)
    of_teacher = identity(compose(hydra.job.config_name, overrides))
    directory = Path(cfg.paths.runs, "teachers", f"{teacher_label(cfg)}-{of_teacher[:8]}")
    try:
        run_once(Path(sys.argv[0]).absolute(), config_flags(hydra), overrides, of_teacher, directory)
    except JobFailed as error:
        raise ConfigError(
            f"distillation.teacher.recipe={list(teacher.recipe)}: the teacher's training failed ({error}). What it "
            "said stands above, and in the log there."
        ) from error
    teacher.ckpt = str(directory / "best.ckpt")


def has_teacher(cfg: DictConfig) -> bool:
    """Tell whether a run has a teacher."""
    return any(cfg.distillation.teacher.get(key) for key in ("ckpt", "backbone", "hub"))


def teacher_overrides(task: Iterable[str], recipe: Iterable[str]) -> list[str]:
    """Return the command line that trains a teacher.

    Args:
        task: overrides of the run; those of data and trainer hold for the teacher, unless the recipe has others.
        recipe: `distillation.teacher.recipe`.
    """
    shared = {_key(word): word for word in task if _key(word).partition(".")[0].partition("@")[0] in SHARED}
    return list((shared | {_key(word): word for word in recipe}).values())


def teacher_advice(cfg: DictConfig) -> str:
    """Return the command that trains a teacher, and how to give it to a run that has none."""
    recipe = cfg.distillation.teacher.recipe
    words = recipe or ["backbone=resnet50", "name=teacher"]
    command = shlex.join(["python", "train.py", *words])
    if recipe:
        return (
            f"Train the teacher: {command}, and add its checkpoint: distillation.teacher.ckpt=runs/.../best.ckpt. "
            "With distillation.teacher.make=true this run trains it first."
        )
    return (
        f"Train a teacher, for example {command}, and add its checkpoint: "
        "distillation.teacher.ckpt=runs/teacher/.../best.ckpt. A network with the weights that it comes with "
        "teaches, too: backbone@distillation.teacher.backbone=resnet50."
    )


def train_earlier_generations_first(cfg: DictConfig) -> None:
    """Put the last checkpoint of the generation before into `supervision.soft.ckpt`, where it is not given.

    That generation is trained in a process of its own, which begins with the one before it. A finished run of the same
    configuration is taken as it is, an interrupted one goes on. In a sweep it lies beside this job, so that
    `generation=0,1,2,3` trains each once; else in `<paths.runs>/generations/`.

    Raises:
        ConfigError: its training failed.
    """
    if not needs_earlier(cfg):
        return
    hydra = HydraConfig.get()
    before = cfg.generation - 1
    overrides = earlier_overrides(hydra.overrides.task, before)
    earlier = compose(hydra.job.config_name, overrides)
    directory = Path(hydra.runtime.output_dir).absolute()
    # A job of a sweep has a record; its name may be that of its configuration before it was resumed or got a teacher.
    folder = directory.parent if read_job(directory) else Path(cfg.paths.runs, "generations").absolute()
    earlier_directory = folder / job_label(earlier)
    log.info("Generation %d learns from generation %d: %s", cfg.generation, before, earlier_directory)
    try:
        run_once(Path(sys.argv[0]).absolute(), config_flags(hydra), overrides, identity(earlier), earlier_directory)
    except JobFailed as error:
        raise ConfigError(
            f"generation={cfg.generation}: the training of generation {before} failed ({error}). What it said stands "
            "above, and in the log there."
        ) from error
    cfg.supervision.soft.ckpt = str(earlier_directory / "last.ckpt")


def generations_need_their_supervision(cfg: DictConfig) -> None:
    if cfg.generation and "generation" not in cfg.supervision:
        raise ConfigError(
            f"generation={cfg.generation}: only supervision=generations has any. Type supervision=generations, or "
            "generation=0."
        )


def needs_earlier(cfg: DictConfig) -> bool:
    """Tell whether a run learns from an earlier generation that it has not been given."""
    soft = OmegaConf.select(cfg, "supervision.soft")
    return bool(cfg.generation and soft and soft.weight and not soft.ckpt)


def earlier_overrides(task: Iterable[str], generation: int) -> list[str]:
    """Return the command line of another generation of the run with the overrides `task`."""
    kept = [word for word in task if _key(word) not in OF_ONE_GENERATION]
    return [*kept, f"generation={generation}"]


def _key(word: str) -> str:
    return word.partition("=")[0].lstrip("+~")
