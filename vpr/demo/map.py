"""Maps without tiles: the places of the database as dots, and on them what was found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vpr.demo import svg
from vpr.demo.answers import Answer, Position
from vpr.demo.pictures import plain
from vpr.demo.plane import Plane, View
from vpr.retrieval.index_photos import Photos

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
        parts = [svg.city(self.dots), svg.ground(view), *marks]
        parts += [svg.bar(view, 12, height - 10), svg.north(width - 24, 24)]
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
        marks, words = [], [f"Map of the matches {svg.runs(ranks)}"]
        if answer.position:
            marks.append(svg.ring(*self._pixel(view, answer.position)))
            words.append("the estimate")
        if own:
            marks.append(svg.square(*self._pixel(view, own)))
            words.append("the photo's own position")
        marks.append(svg.labels(ranks, view.at(matches)))
        low, high = view.corners
        near = self.places[((self.places > low) & (self.places < high)).all(axis=1)]
        ground = svg.ground(view, near if len(near) < FEW_DOTS else None)
        parts = [f'<svg width="{width:g}" height="{height:g}">{ground}{"".join(marks)}</svg>']
        parts += [self._place(view, height + 8), svg.bar(view, 112, height + 24), svg.north(width - 24, height + 26)]
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
            f'<svg class="place" y="{y:g}" width="96" height="64">{svg.ground(city)}<rect class="here" {here}/></svg>'
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
