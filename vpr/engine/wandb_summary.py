"""What a W&B run shows when it has ended: its summary, and tables of predictions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import Logger, WandbLogger

from vpr.engine.measured import Measured
from vpr.retrieval.examples import thumbnail

COLUMNS = ["right", "query", "match 1", "match 2", "match 3", "match 4", "note"]
COSTS = ("gmacs", "latency_ms", "latency_runs", "threads", "device", "descriptor_bytes")


def summarise_in_wandb(loggers: Iterable[Logger], summary: Mapping[str, Any], results: Iterable[Measured]) -> None:
    """Write the costs, the best recalls and a table of predictions for each set into each W&B logger there is."""
    wandb = [logger for logger in loggers if isinstance(logger, WandbLogger)]
    for logger in wandb:
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
    """Return a protocol's id in signs that W&B can sort and filter by: letters, digits and underscores.

    >>> protocol_name("tokyo247@25m-nms[q64x64]")
    'tokyo247_25m_nms_q64x64'
    """
    return re.sub(r"[^A-Za-z0-9]+", "_", protocol).strip("_")


def _rows(result: Measured) -> list[list[Any]]:
    """One row a query; a match's caption says whether it is right and how similar it is."""
    from wandb import Image

    rows = []
    for note, shots in result.examples:
        images = [Image(thumbnail(Path(path)), caption=caption) for path, caption, _ in shots]
        empty: list[Any] = [None] * (len(COLUMNS) - 2 - len(images))
        rows.append([shots[1][2] if len(shots) > 1 else None, *images, *empty, note])
    return rows
