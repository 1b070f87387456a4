"""Loggers of a run: W&B (offline unless logged in), TensorBoard, CSV."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger

log = logging.getLogger(__name__)

LONGEST_TAG = 64  # characters; W&B refuses more


def csv(directory: str) -> Logger:
    """Return a logger that writes `metrics.csv` and `hparams.yaml` into the directory."""
    return CSVLogger(directory, name="", version="csv")


def tensorboard(directory: str) -> Logger:
    """Return a logger that writes TensorBoard event files into the directory."""
    return TensorBoardLogger(directory, name="", version="tensorboard")


def wandb(
    directory: str,
    project: str = "vpr",
    name: str | None = None,
    entity: str | None = None,
    group: str | None = None,
    labels: Mapping[str, str | None] | None = None,
    tags: Sequence[str] = (),
    mode: str = "auto",
) -> Logger:
    """Return a W&B logger.

    Args:
        group: runs that differ in their seed alone.
        labels: what runs are told apart by; each becomes a tag, such as `teacher:vgg16`. The job type is `distil` where
            there is a teacher, else `train`.
        tags: more of them.
        mode: `online`, `offline`, `disabled`, or `auto` = what WANDB_MODE says, else online if there is an API key,
            else offline. It never prompts; an offline run can be sent later with `wandb sync`.
    """
    if mode == "auto":
        mode = os.environ.get("WANDB_MODE") or ("online" if _api_key() else "offline")
    if mode == "offline":
        log.info(
            "W&B is offline: `wandb sync %s` sends this run later; `wandb login` once makes runs live.",
            Path(directory, "wandb"),
        )
    os.environ.setdefault("WANDB_SILENT", "true")
    Path(directory).mkdir(parents=True, exist_ok=True)
    settings: dict[str, Any] = {
        "mode": mode,
        "group": group,
        "job_type": "distil" if labels and labels.get("teacher") else "train",
        "tags": [f"{what}:{value}"[:LONGEST_TAG] for what, value in (labels or {}).items() if value] + list(tags),
        "entity": entity,
        "dir": directory,
    }
    return WandbLogger(project=project, name=name, save_dir=directory, log_model=False, **settings)


def finish() -> None:
    """End this process's W&B run, if there is one: the next job of a sweep must not go on in it."""
    package = sys.modules.get("wandb")
    if package is not None and package.run is not None:
        package.finish()


def _api_key() -> str | None:
    import wandb as package

    return package.api.api_key
