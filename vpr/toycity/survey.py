"""Survey of a city: the images to draw, with place, viewpoint and condition, as the specs in `spec` ask for them.

Two cities to train on; database and queries of a third one.
The third one is photographed once a station for `TestSpec`, and all around for `PanoramaSpec`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from math import asin, asinh, atan, atan2, atanh, cos, cosh, degrees, floor, radians, sin, sinh, sqrt, tan
from typing import NamedTuple

import numpy as np

from vpr.toycity.canvas import Camera
from vpr.toycity.conditions import NAMES, visit
from vpr.toycity.map import City, Street, build_city, stations
from vpr.toycity.scene import SUPERSAMPLE, View
from vpr.toycity.spec import CUTOUTS, PanoramaSpec, Spec, TestSpec, TrainSpec

ZONE = 33
SIZE = (192, 256)  # height and width of an image
TRAIN_SPACING, TEST_SPACING, PANORAMA_SPACING = 40.0, 12.0, 20.0  # metres between stations
# name, latitude and longitude of the city's south-west corner, degrees by which the map is turned clockwise
TOWNS = (("Toyton", 47.07, 15.43, 17.0), ("Drawford", 48.21, 16.35, -31.0), ("Sketchwell", 46.62, 14.31, 8.0))
OBLIQUE = 50.0  # degrees between the street and the line of sight, towards the photographed side

# Constants of the WGS 84 ellipsoid and of the series below.
_A, _F = 6378137.0, 1 / 298.257223563
_N = _F / (2 - _F)
_E = sqrt(_F * (2 - _F))
_RADIUS = _A / (1 + _N) * (1 + _N**2 / 4 + _N**4 / 64)
_K0 = 0.9996
_ALPHA = (_N / 2 - 2 * _N**2 / 3 + 5 * _N**3 / 16, 13 * _N**2 / 48 - 3 * _N**3 / 5, 61 * _N**3 / 240)
_BETA = (_N / 2 - 2 * _N**2 / 3 + 37 * _N**3 / 96, _N**2 / 48 + _N**3 / 15, 17 * _N**3 / 480)


class Jitter(NamedTuple):
    """Half widths of a viewpoint's spread: metres along and across, degrees of heading, share of focal length."""

    along: float
    across: float
    heading: float
    focal: float


_TRAIN_JITTER = Jitter(along=5, across=1.2, heading=16, focal=0.12)
_DATABASE_JITTER = Jitter(along=0.5, across=0.4, heading=5, focal=0.03)
_QUERY_JITTER = Jitter(along=5, across=1.2, heading=14, focal=0.12)
_ANYWHERE_JITTER = _QUERY_JITTER._replace(heading=180)
_QUERY_NAMES = ("autumn", "dusk", "rain", "fog", "snow", "night")


class Shot(NamedTuple):
    """One image to draw and its columns in index.csv; positions in metres of UTM zone 33 and degrees."""

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
def city(seed: int, town: int, spacing: float, count: int) -> City:
    """Lay out a town; its facades follow from (seed, town)."""
    return build_city((seed, town), spacing, count)


def shots(spec: Spec) -> list[Shot]:
    """List all images of a spec in the order in which they are drawn."""
    if isinstance(spec, TrainSpec):
        return list(_training(spec))
    return list(_testing(spec) if isinstance(spec, TestSpec) else _panoramas(spec))


def city_of(spec: Spec, town: int) -> City:
    """Return the map on which a shot is taken."""
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
    """Cut-outs of a panorama share place, position, weather and passers-by; queries are upright or wide images."""
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


def spots(city: City, spacing: float, count: int) -> list[tuple[int, float]]:
    """List the first `count` stations (street, metres along it), street by street."""
    return [(s.key[-1], float(a)) for s in city.streets for a in stations(s, spacing)][:count]


def take(
    city: City, spot: tuple[int, float], name: str, jitter: Jitter, size: tuple[int, int], seed: tuple[int, ...]
) -> View:
    """Visit a station under the condition `name`; `size` is the image's (height, width)."""
    rng = np.random.default_rng((*seed, 3))
    street = city.streets[spot[0]]
    along, across, turn, zoom = rng.uniform(-1, 1, 4) * jitter
    point = street.at(spot[1] + along, -street.side * (1.4 + across))
    camera = Camera(
        (float(point[0]), float(point[1]), float(rng.uniform(1.7, 2.5))),
        float(heading(street) - street.side * OBLIQUE + turn) % 360,
        float(rng.uniform(5, 9)),
        size[1] * SUPERSAMPLE * 0.68 * (1 + zoom),
        round(size[1] * SUPERSAMPLE),
        round(size[0] * SUPERSAMPLE),
    )
    return View(spot[0], camera, visit(name, rng), seed)


def turned(view: View, heading: float) -> View:
    """Return the same visit with the camera turned to a heading in degrees of the map."""
    return view._replace(camera=replace(view.camera, heading=heading))


def heading(street: Street) -> float:
    """Return the compass heading of a street in degrees."""
    return float(np.degrees(np.arctan2(street.direction[0], street.direction[1])))


def utm_zone(lon: float) -> int:
    """Return the zone 1..60 of a longitude in degrees (the exceptions of Norway and Svalbard are left out)."""
    return floor((lon + 180) / 6) % 60 + 1


def to_utm(lat: float, lon: float, zone: int) -> tuple[float, float]:
    """Project degrees to (east, north) in metres of a northern UTM zone.

    Kruger's series of the transverse Mercator projection (1912) to the third order: below 1 mm within a zone.
    """
    phi, lam = radians(lat), radians(lon - (6 * zone - 183))
    t = sinh(asinh(tan(phi)) - _E * atanh(_E * sin(phi)))
    xi, eta = atan2(t, cos(lam)), asinh(sin(lam) / sqrt(t * t + cos(lam) ** 2))
    east = eta + sum(a * cos(2 * j * xi) * sinh(2 * j * eta) for j, a in enumerate(_ALPHA, 1))
    north = xi + sum(a * sin(2 * j * xi) * cosh(2 * j * eta) for j, a in enumerate(_ALPHA, 1))
    return 500_000 + _K0 * _RADIUS * east, _K0 * _RADIUS * north


def to_latlon(east: float, north: float, zone: int) -> tuple[float, float]:
    """Invert `to_utm`: metres of a northern zone to degrees (lat, lon)."""
    xi, eta = north / (_K0 * _RADIUS), (east - 500_000) / (_K0 * _RADIUS)
    xi0 = xi - sum(b * sin(2 * j * xi) * cosh(2 * j * eta) for j, b in enumerate(_BETA, 1))
    eta0 = eta - sum(b * cos(2 * j * xi) * sinh(2 * j * eta) for j, b in enumerate(_BETA, 1))
    sphere = asin(sin(xi0) / cosh(eta0))  # conformal latitude
    target, t = tan(sphere), tan(sphere)
    for _ in range(5):  # fixed point of the geodetic latitude; each turn gains two digits or more
        phi = atan(t)
        t = tan(phi) * (1 + (target - sinh(asinh(tan(phi)) - _E * atanh(_E * sin(phi)))) / tan(phi)) if phi else target
    return degrees(atan(t)), 6 * zone - 183 + degrees(atan2(sinh(eta0), cos(xi0)))
