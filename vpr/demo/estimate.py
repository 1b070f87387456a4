"""Where a photo was taken, told from where its matches were."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vpr.data.geo import from_earth, to_earth
from vpr.demo.answers import Match, Position


def estimate(matches: Sequence[Match], radius: float = 25.0) -> Position | None:
    """Return the mean of the positions within `radius` metres of the first match that has one; None without any.

    Weights are the similarities, where they are positive. The mean is one of earth-centred coordinates, so that it
    holds across the date line and at the poles.
    """
    placed = [match for match in matches if match.position]
    if not placed:
        return None
    earth = to_earth(*np.array([match.position for match in placed]).T)
    weights = np.maximum([match.similarity for match in placed], 0) * (
        np.linalg.norm(earth - earth[0], axis=1) <= radius
    )
    if not weights[0] > 0:  # not even the first one is similar
        return placed[0].position
    lat, lon = from_earth(np.average(earth, axis=0, weights=weights)[None])
    return Position(float(lat[0]), float(lon[0]))
