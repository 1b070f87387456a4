"""Maps without tiles: the places of the database as dots, and on them what was found."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np

from vpr.data.geo import from_earth, to_earth
from vpr.demo.answers import Answer, Position
from vpr.pages.thumbnails import plain
from vpr.retrieval.index.photo_table import Photos

# FOLDED vpr/demo/map.py: From degrees to metres on paper, and from there to a picture.


class Plane(NamedTuple):
    """Azimuthal equidistant projection on WGS 84 around a point (Snyder 1987, chapter 25).

    It knows no zones, hemispheres or date line; north is up, and both axes have the same scale, around that point.
    """

    lat: float
    lon: float

    @classmethod
    def around(cls, degrees: np.ndarray) -> Plane:
        """Put the centre amid (N, 2) latitudes and longitudes, where a few far off ones do not draw it."""
        lat, lon = from_earth(np.median(to_earth(*degrees.T), axis=0, keepdims=True))
        return cls(float(lat[0]), float(lon[0]))

    def metres(self, degrees: np.ndarray) -> np.ndarray:
        """Project (N, 2) latitudes and longitudes to (N, 2) metres east and north of the centre."""
        lat, lon = np.asarray(degrees, float).reshape(-1, 2).T
        return np.stack(_projection(self)(lon, lat), axis=1)


class View(NamedTuple):
    """A window on the plane: its size in pixels, the point in its middle, and pixels a metre."""

    width: float
    height: float
    east: float
    north: float
    scale: float

    @classmethod
    def over(cls, metres: np.ndarray, width: float, height: float, margin: float, least: float) -> View:
        """Show all of (N, 2) metres and a margin of so many pixels; at least so many metres from left to right."""
        low, high = metres.min(axis=0), metres.max(axis=0)
        span = np.maximum((high - low) / (width - 2 * margin, height - 2 * margin), least / width)
        east, north = ((low + high) / 2).tolist()
        return cls(width, height, east, north, 1 / float(span.max()))

    def at(self, metres: np.ndarray) -> np.ndarray:
        """Give (N, 2) pixels from the left and from the top."""
        middle = np.array([self.width / 2, self.height / 2])
        return middle + (np.asarray(metres) - (self.east, self.north)) * (self.scale, -self.scale)

    @property
    def corners(self) -> np.ndarray:
        """(2, 2) metres: south-west and north-east."""
        half = np.array([self.width, self.height]) / (2 * self.scale)
        return np.array([self.east, self.north]) + [-half, half]

    @property
    def bar(self) -> float:
        """Length in metres of a scale bar: 1, 2 or 5 with zeros, at most a quarter of the width."""
        most = self.width / 4 / self.scale
        ten = 10.0 ** math.floor(math.log10(most))
        return max(step * ten for step in (1, 2, 5) if step * ten <= most)


def apart(first: tuple[float, float], second: tuple[float, float]) -> float:
    """Metres between two places in degrees, in a straight line."""
    here, there = to_earth(*np.array([first, second], float).T)
    return float(np.linalg.norm(here - there))


def length(metres: float) -> str:
    """Say metres in three figures or so."""
    if metres < 1000:
        return f"{metres:.0f} m" if metres >= 10 or metres == int(metres) else f"{metres:.1f} m"
    return f"{metres / 1000:.3g} km" if metres < 1e6 else f"{metres / 1000:,.0f} km"


@lru_cache(maxsize=4)
def _projection(plane: Plane) -> Any:
    from pyproj import Proj  # a tenth of a second that others need not wait for

    return Proj(proj="aeqd", lat_0=plane.lat, lon_0=plane.lon, ellps="WGS84")


# FOLDED vpr/demo/map.py: The parts that maps are drawn of, as SVG; colours are in `page_style`.


TOUCH = 34, 20
"""Labels closer than so many pixels, across and down, become one."""


def dots(points: np.ndarray) -> str:
    """Write (N, 2) points as the data of a path whose round ends are dots."""
    return "".join(f"M{x:.10g} {y:.10g}h0" for x, y in points.round(1).tolist())


def city(metres: np.ndarray) -> str:
    """Define the places of the database: (N, 2) metres, once a page; `ground` shows them."""
    return f'<defs><path id="city" d="{dots(metres * (1, -1))}"/></defs>'


def ground_svg(view: View, places: np.ndarray | None = None) -> str:
    """Draw the paper and the places on it: those of `city`, or these (N, 2) metres."""
    paper = f'<rect class="paper" width="{view.width:g}" height="{view.height:g}"/>'
    if places is not None:
        return f'{paper}<path class="dots" d="{dots(view.at(places))}"/>'
    x, y = view.at(np.zeros((1, 2)))[0]
    scale = f"{view.scale:.6g}"
    return f'{paper}<use class="dots" href="#city" transform="matrix({scale} 0 0 {scale} {x:.2f} {y:.2f})"/>'


def bar(view: View, x: float, y: float) -> str:
    """Draw the scale of a view; (x, y) is its left end."""
    wide = view.bar * view.scale
    return (
        f'<path class="bar" d="M{x:g} {y - 5:g}v5h{wide:.1f}v-5"/>'
        f'<text x="{x + wide + 6:.1f}" y="{y + 1:g}">{length(view.bar)}</text>'
    )


def north(x: float, y: float) -> str:
    """Draw an arrow to the north, which is up."""
    return f'<path class="north" d="M{x:g} {y - 14:g}l5 14l-5 -4l-5 4z"/><text x="{x + 8:g}" y="{y:g}">N</text>'


def ring(x: float, y: float) -> str:
    """Mark the estimate, around the label of a match that may be there."""
    return "".join(f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="16"/>' for kind in ("halo", "ring"))


def square(x: float, y: float) -> str:
    """Mark where the photo itself says that it was taken, around the label of a match that may be there."""
    path = f"M{x - 13:.1f} {y - 13:.1f}h26v26h-26z"
    return "".join(f'<path class="{kind}" d="{path}"/>' for kind in ("halo", "own"))


def labels(ranks: Sequence[int], pixels: np.ndarray) -> str:
    """Write the ranks of matches, best first, at (N, 2) pixels; those that would cover each other in one label."""
    groups: list[list[int]] = []
    for row, pixel in enumerate(pixels):
        near = [group for group in groups if (np.abs(pixels[group[0]] - pixel) < TOUCH).all()]
        if near:
            near[0].append(row)
        else:
            groups.append([row])
    marks = []
    for group in reversed(groups):  # the best on top
        text, (x, y) = runs([ranks[row] for row in group]), pixels[group[0]]
        wide = 12 + 7 * len(text)
        marks.append(
            f'<rect class="match" x="{x - wide / 2:.1f}" y="{y - 9:.1f}" width="{wide}" height="18" rx="9"/>'
            f'<text class="rank" x="{x:.1f}" y="{y + 4:.1f}">{text}</text>'
        )
    return "".join(marks)


def runs(numbers: Sequence[int]) -> str:
    """Say ascending numbers in short: 1–3,5."""
    parts: list[str] = []
    for _, same in groupby(enumerate(numbers), key=lambda pair: pair[1] - pair[0]):
        first, *rest = (number for _, number in same)
        parts += [f"{first}–{rest[-1]}"] if len(rest) > 1 else map(str, [first, *rest])
    return ",".join(parts)


MOST_DOTS = 5000
FEW_DOTS = 300
"""A map that shows fewer places shows them all; one that shows more shows those of the overview."""
LEAST = 100.0
"""Metres from left to right of a map, at least."""


@dataclass(frozen=True, eq=False)
class City:
    """The places of a database; `overview` must be in the page for `around` to show them.

    Attributes:
        places: (N, 2) metres east and north on the plane, each place once.
        frame: (2, 2) metres, south-west and north-east corner of all places but a few far off ones.
    """

    plane: Plane
    places: np.ndarray
    frame: np.ndarray

    @classmethod
    def of(cls, photos: Photos) -> City | None:
        """Lay out the photos that have a position in degrees; None where there is none."""
        degrees = photos.positions[np.isfinite(photos.positions).all(axis=1)]
        if photos.unit != "degrees" or not len(degrees):
            return None
        plane = Plane.around(degrees)
        places = np.unique(plane.metres(degrees).round(1), axis=0)
        low, high = np.quantile(places, (0.01, 0.99), axis=0)
        frame = np.stack([low - 0.2 * (high - low), high + 0.2 * (high - low)])
        frame = frame.clip(places.min(axis=0), places.max(axis=0))
        return cls(plane, places, frame)

    @property
    def dots(self) -> np.ndarray:
        """(N, 2) metres: at most `MOST_DOTS` of the places, evenly drawn from west to east."""
        return self.places[np.linspace(0, len(self.places) - 1, min(len(self.places), MOST_DOTS)).round().astype(int)]

    def overview(self, answers: Sequence[Answer], width: float = 480, height: float = 300) -> str:
        """Draw the whole city with the estimate of each answer, which leads to its article `#q1`, `#q2`, ..."""
        view = View.over(self.frame, width, height, 20, LEAST)
        marks = []
        for number, answer in enumerate(answers, 1):
            if answer.position:
                (x, y), own, line = self._pixel(view, answer.position), self.own(answer), ""
                if own:
                    start = self._pixel(view, own)
                    line = f'<path class="own" d="M{start[0]:.1f} {start[1]:.1f}L{x:.1f} {y:.1f}"/>'
                kind = "estimate unsure" if answer.accepted is False else "estimate"
                circle = f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="5"/>'
                title = f"<title>{plain(answer.query.name)}</title>"
                marks.append(f'<a href="#q{number}" tabindex="-1">{line}{circle}{title}</a>')
        words = f"Map of the database, {len(self.places):,} places, with the estimates of {len(marks):,} photos"
        parts = [city(self.dots), ground_svg(view), *marks]
        parts += [bar(view, 12, height - 10), north(width - 24, 24)]
        return _svg(width, height, words, parts)

    def around(self, answer: Answer, width: float = 360, height: float = 270) -> str:
        """Draw what was found for one photo as large as fits, and below where in the city that is; "" if nowhere."""
        ranks = [rank for rank, match in enumerate(answer.matches, 1) if match.position]
        if not ranks:
            return ""
        own = self.own(answer)
        matches = self.plane.metres(np.array([match.position for match in answer.matches if match.position]))
        others = [self.plane.metres(np.array(place)) for place in (answer.position, own) if place]
        view = View.over(np.concatenate([matches, *others]), width, height, 32, LEAST)
        marks, words = [], [f"Map of the matches {runs(ranks)}"]
        if answer.position:
            marks.append(ring(*self._pixel(view, answer.position)))
            words.append("the estimate")
        if own:
            marks.append(square(*self._pixel(view, own)))
            words.append("the photo's own position")
        marks.append(labels(ranks, view.at(matches)))
        low, high = view.corners
        near = self.places[((self.places > low) & (self.places < high)).all(axis=1)]
        ground = ground_svg(view, near if len(near) < FEW_DOTS else None)
        parts = [f'<svg width="{width:g}" height="{height:g}">{ground}{"".join(marks)}</svg>']
        parts += [self._place(view, height + 8), bar(view, 112, height + 24), north(width - 24, height + 26)]
        return _svg(width, height + 72, ", ".join(words), parts)

    def own(self, answer: Answer) -> Position | None:
        """Where the photo itself says that it was taken, unless that is far outside of the city."""
        if not answer.query.position:
            return None
        (low, high), point = self.frame, self.plane.metres(np.array(answer.query.position))[0]
        reach = max(1000.0, float((high - low).max()))
        return answer.query.position if (point > low - reach).all() and (point < high + reach).all() else None

    def _place(self, view: View, y: float) -> str:
        """Draw the whole city small, and the frame of a view in it."""
        city = View.over(self.frame, 96, 64, 6, LEAST)
        (left, bottom), (right, top) = city.at(view.corners).clip(1, (city.width - 1, city.height - 1))
        here = f'x="{left:.1f}" y="{top:.1f}" width="{max(right - left, 3):.1f}" height="{max(bottom - top, 3):.1f}"'
        return (
            f'<svg class="place" y="{y:g}" width="96" height="64">{ground_svg(city)}<rect class="here" {here}/></svg>'
        )

    def _pixel(self, view: View, position: Position) -> tuple[float, float]:
        x, y = view.at(self.plane.metres(np.array(position)))[0].tolist()
        return x, y


def city_map(answers: Sequence[Answer], photos: Photos) -> str:
    """Draw all places of a database and the estimates of all answers; "" where no photo has a position in degrees."""
    city = City.of(photos)
    return city.overview(answers) if city else ""


def _svg(width: float, height: float, words: str, parts: Sequence[str]) -> str:
    return f'<svg class="map" viewBox="0 0 {width:g} {height:g}" role="img" aria-label="{words}">{"".join(parts)}</svg>'
