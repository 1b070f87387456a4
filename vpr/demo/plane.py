"""From degrees to metres on paper, and from there to a picture."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from vpr.data.geo import from_earth, to_earth


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
