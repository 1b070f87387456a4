"""Mapillary Street-Level Sequences in its official layout: csv files by city (Warburg et al., CVPR 2020)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from vpr.data.toycity.layouts.album import Album, cutouts

# What a sub-task takes from the database, and from the queries.
SUBTASKS = {
    "all": ("any", "any"),
    "s2w": ("summer", "winter"),
    "w2s": ("winter", "summer"),
    "o2n": ("old", "new"),
    "n2o": ("new", "old"),
    "d2n": ("day", "night"),
    "n2d": ("night", "day"),
}


class Part(NamedTuple):
    """One side of one city: `cph` and `sf`, `database` and `query`; the rows of the album and the names of files."""

    folder: str
    rows: pd.DataFrame
    keys: list[str]

    @property
    def names(self) -> list[str]:
        """Files relative to the set."""
        return [f"{self.folder}/images/{key}.jpg" for key in self.keys]


def parts(album: Album) -> Iterator[Part]:
    """Let the first half of the streets be Copenhagen and the others San Francisco, for no positive is around a corner.

    Photos are drawn street by street, so that rows keep their order: the database of both cities, then the queries.
    """
    streets = np.unique(album.database.street_number)
    border = streets[len(streets) // 2]
    for side, rows in (("database", album.database), ("query", album.queries)):
        for city, chosen in (("cph", rows[rows.street_number < border]), ("sf", rows[rows.street_number >= border])):
            yield Part(f"train_val/{city}/{side}", chosen, cutouts(chosen))


def write(album: Album, root: Path) -> None:
    """Write `train_val/<city>/<side>/images/<key>.jpg` and beside images/ the four csv files of msls_metadata.zip."""
    for part in parts(album):
        album.put(part.rows, root, part.names)
        for name, columns in _tables(part.rows, part.folder.endswith("query")).items():
            table = pd.DataFrame({"key": part.keys} | {key: np.asarray(column) for key, column in columns.items()})
            table.to_csv(root / part.folder / f"{name}.csv")  # the first column numbers the rows and has no name


def _tables(rows: pd.DataFrame, asked: bool) -> dict[str, dict[str, object]]:
    no = np.zeros(len(rows), bool)
    winter, old, night = rows.month.isin([10, 11, 12, 1, 2, 3]), rows.year < 2019, rows.condition == "night"
    is_kind = {"any": ~no, "winter": winter, "summer": ~winter, "old": old, "new": ~old, "night": night, "day": ~night}
    return {
        "postprocessed": {
            "easting": rows.utm_east,
            "northing": rows.utm_north,
            "unique_cluster": rows.place_id,
            "control_panel": no,
            "night": night,
            "view_direction": np.full(len(rows), "Sideways"),
        },
        "raw": {
            "lon": rows.lon,
            "lat": rows.lat,
            "ca": rows.heading,
            "captured_at": [f"{year}-{month:02d}-01" for year, month in zip(rows.year, rows.month, strict=True)],
            "pano": no,
        },
        "seq_info": {"sequence_key": rows.panoid, "frame_number": rows.groupby("panoid").cumcount()},
        "subtask_index": {name: is_kind[kinds[asked]] for name, kinds in SUBTASKS.items()},
    }
