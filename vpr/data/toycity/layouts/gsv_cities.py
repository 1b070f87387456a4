"""GSV-Cities: places to train on, one csv a city (Ali-bey et al., Neurocomputing 2022)."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from vpr.data.toycity.layouts.album import Album, yaws

COLUMNS = ["place_id", "year", "month", "northdeg", "city_id", "lat", "lon", "panoid"]


def write(album: Album, root: Path) -> None:
    """Write `Dataframes/<City>.csv` and `Images/<City>/*.jpg`: a place is a panorama, and the queries taken there."""
    (root / "Dataframes").mkdir(parents=True)
    rows = pd.concat([album.database, album.queries], ignore_index=True)
    rows["northdeg"] = yaws(rows)
    for city, part in rows.groupby("city_id"):
        names = [
            f"Images/{city}/{city}_{row.place_id:07d}_{row.year:04d}_{row.month:02d}_{row.northdeg:03d}_{row.lat}_"
            f"{row.lon}_{row.panoid}.jpg"
            for row in part.itertuples()
        ]
        album.put(part, root, names)
        part[COLUMNS].to_csv(root / "Dataframes" / f"{city}.csv", index=False)
