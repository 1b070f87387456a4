"""What a run prints when it ends."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
from rich.console import Console
from rich.table import Table

from vpr.engine.recall import Recall

log = logging.getLogger(__name__)


def print_summary(trainer: pl.Trainer, recall: Recall, config: Mapping[str, Any]) -> float | None:
    """Print one table of recalls, before and after, and the path of the best checkpoint; return its recall@1 (0..1)."""
    best = recall.top.best
    if best is None or recall.monitor is None:
        log.info("Describer of the last epoch: %s", recall.top.directory / "best.ckpt")
        return None
    table = Table(title=f"{config['name']}: best of {trainer.current_epoch} epochs by R@1 on {recall.monitor}")
    for heading in ("protocol", "when", "R@1", "R@5", "R@10"):
        table.add_column(heading, justify="left" if heading in ("protocol", "when") else "right")
    for when, results in (("before", recall.before), ("best", recall.best)):
        for result in results.values():
            metrics = result.metrics()
            table.add_row(result.protocol, when, *(f"{100 * metrics[k]:.1f}" for k in ("R@1", "R@5", "R@10")))
    Console().print(table)
    log.info("Best checkpoint: %s", best.path)
    return best.score
