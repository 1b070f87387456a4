"""The demo's table: teacher, the student alone, the student distilled; and how it compares with the README.

python benchmarks/demo_figure.py [--runs runs/demo] [--require]     --require: not below what is announced

docs/demo.json holds what was measured for the README: R@1 of three seeds, in per cent.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from statistics import mean, stdev
from typing import NamedTuple

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from vpr import checkpoint
from vpr.models.costs import Costs, measure
from vpr.retrieval.metrics import paired_interval

ANNOUNCED = Path(__file__).parents[1] / "docs" / "demo.json"
RUNS = {"teacher": "", "student alone": "alone", "student distilled": "distilled"}
TEACHER, UNDISTILLED, DISTILLED = RUNS
SPREAD = 6.0  # points
LEAST_GAIN, LEAST_KEPT = 0.0, 0.85  # points over the student alone; share of the teacher's R@1; in any seed


class Row(NamedTuple):
    """One of the three models: hits (Q,) of the first neighbours, costs here, and bytes of its checkpoint."""

    hits: np.ndarray
    costs: Costs
    size: int

    @property
    def recall(self) -> float:
        """R@1 in per cent."""
        return 100 * float(self.hits.mean())


def announced() -> dict[str, tuple[float, float, float]]:
    """Return for each model mean, lower and upper bound of R@1 in per cent.

    The bounds are three deviations of the seeds away, and at least `SPREAD`: a few seeds may lie near each other.
    """
    scores = json.loads(ANNOUNCED.read_text())["R@1"]
    spread = {name: max(SPREAD, 3 * stdev(s)) for name, s in scores.items()}
    return {name: (mean(s), mean(s) - spread[name], mean(s) + spread[name]) for name, s in scores.items()}


def read(runs: Path, protocol: str) -> dict[str, Row]:
    """Read the three runs, and measure what an image costs, one model after the other."""
    rows = {}
    for name, folder in RUNS.items():
        path = runs / folder / "best.ckpt"
        if not path.is_file():
            sys.exit(f"There is no {path}. Type `make demo` first.")
        hits = np.load(path.with_name("hits.npz"))[protocol]
        rows[name] = Row(hits, measure(checkpoint.load(path), "cpu"), path.stat().st_size)
    return rows


def table(rows: dict[str, Row], protocol: str) -> Table:
    """Return the table of the three models."""
    drawn = Table(title=f"R@1 (%) on {protocol}", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    for heading in ("", "R@1", "hits", "gain [95 %]", "weights", "MB", "ms"):
        drawn.add_column(heading, justify="right" if heading else "left", no_wrap=not heading)
    for name, row in rows.items():
        gain = ""
        if name == DISTILLED:
            low, high = paired_interval(rows[UNDISTILLED].hits, row.hits)
            gain = f"{row.recall - rows[UNDISTILLED].recall:+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"
        drawn.add_row(
            name,
            f"{row.recall:.1f}",
            f"{row.hits.sum()}/{len(row.hits)}",
            gain,
            f"{row.costs.parameters / 1e6:.2f} M",
            f"{row.size / 1e6:.1f}",
            f"{row.costs.latency_ms:.1f}",
        )
    return drawn


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path("runs/demo"))
    parser.add_argument("--require", action="store_true")
    args = parser.parse_args()
    protocol = json.loads(ANNOUNCED.read_text())["protocol"]
    rows, expected = read(args.runs, protocol), announced()
    Console().print(table(rows, protocol))
    ranges = (f"{name} {middle:.1f} % ({low:.1f} to {high:.1f})" for name, (middle, low, high) in expected.items())
    print(f"README: {'; '.join(ranges)}")
    gain = rows[DISTILLED].recall - rows[UNDISTILLED].recall
    kept = rows[DISTILLED].recall / rows[TEACHER].recall
    faster = rows[TEACHER].costs.latency_ms / rows[DISTILLED].costs.latency_ms
    smaller = rows[TEACHER].costs.parameters / rows[DISTILLED].costs.parameters
    print(
        f"The distilled student keeps {100 * kept:.0f} % of its teacher's R@1, {smaller:.1f} times as small and "
        f"{faster:.1f} times as fast here; without a single label it is {gain:+.1f} points above itself with labels."
    )
    if not args.require:
        return
    faults = [f"{name}: {rows[name].recall:.1f} %" for name, (_, low, _) in expected.items() if rows[name].recall < low]
    faults += [f"gain {gain:+.1f}"] * (gain < LEAST_GAIN) + [f"kept {kept:.2f}"] * (kept < LEAST_KEPT)
    faults += [f"{smaller:.2f} times as small"] * (smaller < 2)
    if faults:
        sys.exit(f"Below what is announced: {'; '.join(faults)}")


if __name__ == "__main__":
    main()
