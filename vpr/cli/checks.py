"""Checks of single keys, as Hydra itself makes none: values are given, keys are known, values are within bounds.

`check_targets` checks each `_target_` against the signature of what it names. It imports torch by that, and comes last.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import Field, fields, is_dataclass
from importlib import import_module
from typing import Any

from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from vpr.cli.hints import did_you_mean
from vpr.cli.schema import PRECISIONS
from vpr.errors import ConfigError

# Choices and least values in nodes that the schema leaves free; those of its own keys are metadata of its fields.
CHOICES: dict[str, tuple[Any, ...]] = {
    "dataset.on_bad_image": ("raise", "skip"),
    "distillation.cache": (False, True),
    "distillation.teacher.precision": ("auto", *PRECISIONS),
}
AT_LEAST = {
    "supervision.tuples": 1,
    "supervision.images": 1,
    "supervision.refresh_every": 1,
    "supervision.refresh_gallery": 1,
    "distillation.task_weight": 0,
    "distillation.cache_pca": 1,
    "agg.clusters": 2,
    "agg.iterations": 1,
    "agg.layers": 1,
    "agg.queries": 1,
}
EXAMPLES = {
    "ckpt": "runs/x/best.ckpt",
    "root": "/path/to/photos",
    "database": "photos/map",
    "query": "photos/new",
    "teacher": "runs/x/best.ckpt",
    "images": "/my/photos",
    "budget": "10ms",
}
RESERVED = {"_target_", "_partial_", "_args_", "_recursive_", "_convert_"}
Parameter = inspect.Parameter


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
            reason = str(error).strip().splitlines()[0]
            raise ConfigError(f"{path}: {reason}. Give it a value: {path}=VALUE.") from error


def _walk(node: Any, path: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Yield (full key, its container, its key there) of all values."""
    if OmegaConf.is_dict(node):
        keys: Any = node.keys()
    elif OmegaConf.is_list(node):
        keys = range(len(node))
    else:
        return
    for key in keys:
        full_key = _join(path, key)
        yield full_key, node, key
        # Each node is walked where it stands, not where an interpolation points to it.
        if not OmegaConf.is_interpolation(node, key) and not OmegaConf.is_missing(node, key):
            yield from _walk(node[key], full_key)


def known_keys(cfg: DictConfig, path: str = "") -> None:
    """Refuse a key that the schema has not, which Hydra lets pass behind a `+`.

    Raises:
        ConfigError: names it, and the nearest one that the schema has.
    """
    names = [f.name for f in _schema_of(cfg)]
    for key in map(str, cfg if names else ()):
        full_key = _join(path, key)
        if key not in names:
            raise ConfigError(f"{full_key}: there is no such key.{did_you_mean(key, names)} Leave +{full_key} out.")
        if OmegaConf.is_dict(cfg[key]):
            known_keys(cfg[key], full_key)


def known_choices(cfg: DictConfig) -> None:
    """Refuse a value that is none of its key's choices.

    Raises:
        ConfigError: names the choices, and the nearest one.
    """
    of_schema = {key: field.metadata["choices"] for key, field in _fields(cfg) if "choices" in field.metadata}
    for key, choices in {**of_schema, **CHOICES}.items():
        value = OmegaConf.select(cfg, key, default=choices[0])
        if value not in choices:
            options = ", ".join(_as_typed(c) for c in choices)
            raise ConfigError(f"{key}={value}: it must be one of {options}.{did_you_mean(str(value), choices)}")


def large_enough(cfg: DictConfig) -> None:
    """Refuse a number below its least value.

    Raises:
        ConfigError: names the least value.
    """
    of_schema = {key: field.metadata for key, field in _fields(cfg) if "least" in field.metadata}
    for key, bound in {**of_schema, **{key: {"least": least} for key, least in AT_LEAST.items()}}.items():
        value, least = OmegaConf.select(cfg, key), bound["least"]
        if value is not None and value < least:
            because = f"{bound['because']} " if bound.get("because") else ""
            raise ConfigError(f"{key}={value}: the least is {least}. {because}Type {key}={least} or more.")


def _schema_of(cfg: Any) -> tuple[Field[Any], ...]:
    """Return the fields of the dataclass that a node was made from; none for a free node."""
    schema = OmegaConf.get_type(cfg)
    return fields(schema) if schema is not None and is_dataclass(schema) else ()


def _fields(cfg: Any, path: str = "") -> Iterator[tuple[str, Field[Any]]]:
    """Yield (full key, field of the schema) for the keys of a node and of those below it."""
    for field in _schema_of(cfg):
        yield _join(path, field.name), field
        if OmegaConf.is_dict(cfg[field.name]):
            yield from _fields(cfg[field.name], _join(path, field.name))


def _join(path: str, key: object) -> str:
    return f"{path}.{key}" if path else str(key)


def _as_typed(choice: Any) -> str:
    return "null" if choice is None else str(choice).lower()


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
            _check(value, _join(path, key))
    elif isinstance(node, list):
        for i, value in enumerate(node):
            _check(value, _join(path, i))


def _check_call(node: Mapping[Any, Any], path: str) -> None:
    target = _import(str(node["_target_"]), path)
    try:
        parameters = inspect.signature(target).parameters.values()
    except ValueError:  # some builtins have no signature
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


def _import(target: str, path: str) -> Any:
    try:
        return get_object(target)
    except Exception as error:
        raise ConfigError(f"{path}._target_: {_import_failure(target, error)}") from error


def _import_failure(target: str, error: Exception) -> str:
    """Return the reason: a misspelt name, a module that does not exist, or one that cannot be imported."""
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
