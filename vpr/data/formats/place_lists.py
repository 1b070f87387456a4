"""Training places from a csv with one image a row (`read_csv`), or from one folder a place (`read_folder`)."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from vpr.data.formats.folders import absolute, list_images, require_folder
from vpr.data.images import readable
from vpr.data.places import Places, group_by_place
from vpr.errors import ConfigError, DataError

BOUNDS = {"lt": operator.lt, "le": operator.le, "gt": operator.gt, "ge": operator.ge, "ne": operator.ne}
LAYOUT = "one sub-folder a place, with its images in it"


def read_csv(
    root: str | Path,
    csv: str = "index.csv",
    path: str = "path",
    place_id: str = "place_id",
    group: str | None = None,
    where: Mapping[str, Any] | None = None,
    min_images_per_place: int = 2,
    name: str = "places",
    source: str = "",
) -> Places:
    """Read the rows of `root/csv` that pass `where`; images of equal `place_id` (and `group`) are one place.

    Args:
        csv: a name below `root`, or an absolute path.
        path: column with the image, relative to `root`.
        place_id: column with the place; numbers or words.
        group: column with the city or sequence, which in-city batches follow.
        where: filters as in `read_rows`.
        min_images_per_place: places with fewer images are left out.
        source: who published the set, and where; for the message if it is not there.

    Raises:
        DataError: no such folder, file or column, no row is left, or no place with enough images.
    """
    columns = [path, place_id, *([group] if group else [])]
    root = require_folder(root, f"{csv} with the columns {', '.join(columns)}, and the images", source)
    rows = read_rows(root / csv, columns, where, text=[path])
    return group_by_place(
        name, root, list(rows[path]), rows[place_id], rows[group] if group else None, min_images_per_place
    )


def read_folder(root: str | Path, min_images_per_place: int = 2, name: str = "places") -> Places:
    """Read `root/<place>/<images>`; places with fewer images than `min_images_per_place` are left out.

    Raises:
        DataError: no such folder, no sub-folders, an empty sub-folder, or no place with enough images.
    """
    root = require_folder(root, LAYOUT)
    with readable(root):
        folders = sorted(entry.name for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    if not folders:
        raise DataError(f"There are no sub-folders in {absolute(root)}. It must hold {LAYOUT}.")
    rows = [(folder, image) for folder in folders for image in list_images(root / folder)]
    files = [f"{folder}/{image}" for folder, image in rows]
    return group_by_place(name, root, files, [folder for folder, _ in rows], None, min_images_per_place)


def _header(csv: Path) -> list[str]:
    return list(map(str, pd.read_csv(csv, nrows=0, skipinitialspace=True).columns))


def columns_of(csv: Path, columns: Sequence[str]) -> list[str]:
    """Return the columns of a csv, those of these names as `read_rows` finds them; none where it cannot be read."""
    try:
        header = _header(csv)
    except (OSError, ValueError):
        return []
    names = _spelt(header, columns)
    return [names.get(column, column) for column in header]


def read_rows(
    csv: Path, columns: Sequence[str], where: Mapping[str, Any] | None = None, text: Sequence[str] = ()
) -> pd.DataFrame:
    """Read the rows of a csv that pass all filters.

    Args:
        columns: those that must be there and filled.
        where: {column: value}, {column: [value, ...]} or {column: {lt|le|gt|ge|ne: value}}.
        text: columns to read as they stand: `007` is no number there.

    Raises:
        DataError: no such file or column, an empty cell, or no row is left.
        ConfigError: an unknown bound.
    """
    where = where or {}
    try:
        names = _spelt(_header(csv), [*columns, *where, *text])
        written = {name: column for column, name in names.items()}
        dtypes = {written.get(column, column): str for column in text}
        frame = pd.read_csv(csv, dtype=dtypes, keep_default_na=False, na_values=[""], skipinitialspace=True)
    except FileNotFoundError as error:
        raise DataError(
            f"There is no file {absolute(csv)}. It must be a csv with the columns {', '.join(columns)}."
        ) from error
    except OSError as error:
        raise DataError(f"{absolute(csv)} cannot be read: {error.strerror}.") from error
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise DataError(f"{csv} cannot be read as csv: {_coding(csv) or error}.{_GIVE}") from error
    frame = frame.rename(columns=names)
    absent = [column for column in dict.fromkeys([*columns, *where]) if column not in frame]
    if absent:
        header = ", ".join(map(str, frame.columns))
        raise DataError(f"{csv} has no column {', '.join(absent)}; it has {header}.{_separated(header)}")
    for column, condition in where.items():
        try:
            frame = frame[_passes(frame[column], condition, column)]
        except TypeError as error:  # text and number
            raise DataError(f"Column {column} of {csv} cannot be compared with {condition}: {error}.") from error
    if frame.empty:
        left = f"no row that passes the filter {dict(where)}" if where else "a header and no rows"
        raise DataError(f"{absolute(csv)} has {left}.")
    empty = frame[list(columns)].isna().to_numpy()
    if empty.any():
        row, column = np.argwhere(empty)[0]
        # Lines count from 1, and the header is one.
        raise DataError(
            f"Line {frame.index[row] + 2} of {csv} has no {columns[column]}. Fill it in or remove the line."
        )
    return frame.reset_index(drop=True)


def numbers(rows: pd.DataFrame, column: str) -> np.ndarray:
    """Return a column as (N,) float64, NaN where there is no number: True and False are none, nor a missing column."""
    values = rows.get(column, pd.Series(np.nan, index=rows.index))
    boolean = values.map(lambda value: isinstance(value, bool | np.bool_))
    return pd.to_numeric(values.mask(boolean.astype(bool)), errors="coerce").to_numpy(float)


_GIVE = " Give a comma separated file with a header, saved as UTF-8."


def _coding(csv: Path) -> str:
    """Return the coding of a text that is not UTF-8, as spreadsheets write it, by its first bytes."""
    with open(csv, "rb") as file:
        start = file.read(2)
    return "it is UTF-16" if start in (b"\xff\xfe", b"\xfe\xff") else ""


def _spelt(header: Sequence[str], columns: Sequence[str]) -> dict[str, str]:
    """Map what stands in a header to the names of these columns, whatever the blanks, and the case where it is clear.

    >>> _spelt(["path", " Lat", "LON "], ["path", "lat", "lon"])
    {' Lat': 'lat', 'LON ': 'lon'}
    """
    names: dict[str, str] = {}
    for name in dict.fromkeys(columns):
        if name in header:
            continue
        near = [column for column in header if column.strip() == name]
        near = near or [column for column in header if column.strip().casefold() == name.casefold()]
        if len(near) == 1:
            names[near[0]] = name
    return names


def _separated(header: str) -> str:
    """Return advice about a csv as spreadsheets of many countries write it."""
    sign = next((name for sign, name in ((";", "semicolons"), ("\t", "tabs")) if sign in header), None)
    return f" Its columns are separated by {sign}: write commas, and points in numbers." if sign else ""


def _passes(values: pd.Series, condition: Any, column: str) -> pd.Series:
    if isinstance(condition, Mapping):
        mask = pd.Series(True, index=values.index)
        for bound, limit in condition.items():
            if bound not in BOUNDS:
                raise ConfigError(f"where.{column}.{bound} is unknown: choose {', '.join(BOUNDS)}.")
            mask &= BOUNDS[bound](values, limit)
        return mask
    if isinstance(condition, Sequence) and not isinstance(condition, str):
        return values.isin(list(condition))
    return values == condition
