"""Data sets of conf/dataset: their names, their parts, and their readers, each set composed as for a run.

`vpr.catalog.resolve` says what the keys of a set mean. `dataset/_readers` holds what several sets share.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import NamedTuple

from hydra import compose as hydra_compose
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from vpr.cli.compose import CONF, separate_hydra
from vpr.cli.hints import did_you_mean, messages
from vpr.cli.path_escaping import escape_paths
from vpr.cli.schema import register
from vpr.errors import ConfigError

PARTS = ("train", "eval", "weak", "images")


class Entry(NamedTuple):
    """One reader, `dataset.<part>.<name>` of `dataset=<dataset>`; or, with no part, why there is none."""

    dataset: str
    part: str
    name: str
    node: DictConfig
    error: str = ""

    @property
    def key(self) -> str:
        return f"dataset.{self.part}.{self.name}"


class DataSets(NamedTuple):
    """Entries; the collections, whose entries are all of other sets; and `paths.data`, below which most sets lie."""

    folder: str
    entries: list[Entry]
    collections: dict[str, list[str]]


def dataset_names() -> list[str]:
    """Return what can be typed after `dataset=`."""
    return sorted(path.stem for path in (CONF / "dataset").glob("*.yaml"))


def parts_of(file: Path) -> list[str]:
    """Return the parts that a file of conf/dataset has itself, as a key or as a reader's place in its defaults list.

    Read off the text: composing or parsing all files takes seconds.
    """
    text = file.read_text()
    return [part for part in PARTS if re.search(rf"^{part}:|@(?:dataset\.)?{part}\.", text, re.MULTILINE)]


def names_with(part: str) -> list[str]:
    """Return the names of the data sets that have a part of their own."""
    return [name for name in dataset_names() if part in parts_of(CONF / "dataset" / f"{name}.yaml")]


def random_weights_ok(dataset: DictConfig) -> bool:
    """Tell whether random weights will do: all training and evaluation sets are for trying things out."""
    names = [name for part in PARTS for name in dataset.get(part) or {}]
    allowed = dataset.get("random_weights_ok") or {}
    return bool(names) and all(allowed.get(name, False) for name in names)


def data_sets(
    names: Sequence[str],
    overrides: Sequence[str] = (),
    progress: Callable[[Sequence[str]], Iterable[str]] = iter,
) -> DataSets:
    """Return the entries of the named data sets; what several of them share stands under the set of its own name.

    A data set that cannot be composed is an entry that says why.

    Args:
        overrides: as on the command line. Those of one entry (`dataset.eval.pitts30k.root=...`) go where it is.
        progress: shows how far one is in what is given to it, and yields that.

    Raises:
        ConfigError: an unknown name, or an override that fits nowhere.
    """
    for name in names:
        if name not in dataset_names():
            raise ConfigError(f"dataset={name}: there is no such data set.{did_you_mean(name, dataset_names())}")
    of_one_entry = {override: key for override in overrides if (key := _entry_of(override))}
    common = escape_paths([override for override in overrides if override not in of_one_entry])
    entries: list[Entry] = []
    unused = dict(of_one_entry)
    register()
    with separate_hydra(CONF):
        try:
            folder = hydra_compose("evaluate", common).paths.data
        except (HydraException, OmegaConfBaseException) as error:
            raise ConfigError(messages(error)) from error
        for name in progress(names):
            try:
                cfg = hydra_compose("evaluate", [f"dataset={name}", *common])
            except Exception as error:  # of Hydra, OmegaConf or the YAML parser: one set must not end the list
                entries.append(Entry(name, "", name, OmegaConf.create(), messages(error)))
                continue
            for override, key in of_one_entry.items():
                if OmegaConf.select(cfg, key) is not None:
                    unused.pop(override, None)
                    _apply(cfg, override)
            parts = {part: cfg.dataset.get(part) or {} for part in PARTS}
            entries += [Entry(name, part, entry, node) for part in PARTS for entry, node in parts[part].items()]
    for override, key in unused.items():
        raise ConfigError(f"{override}: none of these data sets has {key}.")
    in_own_file = {entry[1:3] for entry in entries if entry.name == entry.dataset}
    once = [entry for entry in entries if entry.name == entry.dataset or entry[1:3] not in in_own_file]
    collections = {
        name: [entry.name for entry in entries if entry.dataset == name]
        for name in names
        if name not in {entry.dataset for entry in once}
    }
    return DataSets(folder, once, collections)


def _apply(cfg: DictConfig, override: str) -> None:
    try:
        with open_dict(cfg) if override.startswith("+") else nullcontext():
            cfg.merge_with_dotlist([override.lstrip("+")])
    except OmegaConfBaseException as error:
        raise ConfigError(messages(error)) from error


def _entry_of(override: str) -> str:
    """`dataset.eval.pitts30k` of `dataset.eval.pitts30k.root=/disk`; empty where an override is for all sets."""
    keys = override.partition("=")[0].lstrip("+").split(".")
    return ".".join(keys[:3]) if keys[0] == "dataset" and len(keys) > 3 else ""
