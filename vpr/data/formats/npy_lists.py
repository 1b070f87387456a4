"""Image lists and ground truth as .npy files, the form in which gsv-cities and MixVPR ship MSLS-val and other sets."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vpr.data.formats.ground_truth import clean_positives, load_npy
from vpr.data.formats.layout import require_folder
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
    files = ", ".join(name for name in (database, queries, query_rows, positives) if name)
    root = require_folder(root, f"{files} and the images they name", source)
    folder = root if lists is None else require_folder(lists, files, source)
    database_names = load_npy(folder / database)
    query_names = load_npy(folder / queries)
    if query_rows is not None:
        rows = load_npy(folder / query_rows)
        if len(rows) and not 0 <= rows.min() <= rows.max() < len(query_names):
            raise DataError(
                f"{folder / query_rows} speaks of query {rows.max()}, but {queries} has {len(query_names)} names."
            )
        query_names = query_names[rows]
    truth = load_npy(folder / positives)
    if len(truth) != len(query_names):
        raise DataError(f"{folder / positives} has {len(truth)} rows for {len(query_names)} queries.")
    return RetrievalSet(
        protocol,
        [root / str(name) for name in database_names],
        [root / str(name) for name in query_names],
        clean_positives([np.atleast_1d(row) for row in truth], len(database_names), protocol.id),
    ).present(missing)
