"""The teacher of a run, trained first where the run asks for that."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable
from pathlib import Path

from hydra import compose
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from vpr.config.jobs import JobFailed, config_flags, run_once
from vpr.config.labels import identity, teacher_label
from vpr.errors import ConfigError

# What a run was told on its command line about these holds for its teacher, too.
SHARED = ("dataset", "augment", "batch", "image", "paths", "trainer", "logger", "debug")


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
    """Tell whether somebody is there to teach."""
    return any(cfg.distillation.teacher.get(key) for key in ("ckpt", "backbone", "hub"))


def teacher_overrides(task: Iterable[str], recipe: Iterable[str]) -> list[str]:
    """Return the command line that trains a teacher.

    Args:
        task: the run's own overrides; what they say of data and trainer holds, unless the recipe says otherwise.
        recipe: `distillation.teacher.recipe`.
    """
    shared = {_key(word): word for word in task if _key(word).partition(".")[0].partition("@")[0] in SHARED}
    return list((shared | {_key(word): word for word in recipe}).values())


def how_to_get_a_teacher(cfg: DictConfig) -> str:
    """Return what to type in a run that has none: the command that trains it, and how to hand it over."""
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


def _key(word: str) -> str:
    return word.partition("=")[0].lstrip("+~")
