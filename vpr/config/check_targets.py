"""Every `_target_` exists, takes each key it is given, and is given each key it needs."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf

from vpr.config.check_present import check_present
from vpr.config.hints import did_you_mean
from vpr.errors import ConfigError

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
