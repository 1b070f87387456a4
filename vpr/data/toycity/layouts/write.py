"""Write every layout below one folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from vpr.data.toycity.ensure import ensure_city
from vpr.data.toycity.layouts import (
    gsv_cities,
    msls,
    npy_lists,
    own_photos,
    pairs,
    pittsburgh,
    tokyo247,
    tokyo_tm,
    utm_names,
)
from vpr.data.toycity.layouts.album import Album, open_album
from vpr.data.toycity.specs import PanoramaSpec
from vpr.errors import DataError

LAYOUTS: dict[str, tuple[Callable[[Album, Path], None], ...]] = {
    "gsv_cities": (gsv_cities.write,),
    "pitts250k": (pittsburgh.write, npy_lists.write_pitts30k_lists),
    "pitts250k_openibl": (pittsburgh.write_openibl,),
    "pitts30k": (utm_names.write,),
    "tokyo247": (tokyo247.write,),
    "tokyo_tm": (tokyo_tm.write,),
    "msls": (msls.write,),
    "msls_val": (npy_lists.write_msls_val,),
    "vprbench/Tokyo247": (pairs.write,),
    "own_photos": (own_photos.write,),
}
"""Folder below `paths.data`, by which conf/dataset finds the set, and what is written there."""


def write_all(out: str | Path, spec: PanoramaSpec | None = None, workers: int | None = None) -> Album:
    """Draw the city into `<out>/toycity/panoramas` if it is not there, and write all layouts beside `toycity`.

    Raises:
        DataError: a folder of that name is there already. It may hold the real set, so nothing is written then.
    """
    out = Path(out).expanduser()
    there = [out / name for name in LAYOUTS if (out / name).exists()]
    if there:
        raise DataError(f"{there[0]} is there already. Nothing was written: give a folder of which this is not true.")
    album = open_album(ensure_city(out / "toycity", spec or PanoramaSpec(), workers))
    for name, writers in LAYOUTS.items():
        for write in writers:
            write(album, out / name)
    return album
