"""What a run learns from, and whether its data set has that."""

from __future__ import annotations

from omegaconf import DictConfig, OmegaConf

from vpr.config.compose import CONF
from vpr.config.hints import did_you_mean
from vpr.errors import ConfigError


def something_to_train_on(cfg: DictConfig) -> None:
    part = cfg.supervision.reads
    if OmegaConf.select(cfg, f"dataset.{part}"):
        return
    if part == "train":
        raise ConfigError(
            "dataset: it has no images to train on, only evaluation sets. "
            "Add a training set, for example dataset=[gsv_cities,pitts30k_val]."
        )
    found = ", ".join(OmegaConf.select(cfg, "dataset.eval") or OmegaConf.select(cfg, "dataset.train") or ["this one"])
    names = sets_with(part)
    if not names:
        raise ConfigError(f"supervision.reads={part}: no data set has such a part. Leave supervision.reads out.")
    raise ConfigError(
        f"dataset: supervision.reads={part}, and {found} has no such part.{did_you_mean(found, names)} Sets that have: "
        f"{', '.join(names)}. Type for example dataset=pitts30k_train, or supervision=places."
    )


def sets_with(part: str) -> list[str]:
    """Return the data sets whose own file has this part."""
    files = sorted((CONF / "dataset").glob("*.yaml"))
    return [path.stem for path in files if part in OmegaConf.load(path)]
