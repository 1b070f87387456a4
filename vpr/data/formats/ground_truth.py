"""Ground truth files of other benchmarks: numpy object arrays, read without executing what a pickle may hold."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import ArrayLike

from vpr.data.formats.layout import absolute
from vpr.errors import DataError

log = logging.getLogger(__name__)

# What numpy itself writes into an object array of lists, numbers and arrays; numpy < 2 says `numpy.core`.
_ALLOWED = {
    (f"numpy.{core}.{module}", name)
    for core in ("core", "_core")
    for module, names in (("multiarray", ("_reconstruct", "scalar")), ("numeric", ("_frombuffer",)))
    for name in names
} | {("numpy", "ndarray"), ("numpy", "dtype")}


class _NumpyOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which is no numpy array")
        return super().find_class(module, name)


def load_npy(path: Path) -> np.ndarray:
    """Load an array, objects included.

    Raises:
        DataError: no such file, a damaged one, or one that wants to run anything but numpy's own array code.
    """
    try:
        with path.open("rb") as file:
            return _load(file)
    except FileNotFoundError as error:
        raise DataError(f"There is no file {absolute(path)}. Get it from where the set's other files are.") from error
    except (OSError, ValueError, EOFError, pickle.UnpicklingError, AttributeError, IndexError, TypeError) as error:
        raise DataError(f"{absolute(path)} cannot be read as .npy: {error}. Download it again.") from error


def _load(file: BinaryIO) -> np.ndarray:
    version = np.lib.format.read_magic(file)
    header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = header(file)
    if dtype.hasobject:
        return np.asarray(_NumpyOnly(file).load(), dtype=object).reshape(shape)
    file.seek(0)
    return np.load(file, allow_pickle=False)


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
