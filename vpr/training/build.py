"""The describer of a run: its weights, and the cluster centres that its aggregator starts from."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from vpr.cli.schema import FinetuneConfig, TrainerConfig
from vpr.errors import ConfigError, WeightsUnavailable
from vpr.models.aggregators.netvlad import CHECKPOINT
from vpr.models.aggregators.projected import inner_node
from vpr.models.cluster_file import cluster_path, read_clusters
from vpr.models.describer import Describer, build_describer
from vpr.training.start import origin, own_checkpoint, take_backbone

log = logging.getLogger(__name__)


class Clusters(NamedTuple):
    """File of `cluster.py` whose centres the aggregator of a run starts from, where `agg.centroids` is null.

    It is `<runs>/clusters/<backbone>_<dataset>_<K>_desc_cen.hdf5`. A run that is resumed needs none, and no checkpoint
    names one: there `agg.centroids` is `checkpoint`, as the centres are among the weights.

    Attributes:
        path: of the file.
        command: (number of clusters, further words) -> the command line that makes the file.
    """

    path: Path
    command: Callable[..., str]

    def check(self, describer: Describer, backbone: Mapping[str, Any]) -> None:
        """Make sure that the clusters are those of the features that this describer starts with.

        Files from elsewhere do not say, and no two random backbones give the same: then nothing is checked.

        Raises:
            ConfigError: they are not.
        """
        settings = read_clusters(self.path).settings
        if not settings or backbone["weights"] == "none" or settings["features"] == features_digest(describer):
            return
        before = settings["backbone"]
        changes = [f"backbone.{k}={before.get(k)}, now {backbone[k]}" for k in backbone if before.get(k) != backbone[k]]
        raise ConfigError(
            f"{self.path} holds clusters of other features: its backbone had other weights, layers or values of pixels "
            f"({'; '.join(changes) or 'its settings are the same'}). Type "
            f"`{self.command(settings['clusters'], 'overwrite=true')}`; agg.centroids={self.path} takes it as it is."
        )


def find_clusters(
    agg: Mapping[str, Any], runs: Path, names: Callable[[], tuple[str, str]], command: Callable[..., str]
) -> Clusters | None:
    """Return the file that `cluster.py` has made for a run; None where the aggregator needs none to be found.

    Args:
        agg: the node of the aggregator.
        runs: folder below which `cluster.py` puts its files.
        names: returns backbone and data set as they stand in the file's name.
        command: as of `Clusters`.

    Raises:
        ConfigError: there is none; the message says what to type.
    """
    inner = inner_node(agg)
    if "centroids" not in inner or inner["centroids"] is not None or inner.get("allow_random_init"):
        return None
    path = cluster_path(clusters_folder(runs), *names(), inner["clusters"])
    if not path.is_file():
        raise ConfigError(
            f"agg.centroids: the aggregator starts from clusters of what its backbone gives, and there is no {path}. "
            f"Type `{command(inner['clusters'])}` first; or agg.centroids=PATH of another file, or "
            "agg.allow_random_init=true for random centres."
        )
    return Clusters(path, command)


def clusters_folder(runs: str | Path) -> Path:
    """Return the folder in which `cluster.py` puts its files and training looks for them."""
    return Path(runs) / "clusters"


def features_digest(describer: Describer) -> str:
    """Return a SHA-256 of what decides a describer's features: the backbone's values, and mean and deviation of RGB."""
    total = hashlib.sha256(repr([type(describer.backbone).__name__, *describer.preprocess[1:3]]).encode())
    for name, value in sorted(describer.backbone.state_dict().items()):
        total.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
        total.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    return total.hexdigest()


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


def make_describer(
    nodes: Mapping[str, Any], clusters: Clusters | None = None, random_weights_ok: bool = False
) -> tuple[Describer, dict[str, Any]]:
    """Return the describer of a run, and its nodes `backbone`, `agg` and `image` as a checkpoint keeps them.

    Args:
        nodes: the configuration, plain, with the nodes `backbone`, `agg` and `image`.
        clusters: the centres that the aggregator starts from; None: those that `agg` names, or none.
        random_weights_ok: start from random weights where pretrained ones cannot be had; the returned `backbone` then
            says so.

    Raises:
        WeightsUnavailable: the weights cannot be had, and the data set is not one for trying things out.
        ConfigError: a value does not fit, or the clusters are not those of the backbone's features.
    """
    backbone, agg, image = (nodes[name] for name in ("backbone", "agg", "image"))
    start = starting_from(agg, clusters.path) if clusters else agg
    parts = {"backbone": dict(backbone), "agg": already_started(agg), "image": dict(image)}
    if source := own_checkpoint(backbone["weights"]):
        trained = source["preprocess"]
        colours = {key: image.get(key) or trained[key] for key in ("mean", "std")}
        describer = build_describer({**backbone, "weights": "checkpoint"}, start, {**image, **colours})
        take_backbone(describer.backbone, backbone, source)
        parts["backbone"]["weights"] = "/".join(Path(backbone["weights"]).parts[-2:])
        parts["backbone_from"] = origin(source, backbone["weights"])
    else:
        try:
            describer = build_describer(backbone, start, image)
        except WeightsUnavailable as error:
            if not random_weights_ok:
                raise
            log.warning(
                "%s\nThis data set is for trying things out: training starts from random weights, and recall stays "
                "near chance for long. backbone=tf_efficientnet_lite0 backbone.weights=package needs no download.",
                error,
            )
            parts["backbone"]["weights"] = "none"
            describer = build_describer(parts["backbone"], start, image)
    if clusters:
        clusters.check(describer, parts["backbone"])
    return describer, parts


def prepare(describer: Describer, finetune: FinetuneConfig, trainer: TrainerConfig, pretrained: bool) -> None:
    """Set BatchNorm, memory format and compilation of a describer as the configuration says.

    BatchNorm statistics are held where the backbone is `pretrained`.
    """
    if not finetune.backbone_bn and pretrained:
        describer.backbone.hold_batchnorm()
    if finetune.bn_momentum is not None:
        describer.backbone.set_batchnorm_momentum(finetune.bn_momentum)
    if trainer.channels_last:
        describer.to(memory_format=torch.channels_last)
    if trainer.compile:
        describer.backbone.compile()
        describer.aggregator.compile()
