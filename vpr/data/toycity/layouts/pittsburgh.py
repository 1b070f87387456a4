"""Pittsburgh 250k: .mat files and cut-outs in two folder layouts (Torii et al. 2013; Arandjelovic et al. 2016)."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pandas as pd

from vpr.data.toycity.layouts.album import Album
from vpr.data.toycity.layouts.mat import write_mat
from vpr.data.toycity.specs import CUTOUTS

MATS = tuple(product(("pitts30k", "pitts250k"), ("train", "val", "test")))


def write(album: Album, root: Path) -> None:
    """Write as for pytorch-NetVlad and MixVPR: `000/`, `queries_real/000/`, `datasets/*.mat`."""
    _write(album, root / "datasets", root, root / "queries_real")


def write_openibl(album: Album, root: Path) -> None:
    """Write as for OpenIBL and WAKD: `raw/Pittsburgh/{images,queries}`, `raw/*.mat`."""
    raw = root / "raw"
    _write(album, raw, raw / "Pittsburgh/images", raw / "Pittsburgh/queries")


def write_city(splits: dict[str, Album], root: Path) -> None:
    """Write albums of single photos as for pytorch-NetVlad: `000/`, `001/` ..., `datasets/toycity_<split>.mat`."""
    for number, (split, album) in enumerate(splits.items()):
        database = _names(album.database, 0, 1, number)
        queries = _names(album.queries, len(database), 1, number)
        album.put(album.database, root, database)
        album.put(album.queries, root / "queries_real", queries)
        write_mat(root / f"datasets/toycity_{split}.mat", split, album, database, queries)


def names(album: Album) -> tuple[list[str], list[str]]:
    """Name photos `000/<panorama>_pitch1_yaw<1 to 12>.jpg`; queries are cut from panoramas of their own."""
    first = len(album.database) // CUTOUTS
    return _names(album.database, 0, CUTOUTS), _names(album.queries, first, 1)


def _write(album: Album, mats: Path, database: Path, queries: Path) -> None:
    listed = names(album)
    album.put(album.database, database, listed[0])
    album.put(album.queries, queries, listed[1])
    for name, split in MATS:
        write_mat(mats / f"{name}_{split}.mat", split, album, *listed)


def _names(rows: pd.DataFrame, first: int, views: int, folder: int = 0) -> list[str]:
    return [f"{folder:03d}/{first + row // views:06d}_pitch1_yaw{row % views + 1}.jpg" for row in range(len(rows))]
