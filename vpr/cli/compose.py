"""Compose a configuration in Python: for tests, notebooks and scripts that need no command line."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from vpr.cli.hints import did_you_mean, sentences
from vpr.cli.path_escaping import escape_paths
from vpr.cli.schema import register
from vpr.errors import ConfigError

CONF = Path(__file__).parents[2] / "conf"


def compose(config_name: str, overrides: Sequence[str] = ()) -> DictConfig:
    """Return what the command line `python <config_name>.py <overrides>` would hand to the script.

    The run's own directory, which no run has made here, reads as `paths.runs`. Nothing is written.
    """
    register()
    with initialize_config_dir(str(CONF), version_base="1.3"):
        cfg = hydra_compose(config_name, list(overrides), return_hydra_config=True)
    with open_dict(cfg):
        cfg.hydra.runtime.output_dir = cfg.paths.runs
        HydraConfig.instance().set_config(cfg)
        fill_hydra_values(cfg)
        del cfg["hydra"]
    return cfg


def fill_hydra_values(node: Any) -> None:
    """Replace each `${hydra:...}` by its value, so that the configuration stands on its own."""
    raw = OmegaConf.to_container(node, resolve=False)
    for key, value in raw.items():  # type: ignore[union-attr]
        if isinstance(value, str) and "${hydra:" in value:
            node[key] = node[key]
        elif isinstance(value, dict) and key != "hydra":
            fill_hydra_values(node[key])


# FOLDED vpr/cli/compose.py: The data sets of conf/dataset one by one, each composed as for a run, and the readers
# that they name.


PARTS = ("train", "eval", "weak")


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
    own = {override: key for override in overrides if (key := _entry_of(override))}
    common = escape_paths([override for override in overrides if override not in own])
    found: list[Entry] = []
    unused = dict(own)
    register()
    with _own_hydra():
        try:
            folder = hydra_compose("evaluate", common).paths.data
        except (HydraException, OmegaConfBaseException) as error:
            raise ConfigError(sentences(error)) from error
        for name in progress(names):
            try:
                cfg = hydra_compose("evaluate", [f"dataset={name}", *common])
            except Exception as error:  # of Hydra, OmegaConf or the YAML parser: one set must not end the list
                found.append(Entry(name, "", name, OmegaConf.create(), sentences(error)))
                continue
            for override, key in own.items():
                if OmegaConf.select(cfg, key) is not None:
                    unused.pop(override, None)
                    _apply(cfg, override)
            parts = {part: cfg.dataset.get(part) or {} for part in PARTS}
            found += [Entry(name, part, entry, node) for part in PARTS for entry, node in parts[part].items()]
    for override, key in unused.items():
        raise ConfigError(f"{override}: none of these data sets has {key}.")
    at_home = {entry[1:3] for entry in found if entry.name == entry.dataset}
    once = [entry for entry in found if entry.name == entry.dataset or entry[1:3] not in at_home]
    collections = {
        name: [entry.name for entry in found if entry.dataset == name]
        for name in names
        if name not in {entry.dataset for entry in once}
    }
    return DataSets(folder, once, collections)


@contextmanager
def _own_hydra() -> Iterator[None]:
    """Compose from our conf/, also inside a job, whose own Hydra is back afterwards."""
    running = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            yield
    finally:
        GlobalHydra.instance().hydra = running


def _apply(cfg: DictConfig, override: str) -> None:
    try:
        with open_dict(cfg) if override.startswith("+") else nullcontext():
            cfg.merge_with_dotlist([override.lstrip("+")])
    except OmegaConfBaseException as error:
        raise ConfigError(sentences(error)) from error


def _entry_of(override: str) -> str:
    """`dataset.eval.pitts30k` of `dataset.eval.pitts30k.root=/disk`; empty where an override is for all sets."""
    keys = override.partition("=")[0].lstrip("+").split(".")
    return ".".join(keys[:3]) if keys[0] == "dataset" and len(keys) > 3 else ""


def plain(config: Any) -> Any:
    """Return a configuration node as plain containers, with everything resolved."""
    return OmegaConf.to_container(config, resolve=True)
