"""Geodesy on WGS 84: latitude and longitude to earth-centred or UTM metres, and back."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np

from vpr.errors import DataError


def to_earth(lat: np.ndarray, lon: np.ndarray) -> np.ndarray:
    """Place degrees on the ellipsoid (altitude 0): earth-centred coordinates (EPSG:4978).

    Straight-line distances hold across UTM zones, the date line and the poles; within 1 km they are those on the
    ground but for 1e-8.

    Returns:
        (N, 3) metres; NaN where latitude or longitude is.
    """
    lat, lon = (np.atleast_1d(np.asarray(degrees, float)) for degrees in (lat, lon))
    return np.stack(_earth().transform(lon, lat, np.zeros_like(lat)), axis=1)


def from_earth(positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Invert `to_earth`: (N, 3) metres to latitudes and longitudes in degrees, each (N,)."""
    lon, lat, _ = _earth().transform(*np.asarray(positions, float).T, direction="INVERSE")
    return lat, lon


def utm_zone(lat: np.ndarray, lon: np.ndarray) -> np.ndarray:
    """Return the UTM zones 1 to 60, with the exceptions of Norway (32V) and Svalbard (31X to 37X); 0 where unknown."""
    lat, lon = np.broadcast_arrays(np.asarray(lat, float), np.asarray(lon, float))
    known = np.isfinite(lat) & np.isfinite(lon)
    lon = (np.where(known, lon, 0) + 180) % 360 - 180
    zone = (np.floor((lon + 180) / 6) + 1).astype(np.int64)
    zone = np.where((lat >= 56) & (lat < 64) & (lon >= 3) & (lon < 12), 32, zone)
    svalbard = 31 + 2 * np.searchsorted([9, 21, 33], lon, side="right")
    zone = np.where((lat >= 72) & (lat <= 84) & (lon >= 0) & (lon < 42), svalbard, zone)
    return np.where(known, zone, 0)


def to_utm(lat: Any, lon: Any, zone: int) -> tuple[Any, Any]:
    """Project degrees, numbers or arrays, to (east, north) of a zone in metres.

    North is negative south of the equator; maps add 10,000 km there.
    """
    return _utm(zone)(lon, lat)


def check_degrees(lat: np.ndarray, lon: np.ndarray, where: str) -> None:
    """Refuse degrees that are no place on earth; unknown ones (NaN) pass.

    Args:
        where: the file, for the message.

    Raises:
        DataError: names the first.
    """
    lat, lon = np.asarray(lat, float), np.asarray(lon, float)
    wrong = np.flatnonzero((np.abs(lat) > 90) | (np.abs(lon) > 180))
    if not len(wrong):
        return
    swapped = (np.abs(lat[wrong]) <= 180).all() and (np.abs(lon[wrong]) <= 90).all()
    raise DataError(
        f"{where}: latitude {lat[wrong[0]]:g}, longitude {lon[wrong[0]]:g} is no place on earth ({len(wrong):,} of "
        f"{len(lat):,}). "
        + ("Latitude and longitude look swapped." if swapped else "Give degrees: -90 to 90, and -180 to 180.")
    )


@lru_cache(maxsize=1)
def _earth() -> Any:
    from pyproj import Transformer  # a tenth of a second that others need not wait for

    return Transformer.from_pipeline(
        "+proj=pipeline +step +proj=unitconvert +xy_in=deg +xy_out=rad +step +proj=cart +ellps=WGS84"
    )


@lru_cache(maxsize=64)
def _utm(zone: int) -> Any:
    from pyproj import Proj

    return Proj(proj="utm", zone=zone, ellps="WGS84")
