"""NetVLAD's dbStruct .mat files themselves: names, positions, radius of a positive (Arandjelovic et al. 2016)."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from vpr.data.formats.layout import absolute
from vpr.errors import DataError

FIELDS = ("dbImageFns", "utmDb", "qImageFns", "utmQ", "numImages", "numQueries", "posDistThr")
DAMAGED = (MatReadError, OSError, ValueError, TypeError, NotImplementedError, IndexError, zlib.error)
AGAIN = "Download it again; a file of your own is saved with -v7 in MATLAB, or with scipy.io.savemat."


class DbStruct(NamedTuple):
    """What a .mat says: file names, UTM positions (N, 2) and the radius of a positive, both in metres."""

    database: list[str]
    database_utm: np.ndarray
    queries: list[str]
    queries_utm: np.ndarray
    radius: float


def read_mat(path: Path) -> DbStruct:
    """Read the fields by name: their order differs between Pittsburgh and TokyoTM.

    Raises:
        DataError: a damaged file, one without these fields, or one that contradicts itself.
    """
    struct = _load(path)
    try:
        database, queries = ([str(name) for name in np.atleast_1d(f)] for f in (struct.dbImageFns, struct.qImageFns))
        # int(): numImages is an uint16 in some files, and sums of it would overflow.
        counts = int(struct.numImages), int(struct.numQueries)
        radius = float(struct.posDistThr)
        utm = [np.asarray(xy, float) for xy in (struct.utmDb, struct.utmQ)]
    except DAMAGED as error:
        raise DataError(f"{absolute(path)} cannot be read as a dbStruct .mat: {error}. {AGAIN}") from error
    positions = [_metres(xy, name, path) for xy, name in zip(utm, ("utmDb", "utmQ"), strict=True)]
    if (len(database), len(queries)) != counts or tuple(map(len, positions)) != counts:
        raise DataError(
            f"{path} says {counts[0]:,} database images (numImages) and {counts[1]:,} queries (numQueries), but lists "
            f"{len(database):,} and {len(queries):,} names, {len(positions[0]):,} and {len(positions[1]):,} positions. "
            "Download it again."
        )
    return DbStruct(database, positions[0], queries, positions[1], radius)


def _load(path: Path) -> Any:
    try:
        content = loadmat(path, struct_as_record=False, squeeze_me=True)
    except DAMAGED as error:
        web = not isinstance(error, OSError) and path.read_bytes().lstrip().startswith(b"<")
        found = "it is a web page, as a download that asks for a log-in leaves" if web else error
        raise DataError(f"{absolute(path)} cannot be read as a dbStruct .mat: {found}. {AGAIN}") from error
    if "dbStruct" not in content:
        found = ", ".join(key for key in content if not key.startswith("__")) or "nothing"
        raise DataError(f"{absolute(path)} has no dbStruct; it has {found}. {AGAIN}")
    struct = content["dbStruct"]
    have = getattr(struct, "_fieldnames", [])
    absent = [field for field in FIELDS if field not in have]
    if absent:
        raise DataError(
            f"The dbStruct of {absolute(path)} has no field {', '.join(absent)}; it has {', '.join(have) or 'none'}. "
            "Download it again."
        )
    return struct


def _metres(utm: np.ndarray, field: str, path: Path) -> np.ndarray:
    """Give (2, N) of the file, or (2,) of a single image, as (N, 2)."""
    if utm.ndim not in (1, 2) or (utm.size and utm.shape[0] != 2):
        raise DataError(f"{field} of {path} has the shape {utm.shape}; it must be (2, N): east and north in metres.")
    return utm.reshape(2, -1).T
