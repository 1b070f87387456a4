"""Parts of a run from its configuration."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from omegaconf import DictConfig, OmegaConf

from vpr.config.merged import random_weights_ok
from vpr.data.places import Places
from vpr.data.retrieval_set import RetrievalSet
from vpr.engine.nearby import read_entry
from vpr.errors import WeightsUnavailable
from vpr.models.build import build_describer
from vpr.models.describer import Describer

log = logging.getLogger(__name__)


def plain(config: Any) -> Any:
    """Return a configuration node as plain containers, with everything resolved."""
    return OmegaConf.to_container(config, resolve=True)


def make_describer(cfg: DictConfig) -> tuple[Describer, dict[str, Any]]:
    """Return the describer of a run, and its `backbone`, `agg` and `image` nodes as they were used.

    Where pretrained weights cannot be had, a run on sets that are all in `dataset.random_weights_ok` starts from random
    ones, and the returned node says so.

    Raises:
        WeightsUnavailable: the weights cannot be had, and the data set is not one for trying things out.
    """
    parts = {key: plain(cfg[key]) for key in ("backbone", "agg", "image")}
    try:
        return build_describer(**parts), parts
    except WeightsUnavailable as error:
        if not random_weights_ok(cfg.dataset):
            raise
        log.warning(
            "%s\nThis data set is for trying things out: training starts from random weights, and recall stays near "
            "chance for long. backbone=tf_efficientnet_lite0 backbone.weights=package needs no download.",
            error,
        )
        parts["backbone"]["weights"] = "none"
        return build_describer(**parts), parts


def training_places(dataset: DictConfig) -> list[Places]:
    """Return the training places of all sources of a `dataset` node."""
    return [read_entry(node, f"dataset.train.{name}") for name, node in (dataset.get("train") or {}).items()]


def evaluation_sets(dataset: DictConfig) -> Mapping[str, RetrievalSet]:
    """Return the evaluation sets of a `dataset` node by name."""
    return {name: read_entry(node, f"dataset.eval.{name}") for name, node in (dataset.get("eval") or {}).items()}
