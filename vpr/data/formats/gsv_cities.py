"""GSV-Cities: Google Street View images of 23 cities (Ali-bey et al., Neurocomputing 2022)."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from vpr.data.formats.folders import absolute, is_image, require_file, require_folder
from vpr.data.formats.place_lists import read_rows
from vpr.data.places import Places, group_by_place
from vpr.errors import DataError

COLUMNS = ("place_id", "year", "month", "northdeg", "city_id", "lat", "lon", "panoid")
NUMBERS = ("place_id", "year", "month", "northdeg")
LAYOUT = "Dataframes/<City>.csv and Images/<City>/*.jpg"
SOURCE = "The set is published by A. Ali-bey: github.com/amaralibey/gsv-cities."
ID_STEP = 100_000


def read(root: str | Path, cities: Sequence[str] | None = None, min_images_per_place: int = 4) -> Places:
    """Read the places of some cities, one group a city, the most recent image of a place first.

    Args:
        cities: in the order in which place ids are given out (city i gets `place_id + i * 100,000`); None takes every
            csv that is there, by name.
        min_images_per_place: places with fewer images are left out.

    Raises:
        DataError: a missing folder, city or column, or no place with enough images.
    """
    root = require_folder(root, LAYOUT, SOURCE)
    if cities is None:
        cities = sorted(csv.stem for csv in (root / "Dataframes").glob("*.csv"))
        if not cities:
            raise DataError(
                f"There are no csv files in {absolute(root / 'Dataframes')}. {root} must hold {LAYOUT}. {SOURCE}"
            )
    rows = pd.concat([_read_city(root, city, number) for number, city in enumerate(cities)], ignore_index=True)
    return group_by_place("gsv-cities", root, list(rows.file), rows.id, rows.city, min_images_per_place)


def _read_city(root: Path, city: str, number: int) -> pd.DataFrame:
    """Return files, place ids and city number of one csv, latest images first (by year, month, latitude)."""
    csv = root / "Dataframes" / f"{city}.csv"
    others = len(list(csv.parent.glob("*.csv")))
    if others and not csv.is_file():
        raise DataError(
            f"There is no file {absolute(csv)}, but those of {others} other cities are there. "
            f"Extract the archive again, or choose cities: dataset.train.gsv_cities.cities=[...]. {SOURCE}"
        )
    require_file(csv, LAYOUT, SOURCE)
    rows = read_rows(csv, COLUMNS, text=["city_id", "lat", "lon", "panoid"])
    wrong = [column for column in NUMBERS if rows[column].dtype == bool]
    if wrong:
        raise DataError(f"{csv} has True and False in the column {wrong[0]}, and must have numbers. Download it again.")
    try:
        # Python's own float() is exact in every version of pandas; the file names show each digit.
        rows = rows.assign(lat=rows.lat.map(float), lon=rows.lon.map(float)).astype(dict.fromkeys(NUMBERS, int))
    except ValueError as error:
        raise DataError(f"{csv} has something else than a number: {error}. Download it again.") from error
    rows = rows.sort_values(["year", "month", "lat"], ascending=False, kind="stable")
    folder = f"Images/{rows.city_id.iloc[0]}"
    suffix = _suffix(root / folder)
    files = [
        f"{folder}/{city_id}_{place % ID_STEP:07d}_{year:04d}_{month:02d}_{degrees:03d}_{lat}_{lon}_{panoid}{suffix}"
        for place, year, month, degrees, city_id, lat, lon, panoid in zip(
            *(rows[column].tolist() for column in COLUMNS), strict=True
        )
    ]
    return pd.DataFrame({"file": files, "id": rows.place_id.to_numpy() + number * ID_STEP, "city": number})


def _suffix(folder: Path) -> str:
    """Return `.jpg` or `.JPG`, by one image of the city: copies of the set differ."""
    if folder.is_dir():
        with os.scandir(folder) as entries:
            for entry in entries:
                if is_image(entry.name):
                    return os.path.splitext(entry.name)[1]
    raise DataError(f"There are no images in {absolute(folder)}. The set must hold {LAYOUT}. {SOURCE}")
