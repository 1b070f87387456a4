"""Ground truth: which database images show the place of a query."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree


def positives_within(database: np.ndarray, queries: np.ndarray, radius: float, block: int = 256) -> list[np.ndarray]:
    """Find the database rows within `radius` of each query, the radius included.

    Args:
        database, queries: (N, d) and (Q, d) positions in metres, or (N,) and (Q,) frame numbers.
        radius: in the same unit.
        block: queries at a time: Python lists of neighbours exist for one block only, so memory stays small.

    Returns:
        one sorted int64 array of database rows per query.
    """
    # Splits at the middle and larger leaves halve the time to plant it, which for millions of positions is all of it.
    tree = cKDTree(np.asarray(database, float).reshape(len(database), -1), leafsize=64, balanced_tree=False)
    points = np.asarray(queries, float).reshape(len(queries), -1)
    rows: list[np.ndarray] = []
    for start in range(0, len(points), block):
        found = tree.query_ball_point(points[start : start + block], radius, return_sorted=True)
        rows.extend(np.asarray(neighbours, np.int64) for neighbours in found)
    return rows
