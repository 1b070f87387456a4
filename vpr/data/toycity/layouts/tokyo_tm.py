"""Tokyo Time Machine: places at several times, with time stamps in the .mat (Arandjelovic et al. 2016)."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from vpr.data.toycity.layouts.album import Album, stamps, yaws
from vpr.data.toycity.layouts.mat import write_mat


def write(album: Album, root: Path) -> None:
    """Write `tokyoTM_{train,val}.mat` and `images/<pl>/<place>/_<stamp>/<place>__<stamp>_<lat>_<lon>_<yaw>_012.jpg`.

    The published .mat files take their queries from their own database; here they are other photos of its places.
    """
    places = album.database.drop_duplicates("place_id").set_index("place_id").panoid
    database, queries = (_names(rows, places) for rows in (album.database, album.queries))
    album.put(album.database, root / "images", database)
    album.put(album.queries, root / "images", queries)
    for split in ("train", "val"):
        write_mat(root / f"tokyoTM_{split}.mat", split, album, database, queries, with_stamps=True)


def _names(rows: pd.DataFrame, places: pd.Series) -> list[str]:
    return [
        f"{place[:2]}/{place}/_{stamp}/{place}__{stamp}_{lat:.6f}_{lon:.6f}_{yaw:03d}_012.jpg"
        for place, stamp, lat, lon, yaw in zip(
            places[rows.place_id], stamps(rows), rows.lat, rows.lon, yaws(rows), strict=True
        )
    ]
