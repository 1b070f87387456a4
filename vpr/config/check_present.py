"""Every value of the configuration is there and can be read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from vpr.errors import ConfigError

EXAMPLES = {"ckpt": "runs/x/best.ckpt", "root": "/path/to/photos"}


def check_present(cfg: DictConfig) -> None:
    """Look for values that are missing (`???`) and for interpolations that lead nowhere.

    Raises:
        ConfigError: names the first such key and what to type.
    """
    values = list(_walk(cfg))
    for path, node, key in values:
        if OmegaConf.is_missing(node, key):
            example = EXAMPLES.get(path.rpartition(".")[2], "VALUE")
            raise ConfigError(f"{path}: no value given (???). Add it to the command, for example {path}={example}.")
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
