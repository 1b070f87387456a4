"""Database and query images from two folders, or two selections of a csv; positives by frame number or from a file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from vpr.data.formats.frames import list_frames
from vpr.data.formats.ground_truth import read_positives
from vpr.data.formats.layout import absolute, require_folder
from vpr.data.formats.rows import read_rows
from vpr.data.hit_distance import check_distance
from vpr.data.positives import positives_within
from vpr.data.retrieval_set import RetrievalSet
from vpr.errors import ConfigError, DataAbsent, DataError
from vpr.types import Protocol

Selection = str | Sequence[str] | Mapping[str, Any]


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
            natural order of their names; or a filter on `root/csv` (see `vpr.data.formats.rows`), with the image in
            column `path` and its number in column `frame`.
        tolerance: positives are the database images whose frame differs by at most this.
        ground_truth: instead of a tolerance, a `ground_truth_new.npy` of VPR-Bench or a `*_gt.npy` of gsv-cities below
            `root`; of several names, the first that is there.
        names: text file below `root` with the names of those images of each folder that are used, in order.
        source: who published the set, and where; for the message if it is not there.
        missing: image files that do not exist: `raise`, `skip`, `ignore`. In folders, the file names of the others must
            tell which ones they are (see `vpr.data.formats.frames`).

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
    frames = pd.to_numeric(rows[frame], errors="coerce")
    if frames.isna().any():
        wrong = rows.loc[frames.isna()].iloc[0]
        raise DataError(f"{absolute(root / csv)}: {wrong[frame]!r} is no {frame} number (image {wrong[path]}).")
    return Side([root / name for name in rows[path]], frames.to_numpy())
