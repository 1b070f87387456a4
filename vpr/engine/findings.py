"""What is there of each data set, found by the readers that training and evaluation use."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping, Sequence, Sized
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from hydra.utils import instantiate
from omegaconf import OmegaConf

from vpr.config.app import elsewhere, first_of_ours
from vpr.config.check_targets import check_targets
from vpr.config.entries import Entry
from vpr.data.missing import missing_files
from vpr.data.places import Places
from vpr.data.weak import WeakSet
from vpr.engine.nearby import nearby
from vpr.errors import DataAbsent, DataError

STATES = ("found", "incomplete", "broken", "drawn on first use", "yours", "absent")
FOUND, INCOMPLETE, BROKEN, DRAWN, YOURS, ABSENT = STATES


@dataclass(frozen=True)
class Finding:
    """One entry of a data set.

    Attributes:
        dataset: the name to type, `dataset=<name>`; `part` (train, eval, weak) and `name` are the entry there.
        state: one of STATES.
        protocol: id of an evaluation set.
        counts: of what was read; of a set that was not, those that its protocol asks for.
        root: the folder.
        sentence: what is missing, and what to do; of a set that was found, what was noticed.
    """

    dataset: str
    part: str
    name: str
    state: str
    protocol: str = ""
    counts: dict[str, float] = field(default_factory=dict)
    root: str = ""
    sentence: str = ""


def look(entry: Entry, near: bool = False) -> Finding:
    """Read one entry. Never raises, and never draws: a reader with a key `draw` is told not to.

    Args:
        near: of a set that is absent, say where near it is.
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
            draws = _only_look(node)
            cfg = OmegaConf.create({"dataset": {entry.part: {entry.name: node}}})
            check_targets(cfg)
            made = instantiate(cfg.dataset[entry.part][entry.name], _convert_="all")
            missing, counts = _missing_photos(made), _read_counts(made)
        except Exception as error:
            wrong = _what_went_wrong(error, draws)
            if near and wrong["state"] == ABSENT and (hint := nearby(entry.node, entry.key)):
                wrong["sentence"] = f"{first_of_ours(error)} {hint}"
            return replace(finding, **wrong)
    state = INCOMPLETE if missing else FOUND
    return replace(finding, state=state, sentence=missing or " ".join(noticed), **counts)


def _only_look(node: dict[str, Any]) -> bool:
    """Tell a reader, and those inside it, not to draw; return whether there was one that would have."""
    drawing = "draw" in node
    if drawing:
        node["draw"] = False
    return any([drawing, *(_only_look(value) for value in node.values() if isinstance(value, dict))])


def _what_went_wrong(error: Exception, draws: bool) -> dict[str, Any]:
    cause = first_of_ours(error)
    if isinstance(cause, DataAbsent):
        return (
            {"state": DRAWN, "sentence": ""} if draws else {"state": ABSENT, "sentence": f"{cause}{elsewhere(error)}"}
        )
    if cause:
        return {"state": INCOMPLETE if isinstance(cause, DataError) else BROKEN, "sentence": str(cause)}
    return {"state": BROKEN, "sentence": f"{type(error).__name__}: {error}"}


def _read_counts(made: Any) -> dict[str, Any]:
    if isinstance(made, Places):
        return {"counts": {"places": len(made), "images": len(made.files)}}
    if isinstance(made, WeakSet):
        return {"counts": _side_counts(made.gallery, made.queries, made.positives)}
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


def _missing_photos(made: Any) -> str:
    missing = missing_files(_unseen(made))
    if not missing:
        return ""
    first = os.path.abspath(next(islice(_unseen(made), missing[0], None)))
    return (
        f"{len(missing):,} of {sum(1 for _ in _unseen(made)):,} photos are missing (first: {first}). "
        "Extract the archive again; training ends where it cannot read more than 1 % of them."
    )


def _unseen(made: Any) -> Iterator[Path]:
    """Yield the photos to train on, millions in some sets. Readers do not look for these; training leaves them out."""
    if isinstance(made, Places):
        yield from map(made.path, range(len(made.files)))
    elif isinstance(made, WeakSet):
        yield from made.gallery.paths
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
    """Collect what readers warn of, instead of writing it into the list that is being shown."""
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
