"""Pittsburgh and Tokyo in NetVLAD's dbStruct .mat files (Arandjelovic et al. 2016; Torii et al. 2013 and 2015)."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from vpr.data.file_lists import number_by_name
from vpr.data.formats.folders import absolute, find_sides, require_folder
from vpr.data.geotagged import GeotaggedImages, near, zeros_unknown
from vpr.data.images import readable
from vpr.data.retrieval_set import RetrievalSet, check_distance
from vpr.errors import ConfigError, DataAbsent, DataError
from vpr.types import Protocol

# (database, queries) below root or root/raw: as unpacked for pytorch-NetVlad and MixVPR, and as for OpenIBL and WAKD.
PITTSBURGH = ((".", "queries_real"), ("Pittsburgh/images", "Pittsburgh/queries"), ("images", "queries"))
MAT_FOLDERS = ("datasets", ".", "raw")
HERE = "the folder itself"
SIDES = ("database", "queries", "both")
FIELDS = ("dbImageFns", "utmDb", "qImageFns", "utmQ", "numImages", "numQueries", "posDistThr")
DAMAGED = (MatReadError, OSError, ValueError, TypeError, NotImplementedError, IndexError, zlib.error)
ADVICE = "Download it again; a file of your own is saved with -v7 in MATLAB, or with scipy.io.savemat."


class Split(NamedTuple):
    """Both sides of one .mat on this disk, and its radius of a positive in metres."""

    database: GeotaggedImages
    queries: GeotaggedImages
    radius: float


def read(
    root: str | Path,
    mat: str,
    protocol: Protocol,
    radius: float | None = None,
    layouts: Sequence[Sequence[str]] = PITTSBURGH,
    panorama: str | None = None,
    query_short_side: int | None = None,
    source: str = "",
    missing: str = "raise",
) -> RetrievalSet:
    """Read one split.

    Args:
        mat: file name, e.g. `pitts30k_test.mat`; looked for in `root/datasets`, `root` and `root/raw`.
        radius: in metres; None takes posDistThr of the file, which is 25.
        layouts: pairs of (database folder, query folder) below `root` or `root/raw`; the first in which images are
            found is taken, and the suffix that they have there.
        panorama: regular expression; what it matches from the start of a database name is the panorama that the image
            was cut from, and only the nearest cut-out of each counts. None: every image counts.
        query_short_side: pixels of the queries' shorter side, see `RetrievalSet`.
        source: who published the set, and where; for the message if it is not there.
        missing: image files that do not exist: `raise`, `skip`, `ignore`.

    Raises:
        DataError: missing folder, .mat or images, a damaged .mat, or counts other than the protocol's.
        ConfigError: another radius than the protocol id says.
    """
    split = read_split(root, mat, layouts, source)
    radius = split.radius if radius is None else radius
    check_distance(protocol, "radius", radius)
    cuts = None if panorama is None else number_by_name(split.database.files, panorama, "panorama")
    positives = near(split.database, split.queries, radius)
    return RetrievalSet(protocol, split.database.paths, split.queries.paths, positives, cuts, query_short_side).present(
        missing
    )


def photos(
    root: str | Path,
    mat: str,
    side: str = "database",
    layouts: Sequence[Sequence[str]] = PITTSBURGH,
    source: str = "",
) -> GeotaggedImages:
    """Return the images of `side`: `database`, `queries` or `both`, each file once, with positions in UTM metres.

    Headings are all NaN: a .mat has none, and the yaw in the file names is a number within its panorama, whose own
    direction is not published.

    Raises:
        ConfigError: an unknown side; DataError: as in `read`. Images are not looked for one by one.
    """
    if side not in SIDES:
        raise ConfigError(f"side={side} is unknown: choose {', '.join(SIDES)}.")
    split = read_split(root, mat, layouts, source)
    chosen = {"database": split[:1], "queries": split[1:2], "both": split[:2]}[side]
    files = [file for part in chosen for file in part.files]
    # TokyoTM takes its queries from its database.
    first = {file: row for row, file in reversed(list(enumerate(files)))}
    positions = np.concatenate([part.positions for part in chosen])
    return _geotagged(mat, split.database.root, files, positions).take(sorted(first.values()))


def read_split(root: str | Path, mat: str, layouts: Sequence[Sequence[str]], source: str) -> Split:
    """Find the .mat and the folders of its images; arguments and errors as in `read`."""
    folders = [" and ".join(dict.fromkeys(HERE if f in ("", ".") else f for f in pair)) for pair in layouts]
    layout = f"{mat} (or datasets/{mat}) and the images in {', or in '.join(folders)}"
    root = require_folder(root, layout, source)
    with readable(root):
        mats = [root / folder / mat for folder in MAT_FOLDERS if (root / folder / mat).is_file()]
        if not mats:
            raise DataAbsent(f"There is no {mat} in {absolute(root)}. It must hold {layout}. {source}".strip())
        struct = read_mat(mats[0])
        sides = find_sides(root, struct.database, struct.queries, layouts)
    return Split(
        _geotagged(mat, sides.root, sides.database, struct.database_utm),
        _geotagged(mat, sides.root, sides.queries, struct.queries_utm),
        struct.radius,
    )


def _geotagged(mat: str, root: Path, files: list[str], positions: np.ndarray) -> GeotaggedImages:
    unknown, one_city = np.full(len(files), np.nan), np.zeros(len(files), np.int64)
    return GeotaggedImages(Path(mat).stem, root, files, positions, unknown, one_city)


class DbStruct(NamedTuple):
    """Content of a .mat: file names, UTM positions (N, 2) and the radius of a positive, both in metres."""

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
        raise DataError(f"{absolute(path)} cannot be read as a dbStruct .mat: {error}. {ADVICE}") from error
    positions = [_metres(xy, name, path) for xy, name in zip(utm, ("utmDb", "utmQ"), strict=True)]
    if (len(database), len(queries)) != counts or tuple(map(len, positions)) != counts:
        raise DataError(
            f"{path} says {counts[0]:,} database images (numImages) and {counts[1]:,} queries (numQueries), but lists "
            f"{len(database):,} and {len(queries):,} names, {len(positions[0]):,} and {len(positions[1]):,} positions. "
            "Download it again."
        )
    both = zeros_unknown(np.concatenate(positions), path)
    return DbStruct(database, both[: len(database)], queries, both[len(database) :], radius)


def _load(path: Path) -> Any:
    try:
        content = loadmat(path, struct_as_record=False, squeeze_me=True)
    except DAMAGED as error:
        web = not isinstance(error, OSError) and path.read_bytes().lstrip().startswith(b"<")
        reason = "it is a web page, as a download that asks for a log-in leaves" if web else error
        raise DataError(f"{absolute(path)} cannot be read as a dbStruct .mat: {reason}. {ADVICE}") from error
    if "dbStruct" not in content:
        names = ", ".join(key for key in content if not key.startswith("__")) or "nothing"
        raise DataError(f"{absolute(path)} has no dbStruct; it has {names}. {ADVICE}")
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
    """Return (2, N) of the file, or (2,) of a single image, as (N, 2)."""
    if utm.ndim not in (1, 2) or (utm.size and utm.shape[0] != 2):
        raise DataError(f"{field} of {path} has the shape {utm.shape}; it must be (2, N): east and north in metres.")
    return utm.reshape(2, -1).T
