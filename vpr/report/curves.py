"""Training curves, from the csv file that a run logs into."""

from __future__ import annotations

from typing import NamedTuple

import pandas as pd

from vpr.report.runs import Run


class Curve(NamedTuple):
    """Values over optimiser steps."""

    steps: list[float]
    values: list[float]


def read_curves(run: Run) -> dict[str, Curve]:
    """Return the loss as `train/loss`, and `<protocol>/R@1` for each protocol; nothing where no csv was logged."""
    path = run.folder / "csv" / "metrics.csv"
    if not path.is_file() or path.stat().st_size == 0:
        return {}
    table = pd.read_csv(path)
    names = [name for name in table.columns if name == "train/loss" or name.endswith("/R@1")]
    found = {}
    for name in names:
        rows = table[["step", name]].dropna()
        if len(rows):
            found[name] = Curve(rows["step"].tolist(), rows[name].tolist())
    return found
