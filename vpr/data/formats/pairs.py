"""Database and query images from two folders, or two selections of a csv; positives by frame number or from a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vpr.data.formats.ground_truth import read_vprbench
from vpr.data.formats.layout import list_images, require_folder
from vpr.data.formats.rows import read_rows
from vpr.data.positives import positives_within
from vpr.data.retrieval_set import RetrievalSet
from vpr.errors import ConfigError
from vpr.types import Protocol


class Side(NamedTuple):
    """Images of one traverse and the frame number of each."""

    paths: list[Path]
    frames: np.ndarray


def read(
    root: str | Path,
    protocol: Protocol,
    database: str | Mapping[str, Any],
    queries: str | Mapping[str, Any],
    tolerance: float | None = None,
    ground_truth: str | None = None,
    csv: str = "index.csv",
    path: str = "path",
    frame: str = "frame",
    source: str = "",
    missing: str = "raise",
) -> RetrievalSet:
    """Read two traverses.

    Args:
        database, queries: a folder below `root`, whose images are frames 0, 1, 2 ... in natural order of their names;
            or a filter on `root/csv` (see `vpr.data.formats.rows`), with the image in column `path` and its number in
            column `frame`.
        tolerance: positives are the database images whose frame differs by at most this.
        ground_truth: instead of a tolerance, a `ground_truth_new.npy` of VPR-Bench below `root`.
        source: who published the set, and where; for the message if it is not there.
        missing: image files that do not exist: `raise`, `skip`, `ignore`.

    Raises:
        ConfigError: not exactly one of tolerance and ground_truth.
        DataError: missing files, or counts other than the protocol's.
    """
    if (tolerance is None) == (ground_truth is None):
        raise ConfigError(f"{protocol.id}: give either tolerance (in frames) or ground_truth (an .npy file).")
    needed = [side if isinstance(side, str) else f"{csv} and the images it names" for side in (database, queries)]
    root = require_folder(root, " and ".join(dict.fromkeys(needed)), source)
    sides = [_read_side(root, side, csv, path, frame) for side in (database, queries)]
    if ground_truth is not None:
        positives = read_vprbench(root / ground_truth, len(sides[0].paths), len(sides[1].paths))
    else:
        assert tolerance is not None
        positives = positives_within(sides[0].frames, sides[1].frames, tolerance)
    return RetrievalSet(protocol, sides[0].paths, sides[1].paths, positives).present(missing)


def _read_side(root: Path, side: str | Mapping[str, Any], csv: str, path: str, frame: str) -> Side:
    if isinstance(side, str):
        names = list_images(root / side)
        return Side([root / side / name for name in names], np.arange(len(names)))
    rows = read_rows(root / csv, [path, frame], side, text=[path])
    return Side([root / name for name in rows[path]], rows[frame].to_numpy())
