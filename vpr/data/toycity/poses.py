"""Where photos are taken: places along one side of each street, and visits to them."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from vpr.data.toycity.camera import Camera
from vpr.data.toycity.conditions import visit
from vpr.data.toycity.map import City, Street, stations
from vpr.data.toycity.scene import SUPERSAMPLE, View

OBLIQUE = 50.0  # degrees between the street and the line of sight, towards the photographed side


class Jitter(NamedTuple):
    """Half widths of a viewpoint's spread: metres along and across, degrees of heading, share of focal length."""

    along: float
    across: float
    heading: float
    focal: float


def spots(city: City, spacing: float, count: int) -> list[tuple[int, float]]:
    """List the first `count` stations (street, metres along it), street by street."""
    return [(s.key[-1], float(a)) for s in city.streets for a in stations(s, spacing)][:count]


def take(
    city: City, spot: tuple[int, float], name: str, jitter: Jitter, size: tuple[int, int], seed: tuple[int, ...]
) -> View:
    """Visit a station under the condition `name`; `size` is the photo's (height, width)."""
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
    """Give the same visit with the camera turned to a heading in degrees of the map."""
    return view._replace(camera=replace(view.camera, heading=heading))


def heading(street: Street) -> float:
    """Give the compass heading of a street in degrees."""
    return float(np.degrees(np.arctan2(street.direction[0], street.direction[1])))
