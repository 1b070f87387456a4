"""Which checkpoint a run goes on from, and whether it is this run's."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from vpr import checkpoint
from vpr.engine.build import plain
from vpr.engine.generations import without_path
from vpr.errors import CheckpointError, ConfigError
from vpr.models.aggregators.projected import inner_node

# What decides the order of the batches and the shapes of the weights.
SAME = ("seed", "supervision", "batch", "image", "backbone", "agg")

PLACES = {"_target_": "vpr.engine.supervision.PlacesSupervision", "reads": "train"}  # of runs before there was a choice


def find_checkpoint(ckpt_path: str | None, runs: Path) -> Path | None:
    """Return the file to resume from; `last` is the newest last.ckpt among the runs of this name.

    Raises:
        ConfigError: there is none.
    """
    if ckpt_path is None:
        return None
    if ckpt_path != "last":
        if not Path(ckpt_path).is_file():
            raise ConfigError(f"ckpt_path: there is no file {ckpt_path}.")
        return Path(ckpt_path)
    found = sorted(runs.glob("*/last.ckpt"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise ConfigError(f"ckpt_path=last: there is no {runs}/*/last.ckpt. Leave ckpt_path out to begin a new run.")
    return found[-1]


def check_same_run(cfg: DictConfig, path: Path) -> None:
    """Make sure that a checkpoint belongs to a run with these settings.

    Raises:
        CheckpointError: the file is damaged, or no training checkpoint.
        ConfigError: a setting differs that decides the batches or the network.
    """
    content = checkpoint.read_any(path)
    if not isinstance(content, dict) or "position" not in content:
        raise CheckpointError(f"{path} is no training checkpoint: only the last.ckpt of a run can be gone on from.")
    now = plain(cfg)
    now["supervision"] = without_path(now["supervision"])
    stored = {"supervision": PLACES, **checkpoint.read(path)["config"]}
    # Where weights came from no longer matters; a run that had none says so. Nor do the two differ by the projection
    # that distillation has put behind the aggregator.
    for config in (stored, now):
        config["agg"] = {key: value for key, value in inner_node(config["agg"]).items() if key != "centroids"}
        config["backbone"] = {key: value for key, value in config["backbone"].items() if key != "weights"}
    for key in SAME:
        if stored.get(key) != now[key]:
            raise ConfigError(
                f"ckpt_path={path} is of a run with {key}={stored.get(key)}, and this one has {now[key]}. "
                "Repeat that run's settings (they stand in .hydra/overrides.yaml beside it), or leave ckpt_path out."
            )
