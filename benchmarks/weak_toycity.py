"""The recalls of `make weak`, stage by stage.

python benchmarks/weak_toycity.py [--runs runs/weak] [--seed 0] [--require]     after `make weak`

--require: the student that was taught must have a higher R@1 than the same student by itself.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table

KS = ("R@1", "R@5", "R@10")
TRAINING, EVALUATION = "summary.json", "evaluation/metrics.json"
STAGES = (  # what it is called, its run, the file and the key with its recalls
    ("teacher, clustered", "teacher", TRAINING, "before"),
    ("teacher, trained", "teacher", TRAINING, "recalls"),
    ("student, clustered", "alone-seed{seed}", TRAINING, "before"),
    ("student, trained alone", "alone-seed{seed}", EVALUATION, "recalls"),
    ("student, trained with wakd", "wakd-seed{seed}", EVALUATION, "recalls"),
)


class Row(NamedTuple):
    """The recalls (0..1) of one stage under a protocol."""

    protocol: str
    stage: str
    recalls: dict[str, float]


def rows(runs: Path, seed: int) -> list[Row]:
    """Read what `make weak` has left in its folder, in the order of the stages."""
    measured_rows = []
    for stage, run, file, key in STAGES:
        for protocol, measured in _sets(runs / run.format(seed=seed) / file).items():
            measured_rows.append(Row(protocol, stage, measured[key]))
    return measured_rows


def _sets(path: Path) -> dict[str, Any]:
    if not path.is_file():
        sys.exit(f"There is no {path}. Type `make weak` first.")
    return dict(json.loads(path.read_text("utf-8"))["sets"])


def main(argv: list[str] | None = None) -> None:
    """Print the table, and what the teacher gave."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path("runs/weak"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--require", action="store_true")
    args = parser.parse_args(argv)
    measured_rows = rows(args.runs, args.seed)
    table = Table("protocol", "stage", title=f"make weak, seed {args.seed}; recalls in per cent")
    for k in KS:
        table.add_column(k, justify="right")
    for row in measured_rows:
        table.add_row(row.protocol, row.stage, *(f"{100 * row.recalls[k]:.1f}" for k in KS))
    Console().print(table)
    undistilled, taught = (row.recalls["R@1"] for row in measured_rows[-2:])
    print(f"R@1 of the student with its teacher: {100 * (taught - undistilled):+.1f} points.")
    if args.require and taught <= undistilled:
        sys.exit("Too low: the student with a teacher must be better than the one without.")


if __name__ == "__main__":
    main()
