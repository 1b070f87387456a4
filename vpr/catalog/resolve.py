"""A data set that is not where it was looked for, but near: unpacked one folder deeper, or its root one level off."""

from __future__ import annotations

import logging
import os
import shlex
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from hydra.errors import HydraException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from vpr.cli.app import first_of_ours
from vpr.data.places import Places
from vpr.data.retrieval_set import RetrievalSet
from vpr.data.tuples import WeakSet
from vpr.errors import DataAbsent, VPRError

MOST = 50  # folders of one folder that are looked into
DEEP = 3  # folders at the end of a root that need not exist
# These take any folder of photos for theirs.
ANY_FOLDER = ("image_folder.photos", "utm_folder.photos", "place_folder.read", "place_csv.read")


def read_entry(node: DictConfig, key: str) -> Any:
    """Call the reader of `dataset.<part>.<name>`, which is `key`.

    Raises:
        DataAbsent: it is not there; the message says where near it is, if it is.
        HydraException: around any other error of the reader.
    """
    try:
        return instantiate(node, _convert_="all")
    except HydraException as error:
        cause = first_of_ours(error)
        if isinstance(cause, DataAbsent) and (hint := nearby(node, key)):
            raise DataAbsent(f"{cause} {hint}") from error
        raise


def nearby(node: DictConfig, key: str) -> str:
    """Say where the set can be read, and what to type; empty if it is nowhere near, or another set could be meant."""
    plain: Any = OmegaConf.to_container(node, resolve=True)
    roots = dict(_values(plain, "root"))
    if len(set(roots.values())) != 1 or not _tells_its_own(plain):
        return ""
    root = Path(next(iter(roots.values()))).expanduser().absolute()
    for folder in dict.fromkeys(_candidates(root)):
        moved = OmegaConf.create(plain)
        for name in roots:
            OmegaConf.update(moved, name, str(folder))
        if folder != root and _can_be_read(moved):
            options = (shlex.quote(f"{key}.{name}={folder}") for name in roots)
            return f"But it is in {folder}: type {' '.join(options)}"
    return ""


def _tells_its_own(plain: Mapping[str, Any]) -> bool:
    """No other set could be taken for this one: its files have names of their own, or their number is known."""
    targets = [target for _, target in _values(plain, "_target_")]
    counted = (plain.get("protocol") or {}).get("database") is not None
    free = any(target.endswith(ANY_FOLDER) for target in targets)
    return not free and (counted or not any("utm_folder" in target or "image_folder" in target for target in targets))


def _candidates(root: Path) -> Iterator[Path]:
    """Yield folders below and above; of a root that does not exist, below and above what there is of it."""
    there = next((folder for folder in islice((root, *root.parents), DEEP + 1) if folder.is_dir()), None)
    if there is None:
        return
    rest = root.relative_to(there)
    below = _folders(there)
    yield from (folder / rest for folder in below)
    yield from below
    yield from (there, there.parent / rest, there.parent, there.parent.parent)


def _folders(folder: Path) -> list[Path]:
    try:
        names = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith("."))
    except OSError:
        return []
    return [folder / name for name in names[:MOST]]


def _can_be_read(node: DictConfig) -> bool:
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        instantiate(node, _convert_="all")
    except (VPRError, HydraException, OSError):
        return False
    finally:
        logging.disable(before)
    return True


def _values(node: Any, key: str, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield (dotted name, value) of a key in a node and in the nodes inside it."""
    if isinstance(node, Mapping):
        for name, value in node.items():
            if name == key and isinstance(value, str):
                yield prefix + name, value
            yield from _values(value, key, f"{prefix}{name}.")


def training_places(dataset: Mapping[str, Any]) -> list[Places]:
    """Return the training places of all sources of a `dataset` node."""
    return [read_entry(node, f"dataset.train.{name}") for name, node in (dataset.get("train") or {}).items()]


def weak_sets(dataset: Mapping[str, Any]) -> list[WeakSet]:
    """Return the queries and galleries of all sources of a `dataset` node."""
    return [read_entry(node, f"dataset.weak.{name}") for name, node in (dataset.get("weak") or {}).items()]


def evaluation_sets(dataset: DictConfig) -> Mapping[str, RetrievalSet]:
    """Return the evaluation sets of a `dataset` node by name."""
    return {name: read_entry(node, f"dataset.eval.{name}") for name, node in (dataset.get("eval") or {}).items()}
