"""What a single key of ours may be called and hold: a key of the schema, one of a few words, a number large enough."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from importlib import import_module
from typing import Any

from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from vpr.cli.hints import did_you_mean
from vpr.errors import ConfigError

CHOICES: dict[str, tuple[Any, ...]] = {
    "batch.shuffle": ("within_group", "all"),
    "batch.choice": ("random", "recent"),
    "image.interpolation": ("bilinear", "bicubic"),
    "trainer.precision": ("auto", "32-true", "16-mixed", "bf16-mixed"),
    "trainer.accelerator": ("auto", "cpu", "gpu", "cuda", "mps"),
    "trainer.matmul_precision": ("highest", "high", "medium"),
    "trainer.sync_batchnorm": ("auto", True, False),
    "trainer.monitor_k": (1, 5, 10, 20),
    "dataset.on_bad_image": ("raise", "skip"),
    "distillation.cache": (False, True),
    "distillation.teacher.precision": ("auto", "32-true", "16-mixed", "bf16-mixed"),
    "precision": ("32-true", "16-mixed", "bf16-mixed"),
    "dtype": ("float16", "float32"),
}
AT_LEAST = {
    "seed": 0,
    "generation": 0,
    "trainer.max_epochs": 1,
    "batch.places": 2,
    "batch.images_per_place": 2,
    "supervision.tuples": 1,
    "supervision.refresh_every": 1,
    "supervision.refresh_gallery": 1,
    "trainer.eval_batch_size": 1,
    "trainer.eval_every": 0,
    "trainer.num_workers": -1,
    "trainer.save_top": 1,
    "trainer.log_every": 1,
    "trainer.early_stop": 1,
    "trainer.checkpoint_every.steps": 1,
    "finetune.bn_momentum": 0,
    "distillation.task_weight": 0,
    "distillation.cache_pca": 1,
    "pca.dim": 1,
    "pca.samples": 2,
    "pca.seed": 0,
    "batch_size": 1,
    "agg.clusters": 2,
    "clusters": 2,
    "images": 1,
    "descriptors_per_image": 1,
    "iterations": 1,
    "num_workers": -1,
    "k": 1,
    "page_queries": 1,
}
WHY = {
    "batch.places": "A metric loss needs images of other places to compare with. ",
    "batch.images_per_place": "A metric loss needs two images of a place to pull together. ",
}


def known_keys(cfg: DictConfig, path: str = "") -> None:
    """Raise ConfigError for a key that the schema has not, which Hydra lets pass behind a `+`."""
    schema = OmegaConf.get_type(cfg)
    if schema is None or not is_dataclass(schema):
        return
    names = [f.name for f in fields(schema)]
    for key in map(str, cfg):
        full = f"{path}.{key}" if path else key
        if key not in names:
            raise ConfigError(f"{full}: there is no such key.{did_you_mean(key, names)} Leave +{full} out.")
        if OmegaConf.is_dict(cfg[key]):
            known_keys(cfg[key], full)


def known_choices(cfg: DictConfig) -> None:
    """Raise ConfigError for a word that is none of the choices."""
    for key, choices in CHOICES.items():
        value = OmegaConf.select(cfg, key, default=choices[0])
        if value not in choices:
            options = ", ".join(_as_typed(c) for c in choices)
            raise ConfigError(f"{key}={value}: it must be one of {options}.{did_you_mean(str(value), choices)}")


def large_enough(cfg: DictConfig) -> None:
    """Raise ConfigError for a number below its least."""
    for key, least in AT_LEAST.items():
        value = OmegaConf.select(cfg, key)
        if value is not None and value < least:
            raise ConfigError(f"{key}={value}: the least is {least}. {WHY.get(key, '')}Type {key}={least} or more.")


def _as_typed(choice: Any) -> str:
    return "null" if choice is None else str(choice).lower()


# FOLDED vpr/cli/checks.py: Every value of the configuration is there and can be read.


EXAMPLES = {
    "ckpt": "runs/x/best.ckpt",
    "root": "/path/to/photos",
    "database": "photos/map",
    "query": "photos/new",
}


def check_present(cfg: DictConfig) -> None:
    """Look for values that are missing (`???`) and for interpolations that lead nowhere.

    Raises:
        ConfigError: names such keys and what to type.
    """
    values = list(_walk(cfg))
    missing = [path for path, node, key in values if OmegaConf.is_missing(node, key)]
    if missing:
        examples = " ".join(f"{path}={EXAMPLES.get(path.rpartition('.')[2], 'VALUE')}" for path in missing)
        them = "it" if len(missing) == 1 else "them"
        raise ConfigError(
            f"{', '.join(missing)}: no value given (???). Add {them} to the command, for example {examples}."
        )
    for path, node, key in values:
        try:
            node[key]
        except OmegaConfBaseException as error:
            found = str(error).strip().splitlines()[0]
            raise ConfigError(f"{path}: {found}. Give it a value: {path}=VALUE.") from error


def _walk(node: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield (full key, its container, its key there) of all values."""
    if OmegaConf.is_dict(node):
        keys: Any = node.keys()
    elif OmegaConf.is_list(node):
        keys = range(len(node))
    else:
        return
    for key in keys:
        here = f"{path}.{key}" if path else str(key)
        yield here, node, key
        # Each node is walked where it stands, not where an interpolation points to it.
        if not OmegaConf.is_interpolation(node, key) and not OmegaConf.is_missing(node, key):
            yield from _walk(node[key], here)


# FOLDED vpr/cli/checks.py: Every `_target_` exists, takes each key it is given, and is given each key it needs.


RESERVED = {"_target_", "_partial_", "_args_", "_recursive_", "_convert_"}
Parameter = inspect.Parameter


def check_targets(cfg: DictConfig) -> None:
    """Check all nodes with a `_target_`. Imports what they name; makes nothing, so no weights or data are touched.

    An argument that a `**kwargs` may take passes. With `_partial_: true` arguments may be left out.

    Raises:
        ConfigError: names the first key that is wrong, and the nearest name that is right.
    """
    check_present(cfg)
    with _silent_hydra():
        _check(OmegaConf.to_container(cfg, resolve=True), "")


def _check(node: Any, path: str) -> None:
    if isinstance(node, Mapping):
        if "_target_" in node:
            _check_call(node, path)
        for key, value in node.items():
            _check(value, f"{path}.{key}" if path else str(key))
    elif isinstance(node, list):
        for i, value in enumerate(node):
            _check(value, f"{path}.{i}")


def _check_call(node: Mapping[Any, Any], path: str) -> None:
    target = _find(str(node["_target_"]), path)
    try:
        parameters = inspect.signature(target).parameters.values()
    except ValueError:  # some builtins tell nothing about themselves
        return
    name = getattr(target, "__name__", str(target))
    by_name = [p for p in parameters if p.kind in (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)]
    # What stands in `_args_` takes the first places.
    by_name = by_name[len(node.get("_args_", ())) :]
    names = [p.name for p in by_name]
    open_ended = any(p.kind is Parameter.VAR_KEYWORD for p in parameters)
    for key in node:
        if key not in RESERVED and key not in names and not open_ended:
            raise ConfigError(
                f"{path}.{key}: {name} has no argument '{key}'.{did_you_mean(str(key), names) or _takes(names)}"
            )
    if not node.get("_partial_"):
        lacking = [p.name for p in by_name if p.default is Parameter.empty and p.name not in node]
        if lacking:
            raise ConfigError(f"{path}: {name} needs '{lacking[0]}'. Add +{path}.{lacking[0]}=VALUE to the command.")


def _find(target: str, path: str) -> Any:
    try:
        return get_object(target)
    except Exception as error:
        raise ConfigError(f"{path}._target_: {_why_not_found(target, error)}") from error


def _why_not_found(target: str, error: Exception) -> str:
    """Tell a misspelt name from a module that is not there or cannot be imported."""
    parts = target.split(".")
    for n in range(len(parts) - 1, 0, -1):
        module_name = ".".join(parts[:n])
        try:
            module = import_module(module_name)
        except ModuleNotFoundError as missing:
            if missing.name and not f"{module_name}.".startswith(f"{missing.name}."):
                return f"{module_name} needs the package '{missing.name}', which is not installed."
            continue
        except Exception as broken:
            return f"{module_name} cannot be imported: {type(broken).__name__}: {broken}"
        return f"the module {module_name} has no '{parts[n]}'.{did_you_mean(parts[n], dir(module))}"
    return f"there is no '{target}' ({error})."


def _takes(names: list[str]) -> str:
    return f" It takes {', '.join(names)}." if names else " It takes none."


@contextmanager
def _silent_hydra() -> Iterator[None]:
    """Keep `get_object` from logging an error line of its own."""
    logger = logging.getLogger("hydra.utils")
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before
