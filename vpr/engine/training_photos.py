"""The photos of a training set by name, for what is fitted to them after training."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from hydra.errors import HydraException
from omegaconf import DictConfig

from vpr.config.app import first_of_ours
from vpr.config.entries import data_sets, dataset_names
from vpr.config.hints import did_you_mean
from vpr.data.places import Places
from vpr.data.positioned import Positioned
from vpr.data.weak import WeakSet
from vpr.engine.nearby import read_entry
from vpr.engine.photos import Photos
from vpr.errors import ConfigError, DataAbsent


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
