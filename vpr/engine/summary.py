"""What a run prints when it ends, and keeps as summary.json."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
from rich.console import Console
from rich.table import Table

from vpr.engine.measured import Measured
from vpr.engine.recall import Recall
from vpr.retrieval.metrics import paired_interval

log = logging.getLogger(__name__)


def print_summary(trainer: pl.Trainer, recall: Recall, config: Mapping[str, Any]) -> float | None:
    """Print one table of recalls and the path of the best checkpoint; return its recall@1 (0..1).

    Where the untrained model was measured, too, its recall stands beside, and the gain with a 95 % interval from a
    bootstrap over pairs: the same query before and after.
    """
    best = recall.top.best
    if best is None or not recall.best:
        log.info("Describer: %s", recall.top.directory / "best.ckpt")
        return best.score if best else None
    rows = [summarise(result, recall.before.get(name)) for name, result in recall.best.items()]
    (recall.top.directory / "summary.json").write_text(json.dumps(rows, indent=2) + "\n")
    table = Table(title=f"{config['name']}: best of {trainer.current_epoch} epochs by R@1 on {recall.monitor}")
    table.add_column("protocol")
    for heading in ("R@1", "R@5", "R@10", *(("R@1 before", "gain [95 %]") if recall.before else ())):
        table.add_column(heading, justify="right")
    for row in rows:
        cells = [f"{100 * row['after'][k]:.1f}" for k in ("R@1", "R@5", "R@10")]
        if "before" in row:
            low, high = row["gain_interval"]
            gain = f"{100 * row['gain']:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"
            cells += [f"{100 * row['before']['R@1']:.1f}", gain]
        table.add_row(row["protocol"], *cells)
    Console().print(table)
    log.info("Best checkpoint: %s", best.path)
    return best.score


def summarise(after: Measured, before: Measured | None) -> dict[str, Any]:
    """Return the recalls of one set, and the gain in recall@1 where there is a measurement before training."""
    row: dict[str, Any] = {"protocol": after.protocol, "counts": after.counts, "after": after.metrics}
    if before is not None:
        row |= {
            "before": before.metrics,
            "gain": after.metrics["R@1"] - before.metrics["R@1"],
            "gain_interval": list(paired_interval(before.hits.numpy(), after.hits.numpy())),
        }
    return row
