"""What is to be drawn: the training photos of two cities, or the database and the queries of a third one.

The third one is photographed once a station for `TestSpec`, and all around for `PanoramaSpec`.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from vpr.data.toycity.conditions import NAMES
from vpr.data.toycity.geo import to_latlon, to_utm
from vpr.data.toycity.map import City, build_city
from vpr.data.toycity.poses import Jitter, spots, take, turned
from vpr.data.toycity.scene import View
from vpr.data.toycity.specs import CUTOUTS, PanoramaSpec, Spec, TestSpec, TrainSpec

ZONE = 33
SIZE = (192, 256)  # height and width of a photo
TRAIN_SPACING, TEST_SPACING, PANORAMA_SPACING = 40.0, 12.0, 20.0  # metres between stations
# name, latitude and longitude of the city's south-west corner, degrees by which the map is turned clockwise
TOWNS = (("Toyton", 47.07, 15.43, 17.0), ("Drawford", 48.21, 16.35, -31.0), ("Sketchwell", 46.62, 14.31, 8.0))
_TRAIN_JITTER = Jitter(along=5, across=1.2, heading=16, focal=0.12)
_DATABASE_JITTER = Jitter(along=0.5, across=0.4, heading=5, focal=0.03)
_QUERY_JITTER = Jitter(along=5, across=1.2, heading=14, focal=0.12)
_ANYWHERE_JITTER = _QUERY_JITTER._replace(heading=180)
_QUERY_NAMES = ("autumn", "dusk", "rain", "fog", "snow", "night")


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


@lru_cache(maxsize=4)
def city(seed: int, town: int, spacing: float, wanted: int) -> City:
    """Lay out a town; its facades follow from (seed, town)."""
    return build_city((seed, town), spacing, wanted)


def shots(spec: Spec) -> list[Shot]:
    """List all photos of a spec in the order in which they are drawn."""
    if isinstance(spec, TrainSpec):
        return list(_training(spec))
    return list(_testing(spec) if isinstance(spec, TestSpec) else _panoramas(spec))


def city_of(spec: Spec, town: int) -> City:
    """Give the map on which a shot is taken."""
    if isinstance(spec, TestSpec):
        return city(spec.seed, 2, TEST_SPACING, spec.database)
    if isinstance(spec, PanoramaSpec):
        return city(spec.seed, 2, PANORAMA_SPACING, spec.panoramas)
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


def _panoramas(spec: PanoramaSpec) -> Iterator[Shot]:
    """Cut-outs of a panorama share place, position, weather and passers-by; queries are upright or wide photos."""
    places = spots(city_of(spec, 2), PANORAMA_SPACING, spec.panoramas)
    for place, spot in enumerate(places):
        seed = (spec.seed, 2, place, 0)
        name = str(np.random.default_rng(seed).choice(["sunny", "overcast"]))
        view = take(city_of(spec, 2), spot, name, _DATABASE_JITTER, SIZE, seed)
        for cutout in range(CUTOUTS):
            north = cutout * 360 / CUTOUTS
            yield _shot(2, "database", place, turned(view, (north - TOWNS[2][3]) % 360))
    for i in range(spec.queries):
        place = i * len(places) // spec.queries
        name = _QUERY_NAMES[i % len(_QUERY_NAMES)]
        size = SIZE if i % 5 else SIZE[::-1]
        view = take(city_of(spec, 2), places[place], name, _ANYWHERE_JITTER, size, (spec.seed, 2, place, 1 + i))
        yield _shot(2, "queries", place, view)


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
