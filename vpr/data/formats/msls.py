"""Mapillary Street-Level Sequences in its official layout (Warburg et al., CVPR 2020): csv files by city."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from vpr.data.formats.msls_csv import FOLDERS, SOURCE, city_folder, read_side, require_root
from vpr.data.hit_distance import check_distance
from vpr.data.positioned import Positioned, near
from vpr.data.retrieval_set import RetrievalSet
from vpr.errors import ConfigError
from vpr.types import Protocol

VAL = ("cph", "sf")
SIDES = {"database": FOLDERS[:1], "queries": FOLDERS[1:], "both": FOLDERS}


def read(
    root: str | Path,
    protocol: Protocol,
    cities: Sequence[str] = VAL,
    subtask: str | None = "all",
    radius: float = 25.0,
    keep_unmatched: bool = False,
    source: str = SOURCE,
    missing: str = "raise",
) -> RetrievalSet:
    """Read the database and the queries of some cities, panoramas left out; positives are in the query's city.

    Args:
        cities: in the order in which their rows follow each other.
        subtask: column of subtask_index.csv that chooses database and queries: `all`, `s2w`, `w2s` (summer, winter),
            `o2n`, `n2o` (old, new), `d2n`, `n2d` (day, night); None takes every photo.
        radius: of a positive, in metres.
        keep_unmatched: keep the queries without positives, which the official evaluation drops; what becomes of them
            then says the protocol's `no_positives`.
        source: who published the set, and where; for the message if it is not there.
        missing: image files that do not exist: `raise`, `skip`, `ignore`.

    Raises:
        DataAbsent: nothing of the set is there.
        DataError: a missing city, csv, column or image, csv files that do not fit together, positions that are not
            easting and northing in metres, or counts other than the protocol's.
    """
    check_distance(protocol, "radius", radius)
    database, queries = (photos(root, cities, side, subtask, source) for side in ("database", "queries"))
    positives = near(database, queries, radius)
    kept = [query for query, rows in enumerate(positives) if keep_unmatched or len(rows)]
    return RetrievalSet(
        protocol, database.paths, queries.take(kept).paths, [positives[query] for query in kept]
    ).present(missing)


def photos(
    root: str | Path,
    cities: Sequence[str],
    side: str = "both",
    subtask: str | None = None,
    source: str = SOURCE,
) -> Positioned:
    """List the photos of some cities that are no panoramas, with UTM positions and compass angles; a group is a city.

    Args:
        side: `database`, `queries` or `both`, city by city.
        subtask: as for `read`.

    Raises:
        ConfigError: no cities, or an unknown side.
        DataAbsent, DataError: as for `read`.
    """
    if not cities or isinstance(cities, str):
        raise ConfigError(f"cities={cities!r}: give a list of cities of MSLS, e.g. [cph,sf].")
    if side not in SIDES:
        raise ConfigError(f"side={side} is unknown: choose {', '.join(SIDES)}.")
    root = require_root(root, source)
    parts = [
        read_side(root, city_folder(root, city, source) / name, subtask).assign(city=number)
        for number, city in enumerate(cities)
        for name in SIDES[side]
    ]
    rows = pd.concat(parts, ignore_index=True)
    return Positioned(
        "msls",
        root,
        rows.file.tolist(),
        rows[["easting", "northing"]].to_numpy(float),
        rows.heading.to_numpy(float),
        rows.city.to_numpy(np.int64),
    )
