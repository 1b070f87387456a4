"""Conditions that change between two visits: time of day, season, weather, traffic and the camera's electronics."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

Triple = tuple[float, float, float]


class Condition(NamedTuple):
    """One visit. Colours multiply (light) or are RGB 0..255 (sky); angles in degrees; visibility in metres."""

    name: str
    month: int
    ambient: Triple
    sun: Triple
    azimuth: float
    elevation: float
    sky_top: Triple
    sky_low: Triple
    clouds: float
    visibility: float
    night: bool
    leaves: str
    snow: int
    wet: bool
    exposure: float
    balance: Triple
    noise: float
    quality: int


class _Kind(NamedTuple):
    months: tuple[int, ...]
    ambient: Triple
    sun: Triple
    sky_top: Triple
    sky_low: Triple
    clouds: tuple[float, float]
    visibility: tuple[float, float]
    noise: float = 2.0
    night: bool = False
    snow: int = 0
    wet: bool = False


_KINDS = {
    "sunny": _Kind(
        (4, 5, 6, 7, 8, 9),
        (0.66, 0.69, 0.74),
        (0.5, 0.46, 0.38),
        (88, 138, 206),
        (190, 212, 232),
        (0.1, 0.5),
        (700, 1500),
    ),
    "overcast": _Kind(
        (3, 4, 5, 6, 9, 10), (0.86, 0.88, 0.91), (0, 0, 0), (168, 176, 186), (206, 210, 214), (0.6, 1.0), (350, 900)
    ),
    "autumn": _Kind(
        (10, 11), (0.64, 0.62, 0.62), (0.48, 0.38, 0.24), (116, 146, 190), (218, 208, 190), (0.2, 0.7), (250, 700)
    ),
    "dusk": _Kind(
        (2, 3, 9, 10),
        (0.42, 0.38, 0.44),
        (0.3, 0.16, 0.06),
        (70, 78, 120),
        (222, 158, 120),
        (0.2, 0.8),
        (250, 700),
        3.5,
    ),
    "rain": _Kind(
        (3, 4, 10, 11),
        (0.56, 0.6, 0.65),
        (0, 0, 0),
        (124, 132, 142),
        (164, 170, 176),
        (0.8, 1.0),
        (90, 180),
        3.0,
        wet=True,
    ),
    "fog": _Kind(
        (1, 2, 10, 11), (0.78, 0.8, 0.83), (0, 0, 0), (186, 190, 194), (196, 199, 202), (0, 0.2), (24, 45), 2.5
    ),
    "snow": _Kind(
        (12, 1, 2),
        (0.78, 0.82, 0.9),
        (0.1, 0.09, 0.08),
        (176, 184, 196),
        (212, 216, 222),
        (0.5, 1.0),
        (120, 500),
        2.5,
        snow=2,
    ),
    "night": _Kind(
        (1, 3, 5, 8, 10, 12),
        (0.13, 0.14, 0.19),
        (0, 0, 0),
        (10, 13, 26),
        (44, 40, 46),
        (0.1, 0.9),
        (200, 500),
        5.0,
        True,
    ),
}
NAMES = tuple(_KINDS)


def visit(name: str, rng: np.random.Generator) -> Condition:
    """Draw the particulars of a visit of this kind."""
    kind = _KINDS[name]
    month = int(rng.choice(kind.months))
    leaves = {10: "autumn", 11: "autumn", 4: "spring", 5: "spring"}.get(
        month, "bare" if month in (12, 1, 2, 3) else "green"
    )
    warm = rng.normal(0, 0.04)
    level = rng.uniform(0.88, 1.12)
    elevation = rng.uniform(8, 18) if name in ("dusk", "autumn") else rng.uniform(25, 60)
    return Condition(
        name,
        month,
        _scaled(kind.ambient, level),
        _scaled(kind.sun, rng.uniform(0.7, 1.2)),
        float(rng.uniform(80, 280)),
        float(elevation),
        _scaled(kind.sky_top, rng.uniform(0.85, 1.12)),
        _scaled(kind.sky_low, rng.uniform(0.92, 1.05)),
        float(rng.uniform(*kind.clouds)),
        float(rng.uniform(*kind.visibility)),
        kind.night,
        leaves,
        1 if kind.snow == 0 and month in (12, 1) and rng.random() < 0.3 else kind.snow,
        kind.wet,
        float(np.exp(rng.normal(0, 0.1))),
        (1 + warm, 1.0, 1 - warm),
        kind.noise * float(rng.uniform(0.6, 1.4)),
        int(rng.integers(72, 92)),
    )


def _scaled(colour: Triple, factor: float) -> Triple:
    return (colour[0] * factor, colour[1] * factor, colour[2] * factor)


def light(condition: Condition, normal: np.ndarray) -> Triple:
    """Light on a surface with this unit normal (3,): ambient + sun by Lambert's law."""
    turn, lift = np.radians(condition.azimuth), np.radians(condition.elevation)
    towards = np.array([np.sin(turn) * np.cos(lift), np.cos(turn) * np.cos(lift), np.sin(lift)])
    share = max(float(normal @ towards), 0.0)
    a, s = condition.ambient, condition.sun
    return (a[0] + share * s[0], a[1] + share * s[1], a[2] + share * s[2])
