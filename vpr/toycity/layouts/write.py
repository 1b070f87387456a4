"""Write the drawn city in every layout below one folder, or as a data set of its own."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from vpr.errors import DataError
from vpr.toycity.dataset import ensure_city
from vpr.toycity.layouts import writers
from vpr.toycity.layouts.album import Album, open_album
from vpr.toycity.spec import PanoramaSpec, Spec, TestSpec, TrainSpec

LAYOUTS: dict[str, tuple[Callable[[Album, Path], None], ...]] = {
    "gsv_cities": (writers.write_gsv_cities,),
    "pitts250k": (writers.write_pittsburgh, writers.write_pitts30k_lists),
    "pitts250k_openibl": (writers.write_openibl,),
    "pitts30k": (writers.write_utm_names,),
    "tokyo247": (writers.write_tokyo247,),
    "tokyo_tm": (writers.write_tokyo_tm,),
    "msls": (writers.write_msls,),
    "msls_val": (writers.write_msls_val,),
    "vprbench/Tokyo247": (writers.write_pairs,),
    "own_photos": (writers.write_own_photos,),
}
"""Folder below `paths.data`, where conf/dataset looks for the set, and its writers."""
CITY = "toycity_pittsburgh"


def write_all(out: str | Path, spec: PanoramaSpec | None = None, workers: int | None = None) -> Album:
    """Draw the city into `<out>/toycity/panoramas` if it is not there, and write all layouts beside `toycity`.

    Raises:
        DataError: a folder of that name is there already. It may hold the real set, so nothing is written then.
    """
    out = Path(out).expanduser()
    existing = [out / name for name in LAYOUTS if (out / name).exists()]
    if existing:
        raise DataError(
            f"{existing[0]} is there already. Nothing was written: give a folder of which this is not true."
        )
    album = open_album(ensure_city(out / "toycity", spec or PanoramaSpec(), workers))
    for name, functions in LAYOUTS.items():
        for write in functions:
            write(album, out / name)
    return album


def write_city(
    out: str | Path, train: TrainSpec | None = None, test: TestSpec | None = None, workers: int | None = None
) -> Path:
    """Write the images of `dataset=toycity` as Pittsburgh lists its own into `<out>/toycity_pittsburgh`; return that.

    Drawn first where they are not there. What was written before is left as it is; an unfinished folder is not taken
    for one that is.
    """
    out = Path(out).expanduser()
    folder = out / CITY
    specs: dict[str, Spec] = {"train": train or TrainSpec(), "test": test or TestSpec()}
    albums = {split: open_album(ensure_city(out / "toycity", spec, workers)) for split, spec in specs.items()}
    with FileLock(out / f".{CITY}.lock"):
        if not folder.exists():
            unfinished = folder.with_name(f"{CITY}.part")
            shutil.rmtree(unfinished, ignore_errors=True)
            writers.write_splits(albums, unfinished)
            unfinished.rename(folder)
    return folder
