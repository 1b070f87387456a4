"""Latitude and longitude to and from UTM on WGS 84."""

from __future__ import annotations

from math import asin, asinh, atan, atan2, atanh, cos, cosh, degrees, floor, radians, sin, sinh, sqrt, tan

_A, _F = 6378137.0, 1 / 298.257223563
_N = _F / (2 - _F)
_E = sqrt(_F * (2 - _F))
_RADIUS = _A / (1 + _N) * (1 + _N**2 / 4 + _N**4 / 64)
_K0 = 0.9996
_ALPHA = (_N / 2 - 2 * _N**2 / 3 + 5 * _N**3 / 16, 13 * _N**2 / 48 - 3 * _N**3 / 5, 61 * _N**3 / 240)
_BETA = (_N / 2 - 2 * _N**2 / 3 + 37 * _N**3 / 96, _N**2 / 48 + _N**3 / 15, 17 * _N**3 / 480)


def utm_zone(lon: float) -> int:
    """Give the zone 1..60 of a longitude in degrees (the exceptions of Norway and Svalbard are left out)."""
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
