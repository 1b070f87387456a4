"""Latitude and longitude to UTM: against published values, and there and back."""

from __future__ import annotations

import pytest

from vpr.toycity.survey import to_latlon, to_utm, utm_zone


def test_cn_tower() -> None:
    """43 deg 38' 33.24" N, 79 deg 23' 13.7" W is zone 17, 630084 m E, 4833438 m N (Wikipedia, article UTM)."""
    lat, lon = 43 + 38 / 60 + 33.24 / 3600, -(79 + 23 / 60 + 13.7 / 3600)
    assert utm_zone(lon) == 17
    east, north = to_utm(lat, lon, 17)
    assert east == pytest.approx(630084, abs=1)
    assert north == pytest.approx(4833438, abs=1)


def test_on_the_central_meridian() -> None:
    """There, east is 500 km, and north at the pole is 0.9996 times the quarter meridian of WGS 84, 10001965.7293 m."""
    assert to_utm(0.0, 15.0, 33) == pytest.approx((500_000, 0), abs=1e-6)
    at_the_pole = 0.9996 * (10_001_965.7293 - 0.1117)  # but for a millionth of a degree
    assert to_utm(90 - 1e-6, 15.0, 33)[1] == pytest.approx(at_the_pole, abs=1e-3)


@pytest.mark.parametrize(("lat", "lon"), [(47.07, 15.43), (0.0, 12.5), (71.3, 17.9), (46.0, 15.0)])
def test_there_and_back(lat: float, lon: float) -> None:
    """A millimetre is 1e-8 degrees."""
    assert to_latlon(*to_utm(lat, lon, 33), 33) == pytest.approx((lat, lon), abs=1e-8)


def test_one_second_of_latitude() -> None:
    """At 45 degrees a degree of latitude is 111,131.7 m (WGS 84), shrunk by 0.9996 on the central meridian."""
    low, high = to_utm(44.5, 15.0, 33)[1], to_utm(45.5, 15.0, 33)[1]
    assert high - low == pytest.approx(111_131.7 * 0.9996, rel=2e-5)
