"""Tokyo Time Machine (Arandjelovic et al. 2016) as an evaluation set: one time stamp of each place is searched for.

The .mat takes its queries from its own database, so that each of them finds itself. Here, as in OpenIBL and WAKD, the
images of one stamp are the queries of a place, and leave the database.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vpr.data.formats import dbstruct
from vpr.data.geotagged import GeotaggedImages, near
from vpr.data.retrieval_set import RetrievalSet, check_distance
from vpr.types import Protocol

LAYOUTS = (("images", "images"), ("tokyoTM/images", "tokyoTM/images"), (".", "."))


def read(
    root: str | Path,
    mat: str,
    protocol: Protocol,
    radius: float = 25,
    seed: int = 43,
    layouts: Sequence[Sequence[str]] = LAYOUTS,
    source: str = "",
    missing: str = "raise",
) -> RetrievalSet:
    """Read one split, whose names are `<...>/<place>/<time stamp>/<file>`.

    Args:
        radius: of a positive, in metres.
        seed: for the choice of the stamp, in places that have two or more; 43 is that of OpenIBL and WAKD.
        mat, layouts, source, missing: as in `vpr.data.formats.dbstruct.read`.

    Raises:
        DataError: missing folder, .mat or images, a damaged .mat, or counts other than the protocol's.
    """
    check_distance(protocol, "radius", radius)
    images = photos(root, mat, "both", layouts, source)
    is_query = held_out([file.rpartition("/")[0] for file in images.files], seed)
    database, queries = images.take(np.flatnonzero(~is_query)), images.take(np.flatnonzero(is_query))
    return RetrievalSet(protocol, database.paths, queries.paths, near(database, queries, radius)).present(missing)


def photos(
    root: str | Path, mat: str, side: str = "both", layouts: Sequence[Sequence[str]] = LAYOUTS, source: str = ""
) -> GeotaggedImages:
    """Return the images of one side, as `vpr.data.formats.dbstruct.photos` does."""
    return dbstruct.photos(root, mat, side, layouts, source)


def held_out(folders: Sequence[str], seed: int) -> np.ndarray:
    """Mark the images of the time stamp that is drawn for their place.

    Args:
        folders: `<...>/<place>/<time stamp>` of each image.

    Returns:
        (N,) bool.
    """
    stamps: dict[str, dict[str, None]] = {}
    for folder in folders:
        stamps.setdefault(folder.rpartition("/")[0], {})[folder] = None
    draw = random.Random(seed)
    chosen = {draw.choice(list(several)) for several in stamps.values() if len(several) > 1}
    return np.array([folder in chosen for folder in folders], bool)
