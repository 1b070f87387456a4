"""What is to be drawn: the training photos of two cities, or the database and the queries of a third one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from vpr.data.toycity.conditions import NAMES
from vpr.data.toycity.geo import to_latlon, to_utm
from vpr.data.toycity.map import City, build_city
from vpr.data.toycity.poses import Jitter, spots, take
from vpr.data.toycity.scene import View
from vpr.errors import ConfigError

VERSION = 1  # raise it whenever the same seed gives other pixels
ZONE = 33
SIZE = (192, 256)  # height and width of a photo
TRAIN_SPACING, TEST_SPACING = 40.0, 12.0  # metres between stations
# name, latitude and longitude of the city's south-west corner, degrees by which the map is turned clockwise
TOWNS = (("Toyton", 47.07, 15.43, 17.0), ("Drawford", 48.21, 16.35, -31.0), ("Sketchwell", 46.62, 14.31, 8.0))
_TRAIN_JITTER = Jitter(along=5, across=1.2, heading=16, focal=0.12)
_DATABASE_JITTER = Jitter(along=0.5, across=0.4, heading=5, focal=0.03)
_QUERY_JITTER = Jitter(along=5, across=1.2, heading=14, focal=0.12)
_QUERY_NAMES = ("autumn", "dusk", "rain", "fog", "snow", "night")


@dataclass(frozen=True)
class TrainSpec:
    """Seed, number of places over both cities, and photos of each."""

    seed: int = 0
    places: int = 250
    images_per_place: int = 6
    part: str = "train"
    version: int = VERSION

    def __post_init__(self) -> None:
        """Refuse sizes that give no city."""
        if self.places < 2 or self.images_per_place < 1:
            raise ConfigError(
                f"toycity: {self.places} places x {self.images_per_place} images; give at least 2 places of 1 image."
            )

    @property
    def images(self) -> int:
        """Photos in all."""
        return self.places * self.images_per_place


@dataclass(frozen=True)
class TestSpec:
    """Seed and number of database and query images of the test city."""

    __test__ = False  # no test class, whatever pytest thinks of the name

    seed: int = 0
    database: int = 600
    queries: int = 500
    part: str = "test"
    version: int = VERSION

    def __post_init__(self) -> None:
        """Refuse sizes that give no city."""
        if self.database < 1 or self.queries < 1:
            raise ConfigError(
                f"toycity: {self.database} database and {self.queries} query images; give at least 1 of each."
            )

    @property
    def images(self) -> int:
        """Photos in all."""
        return self.database + self.queries


Spec = TrainSpec | TestSpec


class Shot(NamedTuple):
    """One photo to draw and what is written about it; positions in metres of UTM zone 33 and degrees."""

    town: int
    role: str
    place: int
    view: View
    east: float
    north: float
    lat: float
    lon: float
    heading: float
    year: int
    panoid: str


def dump(spec: Spec) -> str:
    """Write a spec as JSON."""
    return json.dumps(asdict(spec), sort_keys=True)


def parse(text: str) -> Spec:
    """Read a spec from JSON."""
    fields: dict[str, Any] = json.loads(text)
    return TrainSpec(**fields) if fields["part"] == "train" else TestSpec(**fields)


@lru_cache(maxsize=4)
def city(seed: int, town: int, spacing: float, wanted: int) -> City:
    """Lay out a town; its facades follow from (seed, town)."""
    return build_city((seed, town), spacing, wanted)


def shots(spec: Spec) -> list[Shot]:
    """List all photos of a spec in the order in which they are drawn."""
    return list(_training(spec) if isinstance(spec, TrainSpec) else _testing(spec))


def city_of(spec: Spec, town: int) -> City:
    """Give the map on which a shot is taken."""
    if isinstance(spec, TestSpec):
        return city(spec.seed, 2, TEST_SPACING, spec.database)
    return city(spec.seed, town, TRAIN_SPACING, (spec.places + 1 - town) // 2)


def _training(spec: TrainSpec) -> Iterator[Shot]:
    for town in (0, 1):
        chart = city_of(spec, town)
        for place, spot in enumerate(spots(chart, TRAIN_SPACING, (spec.places + 1 - town) // 2)):
            order = np.random.default_rng((spec.seed, town, place, 4)).permutation(len(NAMES))
            for i in range(spec.images_per_place):
                seed = (spec.seed, town, place, i)
                view = take(chart, spot, NAMES[order[i % len(NAMES)]], _TRAIN_JITTER, SIZE, seed)
                yield _shot(town, "train", place, view)


def _testing(spec: TestSpec) -> Iterator[Shot]:
    chart = city_of(spec, 2)
    places = spots(chart, TEST_SPACING, spec.database)
    for place, spot in enumerate(places):
        seed = (spec.seed, 2, place, 0)
        name = str(np.random.default_rng(seed).choice(["sunny", "overcast"]))
        yield _shot(2, "database", place, take(chart, spot, name, _DATABASE_JITTER, SIZE, seed))
    rng = np.random.default_rng((spec.seed, 2, 5))
    picks = np.concatenate([rng.permutation(len(places)) for _ in range(-(-spec.queries // len(places)))])[
        : spec.queries
    ]
    for i, place in enumerate(np.sort(picks)):  # sorted: neighbours share the textures kept in memory
        name = _QUERY_NAMES[int(rng.integers(len(_QUERY_NAMES)))]
        view = take(chart, places[place], name, _QUERY_JITTER, SIZE, (spec.seed, 2, int(place), 1 + i))
        yield _shot(2, "queries", int(place), view)


def _shot(town: int, role: str, place: int, view: View) -> Shot:
    _, lat, lon, turn = TOWNS[town]
    east, north = to_utm(lat, lon, ZONE)
    x, y = view.camera.position[:2]
    c, s = np.cos(np.radians(turn)), np.sin(np.radians(turn))
    east, north = east + x * c + y * s, north - x * s + y * c
    lat, lon = to_latlon(east, north, ZONE)
    rng = np.random.default_rng((*view.seed, 6))
    panoid = "".join(rng.choice(list("abcdefghijkmnpqrstuvwxyz23456789"), 16))
    year = int(rng.integers(2014, 2024))
    heading = (view.camera.heading + turn) % 360
    return Shot(
        town, role, place, view, round(east, 2), round(north, 2), round(lat, 7), round(lon, 7), heading, year, panoid
    )
