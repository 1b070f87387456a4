"""Compose a configuration in Python: for tests, notebooks and scripts that need no command line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from vpr.cli.hints import messages
from vpr.cli.schema import register
from vpr.errors import ConfigError

CONF = Path(__file__).parents[2] / "conf"


def compose(config_name: str, overrides: Sequence[str] = ()) -> DictConfig:
    """Return what the command line `python <config_name>.py <overrides>` would hand to the script.

    The run's own directory, which no run has made here, reads as `paths.runs`. Nothing is written.
    """
    register()
    with separate_hydra():
        cfg = hydra_compose(config_name, list(overrides), return_hydra_config=True)
    with open_dict(cfg):
        cfg.hydra.runtime.output_dir = cfg.paths.runs
        HydraConfig.instance().set_config(cfg)
        fill_hydra_values(cfg)
        del cfg["hydra"]
    return cfg


@contextmanager
def separate_hydra(conf: Path = CONF) -> Iterator[None]:
    """Compose from the folder `conf`, also inside a job, whose own Hydra is back afterwards."""
    running = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(conf), version_base="1.3"):
            yield
    finally:
        GlobalHydra.instance().hydra = running


def compose_words(config_name: str, words: Sequence[str]) -> DictConfig:
    """Return what `compose` returns; ConfigError where the script does not take these words."""
    try:
        return compose(config_name, words)
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(messages(error)) from error


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
