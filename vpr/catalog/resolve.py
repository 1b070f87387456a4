"""Readers of data sets by name: calls them, and finds a set that lies near the folder in which it was looked for.

A `dataset` node has up to four parts: `train: {name: reader returning Places}`, `eval: {name: reader returning
RetrievalSet}`, `weak: {name: reader returning WeakSet}` and `images: {name: reader returning Places}`, images without
labels, each a place of its own. Names differ from set to set, so that sets merge:
`dataset=[gsv_cities,msls_val]`. A reader that makes its own images has a key `draw`; false only looks. Beside the parts
stand `image_size: {name: [h, w]}`, at which a training set is usually used, `on_bad_image: raise|skip` for evaluation
sets (training always skips, and ends above 1 %), and `random_weights_ok: {name: true}`, which lets a run of these sets
alone start from random weights where `default` ones cannot be had.
"""

from __future__ import annotations

import logging
import os
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from hydra.errors import HydraException
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from vpr.cli.app import first_of_ours
from vpr.cli.datasets import data_sets, dataset_names
from vpr.cli.export_rules import words_of
from vpr.cli.hints import did_you_mean
from vpr.data.file_lists import FileNames
from vpr.data.formats.unlabelled import each_for_itself, of_paths
from vpr.data.formats.unlabelled import read as list_unlabelled
from vpr.data.image_paths import ImagePaths
from vpr.data.places import Places
from vpr.data.retrieval_set import RetrievalSet
from vpr.data.tuples import WeakSet
from vpr.errors import ConfigError, DataAbsent, VPRError

MOST = 50  # folders of one folder that are looked into
DEEP = 3  # folders at the end of a root that need not exist
# These take any folder of images for theirs.
ANY_FOLDER = ("image_folder.photos", "utm_folder.photos", "place_lists.read_folder", "place_lists.read_csv")


def training_places(dataset: Mapping[str, Any]) -> list[Places]:
    """Return the training places of all sources of a `dataset` node."""
    return [read_entry(node, f"dataset.train.{name}") for name, node in (dataset.get("train") or {}).items()]


def weak_sets(dataset: Mapping[str, Any]) -> list[WeakSet]:
    """Return the weak sets of all sources of a `dataset` node."""
    return [read_entry(node, f"dataset.weak.{name}") for name, node in (dataset.get("weak") or {}).items()]


def evaluation_sets(dataset: Mapping[str, Any]) -> Mapping[str, RetrievalSet]:
    """Return the evaluation sets of a `dataset` node by name."""
    return {name: read_entry(node, f"dataset.eval.{name}") for name, node in (dataset.get("eval") or {}).items()}


def training_images(names: Sequence[str], cfg: DictConfig, key: str) -> ImagePaths:
    """Return the images of training sets: all of those with positions, else those that places were made of.

    Args:
        names: as typed after `dataset=`. One that is part of `cfg.dataset` is read as it stands there, with what was
            typed for it; any other one as conf/dataset has it, below `cfg.paths.data`.
        key: of the setting that names them, for messages.

    Raises:
        ConfigError: there is no such set, or it has no training images.
        DataError: it cannot be read; DataAbsent: it is not there.
    """
    return ImagePaths([source for name in names for source in _sources(name, cfg, key)])


def labelled_sets(names: Sequence[str], data: str, key: str) -> list[RetrievalSet]:
    """Return the evaluation sets of conf/dataset by name, below the folder `data`.

    Raises:
        ConfigError: there is no such set, or it has none to evaluate; `key` is that of the setting, for messages.
        DataError: it cannot be read; DataAbsent: it is not there.
    """
    sets = []
    for name in names:
        if name not in dataset_names():
            raise ConfigError(
                f"{key}: there is no data set {name} in conf/dataset.{did_you_mean(name, dataset_names())} Name a "
                f"labelled one, for example {key}=gardens_point."
            )
        composed = data_sets([name], [f"paths.data={data}"]).entries
        broken = [entry.error for entry in composed if entry.error]
        entries = [entry for entry in composed if entry.part == "eval"]
        if broken or not entries:
            reason = broken[0] if broken else "it has no evaluation set."
            raise ConfigError(f"{key}={name}: {reason} Name a labelled one, for example {key}=gardens_point.")
        sets += [read_entry(entry.node, entry.key) for entry in entries]
    return sets


def calibration_images(cfg: DictConfig, record: Mapping[str, Any] | None) -> ImagePaths:
    """Return the images that `calibration` of export.py names: training images of sets, or those of folders.

    Args:
        record: of the model's checkpoint, by which null is what it was trained on.

    Raises:
        ConfigError: there is no such set or folder, or nothing is known of the training.
        DataError: it cannot be read; DataAbsent: it is not there.
    """
    names, sets = words_of(cfg.calibration), dataset_names()
    if not names:
        names = [name for name in trained_on(record or {"config": {}}) if name in sets]
    if not names:
        raise ConfigError(
            "calibration: int8 takes the range of the values from photos, and the checkpoint does not say on what it "
            "was trained. Type calibration=SET, for example calibration=camvid, or calibration=/my/photos."
        )
    for name in names:
        if name not in sets and not Path(name).expanduser().exists():
            raise ConfigError(
                f"calibration={name}: it is neither a data set of conf/dataset nor a folder.{did_you_mean(name, sets)} "
                "Type for example calibration=camvid, or calibration=/my/photos."
            )
    folders = [list_unlabelled(name, Path(cfg.paths.data) / "frames") for name in names if name not in sets]
    of_sets = training_images([name for name in names if name in sets], cfg, "calibration")
    return ImagePaths([*of_sets.sources, *folders])


def unlabelled_images(
    dataset: Mapping[str, Any], sets: Mapping[str, RetrievalSet], maps: bool | Sequence[str]
) -> list[Places]:
    """Return all images of a `dataset` node, each for itself: of `images`, of `weak`, of `train` without its labels.

    Args:
        sets: evaluation sets by name.
        maps: sets whose database images are taken, too; true: all of them. Their queries are not looked at.

    Raises:
        ConfigError: there is no such evaluation set, or no image at all.
    """
    sources = [read_entry(node, f"dataset.images.{name}") for name, node in (dataset.get("images") or {}).items()]
    weak = dataset.get("weak") or {}
    for name, node in weak.items():
        sources += _both_sides(read_entry(node, f"dataset.weak.{name}"))
    for name, node in (dataset.get("train") or {}).items():
        if name not in weak:
            places = read_entry(node, f"dataset.train.{name}")
            sources.append(each_for_itself(name, places.root, places.files))
    for name in sets if maps is True else maps or ():
        if name not in sets:
            raise ConfigError(
                f"supervision.map: there is no evaluation set {name}.{did_you_mean(name, list(sets))} Add it: "
                f"dataset=[...,{name}]."
            )
        sources.append(of_paths(f"map of {name}", sets[name].database))
    if not sources:
        raise ConfigError(
            "dataset: it has no images to learn from. Type for example dataset=my_images "
            "dataset.images.my_images.root=/my/photos, or supervision.map=true for the database of an evaluation set."
        )
    return sources


def trained_on(content: Mapping[str, Any]) -> list[str]:
    """Return the names of the sets that a checkpoint was trained with; empty where it does not say."""
    dataset = content["config"].get("dataset") or {}
    return sorted({name for part in ("train", "weak", "images") for name in dataset.get(part) or {}})


def read_entry(node: Mapping[str, Any], key: str) -> Any:
    """Call the reader of `dataset.<part>.<name>`, which is `key`.

    Raises:
        DataAbsent: it is not there; the message says where near it is, if it is.
        HydraException: around any other error of the reader.
    """
    try:
        return instantiate(node, _convert_="all")
    except HydraException as error:
        cause = first_of_ours(error)
        if isinstance(cause, DataAbsent) and (hint := locate(node, key)):
            raise DataAbsent(f"{cause} {hint}") from error
        if cause is not None and not isinstance(cause, DataAbsent):
            text = with_full_keys(str(cause), node, key)
            if text != str(cause):
                raise type(cause)(text) from error
        raise


def with_full_keys(text: str, node: Mapping[str, Any], key: str) -> str:
    """Return the message of a reader with the names of its arguments as they are typed: `dataset.train.x.angle=360`."""
    full: dict[str, str] = {}
    plain: Any = OmegaConf.to_container(node, resolve=False) if OmegaConf.is_config(node) else node

    def collect(inner: Mapping[str, Any], prefix: str) -> None:
        for name in inner:
            full.setdefault(name, f"{prefix}.{name}")
        for name, value in inner.items():
            if isinstance(value, Mapping):
                collect(value, f"{prefix}.{name}")

    collect(plain, key)
    return re.sub(r"(?<![\w.])(\w+)=", lambda word: f"{full.get(word[1], word[1])}=", text)


def locate(node: Mapping[str, Any], key: str) -> str:
    """Return where near its root an absent set is, unpacked one folder deeper or its root one level off, and a command.

    Empty if it is nowhere near, or another set could be meant.
    """
    plain: Any = OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node
    roots = dict(_values(plain, "root"))
    if len(set(roots.values())) != 1 or not _is_unmistakable(plain):
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


def _is_unmistakable(plain: Mapping[str, Any]) -> bool:
    """Tell a set for which no other could be taken: its files have names of their own, or their number is known."""
    targets = [target for _, target in _values(plain, "_target_")]
    counted = (plain.get("protocol") or {}).get("database") is not None
    free = any(target.endswith(ANY_FOLDER) for target in targets)
    return not free and (counted or not any("utm_folder" in target or "image_folder" in target for target in targets))


def _candidates(root: Path) -> Iterator[Path]:
    """Yield folders below and above; of a root that does not exist, below and above its part that does."""
    existing = next((folder for folder in islice((root, *root.parents), DEEP + 1) if folder.is_dir()), None)
    if existing is None:
        return
    rest = root.relative_to(existing)
    below = _folders(existing)
    yield from (folder / rest for folder in below)
    yield from below
    yield from (existing, existing.parent / rest, existing.parent, existing.parent.parent)


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


def _sources(name: str, cfg: DictConfig, key: str) -> Iterator[Places]:
    typed = _entries_of_the_run(name, cfg)
    entries = typed or _entries_of_conf(name, cfg, key)
    weak = {name for part, name in entries if part == "weak"}
    try:
        for (part, entry), node in entries.items():
            if part == "weak":
                yield from _both_sides(read_entry(node, f"dataset.weak.{entry}"))
            elif entry not in weak:
                yield read_entry(node, f"dataset.{part}.{entry}")
    except (DataAbsent, HydraException) as error:
        cause = first_of_ours(error)
        if typed or not isinstance(cause, DataAbsent):
            raise
        raise DataAbsent(
            f"{cause} It was looked for below paths.data={cfg.paths.data}. If it is elsewhere, add it to the command, "
            f"dataset=[...,{name}], where its root can be typed; or name another set: {key}=NAME."
        ) from error


def _entries_of_the_run(name: str, cfg: DictConfig) -> dict[tuple[str, str], DictConfig]:
    dataset = cfg.get("dataset") or {}
    parts = {part: dataset.get(part) or {} for part in ("weak", "train", "images")}
    return {(part, name): entries[name] for part, entries in parts.items() if name in entries}


def _entries_of_conf(name: str, cfg: DictConfig, key: str) -> dict[tuple[str, str], DictConfig]:
    names = dataset_names()
    if name not in names:
        raise ConfigError(
            f"{key}: there is no data set {name} in conf/dataset.{did_you_mean(name, names)} Name one with "
            f"training images, for example {key}=pitts30k_train."
        )
    composed = data_sets([name], [f"paths.data={cfg.paths.data}"]).entries
    broken = [entry.error for entry in composed if entry.error]
    if broken:
        raise ConfigError(f"{key}={name}: {broken[0]}")
    entries = {(entry.part, entry.name): entry.node for entry in composed if entry.part != "eval"}
    for node in entries.values():
        for missing in sorted(OmegaConf.missing_keys(node)):
            raise ConfigError(
                f"{key}={name}: {missing} is not given. Add the set to the command, dataset=[...,{name}] "
                f"{missing}=/path/to/photos."
            )
    if not entries:
        more = f" Type {key}={name}_train." if f"{name}_train" in names else f" Type for example {key}=pitts30k_train."
        raise ConfigError(f"{key}={name}: it has no training images.{more}")
    return entries


def _both_sides(weak: WeakSet) -> list[Places]:
    """Return database and queries, each image once."""
    database = set(weak.database.paths)
    new = [row for row, path in enumerate(weak.queries.paths) if path not in database]
    sides = [side for side in (weak.database, weak.queries.take(new)) if len(side)]
    return [each_for_itself(side.name, side.root, FileNames(side.files).bytes, side.groups) for side in sides]
