"""The csv files of Mapillary Street-Level Sequences (Warburg et al., CVPR 2020), city by city and side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from vpr.data.formats.layout import absolute, require_folder
from vpr.data.formats.rows import read_rows
from vpr.errors import DataAbsent, DataError

SPLITS = ("train_val", "test")
FOLDERS = ("database", "query")
LAYOUT = "train_val/<city>/{database,query}/{images/<key>.jpg, *.csv}, and test/<city>/... for the test cities"
SOURCE = (
    "MSLS is published by Mapillary at mapillary.com/dataset/places, after its licence is accepted: "
    "msls_images_vol_1 to 6.zip, msls_patch_v1.1.zip, and msls_metadata.zip with the csv files."
)
# UTM: eastings of a zone and what is beyond its border in metres; northings count from the equator or its false origin.
EASTING, NORTHING = (100_000, 900_000), (-10_000_000, 10_000_000)


def require_root(root: str | Path, source: str) -> Path:
    """Give the folder as a Path; raises DataAbsent if it has neither train_val nor test."""
    root = require_folder(root, LAYOUT, source)
    if not any((root / split).is_dir() for split in SPLITS):
        raise DataAbsent(f"There is no {' or '.join(SPLITS)} in {absolute(root)}. It must hold {LAYOUT}. {source}")
    return root


def city_folder(root: Path, city: str, source: str) -> Path:
    """Find a city among training, validation and test cities."""
    for split in SPLITS:
        if (root / split / city).is_dir():
            return root / split / city
    there = sorted(folder.name for split in SPLITS for folder in root.glob(f"{split}/*") if folder.is_dir())
    raise DataError(
        f"There is no city {city} in {absolute(root)} (there: {', '.join(there) or 'none'}). Extract all archives into "
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
    """File, position and heading of the photos in `<city>/database` or `<city>/query`, in the order of the csv."""
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
            "heading": pd.to_numeric(raw.ca, errors="coerce") % 360,
        }
    )
    return rows[kept]


def _check_positions(places: pd.DataFrame, csv: Path) -> None:
    for column, (low, high) in (("easting", EASTING), ("northing", NORTHING)):
        values = pd.to_numeric(places[column], errors="coerce")
        wrong = ~values.between(low, high)
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
            f"{folder / name} does not list the photos of postprocessed.csv beside it ({len(other):,} and "
            f"{len(places):,} rows). Extract msls_metadata.zip again."
        )
