"""Maps without tiles: the places of the database as dots, and on them the matches and the estimates of answers.

The maps are numbers, in pixels from the left and from the top; vpr/pages/templates/map.html.j2 draws them.
"""

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
from vpr.retrieval.index.photo_table import Photos

MOST_DOTS = 5000
FEW_DOTS = 300
"""A map that shows fewer places shows them all; one that shows more shows those of the overview."""
LEAST = 100.0
"""Metres from left to right of a map, at least."""
Drawing = dict[str, Any]
"""Numbers and words by their name in the template."""
TOUCH = 34, 20
"""Labels closer than so many pixels, across and down, become one."""


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
    points = to_earth(*np.array([first, second], float).T)
    return float(np.linalg.norm(points[0] - points[1]))


def length(metres: float) -> str:
    """Say metres in three figures or so."""
    if metres < 1000:
        return f"{metres:.0f} m" if metres >= 10 or metres == int(metres) else f"{metres:.1f} m"
    return f"{metres / 1000:.3g} km" if metres < 1e6 else f"{metres / 1000:,.0f} km"


@lru_cache(maxsize=4)
def _projection(plane: Plane) -> Any:
    from pyproj import Proj  # a tenth of a second that others need not wait for

    return Proj(proj="aeqd", lat_0=plane.lat, lon_0=plane.lon, ellps="WGS84")


class Point(NamedTuple):
    """Pixels from the left and from the top."""

    x: float
    y: float


class Label(NamedTuple):
    """Ranks of matches in short (1–3,5), in a box of so many pixels around a point."""

    x: float
    y: float
    width: float
    ranks: str


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

    def overview(self, answers: Sequence[Answer], width: float = 480, height: float = 300) -> Drawing:
        """Lay out the whole city with the estimate of each answer, which leads to its article `#q1`, `#q2`, ..."""
        view = View.over(self.frame, width, height, 20, LEAST)
        estimates = []
        for number, answer in enumerate(answers, 1):
            if answer.position:
                exif, (x, y) = self.exif_position(answer), self._pixel(view, answer.position)
                estimates.append(
                    {
                        **{"number": number, "name": answer.query.name, "x": x, "y": y},
                        **{"unsure": answer.accepted is False, "start": self._pixel(view, exif) if exif else None},
                    }
                )
        count = len(self.places)
        return {
            "width": width,
            "height": height,
            "label": f"Map of the database, {count:,} places, with the estimates of {len(estimates):,} photos",
            "city": path_data(self.dots * (1, -1)),
            "ground": ground(view),
            "estimates": estimates,
            "bar": scale_bar(view, 12, height - 10),
            "north": Point(width - 24, 24),
        }

    def around(self, answer: Answer, width: float = 360, height: float = 270) -> Drawing | None:
        """Lay out the matches of one photo as large as fits, and below where in the city they are; None if nowhere."""
        ranks = [rank for rank, match in enumerate(answer.matches, 1) if match.position]
        if not ranks:
            return None
        exif = self.exif_position(answer)
        matches = self.plane.metres(np.array([match.position for match in answer.matches if match.position]))
        others = [self.plane.metres(np.array(place)) for place in (answer.position, exif) if place]
        view = View.over(np.concatenate([matches, *others]), width, height, 32, LEAST)
        subjects = [f"Map of the matches {short(ranks)}"]
        subjects += ["the estimate"] if answer.position else []
        subjects += ["the photo's own position"] if exif else []
        low, high = view.corners
        near = self.places[((self.places > low) & (self.places < high)).all(axis=1)]
        return {
            "width": width,
            "height": height + 72,
            "label": ", ".join(subjects),
            "ground": ground(view, near if len(near) < FEW_DOTS else None),
            "estimate": self._pixel(view, answer.position) if answer.position else None,
            "exif": self._pixel(view, exif) if exif else None,
            "labels": labels(ranks, view.at(matches)),
            "place": self._place(view, height + 8),
            "bar": scale_bar(view, 112, height + 24),
            "north": Point(width - 24, height + 26),
        }

    def exif_position(self, answer: Answer) -> Position | None:
        """Return the position that the photo itself gives, unless that is far outside of the city."""
        if not answer.query.position:
            return None
        (low, high), point = self.frame, self.plane.metres(np.array(answer.query.position))[0]
        reach = max(1000.0, float((high - low).max()))
        return answer.query.position if (point > low - reach).all() and (point < high + reach).all() else None

    def _place(self, view: View, y: float) -> Drawing:
        """Lay out the whole city small, and the frame of a view in it."""
        city = View.over(self.frame, 96, 64, 6, LEAST)
        (left, bottom), (right, top) = city.at(view.corners).clip(1, (city.width - 1, city.height - 1))
        width, height = max(right - left, 3), max(bottom - top, 3)
        frame = {"left": left, "top": top, "width": width, "height": height}
        return {"y": y, "ground": ground(city), **{name: round(float(pixels), 1) for name, pixels in frame.items()}}

    def _pixel(self, view: View, position: Position) -> Point:
        x, y = view.at(self.plane.metres(np.array(position)))[0].tolist()
        return Point(round(x, 1), round(y, 1))


def path_data(points: np.ndarray) -> str:
    """Write (N, 2) points as the data of an SVG path whose round ends are dots."""
    return "".join(f"M{x:.10g} {y:.10g}h0" for x, y in points.round(1).tolist())


def ground(view: View, places: np.ndarray | None = None) -> Drawing:
    """Lay out the places in a view: those of the overview, moved by `transform`, or these (N, 2) metres as `dots`."""
    x, y = view.at(np.zeros((1, 2)))[0]
    transform = f"matrix({view.scale:.6g} 0 0 {view.scale:.6g} {x:.2f} {y:.2f})"
    dots = None if places is None else path_data(view.at(places))
    return {"width": view.width, "height": view.height, "dots": dots, "transform": transform}


def scale_bar(view: View, x: float, y: float) -> Drawing:
    """Lay out the scale of a view; (x, y) is its left end."""
    return {"x": x, "y": y, "width": round(view.bar * view.scale, 1), "label": length(view.bar)}


def labels(ranks: Sequence[int], pixels: np.ndarray) -> list[Label]:
    """Label matches, best first, at (N, 2) pixels; those that would cover each other share a label. Best label last."""
    groups: list[list[int]] = []
    for row, pixel in enumerate(pixels):
        near = [group for group in groups if (np.abs(pixels[group[0]] - pixel) < TOUCH).all()]
        if near:
            near[0].append(row)
        else:
            groups.append([row])
    texts = [short([ranks[row] for row in group]) for group in groups]
    points = [pixels[group[0]].round(1).tolist() for group in groups]
    return [Label(x, y, 12 + 7 * len(text), text) for text, (x, y) in zip(texts, points, strict=True)][::-1]


def short(numbers: Sequence[int]) -> str:
    """Say ascending numbers in short: 1–3,5."""
    parts: list[str] = []
    for _, same in groupby(enumerate(numbers), key=lambda pair: pair[1] - pair[0]):
        first, *rest = (number for _, number in same)
        parts += [f"{first}–{rest[-1]}"] if len(rest) > 1 else map(str, [first, *rest])
    return ",".join(parts)
