"""Every value of the configuration is there and can be read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from vpr.errors import ConfigError

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
