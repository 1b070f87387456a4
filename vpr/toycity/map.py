"""The street map: named streets, blocks of buildings, trees and lamps, in metres before the city is turned."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

DEPTH = 11.0  # metres from the facade to the back of a building
PAVEMENT = 3.2  # metres
# Cameras keep away this far from the ends of a street, so that 25 m never reach around a corner.
FIRST, LAST = 18.0, 30.0
_NAMES = ["Mill", "Oak", "Station", "Harbour", "Church", "Linden", "Market", "River", "Castle", "School", "Garden",
          "Bridge", "Rose", "Tower", "King", "Garage", "Maple", "Canal", "Abbey", "Ferry", "Cedar", "Chapel",
          "Queen", "Orchard", "Quarry", "Fox"]  # fmt: skip


class Street(NamedTuple):
    """One street between two crossings: start (2,), unit direction (2,), length, width, name.

    `side` is the one that is photographed, 1 left or -1 right; opposite fronts are never compared.
    The last number of `key` is its row in the city; wear and markings follow from all of it.
    """

    start: np.ndarray
    direction: np.ndarray
    length: float
    width: float
    side: int
    name: str
    key: tuple[int, ...]

    @property
    def left(self) -> np.ndarray:
        """Unit vector (2,) to the left of the direction."""
        return np.array([-self.direction[1], self.direction[0]])

    def at(self, along: float, across: float) -> np.ndarray:
        """Map point (2,) at `along` metres from the start and `across` metres to the left of the centre line."""
        return self.start + along * self.direction + across * self.left


class Building(NamedTuple):
    """Front: left end (2,) seen from the street, unit vector along it, outward normal, width; `key` fixes its look."""

    corner: np.ndarray
    along: np.ndarray
    normal: np.ndarray
    width: float
    setback: float
    ends: tuple[bool, bool]
    key: tuple[int, ...]


class Post(NamedTuple):
    """A tree or a lamp at a map point (2,), with a number that fixes its looks."""

    point: np.ndarray
    kind: str
    look: int


@dataclass(frozen=True)
class City:
    """Streets, buildings, posts; `blocks` (N, 4) are the rectangles x0, y0, x1, y1 that are built on."""

    streets: tuple[Street, ...]
    buildings: tuple[Building, ...]
    posts: tuple[Post, ...]
    blocks: np.ndarray

    @cached_property
    def centres(self) -> np.ndarray:
        """(B, 2) middles of the fronts."""
        return np.array([b.corner + b.along * b.width / 2 for b in self.buildings])

    @cached_property
    def street_middles(self) -> np.ndarray:
        """(S, 2) middles of the streets."""
        return np.array([s.at(s.length / 2, 0) for s in self.streets])

    @cached_property
    def post_points(self) -> np.ndarray:
        """(T, 2) of trees and lamps."""
        return np.array([p.point for p in self.posts]).reshape(-1, 2)


def stations(street: Street, spacing: float) -> np.ndarray:
    """Give the camera stations (metres along the street), `spacing` apart."""
    return np.arange(FIRST, street.length - LAST, spacing)


def build_city(seed: tuple[int, ...], spacing: float, count: int) -> City:
    """Lay out a city large enough for `count` camera stations that are `spacing` metres apart."""
    cells = 2
    while True:
        city = _lay_out(seed, cells)
        if sum(len(stations(s, spacing)) for s in city.streets) >= count:
            return city
        cells += 1


def _lay_out(seed: tuple[int, ...], cells: int) -> City:
    rng = np.random.default_rng((*seed, cells))
    widths = rng.uniform(14, 19, (2, cells + 1))
    steps = rng.uniform(125, 170, (2, cells))
    lines = np.concatenate([np.zeros((2, 1)), np.cumsum(steps, axis=1)], axis=1)
    names = [f"{n} {kind}" for kind in ("Street", "Road", "Lane", "Avenue") for n in rng.permutation(_NAMES)]
    streets = _streets(rng, lines, widths, names, seed)
    blocks, buildings = [], []
    for i in range(cells):
        for j in range(cells):
            x0, x1 = lines[0, i] + widths[0, i] / 2, lines[0, i + 1] - widths[0, i + 1] / 2
            y0, y1 = lines[1, j] + widths[1, j] / 2, lines[1, j + 1] - widths[1, j + 1] / 2
            blocks.append((x0, y0, x1, y1))
            buildings += _block(rng, blocks[-1], (*seed, len(blocks)))
    return City(tuple(streets), tuple(buildings), tuple(_posts(rng, streets)), np.array(blocks))


def _streets(
    rng: np.random.Generator, lines: np.ndarray, widths: np.ndarray, names: list[str], key: tuple[int, ...]
) -> list[Street]:
    """Inner streets only: both sides are built on. One side and direction for the whole street."""
    streets: list[Street] = []
    cells = lines.shape[1] - 1
    for axis in (0, 1):
        for i in range(1, cells):
            side, back, name = int(rng.choice((-1, 1))), rng.random() < 0.5, names[axis * cells + i]
            for j in range(cells):
                low, high = (
                    lines[1 - axis, j] + widths[1 - axis, j] / 2,
                    lines[1 - axis, j + 1] - widths[1 - axis, j + 1] / 2,
                )
                direction = np.array([0.0, 1.0] if axis == 0 else [1.0, 0.0])
                start = np.array([lines[0, i], low] if axis == 0 else [low, lines[1, i]])
                if back:
                    start, direction = start + direction * (high - low), -direction
                streets.append(Street(start, direction, high - low, widths[axis, i], side, name, (*key, len(streets))))
    return streets


def _block(rng: np.random.Generator, block: tuple[float, ...], key: tuple[int, ...]) -> list[Building]:
    x0, y0, x1, y1 = block
    rows = [
        ((x0, y0), (0, -1), x1 - x0, True),
        ((x1, y1), (0, 1), x1 - x0, True),
        ((x1, y0 + DEPTH), (1, 0), y1 - y0 - 2 * DEPTH, False),
        ((x0, y1 - DEPTH), (-1, 0), y1 - y0 - 2 * DEPTH, False),
    ]
    out: list[Building] = []
    for start, normal, length, corner_row in rows:
        count = max(int(length / rng.uniform(10, 12.5)), 2)
        shares = rng.uniform(0.62, 1.38, count)
        cuts = np.concatenate([[0], np.cumsum(shares / shares.sum() * length)])
        along = np.array([-normal[1], normal[0]], float)
        for i in range(count):
            ends = (corner_row and i == 0, corner_row and i == count - 1)
            setback = 0.0 if any(ends) else float(rng.choice([0, 0, 0, 0.3, 0.6, 1.5]))
            corner = np.array(start, float) + along * cuts[i] - np.array(normal, float) * setback
            width = float(cuts[i + 1] - cuts[i])
            out.append(Building(corner, along, np.array(normal, float), width, setback, ends, (*key, len(out))))
    return out


def _posts(rng: np.random.Generator, streets: list[Street]) -> list[Post]:
    posts = []
    for street in streets:
        for side in (-1, 1):
            kerb = side * (street.width / 2 - PAVEMENT + 0.7)
            if rng.random() < 0.5:
                gap, kind = rng.uniform(13, 22), int(rng.integers(3))
                for along in np.arange(rng.uniform(3, 12), street.length, gap):
                    if rng.random() < 0.75:
                        point = street.at(along + rng.uniform(-1, 1), kerb)
                        posts.append(Post(point, "tree", kind * 8 + int(rng.integers(8))))
            for along in np.arange(rng.uniform(4, 20), street.length, 27):
                posts.append(Post(street.at(along, kerb), "lamp", 0))
    return posts
