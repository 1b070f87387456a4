"""Lists of Patch-NetVLAD: image names as .txt, positions as .npz (Hausler et al., CVPR 2021)."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from vpr.data.formats.folders import absolute, require_lists
from vpr.data.formats.pairs import read_lines
from vpr.data.geotagged import GeotaggedImages, near, zeros_unknown
from vpr.data.retrieval_set import RetrievalSet, check_distance
from vpr.errors import DataError
from vpr.files import check_archive
from vpr.types import Protocol

MOST = 1 << 28  # bytes of positions: sixteen million of two numbers


class GroundTruth(NamedTuple):
    """Positions (N, 2) and the distance up to which two of them are one place, in one unit."""

    database: np.ndarray
    queries: np.ndarray
    radius: float


def read_npz(path: Path) -> GroundTruth:
    """Read `utmDb`, `utmQ` and `posDistThr`.

    Metres for Pittsburgh and Tokyo. In nordland.npz frame i lies at (i, i), and frames up to 10 apart by that measure
    are one place: within 7 frames, since each is sqrt(2) from the next.

    Raises:
        DataError: no such file, a damaged one, or one without these fields.
    """
    try:
        check_archive(path, MOST)
        with np.load(path, allow_pickle=False) as fields:
            database, queries = (np.asarray(fields[key], float).reshape(-1, 2) for key in ("utmDb", "utmQ"))
            both = zeros_unknown(np.concatenate([database, queries]), path)
            return GroundTruth(both[: len(database)], both[len(database) :], float(fields["posDistThr"]))
    except Exception as error:  # numpy parses headers as Python: TokenError, RecursionError and others
        raise DataError(f"{absolute(path)} cannot be read as ground truth .npz: {error}. Download it again.") from error


def read(
    root: str | Path,
    protocol: Protocol,
    database: str,
    queries: str,
    ground_truth: str,
    prefix: str = "",
    radius: float | None = None,
    lists: str | Path | None = None,
    source: str = "",
    missing: str = "raise",
) -> RetrievalSet:
    """Read one set.

    Args:
        database, queries: .txt of image names.
        ground_truth: .npz with one position per name, see `read_npz`.
        prefix: what the names begin with; `root` stands in its place.
        radius: in the unit of the positions, which are metres for all but Nordland; None takes posDistThr of the file.
        lists: folder of the .txt and .npz files; None is `root`.
        source: who published the set, and where; for the message if it is not there.
        missing: image files that do not exist: `raise`, `skip`, `ignore`.

    Raises:
        DataError: missing or damaged files, lists that do not fit together, or counts other than the protocol's.
    """
    root, folder = require_lists(root, lists, (database, queries, ground_truth), source)
    truth = read_npz(folder / ground_truth)
    database_side = _geotagged(root, folder / database, truth.database, prefix)
    query_side = _geotagged(root, folder / queries, truth.queries, prefix)
    radius = truth.radius if radius is None else radius
    check_distance(protocol, "radius", radius)
    positives = near(database_side, query_side, radius)
    return RetrievalSet(protocol, database_side.paths, query_side.paths, positives).present(missing)


def photos(
    root: str | Path,
    database: str,
    ground_truth: str,
    prefix: str = "",
    lists: str | Path | None = None,
    source: str = "",
) -> GeotaggedImages:
    """Read the database images with their positions; arguments and errors as for `read`. Headings are unknown."""
    root, folder = require_lists(root, lists, (database, ground_truth), source)
    return _geotagged(root, folder / database, read_npz(folder / ground_truth).database, prefix)


def _geotagged(root: Path, names: Path, positions: np.ndarray, prefix: str) -> GeotaggedImages:
    files = [name.removeprefix(prefix) for name in read_lines(names)]
    if len(files) != len(positions):
        raise DataError(f"{absolute(names)} has {len(files):,} names for {len(positions):,} positions.")
    unknown, group = np.full(len(files), np.nan), np.zeros(len(files), np.int64)
    return GeotaggedImages(names.stem, root, files, positions, unknown, group)
