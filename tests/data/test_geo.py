"""Degrees and metres: against published values, there and back, and across every border of a map."""

from __future__ import annotations

import numpy as np
import pytest

from vpr.data.geo import check_degrees, from_earth, to_earth, to_utm, utm_zone
from vpr.errors import DataError


def distance(first: tuple[float, float], second: tuple[float, float]) -> float:
    a, b = to_earth(*np.array([first, second], float).T)
    return float(np.linalg.norm(a - b))


def test_cn_tower() -> None:
    """43 deg 38' 33.24" N, 79 deg 23' 13.7" W is zone 17, 630084 m E, 4833438 m N (Wikipedia, article UTM)."""
    lat, lon = 43 + 38 / 60 + 33.24 / 3600, -(79 + 23 / 60 + 13.7 / 3600)
    assert utm_zone(lat, lon) == 17
    assert to_utm(lat, lon, 17) == pytest.approx((630084, 4833438), abs=1)


def test_the_axes_of_the_earth_and_their_lengths() -> None:
    """WGS 84: 6,378,137 m to the equator, 6,356,752.3142 m to the poles."""
    found = to_earth(np.array([0, 0, 90, -90]), np.array([0, 90, 12, 0]))
    equator, pole = 6_378_137.0, 6_356_752.3142
    assert found == pytest.approx(np.array([[equator, 0, 0], [0, equator, 0], [0, 0, pole], [0, 0, -pole]]), abs=1e-3)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ((48.0, 11.9999), (48.0, 12.0001)),  # between the zones 32 and 33
        ((-17.0, 179.9999), (-17.0, -179.9999)),  # the date line
        ((0.0001, 30.0), (-0.0001, 30.0)),  # the equator
    ],
)
def test_distances_hold_across_borders(first: tuple[float, float], second: tuple[float, float]) -> None:
    """The parallel of a latitude has the radius a cos / sqrt(1 - e2 sin2); a degree at the equator is 110,574.3 m."""
    degrees = 0.0002
    if first[1] == second[1]:
        expected = degrees * 110_574.3
    else:
        sine, cosine = np.sin(np.radians(first[0])), np.cos(np.radians(first[0]))
        expected = np.radians(degrees) * 6_378_137 * cosine / np.sqrt(1 - 0.00669438 * sine**2)
    assert distance(first, second) == pytest.approx(expected, rel=1e-5)


def test_all_longitudes_meet_at_the_pole() -> None:
    assert distance((90, 0), (90, 123)) == pytest.approx(0, abs=1e-6)
    # 2 x 0.0001 degrees on a meridian of radius 6,399,593.6 m (a2 / b)
    assert distance((89.9999, 10), (89.9999, -170)) == pytest.approx(np.radians(0.0002) * 6_399_593.6, rel=1e-6)


def test_there_and_back_and_unknown_stays_unknown() -> None:
    lat, lon = np.array([47.07, -33.9, 0.0, 89.0, np.nan]), np.array([15.43, 151.2, 179.5, -60.0, 3.0])
    back = from_earth(to_earth(lat, lon))
    assert back[0] == pytest.approx(lat, abs=1e-9, nan_ok=True)
    assert back[1][:4] == pytest.approx(lon[:4], abs=1e-9)
    assert np.isnan(to_earth(lat, lon)[4]).all()
    assert to_utm(-33.9, 151.2, 56)[1] < 0  # continuous across the equator


@pytest.mark.parametrize(
    ("lat", "lon", "zone"),
    [
        (48.2, 16.4, 33),
        (0, -180, 1),
        (0, 180, 1),
        (0, 179.99, 60),
        (60.4, 5.3, 32),  # Bergen: 31 by longitude alone
        (60.4, 2.9, 31),
        (64.1, 5.3, 31),
        (78.2, 15.6, 33),  # Longyearbyen
        (78.2, 8.9, 31),
        (78.2, 9.0, 33),
        (78.2, 21.0, 35),
        (78.2, 33.0, 37),
        (78.2, 42.0, 38),
        (np.nan, 3, 0),
        (3, np.nan, 0),
    ],
)
def test_zones(lat: float, lon: float, zone: int) -> None:
    assert utm_zone(lat, lon) == zone


def test_no_place_on_earth() -> None:
    check_degrees(np.array([90, -90, np.nan]), np.array([180, -180, 0]), "a.csv")
    with pytest.raises(DataError, match=r"a.csv: latitude 139.7, longitude 35.6 .*\(2 of 3\).*look swapped"):
        check_degrees(np.array([35.6, 139.7, 139.8]), np.array([139.7, 35.6, 35.7]), "a.csv")
    with pytest.raises(DataError, match="latitude 381904, longitude 3.94633e.06 .*Give degrees"):
        check_degrees(np.array([381904.0]), np.array([3946329.0]), "a.csv")
