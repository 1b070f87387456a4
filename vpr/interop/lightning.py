"""Settings that a Lightning checkpoint carries beside its tensors. They are of others: what is odd counts as absent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from vpr.interop.published import Published, image_of_size

TRAINING = {"epoch": int, "global_step": int}


def origin(file: Published, project: str) -> dict[str, Any]:
    """Return what the checkpoint records of its origin."""
    return file.source(project, f"Lightning {file.found.get('pytorch-lightning_version', '')}".strip(), **TRAINING)


def whole_numbers(file: Published, *path: str) -> dict[str, int]:
    """Return the whole numbers in the dict at `path` in the file, e.g. ("hyper_parameters", "agg_config")."""
    found = at(file, *path)
    return {str(k): v for k, v in found.items() if type(v) is int and v > 0} if isinstance(found, Mapping) else {}


def image_of(file: Published, *places: tuple[str, ...]) -> dict[str, Any]:
    """Return how images are prepared: the size at the first of `places` that has one, 320x320 where none has."""
    sizes = (at(file, *place) for place in places)
    size = next((list(size) for size in sizes if _is_size(size)), [320, 320])
    return image_of_size(*size)


def at(file: Published, *path: str) -> Any:
    """Return what stands at `path` in the file, None where it does not exist."""
    found: Any = file.found
    for key in path:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found


def _is_size(found: Any) -> bool:
    return isinstance(found, list | tuple) and len(found) == 2 and all(type(x) is int and x > 0 for x in found)
