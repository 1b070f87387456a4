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


class Row(NamedTuple):
    """The recalls (0..1) of one stage under a protocol."""

    protocol: str
    stage: str
    recalls: dict[str, float]


def rows(runs: Path, seed: int) -> list[Row]:
    """Read what `make weak` has left in its folder."""
    students = {
        f"student {how}": runs / f"{term}-seed{seed}" for how, term in (("alone", "alone"), ("with wakd", "wakd"))
    }
    found: list[Row] = []
    for stage, folder in {"teacher": runs / "teacher", **students}.items():
        untrained = f"{stage.split()[0]} after clustering, before training"
        if untrained not in [row.stage for row in found]:
            found += [Row(id, untrained, row["before"]) for id, row in _sets(folder / "summary.json").items()]
        after = _sets(folder / "evaluation" / "metrics.json")
        found += [Row(id, f"{stage}, trained", row["recalls"]) for id, row in after.items()]
    return found


def _sets(path: Path) -> dict[str, Any]:
    if not path.is_file():
        sys.exit(f"There is no {path}. Type `make weak` first.")
    return json.loads(path.read_text("utf-8"))["sets"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path("runs/weak"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--require", action="store_true")
    args = parser.parse_args()
    found = rows(args.runs, args.seed)
    table = Table("protocol", "stage", title=f"make weak, seed {args.seed} (recalls in per cent)")
    for k in KS:
        table.add_column(k, justify="right")
    for row in found:
        table.add_row(row.protocol, row.stage, *(f"{100 * row.recalls[k]:.1f}" for k in KS))
    Console().print(table)
    alone, taught = (row.recalls["R@1"] for row in found[-2:])
    print(f"The student gains {100 * (taught - alone):+.1f} points of R@1 by its teacher.")
    if args.require and taught <= alone:
        sys.exit("Too low: more than the student alone was announced.")


if __name__ == "__main__":
    main()
