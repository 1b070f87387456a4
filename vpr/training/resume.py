"""The checkpoint that a run goes on from: found, read once, and compared with the settings of the run."""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vpr import checkpoint
from vpr.data.image_paths import ImagePaths
from vpr.data.places import Places
from vpr.errors import CheckpointError, ConfigError
from vpr.models.aggregators.projected import inner_node

log = logging.getLogger(__name__)

# The nodes that decide the order of the batches, the shapes of the weights, and what a step does with them. What a
# checkpoint brings along, such as learning rates, would else stand in the new run's record as something else.
SAME = ("seed", "supervision", "batch", "image", "backbone", "agg")
STEP = ("optimizer", "schedule", "loss", "augment", "finetune")

PLACES = {
    "_target_": "vpr.training.supervision.PlacesSupervision",
    "reads": "train",
}  # of runs before there was a choice


OTHER = "; or start from its weights with a fresh optimiser: init=PATH instead of ckpt_path."


def data_digest(sources: Sequence[Places]) -> str:
    """Return a SHA-256 of training images: their names, sizes, order and places."""
    total = hashlib.sha256(ImagePaths(sources).digest().encode())
    for source in sources:
        for part in (source.starts, source.groups):
            total.update(np.asarray(part, "<i8").tobytes())
    return total.hexdigest()


class Resume(NamedTuple):
    """The training checkpoint that a run goes on from.

    Attributes:
        path: of its last.ckpt.
        config: the configuration of its run, plain containers.
        epochs: that it had finished.
    """

    path: Path
    config: Mapping[str, Any]
    epochs: int = 0

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
            if not os.path.isfile(ckpt_path):
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
        position = content["position"]
        epochs = position.get("epoch", 0) if isinstance(position, dict) else 0
        return cls(path, checkpoint.checked(content, path)["config"], epochs)

    def check_settings(self, nodes: Mapping[str, Any]) -> None:
        """Make sure that the checkpoint belongs to a run with these settings.

        Args:
            nodes: the configuration, plain; its `supervision` as a checkpoint keeps it.

        Raises:
            ConfigError: a setting differs that decides the batches or the network.
        """
        before, now = _comparable({"supervision": PLACES, **self.config}), _comparable(nodes)
        for key in (*SAME, *(key for key in STEP if key in before)):
            if _given(before.get(key)) != _given(now[key]):
                name, was, has = key, before.get(key), now[key]
                if key in STEP:
                    name, was, has = _difference(key, _given(was), _given(has))
                raise ConfigError(
                    f"ckpt_path={self.path} is of a run with {name}={was}, and this one has {has}. "
                    "Repeat that run's settings (they stand in .hydra/overrides.yaml beside it), or leave ckpt_path "
                    f"out{OTHER if key in STEP else '.'}"
                )
        if 0 < now["trainer"]["max_epochs"] <= self.epochs:
            log.warning(
                "ckpt_path=%s: that run had finished its %d epochs, so nothing is left to train. To go on, type a "
                "larger trainer.max_epochs than %d.",
                *(self.path, self.epochs, now["trainer"]["max_epochs"]),
            )

    def check_data(self, digest: str) -> None:
        """Make sure that its run learned from the same images; those of earlier versions do not say.

        Args:
            digest: as of `data_digest`.

        Raises:
            ConfigError: it did not.
        """
        before = self.config.get("training_data")
        if before is not None and before != digest:
            raise ConfigError(
                f"ckpt_path={self.path} is of a run on other training images, or others have been added, removed or "
                f"changed since (digest {before[:12]}, now {digest[:12]}). Give that run's images{OTHER}"
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


def _given(node: Any) -> Any:
    """Return a node without the keys that are null: earlier versions did not have all of them."""
    if isinstance(node, Mapping):
        return {key: _given(value) for key, value in node.items() if value is not None}
    return [_given(value) for value in node] if isinstance(node, list | tuple) else node


def _difference(name: str, before: Any, now: Any) -> tuple[str, Any, Any]:
    """Return the dotted name of the first setting in which two nodes differ, and both values."""
    if isinstance(before, Mapping) and isinstance(now, Mapping) and before.get("_target_") == now.get("_target_"):
        for key in sorted(before.keys() | now.keys(), key=str):
            if before.get(key) != now.get(key):
                return _difference(f"{name}.{key}", before.get(key), now.get(key))
    return name, before, now


def _what_teaches(record: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "terms": record.get("terms", {}),
        "task_weight": record.get("task_weight", 1.0),
        "cache": record.get("cache", False),
        "teacher.pca": record.get("teacher", {}).get("pca") or record.get("cache_pca"),
        "bank": record.get("bank"),
        "teachers": [(t["digest"], t["share"]) for t in record.get("teachers", ())],  # their files may have moved
    }
