"""The drawn city as a training source and as a test set; unless `draw` is false, both draw it where it is absent."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from vpr.data.toycity.ensure import ensure_city
from vpr.data.toycity.plan import TOWNS
from vpr.data.toycity.specs import TestSpec, TrainSpec
from vpr.types import Protocol

if TYPE_CHECKING:
    from vpr.data.places import Places
    from vpr.data.retrieval_set import RetrievalSet

RADIUS = 25.0  # metres


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
    from vpr.data.positives import positives_within
    from vpr.data.retrieval_set import RetrievalSet

    spec = TestSpec(seed, database, queries)
    folder = ensure_city(root, spec, workers, draw)
    index = pd.read_csv(folder / "index.csv")
    positions = index[["utm_east", "utm_north"]].to_numpy()
    asked = (index["role"] == "query").to_numpy()
    custom = "" if spec == TestSpec() else f"-{database}x{queries}-seed{seed}"
    return RetrievalSet(
        protocol=Protocol(f"toycity-test{custom}@25m", database, queries),
        database=[folder / p for p in index["path"][~asked]],
        queries=[folder / p for p in index["path"][asked]],
        positives=positives_within(positions[~asked], positions[asked], RADIUS),
    )


test_set.__test__ = False  # type: ignore[attr-defined]  # no test, whatever pytest thinks of the name
