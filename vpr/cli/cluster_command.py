"""Command line of `cluster.py`: the training set of a data set, and the command that makes a cluster file."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from vpr.cli.compose import CONF
from vpr.cli.run_names import safe, several
from vpr.errors import ConfigError

TRAINING_SUFFIX = "_train"


def cluster_names(cfg: DictConfig) -> tuple[str, str]:
    """Return the names of backbone and data set in the name of a cluster file; pitts30k_train is pitts30k there."""
    names = [name.removesuffix(TRAINING_SUFFIX) for name in training_sets(cfg)]
    return safe(cfg.backbone.name), several(names or ["none"])


def training_sets(cfg: DictConfig) -> list[str]:
    """Return the names of the sets with images to train on, as tuples (`weak`) or as places (`train`)."""
    return list(dict.fromkeys(name for part in ("weak", "train", "images") for name in cfg.dataset.get(part) or {}))


def something_to_cluster(cfg: DictConfig) -> None:
    if not training_sets(cfg):
        raise ConfigError(
            "dataset: it has no photos to train on, and clusters are those of training photos. "
            "Type a training set, for example dataset=pitts30k, dataset=tokyo_tm or dataset=gsv_cities."
        )


def training_side(words: Sequence[str]) -> list[str]:
    """Turn each dataset=NAME of a command line into dataset=NAME_train where that is a data set of its own."""
    return [re.sub(r"\w+", _training_name, word) if word.startswith("dataset=") else word for word in words]


def _training_name(name: re.Match[str]) -> str:
    training_set = CONF / "dataset" / f"{name[0]}{TRAINING_SUFFIX}.yaml"
    return training_set.stem if training_set.is_file() and name.start() else name[0]


def cluster_command(cfg: DictConfig, clusters: int, *more: str) -> str:
    """Return the command by which `cluster.py` makes the file that a run of `train.py` looks for."""
    hydra = HydraConfig.get() if HydraConfig.initialized() else None
    choices: Any = hydra.runtime.choices if hydra else {}
    typed = [w for w in (hydra.overrides.task if hydra else []) if re.match(r"\W*(dataset|image|paths)\.", w)]
    backbone, image = choices.get("backbone", cfg.backbone.name), choices.get("image", "default")
    sets = training_sets(cfg)
    words = [
        f"backbone={backbone}",
        f"dataset={choices.get('dataset') or (sets[0] if len(sets) == 1 else _as_typed(sets))}",
        *([f"image={image}"] if image != "default" else []),
        *(f"backbone.{key}={_as_typed(value)}" for key, value in _changed(cfg.backbone, backbone)),
        *([f"clusters={clusters}"] if clusters != OmegaConf.load(CONF / "cluster.yaml").clusters else []),
        *typed,
        *more,
    ]
    return shlex.join(["python", "cluster.py", *words])


def _changed(node: DictConfig, choice: str) -> list[tuple[str, Any]]:
    """Return the values that are not those of conf/backbone/<choice>.yaml."""
    file = CONF / "backbone" / f"{choice}.yaml"
    defaults: Any = OmegaConf.to_container(OmegaConf.load(file)) if file.is_file() else {}
    values: Any = OmegaConf.to_container(node, resolve=True)
    return [(key, value) for key, value in values.items() if defaults.get(key) != value and key in defaults]


def _as_typed(value: Any) -> str:
    if value is None:
        return "null"
    return str(value).replace("'", "").replace(" ", "") if isinstance(value, list) else str(value)
