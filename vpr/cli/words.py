"""Words of a command line: those that Hydra would misread (flags, paths with commas), and what gives way to others."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict

from vpr.cli.compose import typed_words
from vpr.cli.hints import LIGHTNING, did_you_mean
from vpr.cli.path_escaping import split_outside_brackets
from vpr.cli.schema import SCHEMAS
from vpr.cli.sweeps.jobs import read_job
from vpr.errors import ConfigError

log = logging.getLogger(__name__)

FLAGS = (
    *("--help", "--hydra-help", "--version", "--cfg", "--resolve", "--package", "--run", "--multirun"),
    *("--shell-completion", "--config-path", "--config-name", "--config-dir", "--experimental-rerun", "--info"),
)


def check_words(argv: Sequence[str], config_name: str) -> None:
    """Refuse words that mean something else than was typed.

    Args:
        argv: of the script; argv[0] is its name.

    Raises:
        ConfigError: a flag that is none, or a path under -m that has a comma in it; it says what to type.
    """
    multirun = any(word == "--multirun" or re.fullmatch(r"-[a-z]*m[a-z]*", word) for word in argv[1:])
    for word, after in zip(argv[1:], [*argv[2:], ""], strict=False):
        if word.startswith("--") and not any(flag.startswith(word.partition("=")[0]) for flag in FLAGS):
            raise ConfigError(_no_flag(word, after, config_name))
        key, equals, value = word.partition("=")
        if multirun and equals and len(split_outside_brackets(value)) > 1 and os.path.exists(value):
            raise ConfigError(
                f"{word}: with -m a comma separates values, and {value} is one file or folder. Type it in both kinds "
                f"of quotes: \"{key}='{value}'\"."
            )


def _no_flag(word: str, after: str, config_name: str) -> str:
    name, equals, value = word[2:].partition("=")
    name = name.replace("-", "_")
    value = value if equals else after if after and "=" not in after and not after.startswith("-") else "VALUE"
    keys = sorted(_keys(SCHEMAS[config_name]), key=lambda key: key.count("."))
    matching = [key for key in keys if key == name or key.endswith(f".{name}")]
    if matching:
        return f"{word}: settings are typed as key=value. Type {matching[0]}={value}."
    if name in LIGHTNING.split() and config_name == "train":
        return f"{word}: settings are typed as key=value. Type +trainer.extra.{name}={value}."
    near = did_you_mean(name, [key.rpartition(".")[2] for key in keys])
    return f"{word}: there is no such flag, and settings are typed as key=value.{near} --help shows them all."


def _keys(schema: Any, path: str = "") -> Iterator[str]:
    """Yield the full keys of a schema and of those in it."""
    types = get_type_hints(schema)
    for field in fields(schema):
        yield f"{path}{field.name}"
        if is_dataclass(types[field.name]):
            yield from _keys(types[field.name], f"{path}{field.name}.")


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
