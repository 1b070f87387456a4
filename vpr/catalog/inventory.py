"""Inventory of data sets: each is read by the reader that training and evaluation use, and all are shown as a table."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence, Sized
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import groupby, islice
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
from hydra.utils import instantiate
from omegaconf import OmegaConf
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from vpr.catalog.resolve import locate
from vpr.cli.app import first_of_ours, root_hint
from vpr.cli.checks import check_targets
from vpr.cli.datasets import DataSets, Entry
from vpr.data.images import missing_files
from vpr.data.places import Places
from vpr.data.tuples import WeakSet
from vpr.errors import DataAbsent, DataError

STATES = ("found", "incomplete", "broken", "drawn on first use", "yours", "absent")
COMPLETE, INCOMPLETE, BROKEN, DRAWN, YOURS, ABSENT = STATES

WIDE = 120  # columns of a terminal that has room for folders
FOR = {"train": "train", "eval": "measure", "weak": "weak", "images": "images", "": ""}
STYLES = {COMPLETE: "green", INCOMPLETE: "yellow", BROKEN: "red", YOURS: "dim", DRAWN: "dim", ABSENT: "dim"}
COUNTS = (("database", "places"), ("queries", "images"))
EXPLAINED = (COMPLETE, INCOMPLETE, BROKEN)


@dataclass(frozen=True)
class Finding:
    """One entry of a data set.

    Attributes:
        dataset: the name to type, `dataset=<name>`; `part` (train, eval, weak, images) and `name` are the entry there.
        state: one of STATES.
        protocol: id of an evaluation set.
        counts: of what was read; of a set that was not, those that its protocol asks for.
        root: the folder.
        sentence: message of what is missing, and what to do; of a set that was found, the warnings of its reader.
    """

    dataset: str
    part: str
    name: str
    state: str
    protocol: str = ""
    counts: dict[str, float] = field(default_factory=dict)
    root: str = ""
    sentence: str = ""


def inspect_dataset(entry: Entry, near: bool = False) -> Finding:
    """Read one entry. Never raises, and never draws: a reader with a key `draw` gets `draw=false`.

    Args:
        near: of a set that is absent, look in the folders around its root, too.
    """
    finding = Finding(entry.dataset, entry.part, entry.name, BROKEN, sentence=entry.error)
    if entry.error:
        return finding
    draws = False
    with _warnings() as noticed:
        try:
            node: Any = OmegaConf.to_container(entry.node, resolve=True)
            finding = replace(finding, root=", ".join(dict.fromkeys(_roots(node))), **_published(node))
            if to_give := sorted(OmegaConf.missing_keys(entry.node)):
                return replace(finding, state=YOURS, sentence=" ".join(["Give", *(f"{key}=..." for key in to_give)]))
            draws = _without_drawing(node)
            cfg = OmegaConf.create({"dataset": {entry.part: {entry.name: node}}})
            check_targets(cfg)
            made = instantiate(cfg.dataset[entry.part][entry.name], _convert_="all")
            missing, counts = _missing_images(made), _read_counts(made)
        except Exception as error:
            failure = _failure(error, draws)
            if near and failure["state"] == ABSENT and (hint := locate(entry.node, entry.key)):
                failure["sentence"] = f"{first_of_ours(error)} {hint}"
            return replace(finding, **failure)
    state = INCOMPLETE if missing else COMPLETE
    return replace(finding, state=state, sentence=missing or " ".join(noticed), **counts)


def _without_drawing(node: dict[str, Any]) -> bool:
    """Set `draw` of a reader, and of those inside it, to false; return whether one of them has this key."""
    draws = "draw" in node
    if draws:
        node["draw"] = False
    return any([draws, *(_without_drawing(value) for value in node.values() if isinstance(value, dict))])


def _failure(error: Exception, draws: bool) -> dict[str, Any]:
    cause = first_of_ours(error)
    if isinstance(cause, DataAbsent):
        return (
            {"state": DRAWN, "sentence": ""} if draws else {"state": ABSENT, "sentence": f"{cause}{root_hint(error)}"}
        )
    if cause:
        return {"state": INCOMPLETE if isinstance(cause, DataError) else BROKEN, "sentence": str(cause)}
    return {"state": BROKEN, "sentence": f"{type(error).__name__}: {error}"}


def _read_counts(made: Any) -> dict[str, Any]:
    if isinstance(made, Places):
        return {"counts": {"places": len(made), "images": len(made.files)}}
    if isinstance(made, WeakSet):
        return {"counts": _side_counts(made.database, made.queries, made.positives)}
    counts = _side_counts(made.database, made.queries, made.positives)
    if made.protocol.no_positives == "unknown":
        counts = {side: counts[side] for side in ("database", "queries")}
    return {"protocol": made.protocol.id, "counts": counts}


def _side_counts(database: Sized, queries: Sized, positives: Sequence[Sized]) -> dict[str, float]:
    hits = np.array([len(rows) for rows in positives])
    return {
        "database": len(database),
        "queries": len(queries),
        "mean_positives": round(float(hits.mean()), 2),
        "queries_without_positives": int((hits == 0).sum()),
    }


def _missing_images(made: Any) -> str:
    missing = missing_files(_training_images(made))
    if not missing:
        return ""
    first = os.path.abspath(next(islice(_training_images(made), missing[0], None)))
    return (
        f"{len(missing):,} of {sum(1 for _ in _training_images(made)):,} images are missing (first: {first}). "
        "Extract the archive again; training ends where it cannot read more than 1 % of them."
    )


def _training_images(made: Any) -> Iterator[Path]:
    """Yield the images to train on, which readers do not look for: training leaves absent ones out."""
    if isinstance(made, Places):
        yield from map(made.path, range(len(made.files)))
    elif isinstance(made, WeakSet):
        yield from made.database.paths
        yield from made.queries.paths


def _published(node: Mapping[str, Any]) -> dict[str, Any]:
    protocol = node.get("protocol") or {}
    counts = {key: protocol[key] for key in ("database", "queries") if protocol.get(key) is not None}
    return {"protocol": protocol.get("id", ""), "counts": counts}


def _roots(node: Mapping[str, Any]) -> Iterator[str]:
    """Yield the folders of a reader, and of readers inside it."""
    for key, value in node.items():
        if isinstance(value, Mapping):
            yield from _roots(value)
        elif key == "root" and value != "???":
            yield os.path.abspath(os.path.expanduser(value))


@contextmanager
def _warnings() -> Iterator[list[str]]:
    """Collect the warnings of readers, instead of writing them into the list that is being shown."""
    noticed: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: noticed.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("vpr")
    logger.addHandler(handler)
    logger.propagate, before = False, logger.propagate
    try:
        yield noticed
    finally:
        logger.propagate = before
        logger.removeHandler(handler)


def show(findings: Sequence[Finding], sets: DataSets, named: Collection[str], console: Console) -> None:
    """Print the table of `make data-check`, the messages below it, and a summary.

    Args:
        sets: the folder that was looked in, and the collections.
        named: the data sets that were named; what these must hold is said even if nothing of them is there.
    """
    console.print(table(findings, console.width >= WIDE))
    for finding in _as_shown(findings):
        if finding.sentence and (finding.state in EXPLAINED or finding.dataset in named):
            line = f"\n{_title(finding)}, {finding.state}: {finding.sentence}"
            console.print(escape(line), style=STYLES[finding.state].replace("dim", ""), soft_wrap=True, highlight=False)
    console.print()
    for line in summary(findings, sets)[: 3 if named else None]:
        console.print(escape(line), soft_wrap=True, highlight=False)


def table(findings: Sequence[Finding], wide: bool) -> Table:
    """Return one row a finding, in sections by state. An absent set has the counts of its protocol."""
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
    """Return the lines below the table: sets by state, the folder that was looked in, and how to go on."""
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
    """Sort what matters to the end: there it stands above the prompt, however long the list is."""
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
