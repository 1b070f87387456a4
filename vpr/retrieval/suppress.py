"""Non-maximum suppression over cut-outs: of the views cut from one panorama, only the nearest counts."""

from __future__ import annotations

import numpy as np

from vpr.retrieval.search import Neighbours, search


def nearest(database: np.ndarray, queries: np.ndarray, k: int, panoramas: np.ndarray | None = None) -> Neighbours:
    """Search for the `k` nearest database rows of every query, at most one of each panorama.

    The protocol of Tokyo 24/7 (Arandjelovic et al., CVPR 2016): among the nearest `k` times 12 cut-outs, keep the
    first of each panorama. A panorama takes at most as many places as the largest one has cut-outs, so `k` times that
    number holds `k` panoramas: the result is that of suppression in the full ranking.

    Args:
        database, queries: (N, D) and (Q, D), as `vpr.retrieval.search.search` takes them.
        panoramas: (N,) int, the panorama of each database row; None: every row counts.

    Returns:
        neighbours of width k; -1 with similarity -inf where there are fewer panoramas.
    """
    wide = search(database, queries, reach(k, len(database), panoramas))
    if panoramas is None:
        return wide
    similarities, indices = suppress(wide, panoramas)
    return Neighbours(similarities[:, :k], indices[:, :k])


def reach(k: int, rows: int, panoramas: np.ndarray | None) -> int:
    """Return how many of `rows` nearest cut-outs hold the `k` nearest panoramas."""
    if panoramas is None:
        return k
    largest = int(np.unique(panoramas, return_counts=True)[1].max())
    return max(k, min(k * largest, rows))


def suppress(neighbours: Neighbours, panoramas: np.ndarray) -> Neighbours:
    """Keep the first neighbour (Q, K) of each panorama, in order; the places left at the end become -1 and -inf."""
    similarities, indices = neighbours
    seen = panoramas[indices]
    order = np.argsort(seen, axis=1, kind="stable")  # equal panoramas side by side, the nearest first
    together = np.take_along_axis(seen, order, axis=1)
    first = np.ones(indices.shape, bool)
    np.put_along_axis(first, order[:, 1:], together[:, 1:] != together[:, :-1], axis=1)
    # -1 reads some panorama, too, but stands at the end of a row: it takes nobody's place, and stays -1 if it is kept.
    front = np.argsort(~first, axis=1, kind="stable")
    keep = np.take_along_axis(first, front, axis=1)
    return Neighbours(
        np.where(keep, np.take_along_axis(similarities, front, axis=1), np.float32(-np.inf)),
        np.where(keep, np.take_along_axis(indices, front, axis=1), -1),
    )
