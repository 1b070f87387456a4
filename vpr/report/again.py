"""What the page asks of the models themselves: costs on this machine, and pictures of queries."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import track

from vpr import checkpoint, viz
from vpr.engine.again import evaluate_again
from vpr.models.costs import measure
from vpr.report.gains import Gain, SeedGain
from vpr.report.runs import Run
from vpr.retrieval.describe import pick_device
from vpr.retrieval.evaluate import Evaluation

steps = partial(track, console=Console(stderr=True), transient=True)


def measure_costs(runs: Sequence[Run], device: str) -> None:
    """Replace the costs of each run by those of its best.ckpt on this machine."""
    for run in steps(runs, "latency"):
        describer = checkpoint.load(run.folder / "best.ckpt")
        run.summary["costs"] = measure(describer, pick_device(device)).plain()


def draw_pictures(gains: Sequence[Gain], folder: Path, device: str) -> dict[tuple[Path, Path, str], Path]:
    """Evaluate both models of each gain, of its first seed, and draw the queries that changed.

    Only sets that the runs themselves evaluated are drawn. Each checkpoint is evaluated once.

    Returns:
        {(undistilled run, distilled run, protocol id): page}
    """
    pages = {}
    known: dict[Path, dict[str, Evaluation]] = {}
    for gain in steps(gains, "pictures"):
        pair = gain.seeds[0]
        results = []
        for run in (pair.plain, pair.distilled):
            if run.folder not in known:
                known[run.folder] = evaluate_again(run.folder / "best.ckpt", device)
            results.append(known[run.folder].get(gain.protocol))
        before, after = results
        if before and after:
            path = folder / f"{_stem(pair, gain.protocol)}.html"
            names = ("undistilled", "distilled")
            key = (pair.plain.folder, pair.distilled.folder, gain.protocol)
            pages[key] = viz.compare(before, after, path, pair.distilled.label, names)
    return pages


def _stem(pair: SeedGain, protocol: str) -> str:
    """Return a file's name, the same whenever it is drawn again; names of runs are too long for one."""
    folders = "\n".join(str(run.folder.resolve()) for run in (pair.plain, pair.distilled))
    safe = re.sub(r"[^\w.@+-]+", "_", protocol)[:80]
    return f"{safe}_{hashlib.sha256(folders.encode()).hexdigest()[:10]}"
