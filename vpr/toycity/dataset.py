"""The drawn city as training places, geotagged images and a test set; unless `draw` is false, each draws it if absent.

A part is drawn once: into a folder beside its place, which is renamed when complete, under a lock.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
from filelock import FileLock

from vpr.errors import ConfigError, DataAbsent, DataError
from vpr.toycity.spec import Spec, TestSpec, TrainSpec
from vpr.toycity.survey import TOWNS
from vpr.types import Protocol

if TYPE_CHECKING:
    from vpr.data.geotagged import GeotaggedImages
    from vpr.data.places import Places
    from vpr.data.retrieval_set import RetrievalSet

SPEC_FILE = "city.json"
RADIUS = 25.0  # metres
QUERIES_PER_PLACE = 2  # where positions are all that is known


def train_places(
    root: str | Path,
    seed: int = 0,
    places: int = 250,
    images_per_place: int = 6,
    min_images_per_place: int = 4,
    workers: int | None = None,
    draw: bool = True,
) -> Places:
    """Return the training places of the two training cities, drawn into `<root>/train` in the GSV-Cities layout."""
    from vpr.data.formats import gsv_cities

    folder = ensure_city(root, TrainSpec(seed, places, images_per_place), workers, draw)
    return gsv_cities.read(folder, [name for name, *_ in TOWNS[:2]], min_images_per_place=min_images_per_place)


def train_photos(
    root: str | Path,
    side: str,
    seed: int = 0,
    places: int = 250,
    images_per_place: int = 6,
    workers: int | None = None,
    draw: bool = True,
) -> GeotaggedImages:
    """Return the same images with their positions: two of each place on the side `queries`, the rest on `gallery`.

    Images of one place are within 10 m of each other but for a few, those of two places more than 25 m apart.
    Groups are the cities.

    Raises:
        ConfigError: another side.
    """
    from vpr.data.geotagged import GeotaggedImages

    if side not in ("queries", "gallery"):
        raise ConfigError(f"side={side} is unknown: choose queries or gallery.")
    folder = ensure_city(root, TrainSpec(seed, places, images_per_place), workers, draw)
    index = pd.read_csv(folder / "index.csv")
    queries = is_query(index)
    chosen = index[queries if side == "queries" else ~queries]
    return GeotaggedImages(
        name="toycity",
        root=folder,
        files=chosen["path"].tolist(),
        positions=chosen[["utm_east", "utm_north"]].to_numpy(),
        headings=chosen["heading"].to_numpy(),
        groups=pd.factorize(chosen["city_id"], sort=True)[0],
    )


def is_query(index: pd.DataFrame) -> pd.Series:
    """Mark the rows of the training part's index.csv that are queries where positions are all that is known."""
    return index.groupby(["city_id", "place_id"]).cumcount() < QUERIES_PER_PLACE


def test_set(
    root: str | Path,
    seed: int = 0,
    database: int = 600,
    queries: int = 500,
    workers: int | None = None,
    draw: bool = True,
) -> RetrievalSet:
    """Return the test set: another city, drawn into `<root>/test`; positives are the database images within 25 m.

    Only the default sizes and seed are the protocol `toycity-test@25m`; others carry their numbers in the id.
    """
    from vpr.data.retrieval_set import RetrievalSet, positives_within

    spec = TestSpec(seed, database, queries)
    folder = ensure_city(root, spec, workers, draw)
    index = pd.read_csv(folder / "index.csv")
    positions = index[["utm_east", "utm_north"]].to_numpy()
    is_query = (index["role"] == "query").to_numpy()
    custom = "" if spec == TestSpec() else f"-{database}x{queries}-seed{seed}"
    return RetrievalSet(
        protocol=Protocol(f"toycity-test{custom}@25m", database, queries),
        database=[folder / p for p in index["path"][~is_query]],
        queries=[folder / p for p in index["path"][is_query]],
        positives=positives_within(positions[~is_query], positions[is_query], RADIUS),
    )


test_set.__test__ = False  # type: ignore[attr-defined]  # no test, whatever pytest thinks of the name


def ensure_city(root: str | Path, spec: Spec, workers: int | None = None, draw: bool = True) -> Path:
    """Return `<root>/<spec.part>`, drawn first if it is absent.

    Several processes may call this at once: one draws, the others wait. An unfinished drawing is never taken for one.

    Raises:
        DataError: the folder holds something else, or a city of another spec.
        DataAbsent: it is absent and `draw` is false.
    """
    folder = Path(root).expanduser().absolute() / spec.part
    if _is_drawn(folder, spec):
        return folder
    if not draw:
        raise DataAbsent(f"There is no folder {folder}. It must hold the drawn city; draw=true draws it.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_name(f".{spec.part}.lock")):
        if _is_drawn(folder, spec):
            return folder
        from vpr.toycity.writer import draw_city  # a city that is there needs no drawing tools

        unfinished = folder.with_name(f"{spec.part}.part")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir()
        draw_city(unfinished, spec, workers)
        (unfinished / SPEC_FILE).write_text(json.dumps(asdict(spec), indent=1) + "\n")
        unfinished.rename(folder)
    return folder


def _is_drawn(folder: Path, spec: Spec) -> bool:
    if not folder.exists():
        return False
    file = folder / SPEC_FILE
    if not file.is_file():
        raise DataError(
            f"{folder} has no {SPEC_FILE}: toycity did not draw it. Set its dataset's root to another folder."
        )
    try:
        drawn = dict(json.loads(file.read_text()))
    except (ValueError, TypeError, RecursionError) as error:
        raise DataError(f"{file} is damaged ({error}). Delete {folder}; it will be drawn again.") from error
    other = [
        f"{key} {drawn.get(key)} instead of {value}" for key, value in asdict(spec).items() if drawn.get(key) != value
    ]
    if other:
        raise DataError(f"{folder} was drawn with {', '.join(other)}. Delete it to draw it again, or set another root.")
    count = sum(1 for _ in folder.rglob("*.jpg"))
    if count != spec.images:
        raise DataError(f"{folder} holds {count} images, not {spec.images}. Delete it; it will be drawn again.")
    return True
