"""Loggers of a run: W&B (offline unless logged in), TensorBoard, CSV; and the summary that W&B shows at its end."""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra.utils import instantiate
from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger

from vpr.pages.thumbnails import thumbnail
from vpr.training.callbacks.evaluation import RecallSummary

log = logging.getLogger(__name__)

LONGEST_TAG = 64  # characters; W&B refuses more
COLUMNS = ["right", "query", "match 1", "match 2", "match 3", "match 4", "note"]
COSTS = ("gmacs", "latency_ms", "latency_runs", "threads", "device", "descriptor_bytes")


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
    run: str | None = None,
) -> Logger:
    """Return a W&B logger.

    Args:
        group: name shared by the runs that differ in their seed alone.
        labels: names that tell runs apart; each becomes a tag, such as `teacher:vgg16`. The job type is `distil` where
            there is a teacher, else `train`.
        tags: more tags.
        mode: `online`, `offline`, `disabled`, or `auto`: WANDB_MODE where it is set, else online if there is an API
            key, else offline. It never prompts; an offline run can be sent later with `wandb sync`.
        run: id of the run at W&B that this one goes on with.
    """
    if mode == "auto":
        mode = os.environ.get("WANDB_MODE") or ("online" if _api_key() else "offline")
    if mode == "offline":
        log.info(
            "W&B is offline: `wandb sync %s` sends this run later; `wandb login` once makes runs live.",
            Path(directory, "wandb"),
        )
        if run:
            log.info("It goes on with the W&B run %s: `wandb sync --append` joins what is sent later.", run)
    os.environ.setdefault("WANDB_SILENT", "true")
    Path(directory).mkdir(parents=True, exist_ok=True)
    settings: dict[str, Any] = {
        "mode": mode,
        "group": group,
        "job_type": "distil" if labels and labels.get("teacher") else "train",
        "tags": [f"{kind}:{value}"[:LONGEST_TAG] for kind, value in (labels or {}).items() if value] + list(tags),
        "entity": entity,
        "dir": directory,
    }
    if run:
        settings |= {"id": run} if mode == "offline" else {"id": run, "resume": "allow"}
    return WandbLogger(project=project, name=name, save_dir=directory, log_model=False, **settings)


def make_loggers(nodes: Mapping[str, Any] | None, resumed: Path | None) -> list[Logger]:
    """Make the loggers of a run; that of W&B goes on with the run that is resumed, whose folder is `resumed`."""
    made = []
    for node in (nodes or {}).values():
        earlier = earlier_run(resumed) if resumed and node.get("_target_") == f"{__name__}.wandb" else None
        made.append(instantiate(node, **({"run": earlier} if earlier and not node.get("run") else {})))
    return made


def earlier_run(folder: Path) -> str | None:
    """Return the id of the last W&B run in the folder of a run; None where there is none."""
    names = sorted(path.name for path in folder.glob("wandb/*run-*-*") if path.is_dir())
    return max(names, key=lambda name: name.partition("run-")[2]).rpartition("-")[2] if names else None


def finish() -> None:
    """End this process's W&B run, if there is one: the next job of a sweep must not go on in it."""
    package = sys.modules.get("wandb")
    if package is not None and package.run is not None:
        package.finish()


def summarise_in_wandb(loggers: Iterable[Logger], summary: Mapping[str, Any], results: Iterable[RecallSummary]) -> None:
    """Write the costs, the best recalls and a table of predictions for each set into each W&B logger there is."""
    for logger in loggers:
        if not isinstance(logger, WandbLogger):
            continue
        logger.experiment.summary.update(summary_metrics(summary))
        for result in results:
            logger.log_table(f"predictions/{result.protocol}", columns=COLUMNS, data=_rows(result))


def summary_metrics(summary: Mapping[str, Any]) -> dict[str, Any]:
    """Return `parameters_M`, the costs, `best_R1` of the monitored set and `best_R1_<protocol_name>` of each."""
    costs = summary["costs"]
    values = {"parameters_M": costs["parameters"] / 1e6, "train_seconds": summary["seconds"]}
    values |= {name: costs[name] for name in COSTS}
    for protocol, row in summary["sets"].items():
        recalls = {f"best_R{name.partition('@')[2]}": value for name, value in row["recalls"].items()}
        values |= {f"{name}_{protocol_name(protocol)}": value for name, value in recalls.items()}
        if protocol == summary["monitor"]:
            values |= recalls
    return values


def protocol_name(protocol: str) -> str:
    """Return a protocol's id in characters that W&B can sort and filter by: letters, digits and underscores.

    >>> protocol_name("tokyo247@25m-nms[q64x64]")
    'tokyo247_25m_nms_q64x64'
    """
    return re.sub(r"[^A-Za-z0-9]+", "_", protocol).strip("_")


def _api_key() -> str | None:
    import wandb as package

    return package.api.api_key


def _rows(result: RecallSummary) -> list[list[Any]]:
    """One row a query; a match's caption says whether it is right and how similar it is."""
    from wandb import Image

    rows = []
    for note, shots in result.examples:
        images = [Image(thumbnail(Path(path)), caption=caption) for path, caption, _ in shots]
        empty: list[Any] = [None] * (len(COLUMNS) - 2 - len(images))
        rows.append([shots[1][2] if len(shots) > 1 else None, *images, *empty, note])
    return rows
