"""Parts of a run from its configuration."""

from __future__ import annotations

import logging
from typing import Any

from omegaconf import DictConfig

from vpr.cli.compose import plain
from vpr.cli.schema import random_weights_ok
from vpr.errors import WeightsUnavailable
from vpr.models.describer import Describer, build_describer
from vpr.training.centroids import already_started, check_features, find_clusters, starting_from

log = logging.getLogger(__name__)


def make_describer(cfg: DictConfig, resumed: bool = False) -> tuple[Describer, dict[str, Any]]:
    """Return the describer of a run, and its `backbone`, `agg` and `image` nodes as they were used.

    The returned `agg` says that centres are in the checkpoint: the file that they came from is no part of it. A run
    that is `resumed` has them in its last.ckpt, and no file is looked for.

    Raises:
        WeightsUnavailable: the weights cannot be had, and the data set is not one for trying things out.
        ConfigError: the aggregator starts from a cluster file, and there is none, or none of these features.
    """
    parts = {key: plain(cfg[key]) for key in ("backbone", "agg", "image")}
    if resumed:
        parts["agg"] = already_started(parts["agg"])
    clusters = find_clusters(cfg, parts["agg"])
    if clusters:
        parts["agg"] = starting_from(parts["agg"], clusters)
    describer = describer_of(parts, cfg.dataset)
    if clusters:
        check_features(cfg, clusters, describer, parts["backbone"])
    parts["agg"] = already_started(parts["agg"])
    return describer, parts


def describer_of(parts: dict[str, Any], dataset: DictConfig) -> Describer:
    """Make a describer of its `backbone`, `agg` and `image` nodes.

    Where pretrained weights cannot be had, a run on sets that are all in `dataset.random_weights_ok` starts from random
    ones, and `parts` then says so.
    """
    try:
        return build_describer(**parts)
    except WeightsUnavailable as error:
        if not random_weights_ok(dataset):
            raise
        log.warning(
            "%s\nThis data set is for trying things out: training starts from random weights, and recall stays near "
            "chance for long. backbone=tf_efficientnet_lite0 backbone.weights=package needs no download.",
            error,
        )
        parts["backbone"]["weights"] = "none"
        return build_describer(**parts)
