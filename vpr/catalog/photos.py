"""The photos of a training set, one after the other."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, overload

import numpy as np
from hydra.errors import HydraException
from omegaconf import DictConfig

from vpr.catalog.resolve import read_entry
from vpr.cli.app import first_of_ours
from vpr.cli.datasets import data_sets, dataset_names
from vpr.cli.hints import did_you_mean
from vpr.data.geotagged import Positioned
from vpr.data.places import Places
from vpr.data.tuples import WeakSet
from vpr.errors import ConfigError, DataAbsent

THREADS = 16
AT_ONCE = 2048


class Photos(Sequence[Path]):
    """The paths of all sources' photos, counted as `PlaceBatch.photos` counts them; made when asked for."""

    def __init__(self, sources: Sequence[Places]) -> None:
        self.sources = tuple(sources)
        self._first = np.cumsum([0, *(len(source.files) for source in sources)])

    def __len__(self) -> int:
        return int(self._first[-1])

    @overload
    def __getitem__(self, number: int) -> Path: ...
    @overload
    def __getitem__(self, number: slice) -> Sequence[Path]: ...
    def __getitem__(self, number: int | slice) -> Path | Sequence[Path]:
        if isinstance(number, slice):
            return [self[n] for n in range(*number.indices(len(self)))]
        source = int(np.searchsorted(self._first, number, side="right")) - 1
        return self.sources[source].path(number - int(self._first[source]))

    def digest(self) -> str:
        """Return a SHA-256 of the photos' names, order and sizes in bytes.

        Not of their pixels, which would take hours, nor of their times or folder: a copy of the data set on another
        disk is the same. A photo that is changed and keeps its size to the byte is not noticed. Half a million files
        take seconds; on a network disk, where each look takes long, many are asked for at once.
        """
        total = hashlib.sha256()
        with ThreadPoolExecutor(THREADS) as pool:
            for source in self.sources:
                root = os.fsencode(source.root)
                parts = [source.files[start : start + AT_ONCE] for start in range(0, len(source.files), AT_ONCE)]
                total.update(b"source %d\n" % len(source.files))
                for part, sizes in zip(parts, pool.map(lambda part, root=root: _sizes(root, part), parts), strict=True):
                    total.update(b"\0".join(part.tolist()) + b"\n" + sizes.tobytes())
        return total.hexdigest()


def _sizes(root: bytes, files: np.ndarray) -> np.ndarray:
    """Return the sizes (int64) of files in bytes; -1 for one that is not there."""
    return np.array([_size(os.path.join(root, file)) for file in files.tolist()], np.dtype("<i8"))


def _size(path: bytes) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return -1


# FOLDED vpr/catalog/photos.py: The photos of a training set by name, for what is fitted to them after training.


def trained_on(content: Mapping[str, Any]) -> list[str]:
    """Return the names of the sets that a checkpoint was trained with; empty where it does not say."""
    dataset = content["config"].get("dataset") or {}
    return sorted({name for part in ("train", "weak") for name in dataset.get(part) or {}})


def training_photos(names: Sequence[str], cfg: DictConfig, key: str) -> Photos:
    """Return the photos of training sets: all of those with positions, else those that places were made of.

    Args:
        names: as typed after `dataset=`. One that is part of `cfg.dataset` is read as it stands there, with what was
            typed for it; any other one as conf/dataset has it, below `cfg.paths.data`.
        key: of the setting that names them, for messages.

    Raises:
        ConfigError: there is no such set, or it has no training photos.
        DataError: it cannot be read; DataAbsent: it is not there.
    """
    return Photos([source for name in names for source in _sources(name, cfg, key)])


def _sources(name: str, cfg: DictConfig, key: str) -> Iterator[Places]:
    own = _own(name, cfg)
    entries = own or _known(name, cfg, key)
    weak = {name for part, name in entries if part == "weak"}
    try:
        for (part, entry), node in entries.items():
            if part == "weak":
                yield from _both_sides(read_entry(node, f"dataset.weak.{entry}"))
            elif entry not in weak:
                yield read_entry(node, f"dataset.train.{entry}")
    except (DataAbsent, HydraException) as error:
        cause = first_of_ours(error)
        if own or not isinstance(cause, DataAbsent):
            raise
        raise DataAbsent(
            f"{cause} It was looked for below paths.data={cfg.paths.data}. If it is elsewhere, add it to the command, "
            f"dataset=[...,{name}], where its root can be typed; or name another set: {key}=NAME."
        ) from error


def _own(name: str, cfg: DictConfig) -> dict[tuple[str, str], DictConfig]:
    parts = {part: cfg.dataset.get(part) or {} for part in ("weak", "train")}
    return {(part, name): entries[name] for part, entries in parts.items() if name in entries}


def _known(name: str, cfg: DictConfig, key: str) -> dict[tuple[str, str], DictConfig]:
    names = dataset_names()
    if name not in names:
        raise ConfigError(
            f"{key}: there is no data set {name} in conf/dataset.{did_you_mean(name, names)} Name one with "
            f"training photos, for example {key}=pitts30k_train."
        )
    found = data_sets([name], [f"paths.data={cfg.paths.data}"]).entries
    broken = [entry.error for entry in found if entry.error]
    if broken:
        raise ConfigError(f"{key}={name}: {broken[0]}")
    entries = {(entry.part, entry.name): entry.node for entry in found if entry.part in ("weak", "train")}
    if not entries:
        more = f" Type {key}={name}_train." if f"{name}_train" in names else f" Type for example {key}=pitts30k_train."
        raise ConfigError(f"{key}={name}: it has no training photos.{more}")
    return entries


def _both_sides(weak: WeakSet) -> list[Places]:
    """Give gallery and queries, each photo once."""
    gallery = set(weak.gallery.paths)
    new = [row for row, path in enumerate(weak.queries.paths) if path not in gallery]
    return [_each_a_place(side) for side in (weak.gallery, weak.queries.take(new)) if len(side)]


def _each_a_place(photos: Positioned) -> Places:
    files = np.array([os.fsencode(file) for file in photos.files])
    return Places(photos.name, photos.root, files, np.arange(len(files) + 1), np.arange(len(files)), photos.groups)
