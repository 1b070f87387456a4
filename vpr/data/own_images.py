"""Queries that are images of the database themselves: each would find itself, which is no recognition of a place."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Hashable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np

from vpr.data.retrieval_set import RetrievalSet
from vpr.errors import DataError

THREADS = 16
AT_ONCE = 2048


def own_rows(retrieval_set: RetrievalSet) -> list[np.ndarray] | None:
    """Return of each query the database rows that are the same file, by path or by a link; None where there are none.

    Looks at each file once; of one that is not there the path alone counts.
    """
    queries = [file for part in _files(retrieval_set.queries) for file in part]
    named = set(queries)
    rows: dict[Hashable, list[int]] = defaultdict(list)
    for start, part in zip(count(0, AT_ONCE), _files(retrieval_set.database), strict=False):
        for row, file in enumerate(part, start):
            if file in named:
                rows[file].append(row)
    return [np.array(rows.get(file, []), np.int64) for file in queries] if rows else None


def leave_out(retrieval_set: RetrievalSet, themselves: Sequence[np.ndarray]) -> RetrievalSet:
    """Return the set without the own rows of each query among its positives and matches; the id says of how many.

    `own-photos@25m` becomes `own-photos@25m[3q-in-db]`.

    Raises:
        DataError: all queries are images of the database.
    """
    inside = [query for query, rows in enumerate(themselves) if len(rows)]
    if len(inside) == len(themselves):
        raise DataError(
            f"All {len(themselves):,} queries of {retrieval_set.protocol.id} are images of its database (first: "
            f"{retrieval_set.queries[0]}), and each would find itself. Give other photos as queries; "
            "dataset=unlabelled_folder compares each image with the others."
        )
    protocol = replace(retrieval_set.protocol, id=f"{retrieval_set.protocol.id}[{len(inside)}q-in-db]")
    positives = [np.setdiff1d(rows, mine) for rows, mine in zip(retrieval_set.positives, themselves, strict=True)]
    return replace(retrieval_set, protocol=protocol, positives=positives, own_rows=list(themselves))


def _files(paths: Sequence[Path]) -> Iterator[list[Hashable]]:
    """Yield what tells the files apart, AT_ONCE at a time: there may be millions."""
    starts = range(0, len(paths), AT_ONCE)
    with ThreadPoolExecutor(THREADS) as pool:
        yield from pool.map(lambda start: [_file(path) for path in paths[start : start + AT_ONCE]], starts)


def _file(path: Path) -> Hashable:
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return os.path.abspath(path)
    return (status.st_dev, status.st_ino) if status.st_ino else os.path.realpath(path)
