"""Compose a configuration in Python: for tests, notebooks and scripts that need no command line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf, open_dict

from vpr.cli.schema import register

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


def typed_words(*nodes: str) -> list[str]:
    """Return the words of this run's command line that choose one of these nodes, or set a value in it."""
    hydra = HydraConfig.get() if HydraConfig.initialized() else None
    words = list(hydra.overrides.task) if hydra else []
    return [word for word in words if word.partition("=")[0].lstrip("+~").partition(".")[0] in nodes]


def plain(config: Any) -> Any:
    """Return a configuration node as plain containers, with everything resolved."""
    return OmegaConf.to_container(config, resolve=True)
