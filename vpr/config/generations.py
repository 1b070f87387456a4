"""Generations: runs that follow one another, each with the one before as the teacher of its soft labels.

Ge et al. (ECCV 2020) train a network, put it aside as it ended, and begin anew with the labels that it gives.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hydra import compose
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from vpr.config.jobs import JobFailed, config_flags, read_job, run_once
from vpr.config.labels import identity, job_label
from vpr.errors import ConfigError

log = logging.getLogger(__name__)

# What belongs to one generation alone.
OWN = ("generation", "ckpt_path", "supervision.soft.ckpt")


def by_generation(values: list[Any], *, _root_: DictConfig) -> Any:
    """Return the value for this generation, the last one for all that come later.

    Stands in conf/ as `${by_generation:[1,5]}`: one epoch in generation 0, five in each later one.
    """
    return values[min(_root_.generation, len(values) - 1)]


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
    here = Path(hydra.runtime.output_dir).absolute()
    # A job is told by its record: its name is that of its configuration before it was resumed or got a teacher.
    folder = here.parent if read_job(here) else Path(cfg.paths.runs, "generations").absolute()
    directory = folder / job_label(earlier)
    log.info("Generation %d learns from generation %d: %s", cfg.generation, before, directory)
    try:
        run_once(Path(sys.argv[0]).absolute(), config_flags(hydra), overrides, identity(earlier), directory)
    except JobFailed as error:
        raise ConfigError(
            f"generation={cfg.generation}: the training of generation {before} failed ({error}). What it said stands "
            "above, and in the log there."
        ) from error
    cfg.supervision.soft.ckpt = str(directory / "last.ckpt")


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
    kept = [word for word in task if word.partition("=")[0].lstrip("+~") not in OWN]
    return [*kept, f"generation={generation}"]


# When it is imported, not by `schema.register`: launchers unpickle jobs in processes that never came by there.
OmegaConf.register_new_resolver("by_generation", by_generation, replace=True)
