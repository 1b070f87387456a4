"""NetVLAD's dbStruct .mat files: Pittsburgh and Tokyo (Arandjelovic et al. 2016; Torii et al. 2013 and 2015)."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.io import loadmat
from scipy.io.matlab import MatReadError

from vpr.data.formats.layout import absolute, require_folder
from vpr.data.positives import positives_within
from vpr.data.retrieval_set import RetrievalSet
from vpr.errors import DataError
from vpr.types import Protocol

# (database, queries) below root: as unpacked for pytorch-NetVlad and MixVPR, and as for OpenIBL and WAKD.
PITTSBURGH = (
    ("", "queries_real"),
    ("Pittsburgh/images", "Pittsburgh/queries"),
    ("raw/Pittsburgh/images", "raw/Pittsburgh/queries"),
)
DAMAGED = (MatReadError, OSError, KeyError, AttributeError, ValueError, TypeError, NotImplementedError, zlib.error)
MAT_FOLDERS = ("datasets", "", "raw")
SOURCE = (
    "Pittsburgh 250k (Torii et al. 2013) is given out on request; www.di.ens.fr/willow/research/netvlad says how, "
    "and has the .mat files."
)


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
        DataError: no such file, a damaged one, or one without these fields.
    """
    try:
        struct = loadmat(path, struct_as_record=False, squeeze_me=True)["dbStruct"]
        database, queries = (np.atleast_1d(names).tolist() for names in (struct.dbImageFns, struct.qImageFns))
        # int(): numImages is an uint16 in some files, and sums of it would overflow.
        counts = int(struct.numImages), int(struct.numQueries)
        utm = [np.asarray(xy, float).reshape(2, -1).T for xy in (struct.utmDb, struct.utmQ)]
        radius = float(struct.posDistThr)
    except DAMAGED as error:
        raise DataError(f"{absolute(path)} cannot be read as a dbStruct .mat: {error}. Download it again.") from error
    if (len(database), len(queries)) != counts or tuple(map(len, utm)) != counts:
        raise DataError(
            f"{path} says {counts[0]:,} database images and {counts[1]:,} queries, but lists {len(database):,} and "
            f"{len(queries):,} names, {len(utm[0]):,} and {len(utm[1]):,} positions. Download it again."
        )
    return DbStruct(database, utm[0], queries, utm[1], radius)


def read(
    root: str | Path,
    mat: str,
    protocol: Protocol,
    radius: float | None = None,
    layouts: Sequence[Sequence[str]] = PITTSBURGH,
    missing: str = "raise",
) -> RetrievalSet:
    """Read one split.

    Args:
        mat: file name, e.g. `pitts30k_test.mat`; looked for in `root/datasets`, `root` and `root/raw`.
        radius: in metres; None takes posDistThr of the file, which is 25.
        layouts: pairs of (database folder, query folder) below `root`; the first in which images are found is taken.
        missing: image files that do not exist: `raise`, `skip`, `ignore`.

    Raises:
        DataError: missing folder, .mat or images, a damaged .mat, or counts other than the protocol's.
    """
    layout = f"{mat} (or datasets/{mat}) and the images in " + ", or in ".join(f"{d or '.'} + {q}" for d, q in layouts)
    root = require_folder(root, layout, SOURCE)
    found = [root / folder / mat for folder in MAT_FOLDERS if (root / folder / mat).is_file()]
    if not found:
        raise DataError(f"There is no {mat} in {absolute(root)}. It must hold {layout}. {SOURCE}")
    struct = read_mat(found[0])
    database, queries = _folders(root, struct, layouts)
    return RetrievalSet(
        protocol,
        [database / name for name in struct.database],
        [queries / name for name in struct.queries],
        positives_within(struct.database_utm, struct.queries_utm, struct.radius if radius is None else radius),
    ).present(missing)


def _folders(root: Path, struct: DbStruct, layouts: Sequence[Sequence[str]]) -> tuple[Path, Path]:
    """The first layout that holds one of the first images, or the first layout: then the images are missing."""
    for database, queries in layouts:
        folders = root / database, root / queries
        if any((folders[0] / name).is_file() for name in struct.database[:100]):
            return folders
    return root / layouts[0][0], root / layouts[0][1]
