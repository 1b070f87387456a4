"""The checkpoint that a run goes on from: found, read once, and compared with the settings of the run."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from vpr import checkpoint
from vpr.errors import CheckpointError, ConfigError
from vpr.models.aggregators.projected import inner_node

log = logging.getLogger(__name__)

# The nodes that decide the order of the batches and the shapes of the weights.
SAME = ("seed", "supervision", "batch", "image", "backbone", "agg")

PLACES = {
    "_target_": "vpr.training.supervision.PlacesSupervision",
    "reads": "train",
}  # of runs before there was a choice


class Resume(NamedTuple):
    """The training checkpoint that a run goes on from.

    Attributes:
        path: of its last.ckpt.
        config: the configuration of its run, plain containers.
    """

    path: Path
    config: Mapping[str, Any]

    @classmethod
    def find(cls, ckpt_path: str | None, runs: Path) -> Resume | None:
        """Return what `ckpt_path` names; `last` is the newest readable last.ckpt among the runs in the folder `runs`.

        Raises:
            ConfigError: there is none, or none of several that can be read.
            CheckpointError: it is damaged, or no training checkpoint.
        """
        if ckpt_path is None:
            return None
        if ckpt_path != "last":
            if not Path(ckpt_path).is_file():
                raise ConfigError(f"ckpt_path: there is no file {ckpt_path}.")
            return cls.read(Path(ckpt_path))
        paths = sorted(runs.glob("*/last.ckpt"), key=lambda path: path.stat().st_mtime, reverse=True)
        if not paths:
            raise ConfigError(
                f"ckpt_path=last: there is no {runs}/*/last.ckpt. Leave ckpt_path out to begin a new run."
            )
        errors: list[CheckpointError] = []
        for path in paths:
            try:
                resume = cls.read(path)
            except CheckpointError as error:
                errors.append(error)
                continue
            for skipped in errors:
                log.warning("ckpt_path=last takes %s instead of a newer file: %s", path, skipped)
            return resume
        if len(errors) == 1:
            raise errors[0]
        raise ConfigError(
            f"ckpt_path=last: none of {len(errors)} last.ckpt in {runs} can be read. {' '.join(map(str, errors))} "
            "Leave ckpt_path out to begin a new run."
        )

    @classmethod
    def read(cls, path: Path) -> Resume:
        """Read a training checkpoint.

        Raises:
            CheckpointError: the file is damaged, or no training checkpoint.
        """
        content = checkpoint.read_any(path)
        if not isinstance(content, dict) or "position" not in content:
            raise CheckpointError(f"{path} is no training checkpoint: only the last.ckpt of a run can be gone on from.")
        return cls(path, checkpoint.checked(content, path)["config"])

    def check_settings(self, nodes: Mapping[str, Any]) -> None:
        """Make sure that the checkpoint belongs to a run with these settings.

        Args:
            nodes: the configuration, plain; its `supervision` as a checkpoint keeps it.

        Raises:
            ConfigError: a setting differs that decides the batches or the network.
        """
        before, now = _comparable({"supervision": PLACES, **self.config}), _comparable(nodes)
        for key in SAME:
            if before.get(key) != now[key]:
                raise ConfigError(
                    f"ckpt_path={self.path} is of a run with {key}={before.get(key)}, and this one has {now[key]}. "
                    "Repeat that run's settings (they stand in .hydra/overrides.yaml beside it), or leave ckpt_path "
                    "out."
                )

    def check_init(self, record: Mapping[str, Any] | None) -> None:
        """Make sure that its run started from the same model.

        Args:
            record: of `init`, as a checkpoint keeps it; None for a run without.

        Raises:
            ConfigError: it did not.
        """
        before = self.config.get("init")
        if (before and before["digest"]) != (record and record["digest"]):
            was, now = (f"from {model['name']}" if model else "without init" for model in (before, record))
            raise ConfigError(
                f"ckpt_path={self.path} is of a run that started {was}, and this one starts {now}, which has other "
                "weights. Repeat that run's settings (they stand in .hydra/overrides.yaml beside it), or leave "
                "ckpt_path out."
            )

    def check_distillation(self, record: Mapping[str, Any]) -> None:
        """Make sure that its run learned by the same terms from the same teachers.

        Args:
            record: of this run's distillation, as a checkpoint keeps it.

        Raises:
            ConfigError: it did not.
        """
        before, now = _what_teaches(self.config.get("distillation", {})), _what_teaches(record)
        for key, value in before.items():
            if value != now[key]:
                raise ConfigError(
                    f"ckpt_path={self.path} is of a run with distillation.{key}={value}, and this one has {now[key]}. "
                    "Repeat that run's settings (they stand in .hydra/overrides.yaml beside it), or leave ckpt_path "
                    "out."
                )


def _comparable(nodes: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out where weights and centres came from, which a run that goes on has, a kept projection, and chunks."""
    agg = {key: value for key, value in inner_node(nodes["agg"]).items() if key != "centroids"}
    backbone = {key: value for key, value in nodes["backbone"].items() if key != "weights"}
    batch = {key: value for key, value in nodes["batch"].items() if key != "chunk"}
    return {**nodes, "agg": agg, "backbone": backbone, "batch": batch}


def _what_teaches(record: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "terms": record.get("terms", {}),
        "task_weight": record.get("task_weight", 1.0),
        "cache": record.get("cache", False),
        "teacher.pca": record.get("teacher", {}).get("pca") or record.get("cache_pca"),
        "bank": record.get("bank"),
        "teachers": [(t["digest"], t["share"]) for t in record.get("teachers", ())],  # their files may have moved
    }
