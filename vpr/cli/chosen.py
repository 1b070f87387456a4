"""Parts of a configuration that give way to what was typed beside them."""

from __future__ import annotations

import logging
import re
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict

from vpr.cli.compose import typed_words
from vpr.cli.sweeps.jobs import read_job

log = logging.getLogger(__name__)


def settle(cfg: DictConfig) -> None:
    """Change the configuration of a script, before it is checked, where choices stand beside one another."""
    leave_out_default_eval(cfg)
    if HydraConfig.initialized() and read_job(Path(HydraConfig.get().runtime.output_dir)):
        drop_teacher_of_none(cfg)


def leave_out_default_eval(cfg: DictConfig) -> None:
    """Take out `dataset.default_eval`, the evaluation sets of a training set, where others were chosen beside it.

    Their data may be hard to get, and whoever names a set of their own need not have them.
    """
    defaults = OmegaConf.select(cfg, "dataset.default_eval") or []
    typed = {
        name for word in typed_words("dataset") if word.startswith("dataset=") for name in re.findall(r"\w+", word)
    }
    sets = OmegaConf.select(cfg, "dataset.eval") or {}
    if any(name not in defaults for name in sets):
        for name in defaults:
            if name in sets and name not in typed:
                with open_dict(cfg):
                    del cfg.dataset.eval[name]


def drop_teacher_of_none(cfg: DictConfig) -> None:
    """Take the teacher away from the job of a sweep that is to learn without one: distillation=none,similarity."""
    if "distillation=none" not in typed_words("distillation") or cfg.distillation.terms:
        return
    teacher = cfg.distillation.teacher
    given = [key for key in ("ckpt", "backbone", "hub", "share") if teacher.get(key)]
    for key in given:
        teacher[key] = None
    if given:
        log.info("distillation=none: this job of the sweep has no teacher.")
