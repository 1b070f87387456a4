"""Models on photo sets of other kinds than they were trained on, each beside a baseline, with counts and intervals.

python benchmarks/unseen.py --root DIR --baseline off_the_shelf.ckpt a/best.ckpt b/best.ckpt

DIR holds wxbs/{ref,query} (pairs by number), spots/ and rooms/ ({database,queries}, positions in the file names);
other folders there are read as the last two are. The baseline is usually the same network as its publishers trained it:
python train.py trainer.max_epochs=0 backbone=... agg=gem.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from vpr.data.formats import pairs, utm_folder
from vpr.data.retrieval_set import RetrievalSet
from vpr.retrieval.evaluate import EvalOptions, evaluate
from vpr.retrieval.extractor import Extractor
from vpr.retrieval.metrics import paired_interval
from vpr.types import Protocol


def read_set(folder: Path) -> RetrievalSet:
    """Read pairs from ref/ and query/, or a folder with positions in the names."""
    if (folder / "ref").is_dir():
        return pairs.read(folder, Protocol(f"{folder.name}@0f"), database="ref", queries="query", tolerance=0)
    return utm_folder.read(folder, Protocol(f"{folder.name}@25m", no_positives="miss"))


def first_hits(ckpt: Path, sets: dict[str, RetrievalSet]) -> dict[str, np.ndarray]:
    """Return whether the first neighbour of each query is right, by set: (Q,) bool."""
    extractor = Extractor.load(ckpt, "cpu")
    options = EvalOptions(progress=False)
    return {name: np.asarray(evaluate(extractor, one, options=options).hits[:, 0]) for name, one in sets.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--baseline", type=Path, required=True)
    parser.add_argument("ckpts", type=Path, nargs="*")
    args = parser.parse_args()
    sets = {folder.name: read_set(folder) for folder in sorted(args.root.iterdir()) if folder.is_dir()}
    baseline = first_hits(args.baseline, sets)
    table = Table(title="first neighbours that are right; [95 % of the paired difference from the baseline, points]")
    for heading in ("model", *(f"{name} ({len(hits)})" for name, hits in baseline.items()), "all"):
        table.add_column(heading, overflow="fold")
    for ckpt in (args.baseline, *args.ckpts):
        measured = baseline if ckpt == args.baseline else first_hits(ckpt, sets)
        cells = []
        for before, after in (*((baseline[name], measured[name]) for name in sets), _joined(baseline, measured)):
            low, high = paired_interval(before, after)
            interval = "" if ckpt == args.baseline else f" [{100 * low:+.0f}, {100 * high:+.0f}]"
            cells.append(f"{after.sum()}{interval}")
        table.add_row(str(ckpt), *cells)
    Console(width=160).print(table)


def _joined(before: dict[str, np.ndarray], after: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    return np.concatenate(list(before.values())), np.concatenate([after[name] for name in before])


if __name__ == "__main__":
    main()
