"""Image lists and ground truth as .npy files, as gsv-cities and MixVPR ship MSLS-val and other sets."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vpr.data.formats.folders import absolute, require_lists
from vpr.data.formats.pairs import read_positives
from vpr.data.npy import load_npy
from vpr.data.retrieval_set import RetrievalSet
from vpr.errors import DataError
from vpr.types import Protocol


def read(
    root: str | Path,
    protocol: Protocol,
    database: str,
    queries: str,
    positives: str,
    query_rows: str | None = None,
    lists: str | Path | None = None,
    source: str = "",
    missing: str = "raise",
) -> RetrievalSet:
    """Read names relative to `root` and, per query, the database rows that show its place.

    Args:
        database, queries: .npy of file names.
        positives: .npy with one row (an array, or a number) per query.
        query_rows: .npy with the rows of `queries` that are used, in the order of `positives`; None uses all.
        lists: folder of the .npy files; None is `root`.
        source: who published the set, and where; for the message if it is not there.
        missing: image files that do not exist: `raise`, `skip`, `ignore`.

    Raises:
        DataError: missing or damaged files, lists that do not fit together, or counts other than the protocol's.
    """
    files = [name for name in (database, queries, query_rows, positives) if name]
    root, folder = require_lists(root, lists, files, source)
    database_names = load_names(folder / database)
    query_names = load_names(folder / queries)
    if query_rows is not None:
        query_names = _chosen(query_names, folder / query_rows, queries)
    return RetrievalSet(
        protocol,
        [root / name for name in database_names],
        [root / name for name in query_names],
        read_positives(folder / positives, len(database_names), len(query_names)),
    ).present(missing)


def load_names(path: Path) -> list[str]:
    """Read a list of file names.

    Raises:
        DataError: no such file, or something else than a list of text.
    """
    names = load_npy(path)
    if names.dtype.kind == "S":
        names = np.char.decode(names, "utf-8", "surrogateescape")  # as Python reads names from a disk
    if names.ndim != 1 or not all(isinstance(name, str) for name in names.tolist()):
        raise DataError(f"{absolute(path)} holds {names.dtype} of the shape {names.shape}; expected a list of names.")
    return names.tolist()


def _chosen(names: list[str], path: Path, queries: str) -> list[str]:
    rows = load_npy(path)
    if rows.ndim != 1 or rows.dtype.kind not in "iu":
        raise DataError(f"{absolute(path)} holds {rows.dtype} of the shape {rows.shape}; expected row numbers.")
    wrong = rows[(rows < 0) | (rows >= len(names))]
    if len(wrong):
        raise DataError(f"{path} speaks of query {wrong[0]}, but {queries} has {len(names)} names.")
    return [names[row] for row in rows]
