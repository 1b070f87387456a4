"""Mapillary Street-Level Sequences in its official layout (Warburg et al., CVPR 2020): csv files by city."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from vpr.data.formats.folders import absolute, require_folder
from vpr.data.formats.place_lists import numbers, read_rows
from vpr.data.geotagged import GeotaggedImages, near
from vpr.data.retrieval_set import RetrievalSet, check_distance
from vpr.errors import ConfigError, DataAbsent, DataError
from vpr.types import Protocol

SPLITS = ("train_val", "test")
FOLDERS = ("database", "query")
LAYOUT = "train_val/<city>/{database,query}/{images/<key>.jpg, *.csv}, and test/<city>/... for the test cities"
SOURCE = (
    "MSLS is published by Mapillary at mapillary.com/dataset/places, after its licence is accepted: "
    "msls_images_vol_1 to 6.zip, msls_patch_v1.1.zip, and msls_metadata.zip with the csv files."
)
# UTM: eastings of a zone and what is beyond its border in metres; northings count from the equator or its false origin.
EASTING, NORTHING = (100_000, 900_000), (-10_000_000, 10_000_000)
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
            `o2n`, `n2o` (old, new), `d2n`, `n2d` (day, night); None takes every image.
        radius: of a positive, in metres.
        keep_unmatched: keep the queries without positives, which the official evaluation drops; the protocol's
            `no_positives` then says what becomes of them.
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
) -> GeotaggedImages:
    """List the images of some cities that are no panoramas, with UTM positions and compass angles; a group is a city.

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
    return GeotaggedImages(
        "msls",
        root,
        rows.file.tolist(),
        rows[["easting", "northing"]].to_numpy(float),
        rows.heading.to_numpy(float),
        rows.city.to_numpy(np.int64),
    )


def require_root(root: str | Path, source: str) -> Path:
    """Return the folder as a Path; raises DataAbsent if it has neither train_val nor test."""
    root = require_folder(root, LAYOUT, source)
    if not any((root / split).is_dir() for split in SPLITS):
        raise DataAbsent(f"There is no {' or '.join(SPLITS)} in {absolute(root)}. It must hold {LAYOUT}. {source}")
    return root


def city_folder(root: Path, city: str, source: str) -> Path:
    """Find a city among training, validation and test cities."""
    for split in SPLITS:
        if (root / split / city).is_dir():
            return root / split / city
    known = sorted(folder.name for split in SPLITS for folder in root.glob(f"{split}/*") if folder.is_dir())
    raise DataError(
        f"There is no city {city} in {absolute(root)} (there: {', '.join(known) or 'none'}). Extract all archives into "
        f"this folder. {source}"
    )


def read_csv(csv: Path, columns: Sequence[str], text: Sequence[str]) -> pd.DataFrame:
    """Read the named columns of one of the csv files of a city, whose key is text."""
    if not csv.is_file():
        raise DataError(
            f"There is no file {absolute(csv)}. The csv files come apart from the images, in msls_metadata.zip: "
            "extract it into the same folder. Positions of the test cities are published since April 2026 only."
        )
    return read_rows(csv, ["key", *columns], text=["key", *text])


def flags(rows: pd.DataFrame, column: str, csv: Path) -> np.ndarray:
    """Turn a column of True and False, read as text, into (N,) bool."""
    values = rows[column].str.strip().str.lower().map({"true": True, "false": False})
    if values.isna().any():
        line = int(np.flatnonzero(values.isna())[0])
        raise DataError(
            f"Line {line + 2} of {csv} has {rows[column].iloc[line]!r} for {column}; expected True or False. Extract "
            "msls_metadata.zip again."
        )
    return values.to_numpy(bool)


def read_side(root: Path, folder: Path, subtask: str | None) -> pd.DataFrame:
    """Return file, position and heading of the images in `<city>/{database,query}`, in the order of the csv."""
    places = read_csv(folder / "postprocessed.csv", ["easting", "northing"], [])
    _check_positions(places, folder / "postprocessed.csv")
    raw = read_csv(folder / "raw.csv", ["pano"], ["pano"])
    _check_same_keys(places, raw, folder, "raw.csv")
    kept = ~flags(raw, "pano", folder / "raw.csv")
    if subtask is not None:
        chosen = read_csv(folder / "subtask_index.csv", [subtask], [subtask])
        _check_same_keys(places, chosen, folder, "subtask_index.csv")
        kept &= flags(chosen, subtask, folder / "subtask_index.csv")
    if "ca" not in raw:
        raise DataError(f"{folder / 'raw.csv'} has no column ca, the compass angle. Extract msls_metadata.zip again.")
    images = (folder / "images").relative_to(root).as_posix()
    rows = pd.DataFrame(
        {
            "file": [f"{images}/{key}.jpg" for key in places.key],
            "easting": places.easting,
            "northing": places.northing,
            "heading": numbers(raw, "ca") % 360,
        }
    )
    return rows[kept]


def _check_positions(places: pd.DataFrame, csv: Path) -> None:
    for column, (low, high) in (("easting", EASTING), ("northing", NORTHING)):
        values = numbers(places, column)
        wrong = ~((values >= low) & (values <= high))
        if wrong.any():
            line = int(np.flatnonzero(wrong)[0])
            raise DataError(
                f"Line {line + 2} of {csv} has {column} {places[column].iloc[line]}; expected UTM metres from "
                f"{low:,} to {high:,}. Are they degrees, or easting and northing swapped? Extract msls_metadata.zip "
                "again."
            )


def _check_same_keys(places: pd.DataFrame, other: pd.DataFrame, folder: Path, name: str) -> None:
    if list(places.key) != list(other.key):
        raise DataError(
            f"{folder / name} does not list the images of postprocessed.csv beside it ({len(other):,} and "
            f"{len(places):,} rows). Extract msls_metadata.zip again."
        )
