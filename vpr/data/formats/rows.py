"""A csv with one image a row, and filters on its columns."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from vpr.data.formats.layout import absolute
from vpr.errors import ConfigError, DataError

BOUNDS = {"lt": operator.lt, "le": operator.le, "gt": operator.gt, "ge": operator.ge, "ne": operator.ne}


def read_rows(
    csv: Path, columns: Sequence[str], where: Mapping[str, Any] | None = None, text: Sequence[str] = ()
) -> pd.DataFrame:
    """Read the rows that pass all filters.

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
        frame = pd.read_csv(csv, dtype=dict.fromkeys(text, str), keep_default_na=False, na_values=[""])
    except FileNotFoundError as error:
        raise DataError(
            f"There is no file {absolute(csv)}. It must be a csv with the columns {', '.join(columns)}."
        ) from error
    except OSError as error:
        raise DataError(f"{absolute(csv)} cannot be read: {error.strerror}.") from error
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise DataError(f"{csv} cannot be read as csv: {error}. Give a comma separated file with a header.") from error
    absent = [column for column in dict.fromkeys([*columns, *where]) if column not in frame]
    if absent:
        there = ", ".join(map(str, frame.columns))
        raise DataError(f"{csv} has no column {', '.join(absent)}; it has {there}.{_separated(there)}")
    for column, wanted in where.items():
        try:
            frame = frame[_passes(frame[column], wanted, column)]
        except TypeError as error:  # text and number
            raise DataError(f"Column {column} of {csv} cannot be compared with {wanted}: {error}.") from error
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


def _separated(header: str) -> str:
    """What to do about a csv as spreadsheets of many countries write it."""
    sign = next((name for sign, name in ((";", "semicolons"), ("\t", "tabs")) if sign in header), None)
    return f" Its columns are separated by {sign}: write commas, and points in numbers." if sign else ""


def _passes(values: pd.Series, wanted: Any, column: str) -> pd.Series:
    if isinstance(wanted, Mapping):
        mask = pd.Series(True, index=values.index)
        for bound, limit in wanted.items():
            if bound not in BOUNDS:
                raise ConfigError(f"where.{column}.{bound} is unknown: choose {', '.join(BOUNDS)}.")
            mask &= BOUNDS[bound](values, limit)
        return mask
    if isinstance(wanted, Sequence) and not isinstance(wanted, str):
        return values.isin(list(wanted))
    return values == wanted
