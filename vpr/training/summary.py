"""Summary of a run: a table on the screen, summary.json, hits.npz, and the same in W&B; vpr.report reads the files."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
from rich.table import Table

from vpr import checkpoint
from vpr.files import atomic_write, write_text
from vpr.models.costs import measure
from vpr.pages.screen import Screen
from vpr.retrieval.metrics import paired_interval
from vpr.training.callbacks.evaluation import RecallEvaluation, RecallSummary
from vpr.training.callbacks.interpolation import WeightInterpolation
from vpr.training.loggers import summarise_in_wandb

log = logging.getLogger(__name__)


def finish_run(trainer: pl.Trainer, recall: RecallEvaluation, config: Mapping[str, Any], began: float) -> float | None:
    """Write summary.json and hits.npz beside best.ckpt, and print a table; return the best monitored recall (0..1).

    summary.json: `config`, `digest` of best.ckpt, `seconds` since `began` (of time.monotonic), `epochs`, `steps`,
    `monitor` (id of the protocol that decided), `sets` = {protocol id: recalls of best.ckpt and counts}, `costs`
    (vpr.models.costs), and `interpolation`, as `summarise_mixes`, where weights were mixed. hits.npz: {protocol id:
    (Q,) bool}, whether the first neighbour of each counted query is right.
    """
    folder, best = recall.best_checkpoints.directory, recall.best_checkpoints.best
    seconds = time.monotonic() - began
    if (folder / "best.ckpt").is_file():
        summary = _summary(folder, trainer, recall, config) | {"seconds": round(seconds, 1)}
        write_text(folder / "summary.json", json.dumps(summary, indent=2, ensure_ascii=False) + "\n")
        hits: dict[str, Any] = {result.protocol: result.hits.numpy() for result in recall.best.values()}
        (folder / "hits.npz").unlink(missing_ok=True)  # of another run in this folder
        if hits:
            with atomic_write(folder / "hits.npz") as temporary, open(temporary, "wb") as file:
                np.savez_compressed(file, **hits)
        summarise_in_wandb(trainer.loggers, summary, recall.best.values())
    if not recall.best:
        log.info("Describer: %s", folder / "best.ckpt")
        return best.score if best else None
    if interpolation := _interpolation(trainer):
        Screen().print(_table_of_mixes(interpolation))
    by = f"R@{recall.best_checkpoints.k} on {recall.monitor}"
    origin = recall.origin or f"best of {trainer.current_epoch} epochs by {by}"
    Screen().print(_table(f"{config['name']}: {origin}", summary["sets"]))
    log.info("%s: %s", "Describer" if recall.origin else "Best checkpoint", folder / "best.ckpt")
    return recall.score


def _summary(folder: Path, trainer: pl.Trainer, recall: RecallEvaluation, config: Mapping[str, Any]) -> dict[str, Any]:
    content = checkpoint.read(folder / "best.ckpt")
    # Read again, not taken from the training: that may be compiled, or in another layout.
    costs = measure(checkpoint.unpack(content), trainer.strategy.root_device)
    monitored = recall.best.get(recall.monitor or "")
    return {
        "config": dict(config),
        "digest": checkpoint.digest(content),
        "epochs": trainer.current_epoch,
        "steps": trainer.global_step,
        "monitor": monitored.protocol if monitored else None,
        "sets": {r.protocol: summarise(r, recall.before.get(name)) for name, r in recall.best.items()},
        "costs": costs.plain(),
    } | summarise_mixes(_interpolation(trainer))


def _interpolation(trainer: pl.Trainer) -> WeightInterpolation | None:
    callbacks: Any = trainer.callbacks  # type: ignore[attr-defined]
    return next((callback for callback in callbacks if isinstance(callback, WeightInterpolation)), None)


def summarise_mixes(interpolation: WeightInterpolation | None) -> dict[str, Any]:
    """Return the recalls of each mix of pretrained and trained weights, by share of the trained ones and protocol id.

    Nothing without such mixes; those of `sets` are of `trained_share`.
    """
    if interpolation is None:
        return {}
    mixes = {
        f"{share:g}": {recall.protocol: recall.metrics for recall in recalls.values()}
        for share, recalls in interpolation.mixes.items()
    }
    return {"interpolation": {"trained_share": interpolation.share, "mixes": mixes}}


def _table_of_mixes(interpolation: WeightInterpolation) -> Table:
    table = Table(title="R@1 by share of trained weights")
    table.add_column("protocol")
    for share in interpolation.mixes:
        table.add_column(f"{share:g} (best.ckpt)" if share == interpolation.share else f"{share:g}", justify="right")
    for name, kept in interpolation.mixes[interpolation.share].items():
        recalls = [recalls[name].metrics["R@1"] for recalls in interpolation.mixes.values()]
        table.add_row(kept.protocol, *(f"{100 * recall:.1f}" for recall in recalls))
    return table


def summarise(after: RecallSummary, before: RecallSummary | None) -> dict[str, Any]:
    """Return the recalls of one set, and the gain in recall@1 where there is a measurement before training.

    The gain stands with a 95 % interval from a bootstrap over pairs: the same query before and after.
    """
    row: dict[str, Any] = {"recalls": after.metrics, "counts": after.counts}
    if before is not None:
        row |= {
            "before": before.metrics,
            "gain": after.metrics["R@1"] - before.metrics["R@1"],
            "gain_interval": list(paired_interval(before.hits.numpy(), after.hits.numpy())),
        }
    return row


def _table(title: str, sets: Mapping[str, Mapping[str, Any]]) -> Table:
    table = Table(title=title)
    table.add_column("protocol")
    compared = any("before" in row for row in sets.values())
    for heading in ("R@1", "R@5", "R@10", *(("R@1 before", "gain [95 %]") if compared else ())):
        table.add_column(heading, justify="right")
    for protocol, row in sets.items():
        cells = [f"{100 * row['recalls'][k]:.1f}" for k in ("R@1", "R@5", "R@10")]
        if "before" in row:
            low, high = row["gain_interval"]
            gain = f"{100 * row['gain']:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"
            cells += [f"{100 * row['before']['R@1']:.1f}", gain]
        table.add_row(protocol, *cells)
    return table
