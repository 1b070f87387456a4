"""Hints: the nearest right name beside a wrong one, in messages of ours, Hydra's and OmegaConf's."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from pathlib import Path

from hydra.errors import MissingConfigException
from omegaconf import DictConfig

EXTRAS = {"hydra_joblib_launcher": "joblib", "hydra_submitit_launcher": "slurm", "hydra_ray_launcher": "ray"}

LIGHTNING = """
    accelerator strategy devices num_nodes precision logger callbacks fast_dev_run max_epochs min_epochs max_steps
    min_steps max_time limit_train_batches limit_val_batches limit_test_batches limit_predict_batches overfit_batches
    val_check_interval check_val_every_n_epoch num_sanity_val_steps log_every_n_steps enable_checkpointing
    enable_progress_bar enable_model_summary accumulate_grad_batches gradient_clip_val gradient_clip_algorithm
    deterministic benchmark inference_mode use_distributed_sampler profiler detect_anomaly barebones plugins
    sync_batchnorm reload_dataloaders_every_n_epochs default_root_dir enable_autolog_hparams model_registry
"""
"""Arguments of Lightning's Trainer, which takes seconds to import: a test compares them."""


def did_you_mean(word: str, words: Iterable[object]) -> str:
    """Return " Did you mean 'x'?" for the nearest of `words`, or nothing where none is near.

    >>> did_you_mean("otu_channels", ["out_channels", "out_rows"])
    " Did you mean 'out_channels'?"
    """
    near = difflib.get_close_matches(word, [str(w) for w in words], n=1)
    return f" Did you mean '{near[0]}'?" if near else ""


def missing_launcher(error: BaseException) -> str:
    """Return what to install where Hydra does not know the launcher of a sweep; empty for any other error."""
    plugin = re.search(r"Unknown plugin class : 'hydra_plugins\.(\w+)", str(error))
    extra = EXTRAS.get(plugin[1]) if plugin else None
    return f'hydra/launcher: this one is not installed. Type pip install -e ".[{extra}]".' if extra else ""


def messages(error: BaseException) -> str:
    """Return the messages of an error of composing and of its causes, with the nearest right name."""
    unknown = re.match(r"Could not override '(.*)'\.\nTo append", str(error))
    if unknown:
        return f"ConfigError: {unknown[1]}: there is no such key.{_of_unknown(unknown[1], error)}"
    ambiguous = re.match(r"Ambiguous value for argument '(.*?)=(.*)'", str(error))
    if ambiguous:
        key, value = ambiguous.groups()
        return (
            f"ConfigError: {key}={value}: several values make a sweep, for which -m is typed; --cfg shows one job, "
            f"with one value. Type '{key}=[{value}]' for a list, or \"{key}='{value}'\" for one value with commas."
        )
    lines: list[str] = []
    hint = ""
    cause: BaseException | None = error
    while cause is not None:
        text = str(cause).partition("\nConfig search path:")[0].strip()
        if text and text not in "\n".join(lines):
            lines.append(text)
        hint = hint or _hint(cause)
        cause = cause.__cause__
    return "\n".join(lines) + (f"\n{hint.strip()}" if hint else "")


def _of_unknown(key: str, error: BaseException) -> str:
    """Say what could have been meant by a key that there is not."""
    name, word = key.rpartition(".")[2], str(error).partition("use +")[2]
    if key == f"trainer.{name}" and name in LIGHTNING.split():
        return f" It is an argument of Lightning's Trainer: type +trainer.extra.{word.removeprefix('trainer.')}"
    cause = error.__cause__
    hint = _hint(cause) if cause else ""
    parent = getattr(cause, "parent_node", None)
    if not hint and isinstance(parent, DictConfig):
        names = [str(name) for name in parent if not str(name).startswith("_")]
        hint = f" There {'is' if len(names) == 1 else 'are'} {', '.join(names[:20])}." if names else ""
    return hint


def _hint(error: BaseException) -> str:
    if isinstance(error, MissingConfigException):
        folder, _, choice = (error.missing_cfg_file or "").rpartition("/")
        listed = re.search(r"Available options in '[^']*':\n(.*)", str(error), re.DOTALL)
        options = error.options or (listed[1].split() if listed else [])
        if options or not folder:
            return did_you_mean(choice, options)
        # Hydra lists no options where the name stands in a list, such as dataset=[pitts30k,mlsl_val].
        config_folders = re.findall(r"path=file://(.*)", str(error))
        options = sorted(path.stem for config in config_folders for path in Path(config, folder).glob("*.yaml"))
        return did_you_mean(choice, options) or f"Available options in '{folder}': {', '.join(options)}"
    parent = getattr(error, "parent_node", None)
    key = getattr(error, "key", None)
    if isinstance(parent, DictConfig) and isinstance(key, str) and key not in parent:
        return did_you_mean(key, parent.keys())
    return ""
