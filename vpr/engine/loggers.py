"""Loggers of a run: W&B (offline unless logged in), TensorBoard, CSV."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger

log = logging.getLogger(__name__)


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
    tags: Sequence[str] = (),
    mode: str = "auto",
) -> Logger:
    """Return a W&B logger.

    Args:
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
    settings: dict[str, Any] = {"mode": mode, "group": group, "tags": list(tags), "entity": entity, "dir": directory}
    return WandbLogger(project=project, name=name, save_dir=directory, log_model=False, **settings)


def finish() -> None:
    """End this process's W&B run, if there is one: the next job of a sweep must not go on in it."""
    package = sys.modules.get("wandb")
    if package is not None and package.run is not None:
        package.finish()


def _api_key() -> str | None:
    import wandb as package

    return package.api.api_key
