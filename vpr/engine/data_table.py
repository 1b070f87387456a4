"""What `make data-check` prints: a table of all data sets, what is missing of some, and how many there are of each."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from itertools import groupby
from operator import attrgetter

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from vpr.config.entries import DataSets
from vpr.engine.findings import ABSENT, BROKEN, DRAWN, FOUND, INCOMPLETE, STATES, YOURS, Finding

WIDE = 120  # columns of a terminal that has room for folders
FOR = {"train": "train", "eval": "measure", "weak": "weak", "": ""}
STYLES = {FOUND: "green", INCOMPLETE: "yellow", BROKEN: "red", YOURS: "dim", DRAWN: "dim", ABSENT: "dim"}
COUNTS = (("database", "places"), ("queries", "images"))
EXPLAINED = (FOUND, INCOMPLETE, BROKEN)


def show(findings: Sequence[Finding], sets: DataSets, asked: Collection[str], console: Console) -> None:
    """Print it.

    Args:
        sets: where was looked, and what stands for several sets.
        asked: the data sets that were named; what these must hold is said even if nothing of them is there.
    """
    console.print(table(findings, console.width >= WIDE))
    for finding in _as_shown(findings):
        if finding.sentence and (finding.state in EXPLAINED or finding.dataset in asked):
            line = f"\n{_title(finding)}, {finding.state}: {finding.sentence}"
            console.print(escape(line), style=STYLES[finding.state].replace("dim", ""), soft_wrap=True, highlight=False)
    console.print()
    for line in summary(findings, sets)[: 3 if asked else None]:
        console.print(escape(line), soft_wrap=True, highlight=False)


def table(findings: Sequence[Finding], wide: bool) -> Table:
    """One row a finding, in sections by state. Counts of a set that is not there are those that it should have."""
    shown = Table(box=None, padding=(0, 2 if wide else 1, 0, 0), pad_edge=False)
    shown.add_column("dataset=", no_wrap=True)
    shown.add_column("for", no_wrap=True)
    shown.add_column("database\nor places", justify="right", no_wrap=True)
    shown.add_column("queries\nor images", justify="right", no_wrap=True)
    shown.add_column("positives\na query", justify="right", no_wrap=True)
    shown.add_column("protocol id", overflow="fold")
    if wide:
        shown.add_column("folder", overflow="fold")
    for state, rows in groupby(_as_shown(findings), key=attrgetter("state")):
        shown.add_row("")
        shown.add_row(f"[bold]{state}[/]")
        for row in rows:
            shown.add_row(*_cells(row), *([escape(row.root)] if wide else []), style=STYLES[state])
    return shown


def summary(findings: Sequence[Finding], sets: DataSets) -> list[str]:
    """Lines that say how many there are of each, where they were looked for, and how to go on."""
    states = Counter(finding.state for finding in findings)
    folder, variable = os.path.abspath(os.path.expanduser(sets.folder)), os.environ.get("VPR_DATA", "not set")
    return [
        ", ".join(f"{states[state]} {state}" for state in STATES if states[state]) + ".",
        f"Looked in {folder} (paths.data; VPR_DATA is {variable}).",
        "Elsewhere: make data-check ARGS=paths.data=/disk, or export VPR_DATA=/disk for all commands.",
        "What a set must hold and who publishes it: make data-check DATA=NAME, or docs/datasets.md.",
        *(f"dataset={name} is all of {', '.join(parts)}." for name, parts in sets.collections.items()),
    ]


def _as_shown(findings: Iterable[Finding]) -> list[Finding]:
    """What matters comes last: there it stands above the prompt, however long the list is."""
    return sorted(findings, key=lambda finding: -STATES.index(finding.state))


def _title(finding: Finding) -> str:
    name = "" if finding.name == finding.dataset else f", {finding.name}"
    return f"{finding.dataset} ({FOR[finding.part]}{name})"


def _cells(finding: Finding) -> tuple[str, ...]:
    counts = finding.counts
    first, second = (next((f"{counts[key]:,}" for key in keys if key in counts), "") for keys in COUNTS)
    positives = f"{counts['mean_positives']:.1f}" if "mean_positives" in counts else ""
    last = finding.sentence if finding.state == YOURS else finding.protocol
    return escape(finding.dataset), FOR[finding.part], first, second, positives, escape(last)
