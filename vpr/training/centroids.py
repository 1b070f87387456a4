"""The cluster file that the aggregator of a run starts from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from vpr.cli.cluster_command import cluster_command, cluster_names
from vpr.errors import ConfigError
from vpr.models.aggregators.netvlad import CHECKPOINT
from vpr.models.aggregators.projected import inner_node
from vpr.models.cluster_file import cluster_path, read_clusters
from vpr.models.describer import Describer


def clusters_folder(runs: str | Path) -> Path:
    """Return the folder in which `cluster.py` puts its files and training looks for them."""
    return Path(runs) / "clusters"


def find_clusters(cfg: DictConfig, agg: Mapping[str, Any]) -> Path | None:
    """Return the file that `cluster.py` has made for a run; None where the aggregator `agg` needs none to be found.

    Raises:
        ConfigError: there is none; the message says what to type.
    """
    inner = inner_node(agg)
    if "centroids" not in inner or inner["centroids"] is not None or inner.get("allow_random_init"):
        return None
    path = cluster_path(clusters_folder(cfg.paths.runs), *cluster_names(cfg), inner["clusters"])
    if not path.is_file():
        raise ConfigError(
            f"agg.centroids: the aggregator starts from clusters of what its backbone gives, and there is no {path}. "
            f"Type `{cluster_command(cfg, inner['clusters'])}` first; or agg.centroids=PATH of another file, or "
            "agg.allow_random_init=true for random centres."
        )
    return path


def starting_from(agg: Mapping[str, Any], centroids: str | Path) -> dict[str, Any]:
    """Return the node of an aggregator with `agg.centroids` set; as it is, where there is no such key."""
    inner = inner_node(agg)
    if "centroids" not in inner:
        return dict(agg)
    changed = {**inner, "centroids": str(centroids)}
    return changed if inner is agg else {**agg, "agg": changed}


def already_started(agg: Mapping[str, Any]) -> dict[str, Any]:
    """Return the node as a checkpoint keeps it: the centres are among its weights, their file is on this machine."""
    return starting_from(agg, CHECKPOINT)


def check_features(cfg: DictConfig, path: Path, describer: Describer, backbone: Mapping[str, Any]) -> None:
    """Make sure that clusters are those of the features that this describer starts with.

    Files from elsewhere do not say, and no two random backbones give the same: then nothing is checked.

    Raises:
        ConfigError: they are not.
    """
    settings = read_clusters(path).settings
    if not settings or backbone["weights"] == "none" or settings["features"] == features_digest(describer):
        return
    theirs = settings["backbone"]
    differ = [
        f"backbone.{key}={theirs.get(key)}, now {backbone[key]}" for key in backbone if theirs.get(key) != backbone[key]
    ]
    command = cluster_command(cfg, settings["clusters"], "overwrite=true")
    said = "; ".join(differ) or "its settings are the same"
    raise ConfigError(
        f"{path} holds clusters of other features: its backbone had other weights, layers or values of pixels "
        f"({said}). Type `{command}`; agg.centroids={path} takes it as it is."
    )


def features_digest(describer: Describer) -> str:
    """Return a SHA-256 of what decides a describer's features: the backbone's values, and mean and deviation of RGB."""
    total = hashlib.sha256(repr([type(describer.backbone).__name__, *describer.preprocess[1:3]]).encode())
    for name, value in sorted(describer.backbone.state_dict().items()):
        total.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        total.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()
