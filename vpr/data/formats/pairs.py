"""Two traverses, database and queries, from folders or selections of a csv; positives by frame number or from a file.

The files of positives are numpy object arrays of other benchmarks, see `vpr.data.npy`.
"""

from __future__ import annotations

import gzip
import logging
import os
import re
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from vpr.data.formats.folders import absolute, list_images, require_folder
from vpr.data.formats.place_lists import numbers, read_rows
from vpr.data.npy import load_npy
from vpr.data.retrieval_set import RetrievalSet, check_distance, positives_within
from vpr.errors import ConfigError, DataAbsent, DataError
from vpr.types import Protocol

log = logging.getLogger(__name__)

Selection = str | Sequence[str] | Mapping[str, Any]

MOST_TEXT = 1 << 30  # bytes of a list of names: ten million of a hundred characters
_LAST_NUMBER = re.compile(r"\d+(?=\D*$)")


class Side(NamedTuple):
    """Images of one traverse and the frame number of each."""

    paths: list[Path]
    frames: np.ndarray


def read(
    root: str | Path,
    protocol: Protocol,
    database: Selection,
    queries: Selection,
    tolerance: float | None = None,
    ground_truth: str | Sequence[str] | None = None,
    names: str | None = None,
    csv: str = "index.csv",
    path: str = "path",
    frame: str = "frame",
    source: str = "",
    missing: str = "raise",
) -> RetrievalSet:
    """Read two traverses.

    Args:
        database, queries: a folder below `root`, or several ones in a row, whose images are frames 0, 1, 2 ... in
            natural order of their names; or a filter on `root/csv` (see `place_lists`), with the image in
            column `path` and its number in column `frame`.
        tolerance: positives are the database images whose frame differs by at most this.
        ground_truth: instead of a tolerance, a `ground_truth_new.npy` of VPR-Bench or a `*_gt.npy` of gsv-cities below
            `root`; of several names, the first that is there.
        names: text file below `root` with the names of those images of each folder that are used, in order.
        source: who published the set, and where; for the message if it is not there.
        missing: image files that do not exist: `raise`, `skip`, `ignore`. In folders, the file names of the others must
            tell which ones they are (see `vpr.data.formats.pairs`).

    Raises:
        ConfigError: not exactly one of tolerance and ground_truth, or another tolerance than the protocol id says.
        DataError: missing files, or counts other than the protocol's.
    """
    if (tolerance is None) == (ground_truth is None):
        raise ConfigError(f"{protocol.id}: give either tolerance (in frames) or ground_truth (an .npy file).")
    if tolerance is not None:
        check_distance(protocol, "tolerance", tolerance)
    truths = [ground_truth] if isinstance(ground_truth, str) else list(ground_truth or ())
    folders = [folder for side in (database, queries) for folder in _folders(side)]
    listed = [f"{csv} and the images it names" for side in (database, queries) if isinstance(side, Mapping)]
    files = [names, " or ".join(truths), *listed]
    layout = " and ".join(dict.fromkeys([*folders, *filter(None, files)]))
    root = require_folder(root, layout, source)
    if folders and not any(os.path.isdir(root / folder) for folder in folders):
        raise DataAbsent(
            f"There is no folder {' or '.join(folders)} in {absolute(root)}. It must hold {layout}. {source}".strip()
        )
    sides = [
        _read_side(root, side, count, names, csv, path, frame)
        for side, count in ((database, protocol.database), (queries, protocol.queries))
    ]
    if tolerance is None:
        file = next((root / name for name in truths if os.path.isfile(root / name)), root / truths[0])
        positives = read_positives(file, len(sides[0].paths), len(sides[1].paths))
    else:
        positives = positives_within(sides[0].frames, sides[1].frames, tolerance)
    return RetrievalSet(protocol, sides[0].paths, sides[1].paths, positives).present(missing)


def _folders(side: Selection) -> list[str]:
    if isinstance(side, Mapping):
        return []
    return [side] if isinstance(side, str) else list(side)


def _read_side(
    root: Path, side: Selection, expected: int | None, names: str | None, csv: str, path: str, frame: str
) -> Side:
    if not isinstance(side, Mapping):
        paths = list_frames(root, _folders(side), expected, names)
        return Side(paths, np.arange(len(paths)))
    rows = read_rows(root / csv, [path, frame], side, text=[path])
    frames = numbers(rows, frame)
    if np.isnan(frames).any():
        wrong = rows.loc[np.isnan(frames)].iloc[0]
        raise DataError(f"{absolute(root / csv)}: {wrong[frame]!r} is no {frame} number (image {wrong[path]}).")
    return Side([root / name for name in rows[path]], frames)


def list_frames(
    root: Path, folders: Sequence[str], expected: int | None = None, names: str | None = None
) -> list[Path]:
    """List the frames 0, 1, 2 ... of one traverse.

    Args:
        folders: below `root`, one after the other, each in natural order of its names.
        expected: their number. Where some are absent, the numbers in the names of the others (0 to
            expected - 1) say which: the frames keep their numbers, and an absent one gets the path that it should have.
        names: text file below `root` with one file name a line: these frames of the only folder, in this order.

    Raises:
        ConfigError: names for several folders.
        DataError: a folder or list cannot be read, or it cannot be told which frames are absent.
    """
    if names is not None:
        if len(folders) != 1:
            raise ConfigError(f"names={names} chooses frames of one folder, not of {', '.join(folders)}.")
        return [root / folders[0] / name for name in read_lines(root / names)]
    paths = [root / folder / name for folder in folders for name in list_images(root / folder)]
    if expected is None or len(paths) == expected:
        return paths
    numbers = [_number(path) for path in paths]
    if len(paths) > expected or min(numbers) != 0 or max(numbers) >= expected or len(set(numbers)) < len(numbers):
        raise DataError(
            f"{' + '.join(absolute(root / folder) for folder in folders)}: {expected:,} images are expected, but "
            f"{len(paths):,} were found (first: {paths[0].name}), and their names are no frame numbers from 0 to "
            f"{expected - 1} that would tell which ones to leave out. Extract the archive again."
        )
    return _with_gaps(dict(zip(numbers, paths, strict=True)), expected)


def read_lines(path: Path) -> list[str]:
    """Read the lines of a text file that are not empty; a name that ends in .gz is unpacked.

    Raises:
        DataError: no such file, or no UTF-8 text with at least one line.
    """
    try:
        with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as file:
            content = file.read(MOST_TEXT + 1)
        if len(content) > MOST_TEXT:
            raise ValueError(f"it unpacks to more than {MOST_TEXT >> 20} MiB")
        text = content.decode("utf-8-sig")
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise DataError(f"{absolute(path)} cannot be read as a list of names: {error}.") from error
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        raise DataError(f"{absolute(path)} is empty; expected one file name a line.")
    return lines


def _number(path: Path) -> int:
    """Return the last number in the name; -1 where there is none."""
    number = _LAST_NUMBER.search(path.stem)
    return int(number.group()) if number else -1


def _with_gaps(frames: dict[int, Path], expected: int) -> list[Path]:
    paths = [frames[0]]
    for number in range(1, expected):
        paths.append(frames.get(number) or _renumbered(paths[-1], number))
    return paths


def _renumbered(like: Path, number: int) -> Path:
    """Return the path that frame `number` has if it is named as the frame before it."""
    stem = _LAST_NUMBER.sub(lambda old: str(number).zfill(len(old.group())), like.stem, count=1)
    return like.with_name(stem + like.suffix)


def clean_positives(rows: Sequence[ArrayLike], database: int, name: str) -> list[np.ndarray]:
    """Sort each query's database rows, drop repeated ones, and those outside `0 <= row < database` with a warning.

    Raises:
        DataError: something in the rows is no whole number.
    """
    arrays = [np.unique(_numbers(row, query, name)) for query, row in enumerate(rows)]
    kept = [array[(array >= 0) & (array < database)] for array in arrays]
    dropped = sum(map(len, arrays)) - sum(map(len, kept))
    if dropped:
        queries = sum(len(before) > len(after) for before, after in zip(arrays, kept, strict=True))
        log.warning(
            "%s: left out %d positives of %d queries that are no rows of the %d database images.",
            *(name, dropped, queries, database),
        )
    return kept


def _numbers(row: ArrayLike, query: int, name: str) -> np.ndarray:
    try:
        array = np.asarray(row).ravel()
        with np.errstate(invalid="ignore"):  # NaN is caught below
            numbers = array.astype(np.int64)
    except (ValueError, TypeError) as error:
        raise DataError(f"{name}: the positives of query {query} are no database rows: {error}.") from error
    if array.dtype.kind not in "iufO" or not np.array_equal(array, numbers):
        raise DataError(f"{name}: the positives of query {query} are no whole numbers, but {array[:3]}.")
    return numbers


def read_positives(path: Path, database: int, queries: int) -> list[np.ndarray]:
    """Read either form in use; they are told apart by what they hold.

    VPR-Bench's `ground_truth_new.npy` (Zaffar et al., IJCV 2021) has rows of [query number, [database rows]], and
    queries without a row have no positives. `*_gt.npy` of gsv-cities has the database rows of each query.

    Raises:
        DataError: neither form, or a query number that the set does not have.
    """
    table = load_npy(path)
    if table.dtype == object and table.ndim == 2 and all(np.ndim(references) == 1 for references in table[:, -1]):
        return _by_query(table, path, database, queries)
    if table.ndim not in (1, 2) or len(table) != queries:
        raise DataError(f"{absolute(path)} has {len(table) if table.ndim else 0:,} rows for {queries:,} queries.")
    return clean_positives(list(table), database, str(path))


def _by_query(table: np.ndarray, path: Path, database: int, queries: int) -> list[np.ndarray]:
    if table.shape[1] != 2:
        raise DataError(f"{path} has the shape {table.shape}; expected rows of [query, [database rows]].")
    rows: list[ArrayLike] = [[] for _ in range(queries)]
    for query, references in table:
        if not isinstance(query, int | np.integer) or not 0 <= query < queries:
            raise DataError(f"{path} speaks of query {query}, but there are {queries} queries (0 to {queries - 1}).")
        rows[int(query)] = references
    return clean_positives(rows, database, str(path))
