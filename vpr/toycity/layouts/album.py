"""Album: the drawn images as tables, put under other names or into NetVLAD's dbStruct .mat files by the writers."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.io import savemat

from vpr.data.retrieval_set import positives_within
from vpr.toycity.dataset import RADIUS, is_query

POSITION = ["utm_east", "utm_north"]


class Album(NamedTuple):
    """A drawn part on disk: its folder and the rows of its index.csv, in the order in which they were drawn."""

    folder: Path
    database: pd.DataFrame
    queries: pd.DataFrame

    @property
    def positives(self) -> list[np.ndarray]:
        """One sorted array of database rows per query: those within 25 m."""
        return positives_within(self.database[POSITION].to_numpy(), self.queries[POSITION].to_numpy(), RADIUS)

    def put(self, rows: pd.DataFrame, folder: Path, names: Sequence[str]) -> None:
        """Let the images of `rows` appear below `folder` under other names."""
        for path, name in zip(rows.path, names, strict=True):
            link(self.folder / path, folder / name)


def open_album(folder: Path) -> Album:
    """Read a part that `ensure_city` drew; two training images a place are queries, as in `dataset.weak.toycity`."""
    index = pd.read_csv(folder / "index.csv")
    queries = index.role.eq("query") | (index.role.eq("train") & is_query(index))
    return Album(folder, index[~queries].reset_index(drop=True), index[queries].reset_index(drop=True))


def link(source: Path, target: Path) -> None:
    """Let the file appear a second time; where the disk cannot, copy it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def numbered(rows: pd.DataFrame, pattern: str) -> list[str]:
    """Name images by their row, e.g. by `{:07d}.jpg`."""
    return [pattern.format(row) for row in range(len(rows))]


def cutouts(rows: pd.DataFrame) -> list[str]:
    """Tell views of one place apart: panorama and yaw, e.g. `k3x..._030`; queries are views of their own."""
    return [f"{panoid}_{yaw:03d}" for panoid, yaw in zip(rows.panoid, yaws(rows), strict=True)]


def yaws(rows: pd.DataFrame) -> list[int]:
    """Return whole degrees of heading, 0 to 359."""
    return [int(heading) % 360 for heading in rows.heading]


def stamps(rows: pd.DataFrame) -> np.ndarray:
    """Return the dates of the images as year * 100 + month."""
    return rows.year.to_numpy() * 100 + rows.month.to_numpy()


def write_mat(
    path: Path, split: str, album: Album, database: Sequence[str], queries: Sequence[str], with_stamps: bool = False
) -> None:
    """Write a dbStruct, field by field as published (Arandjelovic et al. 2016), that lists the images by these names.

    Args:
        with_stamps: as in TokyoTM, whose fields have another order: the time stamps stand after the positions.
    """
    fields: dict[str, Any] = {"whichSet": split}
    for rows, names, fns, utm, stamp in (
        (album.database, database, "dbImageFns", "utmDb", "dbTimeStamp"),
        (album.queries, queries, "qImageFns", "utmQ", "qTimeStamp"),
    ):
        fields[fns] = np.array(names, object)[:, None]
        fields[utm] = rows[POSITION].to_numpy().T
        if with_stamps:
            fields[stamp] = stamps(rows).astype(np.int32)[None]
    fields |= {"numImages": np.uint16(len(database)), "numQueries": np.uint16(len(queries))}
    fields |= {"posDistThr": np.uint8(RADIUS), "posDistSqThr": np.uint16(RADIUS**2)}
    fields["nonTrivPosDistSqThr"] = np.uint8(100)
    path.parent.mkdir(parents=True, exist_ok=True)
    savemat(path, {"dbStruct": fields}, do_compression=True)
